//! Waiting in a process that has a Python interpreter. Who waits here while holding the interpreter's lock (ctypes'
//! `PyDLL`, an extension module) would wait for ever, because the engine's loop and Python callbacks need that lock:
//! so it is let go for the time. Who waits on the loop's own thread would wait for ever in any case, and is refused.
//! No Python header, no link: the functions are looked up in the process.

use libloading::os::unix::Library;
use omni_core::{Code, Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

type ThreadState = *mut c_void;
type Object = *mut c_void;

struct Python {
    /// The state of this thread in the main interpreter, or NULL.
    of_this_thread: unsafe extern "C" fn() -> ThreadState,
    /// The state that runs now: of whichever thread it is before 3.12, of this thread from 3.12 on.
    running: unsafe extern "C" fn() -> ThreadState,
    save: unsafe extern "C" fn() -> ThreadState,
    restore: unsafe extern "C" fn(ThreadState),
    ensure: unsafe extern "C" fn() -> c_int,
    release: unsafe extern "C" fn(c_int),
    modules: unsafe extern "C" fn() -> Object,
    item: unsafe extern "C" fn(Object, *const c_char) -> Object,
    attribute: unsafe extern "C" fn(Object, *const c_char) -> Object,
    call: unsafe extern "C" fn(Object, Object) -> Object,
    is_true: unsafe extern "C" fn(Object) -> c_int,
    forget: unsafe extern "C" fn(Object),
    clear_error: unsafe extern "C" fn(),
}

/// Found once there is an interpreter; looked for again until then, since one may be loaded later.
fn python() -> Option<&'static Python> {
    static PYTHON: OnceLock<Python> = OnceLock::new();
    if let Some(python) = PYTHON.get() {
        return Some(python);
    }
    let process = Library::this();
    // SAFETY: these are functions of CPython's C interface with these signatures in every version since 3.7;
    // 3.13 gave the third its public name and kept the old one.
    let python = unsafe {
        Python {
            of_this_thread: *process.get(b"PyGILState_GetThisThreadState\0").ok()?,
            running: *process
                .get(b"PyThreadState_GetUnchecked\0")
                .or_else(|_| process.get(b"_PyThreadState_UncheckedGet\0"))
                .ok()?,
            save: *process.get(b"PyEval_SaveThread\0").ok()?,
            restore: *process.get(b"PyEval_RestoreThread\0").ok()?,
            ensure: *process.get(b"PyGILState_Ensure\0").ok()?,
            release: *process.get(b"PyGILState_Release\0").ok()?,
            modules: *process.get(b"PyImport_GetModuleDict\0").ok()?,
            item: *process.get(b"PyDict_GetItemString\0").ok()?,
            attribute: *process.get(b"PyObject_GetAttrString\0").ok()?,
            call: *process.get(b"PyObject_CallObject\0").ok()?,
            is_true: *process.get(b"PyObject_IsTrue\0").ok()?,
            forget: *process.get(b"Py_DecRef\0").ok()?,
            clear_error: *process.get(b"PyErr_Clear\0").ok()?,
        }
    };
    Some(PYTHON.get_or_init(|| python))
}

/// While it lives, this thread does not hold the interpreter's lock.
pub(crate) struct Detached(Option<(&'static Python, ThreadState)>);

/// Lets go of the interpreter's lock if this thread holds it. To be the first thing in a function that may
/// wait, so that it is the last to end.
pub(crate) fn detach() -> Detached {
    Detached(python().and_then(|python| {
        // SAFETY: both only read, and may be called from any thread, whatever state the interpreter is in.
        let (mine, running) = unsafe { ((python.of_this_thread)(), (python.running)()) };
        // SAFETY: this thread's state is the running one, so this thread is attached, as the function asks.
        (!mine.is_null() && mine == running).then(|| (python, unsafe { (python.save)() }))
    }))
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some((python, state)) = self.0.take() {
            // SAFETY: the state comes from `save` on this very thread (the guard is not Send), which has not attached
            // again since.
            unsafe { (python.restore)(state) };
        }
    }
}

/// The module of ours that runs the engine, and its function that says whether this is the loop's thread.
const MODULE: &CStr = c"omni_bridge._native";
const QUESTION: &CStr = c"engine_on_thread";

/// To be asked before anything that may wait.
///
/// # Errors
/// `unsupported` on the thread of the engine's loop: what is waited for would have to come from this very thread.
pub(crate) fn refuse_loop_thread() -> Result<()> {
    if !on_loop_thread() {
        return Ok(());
    }
    Err(Error::new(
        Code::Unsupported,
        "a blocking call on the engine's own thread (from a LiteLLM callback?) would wait for itself: call from \
         another thread, or use omni_stream_start, which does not wait",
    ))
}

/// Whether this is the thread of the engine's loop. The module is asked, since it knows also when none of its calls
/// were made through this library.
pub(crate) fn on_loop_thread() -> bool {
    let Some(python) = python() else { return false };
    // SAFETY: it only reads, and may be called from any thread, whatever state the interpreter is in.
    if unsafe { (python.of_this_thread)() }.is_null() {
        return false; // the loop's thread is one of Python's
    }
    // SAFETY: this thread has a state, so that there is an interpreter; attached already or not, it is from here until
    // `release`. The first two results are borrowed from what stays while we are attached, the other two are ours.
    unsafe {
        let attached = (python.ensure)();
        let module = (python.item)((python.modules)(), MODULE.as_ptr());
        let mut answer = false;
        if !module.is_null() {
            let question = (python.attribute)(module, QUESTION.as_ptr());
            if !question.is_null() {
                let found = (python.call)(question, std::ptr::null_mut());
                if !found.is_null() {
                    answer = (python.is_true)(found) == 1;
                    (python.forget)(found);
                }
                (python.forget)(question);
            }
            (python.clear_error)();
        }
        (python.release)(attached);
        answer
    }
}
