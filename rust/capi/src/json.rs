//! Looking into JSON text, so that a C program can do without a JSON library.

use crate::door::{Answer, Fault};
use crate::text;
use omni_core::{Error, from_slice_lenient};
use serde_json::Value;
use std::ffi::{CString, c_char};
use std::ptr::null_mut;

/// What stands in `json` at `pointer` (RFC 6901: "/reply/tool_calls/0/id"; "" is the whole), as JSON text: a
/// string with its quotes and escapes, ready to be put into other JSON.
///
/// Gives NULL, with omni_last_error, if nothing stands there or `json` is no JSON.
///
/// Frees: the caller frees the result by omni_string_free; `json` and `pointer` stay the caller's. Threads: any,
/// callbacks included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_json_get(json: *const c_char, pointer: *const c_char) -> *mut c_char {
    door!(omni_json_get, |_| null_mut(), {
        // SAFETY: both are the caller's, who keeps them as they are until we return.
        let value = unsafe { find(json, pointer) }?;
        Ok(text::json(&value)?.into_raw())
    })
}

/// The string that stands in `json` at `pointer`, as plain text without quotes and escapes, ready to be shown. A
/// NUL in it, which would end the text, becomes U+FFFD.
///
/// Gives NULL, with omni_last_error, if no string stands there or `json` is no JSON.
///
/// Frees, threads and callbacks: as omni_json_get.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_json_text(json: *const c_char, pointer: *const c_char) -> *mut c_char {
    door!(omni_json_text, |_| null_mut(), {
        // SAFETY: both are the caller's, who keeps them as they are until we return.
        let Value::String(mut text) = unsafe { find(json, pointer) }? else {
            return Err(Fault::Misuse(
                "what stands there is no string; omni_json_get gives it as JSON".to_owned(),
            ));
        };
        if text.contains('\0') {
            text = text.replace('\0', "\u{fffd}");
        }
        let text = CString::new(text).map_err(|_| Error::internal("a text with a NUL in it"))?;
        Ok(text.into_raw())
    })
}

/// # Safety
/// Both are NULL or point to NUL-terminated text that nobody changes meanwhile.
unsafe fn find(json: *const c_char, pointer: *const c_char) -> Answer<Value> {
    // SAFETY: by the line above.
    let (json, pointer) = unsafe { (text::read(json, "json")?, text::read(pointer, "pointer")?) };
    let pointer = String::from_utf8_lossy(pointer);
    let mut value: Value =
        from_slice_lenient(json).map_err(|error| Fault::Misuse(format!("json is no JSON text: {error}")))?;
    match value.pointer_mut(&pointer) {
        Some(found) => Ok(found.take()),
        None => Err(Fault::Misuse(format!("nothing stands at \"{pointer}\""))),
    }
}
