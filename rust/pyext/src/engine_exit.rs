//! The ends that come from outside: fork, the exit of the process, and who may still attach before it.
#![allow(
    unsafe_code,
    reason = "hooks of the C library: every block carries its safety argument"
)]

use crate::engine;
use pyo3::prelude::*;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the exit of the process waits for the loop.
const EXIT_GRACE: Duration = Duration::from_millis(2500);

/// Whether there ever was a loop: before, `fork` is free.
static USED: AtomicBool = AtomicBool::new(false);
/// Whether this process is a child, forked after first use: it has the parent's memory but none of its threads,
/// and any lock may be held for ever. So nothing here is touched any more.
static FORKED: AtomicBool = AtomicBool::new(false);
/// Whether the process is on its way out.
static EXITING: AtomicBool = AtomicBool::new(false);
/// Threads of ours that are attached just now, see [`attach`].
static ATTACHED: AtomicU64 = AtomicU64::new(0);

/// Whether this is a child that was forked after first use.
pub(crate) fn forked() -> bool {
    FORKED.load(Ordering::Acquire)
}

/// Whether there ever was a call.
pub(crate) fn used() -> bool {
    USED.load(Ordering::Acquire)
}

/// From now on a fork's child cannot use the engine.
pub(crate) fn use_now() {
    USED.store(true, Ordering::Release);
}

/// Whether the process is on its way out.
pub(crate) fn exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

/// Whether this thread is attached to the interpreter; the limited API has no word for it before 3.13.
pub(crate) fn attached() -> bool {
    // SAFETY: asks for a flag of the runtime; allowed at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return false;
    }
    // SAFETY: the interpreter exists; the function reads this thread's own slot and needs no attachment.
    unsafe { PyGILState_Check() == 1 }
}

unsafe extern "C" {
    /// Not in the limited API's headers, but exported by every CPython since 3.4.
    fn PyGILState_Check() -> std::ffi::c_int;
}

/// Runs `f` attached, from a thread of ours that Python does not know.
///
/// None once the process is exiting: a thread that attaches then is killed or hung by the interpreter. The exit waits
/// for those that are in already.
pub(crate) fn attach<R>(f: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            ATTACHED.fetch_sub(1, Ordering::SeqCst);
        }
    }
    ATTACHED.fetch_add(1, Ordering::SeqCst);
    let _leave = Leave;
    if exiting() || forked() {
        return None;
    }
    Python::try_attach(f)
}

extern "C" fn after_fork_in_child() {
    // Only a flag: between fork and exec little else is allowed.
    if used() {
        FORKED.store(true, Ordering::Release);
    }
}

/// C's `exit` in a host that never finalises Python. In a Python process the loop has ended by now.
extern "C" fn at_c_exit() {
    if forked() || EXITING.swap(true, Ordering::SeqCst) {
        return;
    }
    // Detached in any case: who exits may be attached, and the loop needs the interpreter to end.
    let _ = catch_unwind(|| {
        if attached() {
            Python::try_attach(|py| py.detach(leave))
        } else {
            leave();
            Some(())
        }
    });
}

fn leave() {
    engine::stop(Instant::now() + EXIT_GRACE);
    // On a thread of its own: who holds the interpreter may never let go, and the exit does not wait for that.
    let (done, wait) = std::sync::mpsc::channel();
    let asked = std::thread::Builder::new().spawn(move || {
        Python::try_attach(quiet);
        let _ = done.send(());
    });
    if asked.is_ok() {
        let _ = wait.recv_timeout(EXIT_GRACE);
    }
}

/// Interrupts what still runs Python code on threads of the engine, and waits for it, within bounds.
fn quiet(py: Python<'_>) {
    let asked = py
        .import("sys")
        .and_then(|sys| {
            sys.getattr("modules")?
                .call_method1("get", ("omni_bridge._engine",))
        })
        .and_then(|engine| {
            if engine.is_none() {
                Ok(())
            } else {
                engine.call_method0("quiet").map(drop)
            }
        });
    if let Err(error) = asked {
        error.write_unraisable(py, None);
    }
}

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> std::ffi::c_int;
    fn atexit(hook: extern "C" fn()) -> std::ffi::c_int;
}

/// Has C's `exit` stop the loop first. Hooks run in the reverse order, and libraries that the loop uses bring their
/// own (OpenSSL frees its tables): so this is called again when such a library has been loaded.
#[pyfunction]
fn engine_exit_hook() {
    // SAFETY: a function without arguments that catches its panics; the module is never unloaded.
    unsafe { atexit(at_c_exit) };
}

/// Python's exit, while everything still works: streams are cancelled and the loop is stopped.
#[pyfunction]
fn engine_at_exit(py: Python<'_>) {
    if forked() || EXITING.swap(true, Ordering::SeqCst) {
        return;
    }
    py.detach(|| {
        let deadline = Instant::now() + EXIT_GRACE;
        if used() {
            engine::stop(deadline);
        }
        while ATTACHED.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
    });
    if used() {
        quiet(py);
    }
}

/// Raises `SystemExit` in the thread of this id, at its next step in Python code.
#[pyfunction]
fn engine_interrupt(py: Python<'_>, thread: std::ffi::c_ulong) {
    let exit = py.get_type::<pyo3::exceptions::PySystemExit>();
    // SAFETY: attached; the function takes its own reference, and an unknown id does nothing.
    unsafe {
        pyo3::ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), exit.as_ptr());
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(engine_at_exit, module)?)?;
    module.add_function(wrap_pyfunction!(engine_exit_hook, module)?)?;
    module.add_function(wrap_pyfunction!(engine_interrupt, module)?)?;
    // SAFETY: the handler only touches atomics; the module is never unloaded.
    unsafe { pthread_atfork(None, None, Some(after_fork_in_child)) };
    let py = module.py();
    py.import("atexit")?
        .call_method1("register", (module.getattr("engine_at_exit")?,))?;
    Ok(())
}
