//! Whether this process is a child that was forked after the engine came into it.

use omni_core::{Code, Error};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static FORKED: AtomicBool = AtomicBool::new(false);
static USED: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    // Only a flag: between fork and exec little else is allowed.
    if USED.load(Ordering::Acquire) {
        FORKED.store(true, Ordering::Release);
    }
}

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> std::ffi::c_int;
}

/// Begins to watch for forks; cheap to repeat.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: the handler only touches atomics; whoever unloads this library takes its handlers along (glibc ties
    // them to the library).
    ONCE.call_once(|| {
        let _ = unsafe { pthread_atfork(None, None, Some(in_child)) };
    });
}

/// From now on a forked child cannot use the engine: a call has been started.
pub(super) fn used() {
    if !USED.load(Ordering::Relaxed) {
        USED.store(true, Ordering::Release);
    }
}

/// Whether this process was forked after its parent's first call: then neither the engine's thread nor any other
/// has come along, and every call is refused.
pub fn forked() -> bool {
    FORKED.load(Ordering::Acquire)
}

pub(super) fn error() -> Error {
    Error::new(
        Code::EngineUnavailable,
        "this process was forked after the engine had started, and threads do not survive a fork: start processes with \
         the \"spawn\" or \"forkserver\" method, or fork before the first call",
    )
}
