//! The one place where a door waits: detached, so that other threads run, and looking for signals now and then, so
//! that Ctrl-C works.

use crate::error::raise;
use crate::mailbox::Mailbox;
use crate::{engine, runtime};
use omni_core::{Code, Error};
use pyo3::prelude::*;
use std::time::Duration;

/// How long a Ctrl-C may go unnoticed. Python's handlers run on the main thread, which is the one that waits here.
const TICK: Duration = Duration::from_millis(50);

/// Waits until there is something to take.
///
/// # Errors
/// What a signal's handler raises (`KeyboardInterrupt`); `unsupported` on the engine's own thread, which would wait
/// for itself; `engine_unavailable` in a child forked after first use.
pub(crate) fn wait(py: Python<'_>, mailbox: &Mailbox) -> PyResult<()> {
    runtime::check_fork()?;
    if engine::on_engine_thread() {
        return Err(raise(&Error::new(
            Code::Unsupported,
            "a blocking call on the engine's own thread (from a LiteLLM callback?) would wait for itself: \
             use achat or stream there, or call from another thread",
        )));
    }
    while !py.detach(|| mailbox.wait(TICK)) {
        py.check_signals()?;
    }
    Ok(())
}
