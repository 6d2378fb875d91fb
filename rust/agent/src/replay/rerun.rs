//! The loop run again from its log: with the recorded answers and tools, and what the user did at the same places.

use super::diff::{Diff, compare, is_compared};
use super::recording::{Order, Place, Recording, Step, Turn};
use super::store::Memory;
use super::{RecordedModel, RecordedTools};
use crate::agent::{Agent, Run, RunInput};
use crate::config::AgentConfig;
use crate::protocol::{AgentEvent, Payload};
use crate::session::{NewEvent, SessionStore};
use crate::tool::ToolSource;
use omni_core::{ChatModel, Error, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// When nothing has happened for so long, the loop does not do what it did: what is due next comes all the same.
const STALL: Duration = Duration::from_secs(1);

/// What an agent is made of that runs a log again.
pub struct Parts {
    /// Answers as the log says.
    pub model: Arc<dyn ChatModel>,
    /// Keeps the new log, in memory.
    pub store: Arc<dyn SessionStore>,
    /// The tools of each server of the log.
    pub tools: Vec<Arc<dyn ToolSource>>,
}

impl Parts {
    /// The agent of a configuration on these parts.
    ///
    /// # Errors
    /// As `AgentBuilder::build`.
    pub fn agent(self, config: AgentConfig) -> Result<Agent> {
        let builder = Agent::builder(config).model(self.model).store(self.store);
        self.tools
            .into_iter()
            .fold(builder, crate::agent::AgentBuilder::tools)
            .build()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tools: Vec<&str> = self.tools.iter().map(|source| source.name()).collect();
        f.debug_struct("Parts")
            .field("tools", &tools)
            .finish_non_exhaustive()
    }
}

/// Lets what comes from outside come when it came, counted in events.
#[derive(Clone)]
pub(super) struct Pacer(Memory);

impl Pacer {
    fn done(&self) -> usize {
        let compared = |event: &AgentEvent| is_compared(&event.payload);
        self.0.all().iter().filter(|event| compared(event)).count()
    }

    /// Waits until `events` are there, or until nothing happens any more.
    pub(super) async fn reach(&self, events: usize) {
        let mut length = self.0.length();
        while self.done() < events {
            let grown = tokio::time::timeout(STALL, length.changed()).await;
            if !matches!(grown, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// Runs a session's log again and says how the new log differs: a loop that does what it did gives an empty [`Diff`].
///
/// `make` makes the agent, most simply by [`Parts::agent`] with the configuration that the session had. Nobody is
/// waited for: where the log has no decision about a call that now needs one, nobody decided in time. A turn that ran out
/// of its time takes the time again that the configuration gives it. Nobody is asked in a turn in which nobody was there.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use omni_agent::{AgentConfig, read_log, test_run};
///
/// let log = read_log(&std::fs::read_to_string("tests/runs/refund.jsonl")?)?;
/// let config = AgentConfig::from_toml(&std::fs::read_to_string("agent.toml")?)?;
/// let diff = test_run(log, |parts| parts.agent(config)).await?;
/// assert!(diff.is_empty(), "{diff}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// `invalid_request` for a log that cannot be run again, and what `make` says.
pub async fn test_run(log: Vec<AgentEvent>, make: impl FnOnce(Parts) -> Result<Agent>) -> Result<Diff> {
    let recording = Arc::new(Recording::new(log)?);
    let memory = Memory::new(&recording.session_id);
    let model = RecordedModel::new(Arc::clone(&recording));
    let pacer = Pacer(memory.clone());
    let halted = model.halted();
    let tools = RecordedTools::paced(&recording, Some(&pacer));
    let agent = make(Parts {
        model: Arc::new(model),
        store: Arc::new(memory.clone()),
        tools: tools
            .into_iter()
            .map(|source| Arc::new(source) as Arc<dyn ToolSource>)
            .collect(),
    })?;
    let played = async {
        for step in &recording.steps {
            match step {
                Step::Add(events) => {
                    agent.release().await;
                    memory.add(events.iter().map(anew).collect());
                }
                Step::Turn(turn) => {
                    let begun = agent.run(input(turn, &recording.session_id)).await;
                    let ends = agent.config().timeouts.turn.is_some();
                    steer(begun?, turn, pacer.done(), halted.clone(), ends).await;
                    // The title is made in the background: before something else is done, as far as we can tell.
                    if recording.title.is_some() && agent.config().titles {
                        titled(&memory).await;
                    }
                }
            }
        }
        Ok::<(), Error>(())
    };
    let played = played.await;
    agent.close().await;
    // A turn that cannot begin is a difference as well: what is missing is shown.
    match played {
        Err(error) if memory.all().is_empty() => Err(error),
        _ => Ok(compare(&recording.events, &memory.all())),
    }
}

fn anew(event: &AgentEvent) -> NewEvent {
    NewEvent {
        timestamp_ms: event.timestamp_ms,
        turn_id: event.turn_id.clone(),
        call_id: event.call_id.clone(),
        parent: event.parent.clone(),
        payload: event.payload.clone(),
    }
}

fn input(turn: &Turn, session_id: &str) -> RunInput {
    let Some(message) = &turn.input else {
        let again = RunInput::regenerate(session_id, Some(turn.message_id.clone()));
        return again.unattended(turn.unattended);
    };
    let input = RunInput::new(message.clone()).unattended(turn.unattended);
    match &turn.place {
        Place::New(None) => input.new_session(session_id),
        Place::New(Some(title)) => input.new_session(session_id).titled(title.clone()),
        Place::Leaf => input.session(session_id),
        Place::After(parent) => input.session(session_id).after(parent.clone()),
    }
}

/// Reads a run to its end, and does with it what was done. `ends` says that the turn has a limit of time.
async fn steer(mut run: Run, turn: &Turn, before: usize, mut halted: watch::Receiver<usize>, ends: bool) {
    let handle = run.handle();
    let halts = *halted.borrow_and_update();
    let mut seen = before;
    let mut orders: VecDeque<_> = turn.orders.iter().collect();
    loop {
        let halted_now = *halted.borrow() > halts;
        let due = orders.front().filter(|(at, order)| {
            let ready = !matches!(order, Order::Cancel(true)) || halted_now;
            seen >= *at && ready
        });
        if due.is_some() {
            if let Some((_, order)) = orders.pop_front() {
                obey(&handle, order);
            }
            continue;
        }
        for call_id in handle.waiting() {
            if undecided(&call_id, turn, &orders, ends) {
                handle.nobody_decides(&call_id);
            }
        }
        tokio::select! {
            event = run.next() => match event {
                Some(event) => seen += usize::from(is_compared(&event.payload)),
                None => break,
            },
            changed = halted.changed(), if !orders.is_empty() => {
                if changed.is_err() {
                    break;
                }
            }
            () = tokio::time::sleep(STALL), if !orders.is_empty() => {
                if let Some((_, order)) = orders.pop_front() {
                    obey(&handle, order);
                }
            }
        }
    }
    run.outcome().await;
}

fn obey(handle: &crate::agent::RunHandle, order: &Order) {
    match order {
        // A call that does not wait for it is a difference that the events show.
        Order::Decide(call_id, decision) => drop(handle.approve(call_id, decision.clone())),
        Order::Nobody(call_id) => handle.nobody_decides(call_id),
        Order::Cancel(_) => handle.cancel(),
    }
}

/// Whether a call waits for a decision that the log does not have: nobody is there to give it.
fn undecided(call_id: &str, turn: &Turn, orders: &VecDeque<&(usize, Order)>, ends: bool) -> bool {
    if ends && turn.left.contains(call_id) {
        return false;
    }
    let own = |order: &Order| match order {
        Order::Decide(of, _) | Order::Nobody(of) => of == call_id,
        Order::Cancel(_) => true,
    };
    let freed = !orders.is_empty() && turn.freed.contains(call_id);
    !freed && !orders.iter().any(|(_, order)| own(order))
}

async fn titled(memory: &Memory) {
    let mut length = memory.length();
    let has = |event: &AgentEvent| matches!(event.payload, Payload::TitleGenerated { .. });
    while !memory.all().iter().any(has) {
        let grown = tokio::time::timeout(STALL, length.changed()).await;
        if !matches!(grown, Ok(Ok(()))) {
            return;
        }
    }
}
