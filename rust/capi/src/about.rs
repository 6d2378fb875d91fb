//! What the library is, and what it makes of a document.

use crate::code::OmniCode;
use crate::door::Fault;
use crate::text::{self, Slot};
use omni_core::{
    CONTRACT, Error, Event, Message, Reply, Request, Tool, Usage, from_slice_lenient, unreadable,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::OnceLock;

/// The version of the contract that this header was written for; compare with "contract" of omni_version().
pub const OMNI_CONTRACT: u32 = 1;

const _: () = assert!(
    OMNI_CONTRACT == CONTRACT,
    "omni_bridge.h speaks of another contract than omni-core"
);

/// What the library is, as JSON: {"version": "0.1.0", "contract": 1}.
///
/// Frees: nothing; the text is static. Threads: any, before anything else, callbacks included.
#[unsafe(no_mangle)]
pub extern "C" fn omni_version() -> *const c_char {
    static VERSION: OnceLock<CString> = OnceLock::new();
    door!(omni_version, |_| null(), {
        let json = format!(
            r#"{{"version": "{}", "contract": {CONTRACT}}}"#,
            env!("CARGO_PKG_VERSION")
        );
        Ok(VERSION
            .get_or_init(|| CString::new(json).unwrap_or_default())
            .as_ptr())
    })
}

/// Reads a document of the contract and writes it anew as this library understands it: for tests, and to
/// check a request before it is sent. `kind` is "request", "reply", "event", "message", "tool", "usage" or
/// "error".
///
/// Gives OMNI_CODE_OK and the document in *checked; else the code (OMNI_CODE_INVALID_REQUEST with the path of
/// what is wrong in omni_last_error) and NULL in *checked.
///
/// Frees: the caller frees *checked by omni_string_free; `kind` and `json` stay the caller's. Threads: any,
/// callbacks included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_check(
    kind: *const c_char,
    json: *const c_char,
    checked: *mut *mut c_char,
) -> OmniCode {
    door!(omni_check, OmniCode::of, {
        // SAFETY: the three are the caller's, who keeps them as they are until we return.
        let (slot, kind, json) = unsafe {
            (
                Slot::new(checked, "checked")?,
                text::read(kind, "kind")?,
                text::read(json, "json")?,
            )
        };
        let text = match kind {
            b"request" => text::json(&Request::from_json(json)?)?,
            b"reply" => anew::<Reply>("reply", json)?,
            b"event" => anew::<Event>("event", json)?,
            b"message" => anew::<Message>("message", json)?,
            b"tool" => anew::<Tool>("tool", json)?,
            b"usage" => anew::<Usage>("usage", json)?,
            b"error" => anew::<Error>("error", json)?,
            _ => {
                let kinds =
                    "\"request\", \"reply\", \"event\", \"message\", \"tool\", \"usage\" or \"error\"";
                return Err(Fault::Misuse(format!("kind is none of {kinds}")));
            }
        };
        slot.put(text);
        Ok(OmniCode::Ok)
    })
}

fn anew<T: DeserializeOwned + Serialize>(kind: &str, json: &[u8]) -> omni_core::Result<CString> {
    let value: T = from_slice_lenient(json).map_err(|error| unreadable(&format!("the {kind}"), &error))?;
    text::json(&value)
}
