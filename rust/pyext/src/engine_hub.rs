//! The side of the engine that the Python loop sees: what is to be done next, and one flush a turn.

use crate::engine;
use crate::engine_call::{Call, Sink};
use crate::json;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What the loop is asked to do.
pub(crate) enum Command {
    /// Begin this call, whose op document is the text.
    Start(Arc<Call>, Vec<u8>),
    /// Cancel the call of this id.
    Cancel(u64),
    /// The receiver of this call takes events again.
    Resume(u64),
    /// Cancel everything and end.
    Stop,
}

/// Wakes the loop, at most once until it has looked.
pub(crate) struct Wake {
    signalled: AtomicBool,
    write: UnixStream,
}

impl Wake {
    pub(crate) fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // A full pipe means that the loop has bytes to wake up on; a closed one that it has ended.
            let _ = (&self.write).write(&[1]);
        }
    }
}

struct Hooks {
    call_soon: Py<PyAny>,
    drain: Py<PyAny>,
}

/// What one loop holds of us. There is one for each loop that was ever started.
#[pyclass(frozen, module = "omni_bridge._native", name = "EngineHub")]
pub(crate) struct Hub {
    wake: Arc<Wake>,
    read: UnixStream,
    hooks: OnceLock<Hooks>,
    dirty: Mutex<Vec<Py<Sink>>>,
}

impl Hub {
    pub(crate) fn new() -> std::io::Result<(Self, Arc<Wake>)> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let wake = Arc::new(Wake {
            signalled: AtomicBool::new(false),
            write,
        });
        let hub = Self {
            wake: Arc::clone(&wake),
            read,
            hooks: OnceLock::new(),
            dirty: Mutex::new(Vec::new()),
        };
        Ok((hub, wake))
    }

    fn hooks(&self) -> PyResult<&Hooks> {
        self.hooks
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("the hub has no loop yet"))
    }

    pub(crate) fn drain<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        Ok(self.hooks()?.drain.bind(py))
    }

    fn document<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        Ok(json::read(py, text)?.cast_into::<PyDict>()?)
    }

    /// Sees to it that `sink` is flushed at the end of this turn of the loop.
    pub(crate) fn dirty(hub: &Bound<'_, Self>, sink: &Bound<'_, Sink>) -> PyResult<()> {
        let this = hub.get();
        let first = {
            let mut dirty = this.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            dirty.push(sink.clone().unbind());
            dirty.len() == 1
        };
        if first {
            let py = hub.py();
            this.hooks()?
                .call_soon
                .call1(py, (hub.getattr(intern!(py, "flush"))?,))?;
        }
        Ok(())
    }
}

#[pymethods]
impl Hub {
    /// The loop begins: how to be called soon, and what `sink.drain()` does.
    fn began(&self, call_soon: Py<PyAny>, drain: Py<PyAny>) {
        let _ = self.hooks.set(Hooks { call_soon, drain });
        engine::loop_began();
    }

    /// The loop's thread has nothing more to do with Python; `reason` is what ended it, if that was not a stop.
    #[staticmethod]
    #[pyo3(signature = (reason=None))]
    fn over(reason: Option<&str>) {
        engine::loop_over(reason);
    }

    /// What the loop's selector watches.
    fn fileno(&self) -> i32 {
        self.read.as_raw_fd()
    }

    /// Everything that is to be done, in order: `(sink, document)`, `("cancel", id)`, `("resume", id)`, `("stop", 0)`.
    fn take<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let this = slf.get();
        // The bytes first, then the flag, then the queue: whoever comes in between wakes us once more for nothing,
        // the other way round would lose a wake-up.
        let mut bytes = [0; 64];
        let _ = (&this.read).read(&mut bytes);
        this.wake.signalled.store(false, Ordering::Release);
        let todo = PyList::empty(py);
        for command in engine::take_commands() {
            match command {
                Command::Start(call, document) => match Self::document(py, &document) {
                    Ok(document) => {
                        let sink = Bound::new(py, Sink::new(call, slf.clone().unbind()))?;
                        todo.append((sink, document))?;
                    }
                    Err(error) => {
                        let message = format!("the op document is not a JSON object: {}", error.value(py));
                        engine::ended(call.id);
                        call.deliver(
                            engine::error_document("invalid_request", &message).as_bytes(),
                            true,
                        );
                    }
                },
                Command::Cancel(id) => todo.append((intern!(py, "cancel"), id))?,
                Command::Resume(id) => todo.append((intern!(py, "resume"), id))?,
                Command::Stop => todo.append((intern!(py, "stop"), 0))?,
            }
        }
        Ok(todo)
    }

    /// Hands over what the calls have gathered in this turn.
    fn flush(&self, py: Python<'_>) {
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        for sink in dirty {
            // Borrowed only while one of its own methods runs, and none of them runs the loop.
            if let Ok(mut sink) = sink.try_borrow_mut(py) {
                sink.flush();
            }
        }
    }
}
