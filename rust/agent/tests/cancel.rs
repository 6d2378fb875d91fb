//! A turn that is stopped, by a person or by the death of its process, leaves a session that goes on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;
#[path = "common/wires.rs"]
mod wires;

use common::*;
use omni_agent::{
    Activity, Agent, AgentConfig, Ending, HostTools, Invocation, NoticeSink, Payload, Policy, RunInput,
    SessionStore, ToolError, ToolOutput, ToolSource, ToolSpec,
};
use omni_core::{BoxFuture, Code, Error, Event, Message};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wires::every_provider_takes;

/// Says when it is dropped, as a cancelled call must be.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// `quick` answers, `hang` never does and counts how often it was cancelled.
fn tools(cancelled: &Arc<AtomicUsize>) -> HostTools {
    let cancelled = Arc::clone(cancelled);
    let any = json!({"type": "object"});
    HostTools::new()
        .raw("quick", "", any.clone(), |_| async { "done" })
        .raw("hang", "", any, move |_| {
            let dropped = Dropped(Arc::clone(&cancelled));
            async move {
                let _dropped = dropped;
                std::future::pending::<String>().await
            }
        })
}

/// A source that never lists its tools.
struct Silent;

impl ToolSource for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }
    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>, Error>> {
        Box::pin(std::future::pending())
    }
    fn call(&self, _: Invocation) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(std::future::pending())
    }
    fn watch(&self, _: NoticeSink) {}
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn reasoning(text: &str) -> Act {
    Act::Event(Event::ReasoningDelta {
        index: 0,
        text: text.into(),
    })
}

