//! Carries out what the loop decides: the store, the model, the tools, the timers, the readers. It decides nothing.

use crate::agent::{Inner, Lease};
use crate::flow::{Command, Ending, Flow, Input, Outcome, Timer};
use crate::protocol::{AgentEvent, EVENT_VERSION, Op, Payload, Scope, ToolFailure, TurnUsage};
use crate::session::NewEvent;
use crate::tool::{Invocation, Notice, Progress, ProgressSink, ToolError, ToolOutput};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use omni_core::{BoxFuture, ChatStream, Error, Event, Fold, Object, Request, Result};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Events of a stream that are taken in one go, so that readers are woken once for all of them.
const BATCH: usize = 64;
/// Progress that is kept while the driver is busy; more is dropped, as only the newest counts.
const PROGRESS: usize = 256;

/// What comes to a running turn from outside.
#[derive(Debug)]
pub(crate) enum Order {
    Op(Op),
    Notice(String, Notice),
    /// A limit of time counts as reached.
    TimedOut(Timer),
}

/// Milliseconds since 1970 that never go back within a turn, on tokio's clock, which tests pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            began: Instant::now(),
            began_ms: millis(since),
        }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.began_ms.saturating_add(millis(self.began.elapsed()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a turn ended, and whether its last event was published: a store that fails takes none.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) told: bool,
}

/// Progress, and the call that it is of.
type Reported = (String, Progress);
type ToolResult = Result<ToolOutput, ToolError>;

/// A turn as it is carried out.
pub(crate) struct Driver {
    agent: Arc<Inner>,
    lease: Lease,
    flow: Flow,
    clock: Clock,
    orders: mpsc::UnboundedReceiver<Order>,
    stream: Option<ChatStream>,
    /// Listing, counting or summarising: one at a time.
    side: Option<BoxFuture<'static, Input>>,
    tools: JoinSet<ToolResult>,
    running: HashMap<String, AbortHandle>,
    progress: mpsc::Receiver<Reported>,
    reports: mpsc::Sender<Reported>,
    timers: BTreeMap<Timer, Instant>,
    /// Ephemeral events that are not published yet.
    outbox: Vec<AgentEvent>,
    outcome: Option<Outcome>,
    title: Option<Box<Request>>,
    /// Whether the flow and the store still say the same.
    in_step: bool,
}

impl Driver {
    pub(crate) fn new(
        agent: Arc<Inner>,
        lease: Lease,
        flow: Flow,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let (reports, progress) = mpsc::channel(PROGRESS);
        Self {
            agent,
            lease,
            flow,
            clock: Clock::new(),
            orders,
            stream: None,
            side: None,
            tools: JoinSet::new(),
            running: HashMap::new(),
            progress,
            reports,
            timers: BTreeMap::new(),
            outbox: Vec::new(),
            outcome: None,
            title: None,
            in_step: true,
        }
    }

    /// Runs the turn to its end.
    pub(crate) async fn run(mut self, first: Input) -> Ended {
        self.take(first).await;
        while self.outcome.is_none() {
            let next = self.next().await;
            self.take(next).await;
            self.drain().await;
        }
        self.publish();
        self.finish().await
    }

    /// Whatever comes first.
    async fn next(&mut self) -> Input {
        let due = self.timers.iter().min_by_key(|(_, at)| **at);
        let due = due.map(|(timer, at)| (timer.clone(), *at));
        tokio::select! {
            biased;
            Some(order) = self.orders.recv() => match order {
                Order::Op(Op::Cancel {}) => Input::Cancel,
                Order::Op(Op::Approve { call_id, decision }) => Input::Approval { call_id, decision },
                Order::Notice(server, notice) => Input::Notice { server, notice },
                Order::TimedOut(timer) => {
                    self.timers.remove(&timer);
                    Input::TimedOut { timer }
                }
            },
            (timer, ()) = async {
                match due {
                    Some((timer, at)) => (timer, tokio::time::sleep_until(at).await),
                    None => std::future::pending().await,
                }
            } => {
                self.timers.remove(&timer);
                Input::TimedOut { timer }
            }
            input = async {
                match &mut self.side {
                    Some(side) => side.await,
                    None => std::future::pending().await,
                }
            } => {
                self.side = None;
                input
            }
            Some(joined) = self.tools.join_next_with_id() => self.joined(joined),
            Some((call_id, progress)) = self.progress.recv() => Input::Progress { call_id, progress },
            event = async {
                match &mut self.stream {
                    Some(stream) => stream.next().await,
                    None => std::future::pending().await,
                }
            } => Input::Stream { event: event.unwrap_or_else(cut_off) },
        }
    }

