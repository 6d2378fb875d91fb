//! What the agent's tests share: a model that answers from a script, and a store in memory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part of it; a failed unwrap in a helper of a test is a failed test"
)]

mod model;
mod store;

pub use model::*;
pub use store::MemoryStore;

use omni_agent::{Agent, AgentConfig, AgentEvent, Payload, Policy, Run, SessionStore, ToolSource};
use omni_core::{Content, Message, Request, Role};
use std::collections::VecDeque;
use std::sync::Arc;

/// A configuration without titles that lets every tool run.
pub fn config() -> AgentConfig {
    let mut config = AgentConfig::new("demo/one");
    config.titles = false;
    config.approval.default = Policy::Approve;
    config
}

/// An agent of its parts, with a store of its own.
pub fn agent(
    config: AgentConfig,
    model: &Script,
    source: impl ToolSource + 'static,
) -> (Agent, Arc<MemoryStore>) {
    agent_on(config, model, source, MemoryStore::default())
}

/// An agent of its parts.
pub fn agent_on(
    config: AgentConfig,
    model: &Script,
    source: impl ToolSource + 'static,
    store: MemoryStore,
) -> (Agent, Arc<MemoryStore>) {
    let store = Arc::new(store);
    let kept: Arc<dyn SessionStore> = Arc::clone(&store) as _;
    let agent = Agent::builder(config)
        .model(Arc::new(model.clone()))
        .store(kept)
        .tools(Arc::new(source))
        .build()
        .unwrap();
    (agent, store)
}

/// Reads a run to its end.
pub async fn all(run: &mut Run) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    while let Some(event) = run.next().await {
        events.push(event);
    }
    events
}

/// The name of an event's type.
pub fn kind(payload: &Payload) -> String {
    serde_json::to_value(payload).unwrap()["event_type"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The types of the durable events.
pub fn durable(events: &[AgentEvent]) -> Vec<String> {
    let durable = events.iter().filter(|event| event.seq.is_some());
    durable.map(|event| kind(&event.payload)).collect()
}

/// Whether a provider would take these messages: every call has its one result right behind it, in the order of the
/// calls, and there is no result without a call.
pub fn check_messages(messages: &[Message]) -> Result<(), String> {
    let mut open: VecDeque<&str> = VecDeque::new();
    for (at, message) in messages.iter().enumerate() {
        match (message.role, message.tool_call_id.as_deref()) {
            (Role::Tool, Some(id)) => match open.pop_front() {
                Some(asked) if asked == id => {}
                other => {
                    return Err(format!(
                        "message {at} answers {id}, and {other:?} is to be answered"
                    ));
                }
            },
            (Role::Tool, None) => return Err(format!("message {at} is a result of nothing")),
            _ if !open.is_empty() => {
                return Err(format!("message {at} comes before the results of {open:?}"));
            }
            _ => open.extend(message.tool_calls.iter().flatten().map(|call| call.id.as_str())),
        }
        let says = !message.text().is_empty() || !matches!(message.content, Some(Content::Text(_)) | None);
        if message.role == Role::Assistant
            && !says
            && message.tool_calls.is_none()
            && message.refusal.is_none()
        {
            return Err(format!("message {at} says nothing"));
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("{open:?} have no results"))
    }
}

/// The events of one type.
pub fn of_kind<'a>(events: &'a [AgentEvent], wanted: &str) -> Vec<&'a AgentEvent> {
    events
        .iter()
        .filter(|event| kind(&event.payload) == wanted)
        .collect()
}

/// The results in a request, as (`tool_call_id`, text, `is_error`).
pub fn results(request: &Request) -> Vec<(String, String, bool)> {
    let tools = request
        .messages
        .iter()
        .filter(|message| message.role == Role::Tool);
    tools
        .map(|message| {
            let id = message.tool_call_id.clone().unwrap();
            (id, message.text().into_owned(), message.is_error == Some(true))
        })
        .collect()
}
