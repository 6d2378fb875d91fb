//! The way back into one asyncio loop: one descriptor that the loop watches, and the futures that wait there.

use crate::bell::Bell;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Waits {
    last: u64,
    futures: HashMap<u64, Py<PyAny>>,
}

/// What one loop has to do with us. The loop owns it, through the reader that it has registered, and it owns the
/// futures: so both go when the loop is closed, whatever still waits.
#[pyclass(frozen, weakref, module = "omni_bridge._native")]
pub(crate) struct Channel {
    bell: Arc<Bell>,
    waits: Mutex<Waits>,
}

impl Channel {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `future` until the bell rings for it; `register` gives the bell and the number to who will ring.
    pub(crate) fn wait(
        &self,
        future: Py<PyAny>,
        register: impl FnOnce(&Arc<Bell>, u64) -> Option<bool>,
    ) -> Option<bool> {
        let mut waits = self.waits();
        waits.last += 1;
        let wait = waits.last;
        // Under the lock: who rings before the future is in finds it all the same, since `drain` waits for the lock.
        let registered = register(&self.bell, wait);
        if registered == Some(true) {
            waits.futures.insert(wait, future);
        }
        registered
    }
}

#[pymethods]
impl Channel {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            bell: Arc::new(Bell::new()?),
            waits: Mutex::default(),
        })
    }

    /// The descriptor that the loop watches.
    fn fileno(&self) -> i32 {
        self.bell.fd()
    }

    /// Completes the futures whose calls have something to take; the loop calls it.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        for wait in self.bell.answer() {
            let future = self.waits().futures.remove(&wait);
            if let Some(future) = future {
                let future = future.bind(py);
                // A cancelled one stays as it is.
                if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                    future.call_method1(intern!(py, "set_result"), (py.None(),))?;
                }
            }
        }
        Ok(())
    }

    /// How many futures wait.
    #[getter]
    fn waiting(&self) -> usize {
        self.waits().futures.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Never wait for a lock inside the collector: what is busy just now is no garbage.
        if let Ok(waits) = self.waits.try_lock() {
            for future in waits.futures.values() {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let futures = std::mem::take(&mut self.waits().futures);
        drop(futures);
    }
}
