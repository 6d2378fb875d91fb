//! The latest error of each thread.

use omni_core::Error;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr::null;

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Remembers `error` for this thread. Does nothing on a thread whose thread-local storage is gone already.
pub(crate) fn set(error: &Error) {
    let text = serde_json::to_string(error)
        .ok()
        .and_then(|json| CString::new(json).ok());
    let _ = LAST.try_with(|last| *last.borrow_mut() = text);
}

/// The JSON text of this thread's latest error, or NULL.
pub(crate) fn get() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ref().map_or(null(), |text| text.as_ptr()))
        .unwrap_or(null())
}