    /// Takes what the stream has ready, up to a bound: a cancel must not wait behind it.
    async fn drain(&mut self) {
        for _ in 0..BATCH {
            let Some(stream) = &mut self.stream else { break };
            let Some(event) = stream.next().now_or_never() else {
                break;
            };
            let event = event.unwrap_or_else(cut_off);
            self.take(Input::Stream { event }).await;
        }
        self.publish();
    }

    fn joined(
        &mut self,
        joined: std::result::Result<(tokio::task::Id, ToolResult), tokio::task::JoinError>,
    ) -> Input {
        let (id, result) = match joined {
            Ok(done) => done,
            // An aborted call is one that nobody waits for any more; a panic is a failure like any other.
            Err(error) => {
                let says = "the tool's source panicked in this call";
                (error.id(), Err(ToolError::new(ToolFailure::Failed, says)))
            }
        };
        let found = self.running.iter().find(|(_, handle)| handle.id() == id);
        let call_id = found.map(|(call_id, _)| call_id.clone()).unwrap_or_default();
        self.running.remove(&call_id);
        Input::ToolEnded { call_id, result }
    }

    /// Gives the loop an input and carries its commands out.
    async fn take(&mut self, input: Input) {
        if matches!(&input, Input::Stream { event } if event.is_last()) {
            self.stream = None;
        }
        let mut commands = VecDeque::from(self.flow.step(input, self.clock.now_ms()));
        while let Some(command) = commands.pop_front() {
            if let Command::Commit { events } = command {
                if let Err(error) = self.commit(events).await {
                    self.in_step = false;
                    commands = self
                        .flow
                        .step(Input::StoreFailed { error }, self.clock.now_ms())
                        .into();
                }
            } else {
                self.carry_out(command);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            // `take` does it, as it may wait.
            Command::Commit { .. } => {}
            Command::Publish { event } => {
                let event = self.stamped(event);
                self.outbox.push(event);
            }
            Command::ListTools => self.side = Some(list_tools(Arc::clone(&self.agent))),
            Command::Count { request } => {
                let agent = Arc::clone(&self.agent);
                self.side = Some(Box::pin(async move {
                    let tokens = agent.model.count_tokens(*request).await.ok();
                    Input::Counted { tokens }
                }));
            }
            Command::Summarise { request } => {
                let agent = Arc::clone(&self.agent);
                self.side = Some(Box::pin(async move {
                    let reply = agent.model.chat(*request).await.map(Box::new);
                    Input::Summarised { reply }
                }));
            }
            Command::StopPreparing => self.side = None,
            Command::Ask { request, .. } => self.stream = Some(self.agent.model.stream(*request)),
            // Dropping a stream cancels its call.
            Command::StopAsking => self.stream = None,
            Command::CallTool {
                call_id,
                server,
                own_name,
                arguments,
            } => self.call_tool(call_id, &server, own_name, arguments),
            Command::StopTool { call_id } => {
                if let Some(handle) = self.running.remove(&call_id) {
                    handle.abort();
                }
            }
            Command::SetTimer { timer, after_ms } => {
                // tokio's clock ends somewhere; what is set for later never comes.
                if let Some(at) = Instant::now().checked_add(Duration::from_millis(after_ms)) {
                    self.timers.insert(timer, at);
                }
            }
            Command::ClearTimer { timer } => drop(self.timers.remove(&timer)),
            Command::Grant { tool, scope } => self.grant(tool, scope),
            Command::Done { outcome } => self.outcome = Some(*outcome),
            Command::Title { request } => self.title = Some(request),
        }
    }

    fn call_tool(&mut self, call_id: String, server: &str, own_name: String, arguments: Object) {
        let source = self
            .agent
            .sources
            .iter()
            .find(|source| source.name() == server)
            .cloned();
        let told = self.reports.clone();
        let reported = call_id.clone();
        let invocation = Invocation {
            own_name,
            arguments,
            session_id: self.lease.session_id().to_owned(),
            call_id: call_id.clone(),
            progress: ProgressSink::new(move |progress| {
                // Full: the driver is behind, and newer progress comes.
                let _ = told.try_send((reported.clone(), progress));
            }),
        };
        let handle = self.tools.spawn(async move {
            match source {
                Some(source) => source.call(invocation).await,
                None => Err(ToolError::new(
                    ToolFailure::ServerGone,
                    "the tool's source is not there any more",
                )),
            }
        });
        self.running.insert(call_id, handle);
    }

    /// An approval that holds for longer than the session is kept in the approvals file.
    fn grant(&self, tool: String, scope: Scope) {
        if scope == Scope::Always {
            self.agent.always(tool);
        }
    }

    async fn commit(&mut self, events: Vec<NewEvent>) -> Result<()> {
        self.publish();
        self.lease.commit(events).await
    }

    /// Hands the ephemeral events to the readers.
    fn publish(&mut self) {
        if !self.outbox.is_empty() {
            self.lease.bus().publish(std::mem::take(&mut self.outbox));
        }
    }

    fn stamped(&self, event: NewEvent) -> AgentEvent {
        AgentEvent {
            v: EVENT_VERSION,
            seq: None,
            after_seq: Some(self.lease.last_seq()),
            timestamp_ms: event.timestamp_ms,
            session_id: self.lease.session_id().to_owned(),
            turn_id: event.turn_id,
            call_id: event.call_id,
            parent: event.parent,
            payload: event.payload,
        }
    }

    /// The turn is over: what still runs ends, the loop goes back to the session, a title is made meanwhile.
    async fn finish(mut self) -> Ended {
        self.stream = None;
        // Not waited for: a tool that blocks its thread must not hold the turn's end.
        self.tools.abort_all();
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| lost(self.lease.session_id()));
        if self.in_step {
            self.lease.keep(self.flow).await;
        }
        if let Some(request) = self.title.take() {
            self.agent.make_title(&self.lease, *request);
        }
        Ended {
            outcome,
            told: self.in_step,
        }
    }
}

