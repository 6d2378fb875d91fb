//! The library's own tokio runtime: made by the first call that needs it, never made again, never shut down.

use omni_core::{Code, Error, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::{Builder, Runtime};

/// The process that made the runtime; 0 until there is one.
static OWNER: AtomicU32 = AtomicU32::new(0);
static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// Callbacks run on the runtime's threads, and each that blocks holds one: this many may do so at once.
const MAX_BLOCKED_THREADS: usize = 4096;

/// The runtime.
///
/// # Errors
/// `engine_unavailable` in a child forked after first use, or when no thread can be started.
pub(crate) fn get() -> Result<&'static Runtime> {
    refuse_forked()?;
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = *runtime {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(2) // they pass events on; what waits, waits on the caller's threads
        .max_blocking_threads(MAX_BLOCKED_THREADS)
        .thread_name("omni-bridge")
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(Code::EngineUnavailable, format!("omni_bridge cannot start its threads: {error}; free some"))
        })?;
    // Leaked: its threads may still run while the process exits, and nothing may be taken from under them.
    let made: &'static Runtime = Box::leak(Box::new(made));
    *runtime = Some(made);
    OWNER.store(std::process::id(), Ordering::Release);
    Ok(made)
}

/// The runtime if there is one and it is this process's.
pub(crate) fn existing() -> Option<&'static Runtime> {
    refuse_forked().ok()?;
    *RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child forked after first use has the parent's locks and none of its threads: it gets an error, not a
/// hang.
pub(crate) fn refuse_forked() -> Result<()> {
    match OWNER.load(Ordering::Acquire) {
        0 => Ok(()),
        owner if owner == std::process::id() => Ok(()),
        owner => Err(Error::new(
            Code::EngineUnavailable,
            format!(
                "this process was forked from process {owner} after that had used omni_bridge; threads do not survive \
                 a fork: fork before the first call, or start a new program (spawn, forkserver)"
            ),
        )),
    }
}
