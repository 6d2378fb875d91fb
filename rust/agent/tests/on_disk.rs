//! The agent on the real store: what one process left, the next one finds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use omni_agent::{
    Agent, AgentConfig, AgentEvent, Decision, HostTools, PathQuery, Payload, Policy, RunInput, Scope,
    SessionStore, SqliteStore, StoreConfig,
};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

fn on(folder: &Path, mut config: AgentConfig, model: &Script) -> Agent {
    config.session_store = Some(StoreConfig::Path(folder.join("sessions.db")));
    let tools = HostTools::new().raw("now", "", json!({"type": "object"}), |_| async { "12:00" });
    let builder = Agent::builder(config).model(Arc::new(model.clone()));
    builder.tools(Arc::new(tools)).build().unwrap()
}

#[tokio::test]
async fn the_next_process_goes_on_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = Script::new([calls(&[("c1", "now", "{}")]), says("Noon")]);
    let first = on(folder.path(), config(), &model);
    let mut run = first.run("When?").await.unwrap();
    let session = run.session_id().to_owned();
    let seen = all(&mut run).await;
    let kept = first.store().events(&session, 0, 1_000).await.unwrap();
    let durable: Vec<_> = seen.into_iter().filter(|event| event.seq.is_some()).collect();
    assert_eq!(durable, kept, "what was published is what is stored");
    first.close().await;
    drop(first);

    let model = Script::new([says("Yes")]);
    let second = on(folder.path(), config(), &model);
    let run = second
        .run(RunInput::new("Sure?").session(&session))
        .await
        .unwrap();
    assert_eq!(run.result().await.unwrap().turn_id, "t2");
    let path = second.store().path(&session, PathQuery::default()).await.unwrap();
    let sent = &model.requests()[0].messages;
    let stored: Vec<_> = path.iter().map(|stored| &stored.message).collect();
    assert_eq!(
        sent.iter().collect::<Vec<_>>(),
        stored[..5],
        "byte for byte what was kept"
    );
    assert_eq!(second.store().info(&session).await.unwrap().turns, 2);
}

#[tokio::test]
async fn without_a_store_in_the_configuration_sessions_are_kept_in_memory() {
    let model = Script::new([says("Hello")]);
    let agent = Agent::builder(config()).model(Arc::new(model)).build().unwrap();
    let run = agent.run("Hi").await.unwrap();
    run.result().await.unwrap();
    assert_eq!(agent.store().info(run.session_id()).await.unwrap().messages, 2);
}

#[tokio::test]
async fn a_fork_by_the_store_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let model = Script::new([calls(&[("c1", "now", "{}")]), says("Noon")]);
    let agent = on(folder.path(), config(), &model);
    let run = agent.run("When?").await.unwrap();
    run.result().await.unwrap();
    // In the middle of a call: the result is not in the fork, and the turn there repairs it.
    let fork = agent.fork(run.session_id(), Some("m2".into())).await.unwrap();
    let next = agent
        .run(RunInput::new("Go on").session(&fork.session_id))
        .await
        .unwrap();
    next.result().await.unwrap();
    let ids: Vec<_> = agent.store().tree(&fork.session_id).await.unwrap();
    let ids: Vec<_> = ids.iter().map(|stored| stored.message_id.as_str()).collect();
    assert_eq!(ids, ["m1", "m2", "m3", "m4", "m5"]);
    // And the old session as well, though its log got an event meanwhile.
    let next = agent
        .run(RunInput::new("And here").session(run.session_id()))
        .await
        .unwrap();
    next.result().await.unwrap();
}

/// Gives what the trait itself gives, without the store's quicker way.
struct Plain(SqliteStore);

macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl SessionStore for Plain {
            $(fn $name(&self, $($arg: $type),*) -> omni_core::BoxFuture<'_, omni_core::Result<$out>> {
                self.0.$name($($arg),*)
            })*
        }
    };
}

pass! {
    create(session_id: Option<String>, first: Vec<omni_agent::NewEvent>) -> Box<dyn omni_agent::SessionWriter>;
    write(session_id: &str) -> Box<dyn omni_agent::SessionWriter>;
    info(session_id: &str) -> omni_agent::SessionInfo;
    list(limit: usize, after: Option<String>) -> Vec<omni_agent::SessionInfo>;
    events(session_id: &str, after: u64, limit: usize) -> Vec<omni_agent::AgentEvent>;
    path(session_id: &str, query: PathQuery) -> Vec<omni_agent::StoredMessage>;
    tree(session_id: &str) -> Vec<omni_agent::StoredMessage>;
    search(words: &str, limit: usize) -> Vec<omni_agent::SearchHit>;
    fork(session_id: &str, message_id: Option<String>) -> omni_agent::SessionInfo;
    delete(session_id: &str) -> ();
    changed(session_id: &str, after: u64) -> ();
}

