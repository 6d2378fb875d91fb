//! The agent for Python: composes the client, the store, the MCP servers and the program's own functions, and hands out
//! documents. What an agent does is `omni_agent`'s business; how Python functions are run is `_agent.py`'s.

use crate::call::{Call, Feed};
use crate::error::{guarded, raise};
use crate::frozen;
use crate::mailbox::Item;
use crate::runtime;
use omni_agent::{
    Agent, AgentConfig, Decision, HostTools, Invocation, McpOptions, McpServers, PathQuery, Progress,
    ProgressSink, RunHandle, RunInput, SessionStore, ToolError, ToolFailure, ToolOutput,
};
use omni_bridge::{Bridge, Client};
use omni_core::{Content, Error, Message, Result};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A function of the program, as `_agent.py` describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offered {
    name: String,
    description: String,
    parameters: Value,
}

/// What a run begins with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    /// A text, or a message of the contract; absent to regenerate.
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    session_id: Option<String>,
    /// The message whose place the input takes.
    #[serde(default)]
    edit: Option<String>,
    /// Answers again: the message at or before this one, or "" for the active leaf.
    #[serde(default)]
    regenerate: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

impl Begin {
    fn input(self) -> Result<RunInput> {
        let session = || {
            self.session_id
                .clone()
                .ok_or_else(|| Error::invalid("session_id: an edit or a regeneration needs the session"))
        };
        if let Some(message_id) = self.regenerate.clone() {
            return Ok(RunInput::regenerate(
                session()?,
                Some(message_id).filter(|id| !id.is_empty()),
            ));
        }
        let message: Message = match self.input.clone() {
            Some(Value::String(text)) => Message::user(text),
            Some(Value::Object(message)) => serde_json::from_value(Value::Object(message))
                .map_err(|error| omni_core::unreadable("the message", &error))?,
            _ => return Err(Error::invalid("input: give a text or a message")),
        };
        if let Some(message_id) = self.edit.clone() {
            return Ok(RunInput::edit(session()?, message_id, message));
        }
        let mut input = RunInput::new(message);
        if let Some(session_id) = self.session_id {
            input = input.session(session_id);
        }
        if let Some(title) = self.title {
            input = input.titled(title);
        }
        Ok(input)
    }
}

/// A request to run a function, on its way to Python.
enum Asked {
    /// Run it.
    Run {
        id: u64,
        name: String,
        invocation: Invocation,
    },
    /// Nobody wants its result any more.
    Cancel(u64),
}

/// What a function answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    invalid_arguments: bool,
}

/// The functions that run, and the runs that they belong to.
#[derive(Default)]
struct Functions {
    /// By session: there is one turn of a session at a time.
    runs: Mutex<HashMap<String, mpsc::UnboundedSender<Asked>>>,
    begun: Notify,
    waiting: Mutex<HashMap<u64, (oneshot::Sender<Answer>, ProgressSink)>>,
    next: AtomicU64,
}

impl Functions {
    /// The run of a session; it is there a moment after its turn has begun.
    async fn run_of(&self, session_id: &str) -> mpsc::UnboundedSender<Asked> {
        loop {
            let begun = self.begun.notified();
            if let Some(run) = lock(&self.runs).get(session_id) {
                return run.clone();
            }
            begun.await;
        }
    }

    async fn call(self: Arc<Self>, name: String, invocation: Invocation) -> Result<ToolOutput, ToolError> {
        /// Tells Python when the call is dropped.
        struct Waiting {
            functions: Arc<Functions>,
            id: u64,
            run: mpsc::UnboundedSender<Asked>,
        }
        impl Drop for Waiting {
            fn drop(&mut self) {
                if lock(&self.functions.waiting).remove(&self.id).is_some() {
                    let _ = self.run.send(Asked::Cancel(self.id));
                }
            }
        }
        let gone = || {
            ToolError::new(
                ToolFailure::ServerGone,
                "the program that has this tool has left the run",
            )
        };
        let run = self.run_of(&invocation.session_id).await;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(id, (answer, invocation.progress.clone()));
        let _waiting = Waiting {
            functions: Arc::clone(&self),
            id,
            run: run.clone(),
        };
        run.send(Asked::Run { id, name, invocation })
            .map_err(|_| gone())?;
        let answer = answered.await.map_err(|_| gone())?;
        match answer.error {
            None => Ok(ToolOutput {
                content: answer.content.unwrap_or_default(),
                is_error: false,
                structured: None,
            }),
            Some(error) if answer.invalid_arguments => {
                Err(ToolError::new(ToolFailure::InvalidArguments, error))
            }
            Some(error) => Err(ToolError::new(ToolFailure::Failed, error)),
        }
    }
}

