//! The agent as a program uses it: turns, sessions, handles, over a scripted model and with the clock paused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{HostTools, Payload, RunInput};

#[tokio::test(start_paused = true)]
async fn a_turn_without_tools_takes_two_commits() {
    let model = Script::new([says("Hello there")]);
    let (agent, store) = agent(config(), &model, HostTools::new());
    let mut run = agent.run("Hi").await.unwrap();
    let events = all(&mut run).await;
    assert_eq!(
        durable(&events),
        [
            "session.created",
            "agent.turn.started",
            "message.saved",
            "assistant.stream.started",
            "assistant.stream.completed",
            "message.saved",
            "usage.updated",
            "agent.turn.completed"
        ]
    );
    assert_eq!(store.commits(), [4, 4]);
    let outcome = run.result().await.unwrap();
    assert_eq!((outcome.text.as_str(), outcome.rounds), ("Hello there", 1));

    let session = run.session_id().to_owned();
    let mut run = agent.run(RunInput::new("And?").session(&session)).await.unwrap();
    all(&mut run).await;
    assert_eq!(store.commits(), [4, 4, 3, 4], "a later turn takes two as well");
    assert_eq!(store.writes(), 0, "the session was still open");
    assert_eq!(store.roles(&session), "uaua");
    assert!(matches!(
        &events[1].payload,
        Payload::TurnStarted { message_id, .. } if message_id == "m1"
    ));
}
