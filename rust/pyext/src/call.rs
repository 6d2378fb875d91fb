//! One call from Python, whichever door it came through: started on the runtime, read from its mailbox.

use crate::bell::Bell;
use crate::channel::Channel;
use crate::error::{guarded, panicked, raise};
use crate::frozen::Show;
use crate::mailbox::{Item, Mailbox, Taken};
use crate::request::Request;
use crate::{enter, event, runtime};
use omni_core::{Canceller, ChatStream, Code, Error, Event, Fold, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::Value;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// An operation that answers with one document.
type Op = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// Work that feeds what it has into the call as it comes.
type Pump = Box<dyn FnOnce(Feed) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Where such work puts what it has.
pub(crate) struct Feed(Arc<Mailbox>);

impl Feed {
    /// Hands over one item, and waits while the reader is too far behind.
    pub(crate) async fn put(&self, item: Item) {
        if !self.0.put(item) {
            self.0.room().await;
        }
    }
}

enum Work {
    Pump(Pump),
    Chat(Arc<omni_core::Request>),
    Stream(Arc<omni_core::Request>),
    Op(Op),
}

enum Stage {
    /// Nothing is sent until somebody wants to read.
    New(Work),
    Running {
        task: AbortHandle,
        canceller: Option<Canceller>,
    },
    /// Cancelled before it began, or closed.
    Over,
}

/// One call. The doors in Python are thin around it; it is no public name.
#[pyclass(frozen, module = "omni_bridge._native")]
pub(crate) struct Call {
    mailbox: Arc<Mailbox>,
    stage: Mutex<Stage>,
    /// The last event of a stream, once it has been read.
    last: Mutex<Option<Py<PyAny>>>,
    /// For event loops that are no asyncio loops: this call's own.
    bell: Mutex<Option<Arc<Bell>>>,
}

/// How many calls are under way.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Says that nothing more will come, however the task ends: also when it is aborted or panics.
struct Ending {
    mailbox: Arc<Mailbox>,
    whole: bool,
}

impl Ending {
    fn new(mailbox: Arc<Mailbox>) -> Self {
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        Self {
            mailbox,
            whole: false,
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        // A closed mailbox keeps nothing: whoever aborted the task does not read this.
        if !self.whole {
            let error = if std::thread::panicking() {
                panicked()
            } else {
                Error::internal("the call was dropped before its end")
            };
            self.mailbox.put(Item::Failed(error));
        }
        self.mailbox.end();
    }
}

async fn pump(mut stream: ChatStream, mut ending: Ending) {
    while let Some(event) = stream.next().await {
        if !ending.mailbox.put(Item::Event(event)) {
            ending.mailbox.room().await;
        }
    }
    ending.whole = true;
}

async fn answer(one: impl Future<Output = Item> + Send, mut ending: Ending) {
    let item = one.await;
    ending.mailbox.put(item);
    ending.whole = true;
}

async fn pumped(work: impl Future<Output = ()> + Send, mut ending: Ending) {
    work.await;
    ending.whole = true;
}

/// Has the runtime do `work`, the only one under way if `alone`.
///
/// Then the runtime's threads sleep, and to wake one takes longer than to send a request: so the work is begun here, and
/// the answer is on its way by the time that a thread goes on with it. Where other calls keep the threads awake, the
/// Python thread is the one that is short of time. Nothing that a call does waits for Python, or for a thread that does.
fn begin(runtime: &Handle, alone: bool, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    if !alone {
        return runtime.spawn(work).abort_handle();
    }
    let mut work = Box::pin(work);
    let _within = runtime.enter();
    // Whoever would be woken asks once more anyway, as the task that goes on.
    let begun = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let rest = begun.is_pending().then_some(work);
    let task = runtime.spawn(async move {
        if let Some(rest) = rest {
            rest.await;
        }
    });
    task.abort_handle()
}

impl Call {
    fn new(work: Work) -> Self {
        Self {
            mailbox: Arc::default(),
            stage: Mutex::new(Stage::New(work)),
            last: Mutex::default(),
            bell: Mutex::default(),
        }
    }

    /// An operation of the client that answers with one document.
    pub(crate) fn op(op: impl Future<Output = Result<Value>> + Send + 'static) -> Self {
        Self::new(Work::Op(Box::pin(op)))
    }

    /// Work that brings items as they come; it is dropped when the call is closed.
    pub(crate) fn pump(
        pump: impl FnOnce(Feed) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static,
    ) -> Self {
        Self::new(Work::Pump(Box::new(pump)))
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, py: Python<'_>) -> PyResult<()> {
        if !matches!(*self.stage(), Stage::New(_)) {
            return Ok(());
        }
        // Before the lock is taken: this may run Python code, and nothing may wait for a lock attached meanwhile.
        let runtime = runtime::handle(py)?;
        let client = runtime::client()?;
        let mut stage = self.stage();
        let work = match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::New(work) => work,
            // Another thread was quicker.
            begun => {
                *stage = begun;
                return Ok(());
            }
        };
        let alone = UNDER_WAY.load(Ordering::Relaxed) == 0;
        let ending = Ending::new(Arc::clone(&self.mailbox));
        let (task, canceller) = match work {
            Work::Stream(request) => {
                let stream = client.stream(Arc::unwrap_or_clone(request));
                let canceller = stream.canceller();
                (begin(runtime, alone, pump(stream, ending)), Some(canceller))
            }
            Work::Chat(request) => {
                let chat = async move {
                    match client.chat(Arc::unwrap_or_clone(request)).await {
                        Ok(reply) => Item::Reply(Box::new(reply)),
                        Err(error) => Item::Failed(error),
                    }
                };
                (begin(runtime, alone, answer(chat, ending)), None)
            }
            Work::Pump(pump) => {
                let work = pump(Feed(Arc::clone(&self.mailbox)));
                (runtime.spawn(pumped(work, ending)).abort_handle(), None)
            }
            Work::Op(op) => {
                let op = async move {
                    match op.await {
                        Ok(value) => Item::Value(value),
                        Err(error) => Item::Failed(error),
                    }
                };
                (runtime.spawn(answer(op, ending)).abort_handle(), None)
            }
        };
        *stage = Stage::Running { task, canceller };
        Ok(())
    }

    fn show<'py>(&self, py: Python<'py>, item: Item) -> PyResult<Bound<'py, PyAny>> {
        match item {
            Item::Event(event) => {
                let last = event.is_last();
                let event = event::python(py, event)?;
                if last {
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone().unbind());
                }
                Ok(event)
            }
            Item::Reply(reply) => crate::reply::python(py, *reply),
            Item::Value(value) => value.show(py),
            Item::Failed(error) => Err(raise(&error)),
        }
    }

    fn over(&self) {
        let before = std::mem::replace(&mut *self.stage(), Stage::Over);
        if let Stage::Running { task, .. } = before {
            // The task's future is dropped on the runtime, and with it the call is cancelled.
            task.abort();
        }
        self.mailbox.close();
    }
}

