//! One call: where its events go, and the `Sink` that its handler writes them to.
#![allow(
    unsafe_code,
    reason = "events leave through a C callback: every block carries its safety argument"
)]

use crate::engine_hub::Hub;
use crate::json;
use omni_bridge_py::embedded::abi::OnEvents;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A batch is handed over before the end of the loop's turn when it has grown this big.
const BATCH: usize = 32 * 1024;

/// A handler that goes on though its reader is full is stopped when so much has gathered.
const FLOOD: usize = 64 * 1024 * 1024;

/// Who takes the events.
struct Receiver {
    on_events: OnEvents,
    user_data: *mut c_void,
}

// SAFETY: `user_data` is the receiver's own; the table's contract says that it may be given back on any thread,
// one call at a time, and the mutex around the receiver sees to the latter.
unsafe impl Send for Receiver {}

/// A call that has not ended. The engine's registry, its sink and its canceller share it.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// Gone once the last batch was given.
    receiver: Mutex<Option<Receiver>>,
    /// The receiver said that it is full and has not said `resume` yet.
    full: AtomicBool,
}

impl Call {
    pub(crate) fn new(id: u64, on_events: OnEvents, user_data: *mut c_void) -> Arc<Self> {
        let receiver = Mutex::new(Some(Receiver { on_events, user_data }));
        Arc::new(Self {
            id,
            receiver,
            full: AtomicBool::new(false),
        })
    }

    /// Hands over a batch. After the last one nothing reaches the receiver; says whether this one did.
    pub(crate) fn deliver(&self, batch: &[u8], last: bool) -> bool {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = if last { receiver.take() } else { None };
        let Some(Receiver { on_events, user_data }) = taken.as_ref().or(receiver.as_ref()) else {
            return false;
        };
        // Set before, so that a `resume` from inside the callback is not overwritten.
        self.full.store(true, Ordering::Release);
        // SAFETY: the caller of the table's `call` promised that `on_events` may be called with `user_data` until
        // the last batch was given, and the lock, still held, makes this the only call for now.
        let full = unsafe { on_events(*user_data, batch.as_ptr(), batch.len(), i32::from(last)) };
        if full == 0 {
            self.full.store(false, Ordering::Release);
        }
        true
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn resumed(&self) {
        self.full.store(false, Ordering::Release);
    }
}

/// Where a handler puts its events. Only the engine's loop uses it.
#[pyclass(module = "omni_bridge._native", name = "EngineSink", weakref)]
pub(crate) struct Sink {
    pub(crate) call: Arc<Call>,
    hub: Py<Hub>,
    /// Documents that are not handed over yet, one a line.
    buffer: Vec<u8>,
    /// Whether the hub knows that the buffer is to be handed over at the end of this turn.
    dirty: bool,
    ended: bool,
    /// The future that `drain` waits on.
    #[pyo3(get, set)]
    waiter: Option<Py<PyAny>>,
}

impl Sink {
    pub(crate) fn new(call: Arc<Call>, hub: Py<Hub>) -> Self {
        Self {
            call,
            hub,
            buffer: Vec::new(),
            dirty: false,
            ended: false,
            waiter: None,
        }
    }

    /// Hands over what has gathered, unless the receiver is full.
    pub(crate) fn flush(&mut self) {
        self.dirty = false;
        if !self.buffer.is_empty() && !self.ended && !self.call.is_full() {
            // Nobody there any more: the keeper has ended the call.
            self.ended = !self.call.deliver(&self.buffer, false);
            self.buffer.clear();
        }
    }
}

#[pymethods]
impl Sink {
    /// Queues one event; True when the receiver is full: then `await sink.drain()` before going on.
    fn emit(slf: &Bound<'_, Self>, event: &Bound<'_, PyAny>) -> PyResult<bool> {
        let mut sink = slf.try_borrow_mut()?;
        if sink.ended {
            return Err(PyRuntimeError::new_err(
                "the call has ended: nobody takes its events any more",
            ));
        }
        if sink.buffer.len() > FLOOD {
            return Err(PyRuntimeError::new_err(
                "64 MiB of events wait for a reader that is full: await sink.drain()",
            ));
        }
        json::write(event, &mut sink.buffer)?;
        sink.buffer.push(b'\n');
        let full = sink.call.is_full();
        if sink.buffer.len() >= BATCH && !full {
            sink.flush();
            return Ok(sink.call.is_full());
        }
        let held = full || sink.buffer.len() >= BATCH;
        if !sink.dirty && !full {
            sink.dirty = true;
            let hub = sink.hub.clone_ref(slf.py());
            drop(sink);
            Hub::dirty(hub.bind(slf.py()), slf)?;
        }
        Ok(held)
    }

    /// Whether the receiver is full.
    #[getter]
    fn full(&self) -> bool {
        self.call.is_full() || self.buffer.len() >= BATCH
    }

    /// Waits until the receiver takes events again.
    fn drain<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let hub = slf.borrow().hub.clone_ref(slf.py());
        hub.get().drain(slf.py())?.call1((slf,))
    }

    /// The receiver takes events again: hands over what waited and wakes the handler.
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let waiter = {
            let mut sink = slf.try_borrow_mut()?;
            sink.flush();
            if sink.call.is_full() {
                return Ok(());
            }
            sink.waiter.take()
        };
        let Some(waiter) = waiter else { return Ok(()) };
        let waiter = waiter.bind(slf.py());
        if !waiter.call_method0("done")?.is_truthy()? {
            waiter.call_method1("set_result", (slf.py().None(),))?;
        }
        Ok(())
    }

    /// Ends the call with what has gathered and `last`, if given. A second time it does nothing.
    #[pyo3(signature = (last=None))]
    fn finish(&mut self, last: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        if self.ended {
            return Ok(());
        }
        let wrote = match last {
            Some(last) => json::write(last.as_any(), &mut self.buffer),
            None => Ok(()),
        };
        // Ends in any case: a call that never ends would hang its caller.
        self.ended = true;
        if wrote.is_err() {
            self.buffer.extend_from_slice(
                crate::engine::error_document("internal", "the last event is not JSON").as_bytes(),
            );
        }
        // Before the receiver knows: who has seen the last event finds the call gone.
        crate::engine::ended(self.call.id);
        self.call.deliver(&self.buffer, true);
        self.buffer = Vec::new();
        self.waiter = None;
        wrote
    }

    /// Whether the last batch was given.
    #[getter]
    fn ended(&self) -> bool {
        self.ended
    }

    /// The call's id.
    #[getter]
    fn id(&self) -> u64 {
        self.call.id
    }

    /// Panics. For the tests of what a panic in our Rust does to a call.
    #[allow(clippy::panic, reason = "that is what it is for")]
    fn _panic(&self) {
        panic!("asked to panic by a test (call {})", self.call.id);
    }

    fn __repr__(&self) -> String {
        format!("<EngineSink of call {}>", self.call.id)
    }
}