/// What `Agent` in Python holds.
#[pyclass(frozen, module = "omni_bridge._native")]
pub(crate) struct AgentHost {
    config: AgentConfig,
    offered: Vec<Offered>,
    functions: Arc<Functions>,
    /// Made at first use, on the runtime.
    agent: Arc<OnceLock<Agent>>,
}

/// A client of the bridge service at an address; its token is read from the environment.
fn bridged(url: &str) -> Result<Client> {
    Client::builder()
        .bridge(Bridge::Url {
            url: url.to_owned(),
            token: std::env::var("OMNI_BRIDGE_TOKEN")
                .ok()
                .filter(|token| !token.is_empty()),
        })
        .build()
}

impl AgentHost {
    fn agent(&self, py: Python<'_>) -> PyResult<&Agent> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let _within = runtime::handle(py)?.enter();
        let client = match &self.config.bridge_url {
            None => runtime::client()?,
            Some(url) => bridged(url).map_err(|error| raise(&error))?,
        };
        let fresh = py.detach(|| self.make(client)).map_err(|error| raise(&error))?;
        // Another thread may have been quicker: this one has started nothing yet.
        Ok(self.agent.get_or_init(|| fresh))
    }

    fn make(&self, client: Client) -> Result<Agent> {
        let servers = McpServers::of_agent(&self.config, McpOptions::default());
        let mut tools = HostTools::new();
        let any = !self.offered.is_empty();
        for function in &self.offered {
            let functions = Arc::clone(&self.functions);
            let name = function.name.clone();
            tools = tools.raw(
                &function.name,
                &function.description,
                function.parameters.clone(),
                move |invocation| Arc::clone(&functions).call(name.clone(), invocation),
            );
        }
        let mut builder = Agent::builder(self.config.clone()).model(Arc::new(client));
        if any {
            builder = builder.tools(Arc::new(tools));
        }
        for source in servers.sources() {
            builder = builder.tools(source);
        }
        builder.build()
    }
}

#[pymethods]
impl AgentHost {
    #[new]
    fn new(config: &Bound<'_, PyAny>, tools: &Bound<'_, PyAny>) -> PyResult<Self> {
        guarded(|| {
            runtime::check_fork()?;
            let config: Value = frozen::parse("configuration", config)?;
            Ok(Self {
                config: AgentConfig::from_value(config).map_err(|error| raise(&error))?,
                offered: frozen::parse("tools", tools)?,
                functions: Arc::default(),
                agent: Arc::default(),
            })
        })
    }

    /// Reads a TOML document into a configuration document.
    #[staticmethod]
    fn read_toml<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        guarded(|| {
            let config = AgentConfig::from_toml(text).map_err(|error| raise(&error))?;
            let document = serde_json::to_value(&config).unwrap_or_default();
            frozen::Show::show(&document, py)
        })
    }

    /// Begins a turn when its first event is asked for.
    fn run(&self, py: Python<'_>, begin: &Bound<'_, PyAny>) -> PyResult<AgentRun> {
        guarded(|| {
            runtime::check_fork()?;
            let begin: Begin = frozen::parse("run", begin)?;
            let input = begin.input().map_err(|error| raise(&error))?;
            let agent = self.agent(py)?.clone();
            let shared = Arc::new(Shared::default());
            let (asked, asking) = mpsc::unbounded_channel();
            let turn = Turn {
                agent,
                functions: Arc::clone(&self.functions),
                shared: Arc::clone(&shared),
            };
            let events = Call::pump(move |feed| Box::pin(turn.events(input, asked, feed)));
            let calls = Call::pump(move |feed| Box::pin(calls(asking, feed)));
            Ok(AgentRun {
                events: Py::new(py, events)?,
                calls: Py::new(py, calls)?,
                functions: Arc::clone(&self.functions),
                shared,
            })
        })
    }

    /// Asks the sessions: `list`, `info`, `messages`, `events`, `search`, `fork`, `rename`, `delete`, `export`,
    /// `export_messages`, `import` and `import_messages`, each with its fields as a document.
    fn sessions(&self, py: Python<'_>, op: &Bound<'_, PyAny>) -> PyResult<Call> {
        guarded(|| {
            runtime::check_fork()?;
            let op: SessionOp = frozen::parse("question about sessions", op)?;
            let store = Arc::clone(self.agent(py)?.store());
            Ok(Call::op(async move { op.answer(&*store).await }))
        })
    }

    /// The events of a session as they come, after `after`; from this process and from others.
    fn follow(&self, py: Python<'_>, session_id: String, after: u64) -> PyResult<Call> {
        guarded(|| {
            runtime::check_fork()?;
            let agent = self.agent(py)?.clone();
            Ok(Call::pump(move |feed| {
                Box::pin(async move {
                    let mut events = agent.follow(session_id, after);
                    while let Some(event) =
                        std::future::poll_fn(|context| events.as_mut().poll_next(context)).await
                    {
                        feed.put(event.as_ref().map_or_else(failed, document)).await;
                    }
                })
            }))
        })
    }

    /// Runs a log again with its own answers and tools: `{same, events, diff}`.
    fn test_run(&self, lines: &str) -> PyResult<Call> {
        guarded(|| {
            let log = omni_agent::read_log(lines).map_err(|error| raise(&error))?;
            let config = self.config.clone();
            Ok(Call::op(async move {
                let events = log.len();
                let difference = omni_agent::test_run(log, |parts| parts.agent(config)).await?;
                let diff = difference.to_string();
                Ok(json!({"same": difference.is_empty(), "events": events, "diff": diff}))
            }))
        })
    }

    /// Cancels what runs and ends the servers.
    fn close(&self) -> Call {
        let agent = Arc::clone(&self.agent);
        Call::op(async move {
            if let Some(agent) = agent.get() {
                agent.close().await;
            }
            Ok(Value::Null)
        })
    }
}

