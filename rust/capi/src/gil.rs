//! Waiting in a process that has a Python interpreter. Who waits here while holding the interpreter's lock (ctypes'
//! `PyDLL`, an extension module) would wait for ever, because the engine's loop and Python callbacks need that lock:
//! so it is let go for the time. No Python header, no link: the three functions are looked up in the process.

use libloading::os::unix::Library;
use std::ffi::c_void;
use std::sync::OnceLock;

type ThreadState = *mut c_void;

struct Python {
    /// The state of this thread in the main interpreter, or NULL.
    of_this_thread: unsafe extern "C" fn() -> ThreadState,
    /// The state that runs now: of whichever thread it is before 3.12, of this thread from 3.12 on.
    running: unsafe extern "C" fn() -> ThreadState,
    save: unsafe extern "C" fn() -> ThreadState,
    restore: unsafe extern "C" fn(ThreadState),
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
