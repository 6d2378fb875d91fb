//! Who may let a tool run, for how long, and what becomes of a call that nobody lets run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{AgentConfig, Decider, Decision, HostTools, Op, Payload, Policy, Run, RunInput, Scope};
use omni_core::Code;
use serde_json::json;
use std::time::Duration;

fn asks() -> AgentConfig {
    let mut config = config();
    config.approval.default = Policy::Ask;
    config
}

fn tools() -> HostTools {
    let any = json!({"type": "object"});
    HostTools::new()
        .raw("write", "", any.clone(), |_| async { "written" })
        .raw("erase", "", any.clone(), |_| async { "erased" })
        .raw("read", "", any, |_| async { "contents" })
        .read_only()
}

/// Reads until a call is proposed that waits, and gives its id.
async fn proposed(run: &mut Run) -> String {
    while let Some(event) = run.next().await {
        if matches!(
            event.payload,
            Payload::ToolProposed {
                needs_approval: true,
                ..
            }
        ) {
            return event.call_id.unwrap();
        }
    }
    panic!("nothing was proposed");
}

const fn approve(scope: Scope) -> Decision {
    Decision::Approve { scope }
}

#[tokio::test(start_paused = true)]
async fn approved_once_it_runs_and_the_next_call_asks_again() {
    let two = [
        calls(&[("c1", "write", r#"{"n":1}"#)]),
        calls(&[("c2", "write", r#"{"n":2}"#)]),
        says("Fine"),
    ];
    let (agent, _) = agent(asks(), &Script::new(two), tools());
    let mut run = agent.run("Write").await.unwrap();
    let first = proposed(&mut run).await;
    assert_eq!(
        (first.as_str(), run.handle().waiting()),
        ("t1.1.1", vec![first.clone()])
    );
    run.handle().approve(&first, approve(Scope::Once)).unwrap();
    let second = proposed(&mut run).await;
    let op = Op::Approve {
        call_id: second.clone(),
        decision: approve(Scope::Once),
    };
    run.handle().op(op).unwrap();
    let rest = all(&mut run).await;
    assert!(matches!(
        of_kind(&rest, "tool.execution.approved")[0].payload,
        Payload::ToolApproved {
            by: Decider::User,
            scope: Scope::Once,
            ..
        }
    ));
    assert_eq!(run.result().await.unwrap().text, "Fine");
}

#[tokio::test(start_paused = true)]
async fn denied_the_model_reads_why_and_goes_on() {
    let model = Script::new([
        calls(&[("c1", "write", "{}"), ("c2", "erase", "{}")]),
        says("Then not"),
    ]);
    let (agent, _) = agent(asks(), &model, tools());
    let mut run = agent.run("Write").await.unwrap();
    let call = proposed(&mut run).await;
    let reason = Some("not on a Sunday".to_owned());
    run.handle().approve(&call, Decision::Deny { reason }).unwrap();
    run.handle()
        .approve("t1.1.2", Decision::Deny { reason: None })
        .unwrap();
    let rest = all(&mut run).await;
    assert_eq!(of_kind(&rest, "tool.execution.started").len(), 0);
    let read = results(&model.requests()[1]);
    assert!(
        read[0].2 && read[0].1.contains("user denied this call: not on a Sunday"),
        "{read:?}"
    );
    assert!(
        read[1].2 && read[1].1.ends_with("the user denied this call"),
        "{read:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn approved_for_the_session_the_tool_is_not_asked_about_again_in_it() {
    let model = Script::new([
        calls(&[
            ("c1", "write", r#"{"n":1}"#),
            ("c2", "write", r#"{"n":2}"#),
            ("c3", "erase", "{}"),
        ]),
        calls(&[("c4", "write", r#"{"n":3}"#)]),
        says("Fine"),
        calls(&[("c5", "write", r#"{"n":4}"#)]),
        says("Fine"),
        calls(&[("c6", "write", r#"{"n":5}"#)]),
        says("Fine"),
    ]);
    let (agent, store) = agent(asks(), &model, tools());
    let mut run = agent.run("Write").await.unwrap();
    proposed(&mut run).await;
    run.handle().approve("t1.1.1", approve(Scope::Session)).unwrap();
    // The other call of the tool needs nobody any more, the other tool still does.
    while run.handle().waiting() != ["t1.1.3"] {
        tokio::task::yield_now().await;
    }
    run.handle().approve("t1.1.3", approve(Scope::Once)).unwrap();
    let events = all(&mut run).await;
    assert_eq!(of_kind(&events, "tool.execution.started").len(), 4);
    let session = run.session_id().to_owned();

    let mut run = agent.run(RunInput::new("Again").session(&session)).await.unwrap();
    let events = all(&mut run).await;
    assert!(matches!(
        of_kind(&events, "tool.execution.proposed")[0].payload,
        Payload::ToolProposed {
            needs_approval: false,
            ..
        }
    ));
    // And another process that opens the session knows it from the log.
    let copy = MemoryStore::with_log(&session, store.log(&session));
    let (other, _) = agent_on(asks(), &model, tools(), copy);
    let mut run = other.run(RunInput::new("Again").session(&session)).await.unwrap();
    let events = all(&mut run).await;
    assert!(matches!(
        of_kind(&events, "tool.execution.proposed")[0].payload,
        Payload::ToolProposed {
            needs_approval: false,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn approved_for_always_it_is_kept_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = asks();
    config.approval.file = Some(folder.path().join("omni").join("approvals.json"));
    let script = || Script::new([calls(&[("c1", "write", "{}")]), says("Fine")]);
    let (first, _) = agent(config.clone(), &script(), tools());
    let mut run = first.run("Write").await.unwrap();
    let call = proposed(&mut run).await;
    run.handle().approve(&call, approve(Scope::Always)).unwrap();
    run.result().await.unwrap();
    let (second, _) = agent(config, &script(), tools());
    let mut run = second.run("Write").await.unwrap();
    let events = all(&mut run).await;
    assert_eq!(of_kind(&events, "tool.execution.started").len(), 1);
    assert!(
        of_kind(&events, "tool.execution.approved").is_empty(),
        "nobody was asked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("approvals.json");
    std::fs::write(&file, "{").unwrap();
    let mut config = asks();
    config.approval.file = Some(file);
    let error = omni_agent::Agent::builder(config)
        .model(std::sync::Arc::new(Script::new([says("x")])))
        .build()
        .unwrap_err();
    assert!(error.message.contains("approvals.json"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_decides_about_is_denied_in_the_end() {
    let mut config = asks();
    config.timeouts.approval = 60.0;
    let model = Script::new([calls(&[("c1", "write", "{}")]), says("Fine")]);
    let (agent, _) = agent(config, &model, tools());
    let began = tokio::time::Instant::now();
    let mut run = agent.run("Write").await.unwrap();
    let events = all(&mut run).await;
    assert_eq!(began.elapsed(), Duration::from_secs(60));
    assert!(matches!(
        of_kind(&events, "tool.execution.denied")[0].payload,
        Payload::ToolDenied {
            by: Decider::Timeout,
            ..
        }
    ));
    let error = run.handle().approve("t1.1.1", approve(Scope::Once)).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_unattended_run_never_waits() {
    let mut config = asks();
    config.approval.default = Policy::ApproveReads;
    config.approval.unattended = true;
    let model = Script::new([
        calls(&[("c1", "write", "{}"), ("c2", "read", "{}")]),
        says("Fine"),
    ]);
    let (agent, _) = agent(config, &model, tools());
    let began = tokio::time::Instant::now();
    agent.run("Write").await.unwrap().result().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let read = results(&model.requests()[1]);
    assert!(read[0].2 && read[0].1.contains("nobody is there"), "{read:?}");
    assert_eq!(read[1].1, "contents");
}

#[tokio::test(start_paused = true)]
async fn a_decision_about_an_unknown_call_is_refused_with_a_near_match() {
    let model = Script::new([calls(&[("c1", "write", "{}")]), says("Fine")]);
    let (agent, _) = agent(asks(), &model, tools());
    let mut run = agent.run("Write").await.unwrap();
    proposed(&mut run).await;
    let error = run.handle().approve("t1.1.7", approve(Scope::Once)).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.contains("\"t1.1.1\""), "{error}");
    run.handle().approve("t1.1.1", approve(Scope::Once)).unwrap();
    let late = run
        .handle()
        .approve("t1.1.1", Decision::Deny { reason: None })
        .unwrap_err();
    assert_eq!(late.code, Code::NotFound, "the first decision counts");
    assert_eq!(run.result().await.unwrap().text, "Fine");
}