/// What becomes of a turn whose driver came to no end.
pub(crate) fn lost(session_id: &str) -> Outcome {
    Outcome {
        session_id: session_id.to_owned(),
        turn_id: String::new(),
        ending: Ending::Failed {
            error: Error::internal(
                "the turn's task ended before the turn did; the session opens again as it was. Please report this",
            ),
        },
        message_id: None,
        text: String::new(),
        finish_reason: None,
        stopped_by: None,
        rounds: 0,
        usage: TurnUsage::default(),
        duration_ms: 0,
    }
}

/// A stream that ends without a last event breaks its contract; for the loop it failed.
fn cut_off() -> Event {
    Event::Error {
        error: Error::new(
            omni_core::Code::Protocol,
            "the model's stream ended without a last event; try again",
        ),
        reply: Box::new(Fold::new().partial(Vec::new())),
    }
}

/// Asks every source at once. One that does not answer costs its own tools and nobody else's.
fn list_tools(agent: Arc<Inner>) -> BoxFuture<'static, Input> {
    Box::pin(async move {
        let lists = agent.sources.iter().map(|source| async {
            let list = source.tools().await;
            (source.name().to_owned(), list)
        });
        let (mut tools, mut failed) = (Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for (server, list) in join_all(lists).await {
            match list {
                Ok(list) => {
                    for spec in list {
                        if names.insert(spec.name.clone()) {
                            tools.push(spec);
                        } else {
                            let says = format!("another source has a tool \"{}\" too", spec.name);
                            failed.push((server.clone(), Error::invalid(says)));
                        }
                    }
                }
                Err(error) => failed.push((server, error)),
            }
        }
        Input::Tools { tools, failed }
    })
}

/// What waits for somebody's decision, after `events`.
pub(crate) fn note_waiting(waiting: &mut HashSet<String>, events: &[AgentEvent]) {
    for event in events {
        let Some(call_id) = &event.call_id else { continue };
        match &event.payload {
            Payload::ToolProposed {
                needs_approval: true, ..
            } => drop(waiting.insert(call_id.clone())),
            Payload::ToolApproved { .. } | Payload::ToolDenied { .. } | Payload::ToolFailed { .. } => {
                waiting.remove(call_id);
            }
            _ => {}
        }
    }
}