/// What `AgentHost.sessions` is asked.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum SessionOp {
    List {
        limit: usize,
        after: Option<String>,
    },
    Info {
        session_id: String,
    },
    Messages {
        session_id: String,
        leaf: Option<String>,
        last: Option<usize>,
    },
    Tree {
        session_id: String,
    },
    Events {
        session_id: String,
        after: u64,
        limit: usize,
    },
    Search {
        words: String,
        limit: usize,
    },
    Fork {
        session_id: String,
        message_id: Option<String>,
    },
    Rename {
        session_id: String,
        title: String,
    },
    Delete {
        session_id: String,
    },
    Export {
        session_id: String,
    },
    ExportMessages {
        session_id: String,
    },
    Import {
        lines: String,
    },
    ImportMessages {
        messages: Value,
        title: Option<String>,
    },
}

impl SessionOp {
    async fn answer(self, store: &dyn SessionStore) -> Result<Value> {
        match self {
            Self::List { limit, after } => value(store.list(limit, after).await?),
            Self::Info { session_id } => value(store.info(&session_id).await?),
            Self::Messages {
                session_id,
                leaf,
                last,
            } => value(store.path(&session_id, PathQuery { leaf, last }).await?),
            Self::Tree { session_id } => value(store.tree(&session_id).await?),
            Self::Events {
                session_id,
                after,
                limit,
            } => value(store.events(&session_id, after, limit).await?),
            Self::Search { words, limit } => value(store.search(&words, limit).await?),
            Self::Fork {
                session_id,
                message_id,
            } => value(store.fork(&session_id, message_id).await?),
            Self::Rename { session_id, title } => value(store.rename(&session_id, title).await?),
            Self::Delete { session_id } => value(store.delete(&session_id).await?),
            Self::Export { session_id } => value(omni_agent::export_log(store, &session_id).await?),
            Self::ExportMessages { session_id } => {
                value(omni_agent::export_messages(store, &session_id, None).await?)
            }
            Self::Import { lines } => value(omni_agent::import_log(store, &lines).await?),
            Self::ImportMessages { messages, title } => {
                value(omni_agent::import_messages(store, &messages.to_string(), title).await?)
            }
        }
    }
}

fn value(document: impl Serialize) -> Result<Value> {
    serde_json::to_value(document)
        .map_err(|_| Error::internal("a document of the store cannot be written as JSON"))
}

fn failed(error: &Error) -> Item {
    Item::Failed(error.clone())
}

fn document(event: &omni_agent::AgentEvent) -> Item {
    match value(event) {
        Ok(event) => Item::Value(event),
        Err(error) => Item::Failed(error),
    }
}

/// What a run and its Python half share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    handle: Option<RunHandle>,
    /// Cancelled before it began.
    cancelled: bool,
}

/// A turn on its way.
struct Turn {
    agent: Agent,
    functions: Arc<Functions>,
    shared: Arc<Shared>,
}

