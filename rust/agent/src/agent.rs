//! The agent as a program uses it: made once, run many times, for any number of sessions at once.

mod follow;
mod grants;
mod open;
mod run;
mod view;

use crate::bus::Reader;
use crate::compaction;
use crate::config::{AgentConfig, StoreConfig};
use crate::driver::{Clock, Driver, Order};
use crate::flow::Input;
use crate::protocol::{LogLevel, Payload};
use crate::session::{Durability, NewEvent, SessionInfo, SessionStore, SqliteStore};
use crate::tool::{Notice, ToolSource};
use omni_core::{ChatModel, Error, Request, Result};
use open::Sessions;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) use open::Lease;
pub use run::{Run, RunHandle, RunInput};

/// Seconds that a title may take, and those that a model's window may be looked up.
const TITLE_LIMIT: Duration = Duration::from_secs(60);
const WINDOW_LIMIT: Duration = Duration::from_secs(5);
/// So long a session stays open after a turn: the next one need not open it again. Another process gets it after that.
const LINGER: Duration = Duration::from_secs(2);
/// Notices of sources that are kept while no turn runs; the next turn's log gets them.
const EARLY: usize = 64;

/// Runs turns of sessions: asks the model, runs its tools, keeps everything in the store. A clone is the same agent.
///
/// ```no_run
/// use futures_util::StreamExt as _;
/// use omni_agent::{Agent, AgentConfig, HostTools, Payload};
/// # use std::sync::Arc;
/// # async fn example(client: impl omni_core::ChatModel + 'static) -> omni_core::Result<()> {
///
/// let tools = HostTools::new().raw("now", "The time.", serde_json::json!({"type": "object"}), |_| async { "noon" });
/// let agent = Agent::builder(AgentConfig::new("openai/gpt-5-mini"))
///     .model(Arc::new(client))
///     .tools(Arc::new(tools))
///     .build()?;
/// let mut run = agent.run("What time is it?").await?;
/// while let Some(event) = run.next().await {
///     if let Payload::StreamChunk { text, .. } = event.payload {
///         print!("{text}");
///     }
/// }
/// println!("{:?}", run.result().await?.usage);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

/// What the turns of an agent share.
pub(crate) struct Inner {
    pub(crate) config: Arc<AgentConfig>,
    pub(crate) model: Arc<dyn ChatModel>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) sources: Vec<Arc<dyn ToolSource>>,
    sessions: Sessions,
    /// Tools that are approved for always.
    always: Mutex<BTreeSet<String>>,
    window: OnceCell<Option<u64>>,
    listeners: Mutex<Listeners>,
    titles: Mutex<Vec<JoinHandle<()>>>,
    /// What keeps a session open after its last turn, by session, with a number of its own.
    lingering: Mutex<HashMap<String, (u64, JoinHandle<()>)>>,
    lingers: AtomicU64,
}

/// Who hears what the sources of tools tell.
#[derive(Default)]
struct Listeners {
    next: u64,
    runs: HashMap<u64, mpsc::UnboundedSender<Order>>,
    early: VecDeque<(String, Notice)>,
}

/// Makes an agent.
pub struct AgentBuilder {
    config: AgentConfig,
    model: Option<Arc<dyn ChatModel>>,
    store: Option<Arc<dyn SessionStore>>,
    sources: Vec<Arc<dyn ToolSource>>,
}

impl AgentBuilder {
    /// Who answers.
    #[must_use]
    pub fn model(mut self, model: Arc<dyn ChatModel>) -> Self {
        self.model = Some(model);
        self
    }

