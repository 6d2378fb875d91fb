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
    let store = Arc::new(MemoryStore::default());
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