impl Turn {
    async fn events(self, input: RunInput, asked: mpsc::UnboundedSender<Asked>, feed: Feed) {
        /// Takes the run's functions away, however it ends.
        struct Registered<'a>(&'a Functions, String);
        impl Drop for Registered<'_> {
            fn drop(&mut self) {
                lock(&self.0.runs).remove(&self.1);
            }
        }
        let mut run = match self.agent.run(input).await {
            Ok(run) => run,
            Err(error) => {
                feed.put(Item::Failed(error)).await;
                return;
            }
        };
        let session_id = run.session_id().to_owned();
        lock(&self.functions.runs).insert(session_id.clone(), asked);
        let _registered = Registered(&self.functions, session_id);
        self.functions.begun.notify_waiters();
        {
            let mut state = lock(&self.shared.state);
            if state.cancelled {
                run.cancel();
            }
            state.handle = Some(run.handle());
        }
        while let Some(event) = run.next().await {
            feed.put(document(&event)).await;
        }
    }
}

/// Hands the requests for functions to Python.
async fn calls(mut asking: mpsc::UnboundedReceiver<Asked>, feed: Feed) {
    while let Some(asked) = asking.recv().await {
        let item = match asked {
            Asked::Run { id, name, invocation } => json!({
                "id": id,
                "name": name,
                "arguments": invocation.arguments,
                "session_id": invocation.session_id,
                "call_id": invocation.call_id,
            }),
            Asked::Cancel(id) => json!({"cancel": id}),
        };
        feed.put(Item::Value(item)).await;
    }
}

/// One turn, for `_agent.py`.
#[pyclass(frozen, module = "omni_bridge._native")]
pub(crate) struct AgentRun {
    events: Py<Call>,
    calls: Py<Call>,
    functions: Arc<Functions>,
    shared: Arc<Shared>,
}

#[pymethods]
impl AgentRun {
    /// Brings the events.
    #[getter]
    fn events(&self, py: Python<'_>) -> Py<Call> {
        self.events.clone_ref(py)
    }

    /// Brings the requests for functions.
    #[getter]
    fn calls(&self, py: Python<'_>) -> Py<Call> {
        self.calls.clone_ref(py)
    }

    /// The session, once the turn has begun.
    #[getter]
    fn session_id(&self) -> Option<String> {
        let state = lock(&self.shared.state);
        state.handle.as_ref().map(|handle| handle.session_id().to_owned())
    }

    /// Stops the turn; its events end in `agent.turn.cancelled`.
    fn cancel(&self) {
        let mut state = lock(&self.shared.state);
        state.cancelled = true;
        if let Some(handle) = &state.handle {
            handle.cancel();
        }
    }

    /// How the turn ended; waits for it.
    fn outcome(&self) -> Call {
        let shared = Arc::clone(&self.shared);
        Call::op(async move {
            let handle = lock(&shared.state).handle.clone();
            match handle {
                Some(handle) => value(handle.outcome().await),
                None => Err(Error::invalid("the turn has not begun: read its events first")),
            }
        })
    }

    /// Decides about a proposed tool call.
    fn approve(&self, call_id: &str, decision: &Bound<'_, PyAny>) -> PyResult<()> {
        guarded(|| {
            let decision: Decision = frozen::parse("decision", decision)?;
            let handle = lock(&self.shared.state).handle.clone();
            let Some(handle) = handle else {
                return Err(raise(&Error::invalid(
                    "the turn has not begun: nothing waits for a decision",
                )));
            };
            handle.approve(call_id, decision).map_err(|error| raise(&error))
        })
    }

    /// What a function answered; nothing if nobody waits for it any more.
    fn answer(&self, number: u64, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        guarded(|| {
            let answer: Answer = frozen::parse("tool result", answer)?;
            if let Some((waiting, _)) = lock(&self.functions.waiting).remove(&number) {
                let _ = waiting.send(answer);
            }
            Ok(())
        })
    }

    /// How far a function is.
    #[pyo3(signature = (number, progress, total = None, message = None))]
    fn progress(&self, number: u64, progress: f64, total: Option<f64>, message: Option<String>) {
        let sink = lock(&self.functions.waiting)
            .get(&number)
            .map(|(_, sink)| sink.clone());
        if let Some(sink) = sink {
            sink.report(Progress {
                progress,
                total,
                message,
            });
        }
    }
}

impl Drop for AgentRun {
    fn drop(&mut self) {
        // Nobody reads it any more, and nobody runs its functions.
        if !runtime::forked() {
            self.cancel();
        }
    }
}

/// Adds the classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AgentHost>()?;
    module.add_class::<AgentRun>()
}