    /// Where sessions are kept, in place of what the configuration says (`session_store`, or memory).
    #[must_use]
    pub fn store(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// A source of tools; may be called for several.
    #[must_use]
    pub fn tools(mut self, source: Arc<dyn ToolSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// The agent.
    ///
    /// # Errors
    /// `invalid_request` for a configuration that its check refuses, two sources of one name, a missing model, or an
    /// approvals file that cannot be read; and what the session store says that cannot be opened.
    pub fn build(self) -> Result<Agent> {
        self.config.check()?;
        let mut names = BTreeSet::new();
        for source in &self.sources {
            if !names.insert(source.name().to_owned()) {
                return Err(Error::invalid(format!(
                    "two sources of tools have the name \"{}\"; give each its own",
                    source.name()
                )));
            }
        }
        let model = self.model;
        let model =
            model.ok_or_else(|| Error::invalid("an agent needs a model: call the builder's model(…)"))?;
        let store = match self.store {
            Some(store) => store,
            None => opened(self.config.session_store.as_ref())?,
        };
        let always = match &self.config.approval.file {
            Some(file) => grants::read(file)?,
            None => BTreeSet::new(),
        };
        let inner = Arc::new(Inner {
            model,
            store,
            sources: self.sources,
            sessions: Sessions::default(),
            always: Mutex::new(always),
            window: OnceCell::new(),
            listeners: Mutex::default(),
            titles: Mutex::default(),
            lingering: Mutex::default(),
            lingers: AtomicU64::new(0),
            config: Arc::new(self.config),
        });
        for source in &inner.sources {
            let agent = Arc::downgrade(&inner);
            source.watch(Arc::new(move |server, notice| heard(&agent, server, notice)));
        }
        Ok(Agent(inner))
    }
}

impl std::fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("model", &self.config.model)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources: Vec<&str> = self.0.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Agent")
            .field("model", &self.0.config.model)
            .field("sources", &sources)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Begins to make an agent.
    pub fn builder(config: AgentConfig) -> AgentBuilder {
        AgentBuilder {
            config,
            model: None,
            store: None,
            sources: Vec::new(),
        }
    }

    /// Begins a turn: a text or a message in a new session, or what a [`RunInput`] says. The turn goes on whether or
    /// not somebody reads its events, and also when the run is dropped; [`RunHandle::cancel`] stops it.
    ///
    /// # Errors
    /// `not_found` for a session or message that is not there, `invalid_request` for a session whose turn still runs,
    /// and what the store says.
    pub async fn run(&self, input: impl Into<RunInput>) -> Result<Run> {
        let input = input.into();
        input.check()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (finish, finished) = watch::channel(None);
        let (lease, flow) = self.0.open(&input).await?;
        let handle = RunHandle::new(lease.session_id(), orders.clone(), lease.waiting(), finished);
        lease.runs(handle.clone());
        let run = Run::new(lease.bus().subscribe(Some(lease.last_seq())), handle);
        let listener = self.0.listen(orders);
        let driver = Driver::new(Arc::clone(&self.0), lease, flow, inbox);
        let agent = Arc::clone(&self.0);
        let first = Input::Begin {
            message: input.into_message(),
        };
        tokio::spawn(async move {
            // The lease is given back before anybody hears of the end, so that the next turn can begin at once.
            let ended = driver.run(first).await;
            agent.unlisten(listener);
            finish.send_replace(Some(ended));
        });
        Ok(run)
    }

    /// The turn of a session that runs in this agent.
    pub fn running(&self, session_id: &str) -> Option<RunHandle> {
        self.0.sessions.running(session_id)
    }

    /// The events of a session that is open in this agent, after a durable one; `None` if it is not, and then the
    /// store has them all.
    pub fn subscribe(&self, session_id: &str, after_seq: Option<u64>) -> Option<Reader> {
        self.0
            .sessions
            .bus(session_id)
            .map(|bus| bus.subscribe(after_seq))
    }

    /// A new session from the path up to a message (the active leaf if `None`).
    pub async fn fork(&self, session_id: &str, message_id: Option<String>) -> Result<SessionInfo> {
        self.0.store.fork(session_id, message_id).await
    }

    /// What it is.
    pub fn config(&self) -> &AgentConfig {
        &self.0.config
    }

    /// Where its sessions are kept.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.0.store
    }

    /// Its sources of tools.
    pub fn sources(&self) -> &[Arc<dyn ToolSource>] {
        &self.0.sources
    }

    /// Gives sessions that no turn needs back to other processes at once, not after some seconds.
    pub async fn release(&self) {
        self.0.give_back().await;
        let lingering = std::mem::take(&mut *lock(&self.0.lingering));
        for (_, task) in lingering.into_values() {
            task.abort();
            // Only then is what it held dropped.
            let _ = task.await;
        }
    }

    /// Cancels the turns that run, waits for titles that are being made, and ends the sources of tools with all that
    /// they started. Idempotent.
    pub async fn close(&self) {
        for handle in self.0.sessions.all_running() {
            handle.cancel();
            handle.outcome().await;
        }
        let titles = std::mem::take(&mut *lock(&self.0.titles));
        for title in titles {
            let _ = title.await;
        }
        self.release().await;
        for source in &self.0.sources {
            source.close().await;
        }
    }
}