#[pymethods]
impl Call {
    /// A call that answers with a `ChatReply`.
    #[staticmethod]
    fn chat(request: &Request) -> Self {
        Self::new(Work::Chat(Arc::clone(&request.0)))
    }

    /// A call that answers with events.
    #[staticmethod]
    fn stream(request: &Request) -> Self {
        Self::new(Work::Stream(Arc::clone(&request.0)))
    }

    /// Takes what has come: an event, the reply or the document; None if there is nothing just now, or, when `ended`
    /// says so, nothing any more. Starts the call. Never waits.
    fn pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        runtime::check_fork()?;
        match self.mailbox.take() {
            Taken::Item(item) => self.show(py, item).map(Some),
            Taken::Ended => Ok(None),
            Taken::Nothing => guarded(|| self.started(py)).map(|()| None),
        }
    }

    /// As `pop`, but waits, detached; None only at the end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            if let Some(item) = self.pop(py)? {
                return Ok(Some(item));
            }
            if self.ended()? {
                return Ok(None);
            }
            enter::wait(py, &self.mailbox)?;
        }
    }

    /// Whether everything has been taken and nothing more will come.
    #[getter]
    fn ended(&self) -> PyResult<bool> {
        runtime::check_fork()?;
        Ok(self.mailbox.is_over())
    }

    /// What the last event says: the reply of `done`, or the exception of `error` or `cancelled`, raised.
    fn outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|last| last.clone_ref(py));
        let cancelled = || {
            raise(&Error::new(
                Code::Cancelled,
                "the call was cancelled before its answer was whole",
            ))
        };
        // Closed before the end: by leaving the context, or because its task was cancelled.
        let Some(last) = last else { return Err(cancelled()) };
        let last = last.bind(py);
        match last.getattr("type")?.extract::<&str>()? {
            "done" => last.getattr("reply"),
            "error" => Err(PyErr::from_value(last.getattr("error")?)),
            _ => Err(cancelled()),
        }
    }

    /// Asks the call to stop; the events that follow end in `cancelled`. A call that has not begun does not begin.
    fn cancel(&self) {
        if runtime::forked() {
            return;
        }
        let mut stage = self.stage();
        match &*stage {
            Stage::Running {
                canceller: Some(canceller),
                ..
            } => canceller.cancel(),
            Stage::New(Work::Stream(_)) => {
                *stage = Stage::Over;
                let reply = Box::new(Fold::new().partial(Vec::new()));
                self.mailbox.put(Item::Event(Event::Cancelled {
                    reply,
                    closed_ms: None,
                }));
                self.mailbox.end();
            }
            Stage::Over => {}
            Stage::Running { .. } | Stage::New(_) => {
                drop(stage);
                self.over();
            }
        }
    }

    /// Stops the call and forgets what has come. What still waits is woken and finds the end.
    fn close(&self) {
        if !runtime::forked() {
            self.over();
        }
    }

    /// Has `channel` complete `future` when there is something to take. False if there is something already.
    fn wait(&self, channel: &Channel, future: Py<PyAny>) -> PyResult<bool> {
        channel
            .wait(future, |bell, wait| self.mailbox.call_me(bell, wait))
            .ok_or_else(busy)
    }

    /// A descriptor that is readable when there is something to take; None if there is something already.
    fn wait_fd(&self) -> PyResult<Option<i32>> {
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = match &*bell {
            Some(bell) => Arc::clone(bell),
            None => Arc::clone(bell.insert(Arc::new(Bell::new()?))),
        };
        bell.answer();
        match self.mailbox.call_me(&bell, 0) {
            Some(true) => Ok(Some(bell.fd())),
            Some(false) => Ok(None),
            None => Err(busy()),
        }
    }
}

fn busy() -> PyErr {
    PyRuntimeError::new_err("another task is reading this stream already; one reader at a time")
}

impl Drop for Call {
    fn drop(&mut self) {
        if !runtime::forked() {
            self.over();
        }
    }
}