#[tokio::test]
async fn the_quick_way_to_the_landmarks_gives_what_the_whole_log_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.approval.default = Policy::Ask;
    config.compaction.window = Some(1_000);
    let script = [
        says("One"),
        says("Two"),
        says("Three"),
        calls(&[("c1", "now", "{}")]),
        says("Noon"),
    ];
    let model = Script::new(script)
        .chats([Ok("Counted.".into())])
        .counts([900, 100]);
    let agent = on(folder.path(), config, &model);
    let run = agent.run("a ".repeat(300)).await.unwrap();
    run.result().await.unwrap();
    let session = run.session_id().to_owned();
    for text in ["b ".repeat(300), "c ".repeat(600)] {
        agent
            .run(RunInput::new(text).session(&session))
            .await
            .unwrap()
            .result()
            .await
            .unwrap();
    }
    let run = agent.run(RunInput::new("When?").session(&session)).await.unwrap();
    while run.handle().waiting().is_empty() {
        tokio::task::yield_now().await;
    }
    let approve = Decision::Approve {
        scope: Scope::Session,
    };
    run.handle().approve(&run.handle().waiting()[0], approve).unwrap();
    run.result().await.unwrap();
    let store = SqliteStore::open(
        folder.path().join("sessions.db"),
        omni_agent::Durability::default(),
    )
    .unwrap();
    let quick = store.landmarks(&session, usize::MAX).await.unwrap();
    let none = store.landmarks(&session, 0).await.unwrap();
    let one = store.landmarks(&session, 1).await.unwrap();
    let plain = Plain(store);
    assert_eq!(quick, plain.landmarks(&session, usize::MAX).await.unwrap());
    assert_eq!(none, plain.landmarks(&session, 0).await.unwrap());
    assert_eq!(
        none,
        quick[1..],
        "the newest none of the compactions, and every approval"
    );
    assert_eq!(one, plain.landmarks(&session, 1).await.unwrap());
    assert!(matches!(quick[0].payload, Payload::CompactionCompleted { .. }));
    assert!(matches!(&quick[1].payload, Payload::ToolApproved { tool, .. } if tool == "now"));
    assert_eq!(quick.len(), 2);
}

/// What a follower is told, to the end of a turn.
async fn told(events: &mut (impl Stream<Item = omni_core::Result<AgentEvent>> + Unpin)) -> Vec<AgentEvent> {
    let mut told = Vec::new();
    loop {
        let event = events.next().await.unwrap().unwrap();
        let end = matches!(event.payload, Payload::TurnCompleted { .. });
        told.push(event);
        if end {
            return told;
        }
    }
}

fn text_of(events: &[AgentEvent]) -> String {
    let text = events.iter().filter_map(|event| match &event.payload {
        Payload::StreamChunk { text, .. } => Some(text.as_str()),
        _ => None,
    });
    text.collect()
}

#[tokio::test]
async fn a_follower_sees_every_turn_and_the_text_of_those_that_run_here_however_late_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    let here = on(
        folder.path(),
        config(),
        &Script::new([says("One"), says("Two"), says("Four")]),
    );
    let run = here.run("Hi").await.unwrap();
    run.result().await.unwrap();
    let session = run.session_id().to_owned();
    here.release().await;

    let after = here.store().info(&session).await.unwrap().last_seq;
    let mut follower = here.follow(&session, after);
    // The session is open nowhere: it waits for the store, and does not look while the turn runs.
    assert!(follower.next().now_or_never().is_none());
    let mut run = here.run(RunInput::new("And?").session(&session)).await.unwrap();
    let seen = all(&mut run).await;
    let told_of_ours = told(&mut follower).await;
    assert_eq!(durable(&told_of_ours), durable(&seen));
    assert_eq!(text_of(&told_of_ours), "Two");

    here.release().await;
    let there = on(folder.path(), config(), &Script::new([says("Three")]));
    let mut run = there.run(RunInput::new("And?").session(&session)).await.unwrap();
    let seen = all(&mut run).await;
    let told_of_theirs = told(&mut follower).await;
    assert_eq!(durable(&told_of_theirs), durable(&seen));
    there.close().await;

    let mut run = here.run(RunInput::new("And?").session(&session)).await.unwrap();
    all(&mut run).await;
    assert_eq!(text_of(&told(&mut follower).await), "Four");
}

#[tokio::test]
async fn a_follower_of_a_session_that_is_not_there_is_told_and_ends() {
    let agent = Agent::builder(config())
        .model(Arc::new(Script::new([])))
        .build()
        .unwrap();
    let mut follower = agent.follow("nowhere", 0);
    let error = follower.next().await.unwrap().unwrap_err();
    assert_eq!(error.code, omni_core::Code::NotFound);
    assert!(follower.next().await.is_none());
}