impl Inner {
    /// The model's window in tokens, looked up once; unknown is unknown, and no turn waits for it long.
    async fn window(&self) -> Option<u64> {
        let compaction = &self.config.compaction;
        if !compaction.enabled || compaction.window.is_some() {
            return compaction.window;
        }
        let known = self
            .window
            .get_or_init(|| async {
                let info =
                    tokio::time::timeout(WINDOW_LIMIT, self.model.model_info(&self.config.model)).await;
                info.ok()?.ok()?.max_input_tokens
            })
            .await;
        *known
    }

    /// Keeps that a tool is approved for always.
    pub(crate) fn always(self: &Arc<Self>, tool: String) {
        let all = {
            let mut always = lock(&self.always);
            always.insert(tool);
            always.clone()
        };
        let kept = self
            .config
            .approval
            .file
            .as_ref()
            .map(|file| grants::write(file, &all));
        if let Some(Err(error)) = kept {
            let notice = Notice::Log(LogLevel::Warning, error.message);
            heard(&Arc::downgrade(self), "approvals", notice);
        }
    }

    fn listen(&self, orders: mpsc::UnboundedSender<Order>) -> u64 {
        let mut listeners = lock(&self.listeners);
        for (server, notice) in std::mem::take(&mut listeners.early) {
            let _ = orders.send(Order::Notice(server, notice));
        }
        let id = listeners.next;
        listeners.next += 1;
        listeners.runs.insert(id, orders);
        id
    }

    fn unlisten(&self, id: u64) {
        lock(&self.listeners).runs.remove(&id);
    }

    /// Makes a title in the background: it never delays the turn's end, and a failure costs nothing but the title.
    pub(crate) fn make_title(self: &Arc<Self>, lease: &Lease, request: Request) {
        let (agent, lease) = (Arc::clone(self), lease.share());
        let task = tokio::spawn(async move {
            let answer = tokio::time::timeout(TITLE_LIMIT, agent.model.chat(request)).await;
            let title = answer
                .ok()
                .and_then(Result::ok)
                .and_then(|reply| compaction::title(&reply.content));
            if let Some(title) = title {
                let event = NewEvent {
                    timestamp_ms: Clock::new().now_ms(),
                    turn_id: None,
                    call_id: None,
                    parent: None,
                    payload: Payload::TitleGenerated { title },
                };
                // Whoever took the session away meanwhile has a session without a title.
                let _ = lease.commit(vec![event]).await;
            }
        });
        keep(&self.titles, task);
    }

    /// Keeps a session open for a moment; the last turn's moment counts.
    pub(crate) fn linger(self: &Arc<Self>, lease: Lease) {
        let session_id = lease.session_id().to_owned();
        let number = self.lingers.fetch_add(1, Ordering::Relaxed);
        let (agent, id) = (Arc::clone(self), session_id.clone());
        // Held until the task stands in the map, so that it finds itself there.
        let mut lingering = lock(&self.lingering);
        let task = tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            {
                let mut lingering = lock(&agent.lingering);
                if lingering.get(&id).is_some_and(|(last, _)| *last == number) {
                    lingering.remove(&id);
                }
            }
            drop(lease);
        });
        if let Some((_, before)) = lingering.insert(session_id, (number, task)) {
            before.abort();
        }
    }
}

/// The store that a configuration names.
fn opened(config: Option<&StoreConfig>) -> Result<Arc<dyn SessionStore>> {
    let store = match config {
        None => SqliteStore::in_memory()?,
        Some(StoreConfig::Path(path)) => SqliteStore::open(path, Durability::default())?,
        Some(StoreConfig::Full { path, durability }) => SqliteStore::open(path, *durability)?,
    };
    Ok(Arc::new(store))
}

/// Keeps a task, and forgets those that have ended.
fn keep(tasks: &Mutex<Vec<JoinHandle<()>>>, task: JoinHandle<()>) {
    let mut tasks = lock(tasks);
    tasks.retain(|task| !task.is_finished());
    tasks.push(task);
}

/// Hands a notice to the turns that run, or keeps it for the next one.
fn heard(agent: &Weak<Inner>, server: &str, notice: Notice) {
    let Some(agent) = agent.upgrade() else { return };
    let mut listeners = lock(&agent.listeners);
    if listeners.runs.is_empty() {
        if listeners.early.len() == EARLY {
            listeners.early.pop_front();
        }
        listeners.early.push_back((server.to_owned(), notice));
        return;
    }
    for orders in listeners.runs.values() {
        let _ = orders.send(Order::Notice(server.to_owned(), notice.clone()));
    }
}

/// A lock that nobody holds across an await; what it guards is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
