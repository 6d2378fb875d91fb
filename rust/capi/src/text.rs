//! Text across the border: NUL-terminated both ways. JSON writes a NUL as `\u0000`, so nothing is ever cut short.

use crate::door::{Answer, Fault};
use omni_core::Error;
use serde::Serialize;
use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;

/// The bytes of the caller's text `name`, without the NUL.
///
/// # Safety
/// `text` is NULL or points to NUL-terminated text that nobody changes while the result is in use.
pub(crate) unsafe fn read<'a>(text: *const c_char, name: &str) -> Answer<&'a [u8]> {
    if text.is_null() {
        return Err(Fault::Misuse(format!(
            "{name} is NULL; give JSON text that ends in a NUL"
        )));
    }
    // SAFETY: not NULL, and the caller vouches for the rest.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A place of the caller's for one text, set to NULL from the start so that it never holds rubbish.
pub(crate) struct Slot(*mut *mut c_char);

impl Slot {
    /// # Safety
    /// `place` is NULL or may be written until the exported function returns.
    pub(crate) unsafe fn new(place: *mut *mut c_char, name: &str) -> Answer<Self> {
        if place.is_null() {
            return Err(Fault::Misuse(format!(
                "{name} is NULL; give the address of a char pointer"
            )));
        }
        // SAFETY: not NULL, and the caller vouches for the rest.
        unsafe { place.write(null_mut()) };
        Ok(Self(place))
    }

    /// Hands `text` over to the caller, who gives it back to `omni_string_free`.
    pub(crate) fn put(self, text: CString) {
        // SAFETY: `new` has written here already, and the caller's promise lasts until we return.
        unsafe { self.0.write(text.into_raw()) };
    }
}

/// `value` as JSON text for C.
pub(crate) fn json(value: &impl Serialize) -> omni_core::Result<CString> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::internal(format!("a value without JSON: {error}")))?;
    CString::new(text).map_err(|_| Error::internal("JSON text with a NUL in it"))
}

/// Frees a text that a function of this library gave as char * (never one that it gave as const char *, and each
/// only once: a text is plain memory, a second free cannot be noticed). NULL is left alone.
///
/// Threads: any, also another than the one that got it. Callbacks: works inside one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_string_free(text: *mut c_char) {
    door!(omni_string_free, |_| (), {
        if !text.is_null() {
            // SAFETY: by the comment above it came out of `CString::into_raw` and was not freed yet.
            drop(unsafe { CString::from_raw(text) });
        }
        Ok(())
    });
}