struct Case {
    name: &'static str,
    acts: Vec<Act>,
    /// The event after which the turn is cancelled.
    after: &'static str,
    during: Activity,
    /// The roles on the path afterwards, and the last message's text.
    roles: &'static str,
    last: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, acts, after, during, roles, last| Case {
        name,
        acts,
        after,
        during,
        roles,
        last,
    };
    let start = |name: &str| {
        Act::Event(Event::ToolCallStart {
            index: 1,
            id: "c1".into(),
            name: name.into(),
            kind: None,
        })
    };
    let chunk = "assistant.stream.chunk";
    vec![
        case(
            "asked",
            vec![Act::Hang],
            "assistant.stream.started",
            Activity::Asking,
            "u",
            "Hi",
        ),
        case(
            "text",
            vec![text("Half an ans"), Act::Hang],
            chunk,
            Activity::Streaming,
            "ua",
            "Half an ans",
        ),
        case(
            "white space",
            vec![text(" \n"), Act::Hang],
            chunk,
            Activity::Streaming,
            "u",
            "Hi",
        ),
        case(
            "half a call",
            vec![text("I will"), start("quick"), Act::Hang],
            chunk,
            Activity::Streaming,
            "ua",
            "I will",
        ),
        case(
            "reasoning without its proof",
            vec![reasoning("Hm"), Act::Hang],
            "agent.thinking.delta",
            Activity::Streaming,
            "u",
            "Hi",
        ),
        case(
            "in a tool",
            calls(&[
                ("c1", "quick", "{}"),
                ("c2", "hang", "{}"),
                ("c3", "quick", r#"{"a":1}"#),
            ]),
            "message.saved:t1.1.1",
            Activity::RunningTools,
            "uattt",
            "done",
        ),
    ]
}

/// Reads until an event of this type (and `call_id`).
async fn until(run: &mut omni_agent::Run, wanted: &str) {
    let (wanted, call) = wanted
        .split_once(':')
        .map_or((wanted, None), |(wanted, call)| (wanted, Some(call)));
    while let Some(event) = run.next().await {
        if kind(&event.payload) == wanted && call.is_none_or(|call| event.call_id.as_deref() == Some(call)) {
            return;
        }
    }
    panic!("the run ended without {wanted}");
}

#[tokio::test(start_paused = true)]
async fn cancel_at_any_point_leaves_a_valid_session() {
    for case in cases() {
        let cancelled = Arc::default();
        let model = Script::new([case.acts, says("And on")]);
        let (agent, store) = agent(config(), &model, tools(&cancelled));
        let mut run = agent.run("Hi").await.unwrap();
        until(&mut run, case.after).await;
        run.cancel();
        run.cancel();
        let rest = all(&mut run).await;
        let outcome = run.outcome().await;
        assert_eq!(
            outcome.ending,
            Ending::Cancelled { during: case.during },
            "{}",
            case.name
        );
        assert_eq!(run.result().await.unwrap_err().code, Code::Cancelled);
        let last = rest.iter().rev().find(|event| event.seq.is_some()).unwrap();
        assert!(
            matches!(last.payload, Payload::TurnCancelled { during, .. } if during == case.during),
            "{}",
            case.name
        );
        let session = run.session_id().to_owned();
        assert_eq!(store.roles(&session), case.roles, "{}", case.name);
        assert_eq!(
            store.messages(&session).last().unwrap().message.text(),
            case.last,
            "{}",
            case.name
        );
        assert_eq!(model.open(), 0, "{}: the call was cancelled", case.name);
        assert!(agent.running(&session).is_none());

        let next = agent.run(RunInput::new("Go on").session(&session)).await.unwrap();
        assert_eq!(next.result().await.unwrap().text, "And on", "{}", case.name);
        every_provider_takes(model.requests().last().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_tool_is_cancelled_at_its_source_and_has_a_result() {
    let cancelled = Arc::default();
    let mut config = config();
    config.max_parallel_tools = 1;
    let model = Script::new([calls(&[("c1", "hang", "{}"), ("c2", "quick", "{}")]), says("On")]);
    let (agent, store) = agent(config, &model, tools(&cancelled));
    let mut run = agent.run("Hi").await.unwrap();
    until(&mut run, "tool.execution.started").await;
    // The tool has begun when its future was polled.
    tokio::task::yield_now().await;
    run.cancel();
    all(&mut run).await;
    let session = run.session_id().to_owned();
    let messages = store.messages(&session);
    let told: Vec<_> = messages[2..]
        .iter()
        .map(|stored| stored.message.text().into_owned())
        .collect();
    assert!(told[0].contains("while the tool ran"), "{told:?}");
    assert!(told[1].contains("before this call ran"), "{told:?}");
    while cancelled.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_while_somebody_is_asked_and_while_the_tools_are_listed() {
    let mut asks = config();
    asks.approval.default = Policy::Ask;
    let model = Script::new([calls(&[("c1", "quick", "{}")]), says("On")]);
    let (asking, store) = agent(asks, &model, tools(&Arc::default()));
    let mut run = asking.run("Hi").await.unwrap();
    until(&mut run, "tool.execution.proposed").await;
    run.cancel();
    let during = Activity::WaitingForApproval;
    assert_eq!(run.outcome().await.ending, Ending::Cancelled { during });
    assert_eq!(store.roles(run.session_id()), "uat");
    let next = asking
        .run(RunInput::new("Go on").session(run.session_id()))
        .await
        .unwrap();
    next.result().await.unwrap();

    let (silent, store) = agent(config(), &Script::new([says("x")]), Silent);
    let run = silent.run("Hi").await.unwrap();
    tokio::task::yield_now().await;
    run.cancel();
    let during = Activity::Asking;
    assert_eq!(run.outcome().await.ending, Ending::Cancelled { during });
    assert_eq!(store.roles(run.session_id()), "u");
}

#[tokio::test(start_paused = true)]
async fn cancel_in_a_compaction_leaves_the_history_as_it_was() {
    let mut short = config();
    short.compaction.window = Some(1_000);
    short.compaction.keep_turns = 1;
    let model = Script::new([says("One"), says("Two"), says("Three")]).counts([900, 10]);
    let (agent, store) = agent(short, &model, tools(&Arc::default()));
    let first = agent.run("a ".repeat(500)).await.unwrap();
    first.result().await.unwrap();
    let session = first.session_id().to_owned();
    let mut run = agent
        .run(RunInput::new("b ".repeat(500)).session(&session))
        .await
        .unwrap();
    until(&mut run, "agent.compaction.started").await;
    run.cancel();
    let during = Activity::Compacting;
    assert_eq!(run.outcome().await.ending, Ending::Cancelled { during });
    assert_eq!(store.roles(&session), "uau");
    let next = agent.run(RunInput::new("Go on").session(&session)).await.unwrap();
    assert_eq!(next.result().await.unwrap().text, "Two");
    assert_eq!(model.requests()[1].messages.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_fails_and_is_as_valid() {
    let mut short = config();
    short.timeouts.turn = Some(30.0);
    for (acts, roles) in [(vec![Act::Hang], "u"), (calls(&[("c1", "hang", "{}")]), "uat")] {
        let model = Script::new([acts, says("On")]);
        let (agent, store) = agent(short.clone(), &model, tools(&Arc::default()));
        let run = agent.run("Hi").await.unwrap();
        let error = run.result().await.unwrap_err();
        assert_eq!(error.code, Code::Timeout);
        assert!(
            error.message.contains("30 s") && error.message.contains("timeouts.turn"),
            "{error}"
        );
        assert_eq!(store.roles(run.session_id()), roles);
        let next = agent
            .run(RunInput::new("Go on").session(run.session_id()))
            .await
            .unwrap();
        next.result().await.unwrap();
    }
}

fn on(store: &Arc<MemoryStore>, config: AgentConfig, model: &Script) -> Agent {
    let kept: Arc<dyn SessionStore> = Arc::clone(store) as _;
    let builder = Agent::builder(config).model(Arc::new(model.clone())).store(kept);
    builder.tools(Arc::new(tools(&Arc::default()))).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn killed_after_any_commit_the_session_goes_on() {
    let script = || {
        Script::new([
            calls(&[
                ("c1", "quick", "{}"),
                ("c2", "nope", "{}"),
                ("c3", "quick", r#"{"a":1}"#),
            ]),
            calls(&[("c4", "quick", r#"{"b":1}"#)]),
            says("Done"),
        ])
    };
    let mut config = config();
    config.max_parallel_tools = 1;
    let whole = Arc::new(MemoryStore::default());
    let run = on(&whole, config.clone(), &script()).run("Hi").await.unwrap();
    run.result().await.unwrap();
    let session = run.session_id().to_owned();
    let commits = whole.commits();
    assert!(commits.len() >= 5, "{commits:?}");
    let mut kept = 0;
    for commit in commits {
        kept += commit;
        // A process that was killed has no tasks any more, and its lease is free.
        let store = Arc::new(MemoryStore::with_log(
            &session,
            whole.log(&session)[..kept].to_vec(),
        ));
        let model = Script::new([says("Back again")]);
        let agent = on(&store, config.clone(), &model);
        let next = agent
            .run(RunInput::new("Where were we?").session(&session))
            .await
            .unwrap();
        assert_eq!(
            next.result().await.unwrap().text,
            "Back again",
            "after {kept} events"
        );
        let messages = store.messages(&session);
        let ids: HashSet<_> = messages.iter().map(|stored| stored.message_id.clone()).collect();
        assert_eq!(ids.len(), messages.len(), "no id twice");
        let sent = &model.requests()[0].messages;
        check_messages(sent).unwrap();
        every_provider_takes(&model.requests()[0]);
        // Every turn that began has its end.
        let log = store.log(&session);
        let mut open = Vec::new();
        for event in &log {
            match kind(&event.payload).as_str() {
                "agent.turn.started" => open.push(event.turn_id.clone()),
                "agent.turn.completed" | "agent.turn.failed" => {
                    assert_eq!(open.pop(), Some(event.turn_id.clone()));
                }
                _ => {}
            }
        }
        assert_eq!(open, [], "after {kept} events");
        assert_eq!(sent.last().unwrap(), &Message::user("Where were we?"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_answered_out_of_turn_survives_a_kill() {
    let cancelled = Arc::default();
    let model = Script::new([calls(&[
        ("c1", "hang", "{}"),
        ("c2", "quick", "{}"),
        ("c3", "nope", "{}"),
    ])]);
    let (agent, store) = agent(config(), &model, tools(&cancelled));
    let mut run = agent.run("Hi").await.unwrap();
    until(&mut run, "tool.execution.completed:t1.1.2").await;
    let session = run.session_id().to_owned();
    let after = Arc::new(MemoryStore::with_log(&session, store.log(&session)));
    assert_eq!(after.roles(&session), "ua", "no result is saved yet");
    let model = Script::new([says("Back again")]);
    let next = on(&after, config(), &model)
        .run(RunInput::new("Go on").session(&session))
        .await
        .unwrap();
    next.result().await.unwrap();
    every_provider_takes(&model.requests()[0]);
    let read = results(&model.requests()[0]);
    assert!(read[0].1.contains("ended before its result was kept"), "{read:?}");
    assert_eq!(read[1], ("c2".to_owned(), "done".to_owned(), false));
    assert!(read[2].1.contains("there is no tool"), "{read:?}");
}
