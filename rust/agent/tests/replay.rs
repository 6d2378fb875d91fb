//! A log played again: whatever a session went through, its loop run again from the log does the same; and a loop that
//! does something else shows as a diff.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use futures_util::StreamExt as _;
use omni_agent::{
    Agent, AgentConfig, AgentEvent, Decision, Diff, HostTools, Invocation, Pace, Payload, Policy, Run,
    RunInput, Scope, ToolOutput, compare, play, read_log, test_run,
};
use omni_core::{Code, Content, Error, Event, FinishReason};
use proptest::prelude::*;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn tools() -> HostTools {
    let any = || json!({"type": "object"});
    HostTools::new()
        .raw("echo", "", any(), |call: Invocation| async move {
            serde_json::Value::Object(call.arguments).to_string()
        })
        .raw("fail", "", any(), |_| async {
            Err::<String, _>("the file is not there")
        })
        .raw("says_error", "", any(), |_| async {
            ToolOutput {
                content: Content::Text("no such row".into()),
                is_error: true,
                structured: None,
            }
        })
        .raw("flood", "", any(), |_| async { "é🧵".repeat(100_000) })
        .raw("nothing", "", any(), |_| async { "" })
        .raw("hang", "", any(), |_| std::future::pending::<String>())
        .raw("slow", "", any(), |call: Invocation| async move {
            let seconds = call.arguments["s"].as_u64().unwrap();
            sleep(Duration::from_secs(seconds)).await;
            format!("slept {seconds}")
        })
}

async fn again(log: Vec<AgentEvent>, config: AgentConfig) -> Diff {
    test_run(log, |parts| parts.agent(config)).await.unwrap()
}

/// A session and its log.
struct Session {
    agent: Agent,
    store: Arc<MemoryStore>,
    id: String,
}

impl Session {
    async fn new(config: AgentConfig, model: &Script, input: &str) -> Self {
        let (agent, store) = agent(config, model, tools());
        let mut run = agent.run(input).await.unwrap();
        let id = run.session_id().to_owned();
        all(&mut run).await;
        Self { agent, store, id }
    }

    async fn turn(&self, input: impl Into<RunInput>) {
        let input = input.into().session(&self.id);
        self.run(input).await;
    }

    async fn run(&self, input: RunInput) {
        let mut run = self.agent.run(input).await.unwrap();
        all(&mut run).await;
    }

    async fn log(self) -> Vec<AgentEvent> {
        self.agent.close().await;
        self.store.log(&self.id)
    }
}

/// Reads a run, and does `act` when it sees what `when` wants.
async fn until(run: &mut Run, when: impl Fn(&Payload) -> bool, act: impl Fn(&AgentEvent, &Run)) {
    while let Some(event) = run.next().await {
        if when(&event.payload) {
            act(&event, run);
        }
    }
}

#[track_caller]
fn assert_same(diff: &Diff) {
    assert!(diff.is_empty(), "{diff}");
}

#[tokio::test(start_paused = true)]
async fn text_reasoning_and_later_turns_come_out_the_same() {
    let thinks = |text: &str, index| {
        let mut acts: VecDeque<Act> = says(text).into();
        for event in [
            Event::ReasoningEnd {
                index,
                signature: Some("sig_x".into()),
                encrypted: None,
            },
            Event::ReasoningDelta {
                index,
                text: "Hmm, é".into(),
            },
            Event::ReasoningStart { index, id: None },
        ] {
            acts.push_front(Act::Event(event));
        }
        acts.into()
    };
    let model = Script::new([thinks("Hello there", 1), says("And again"), thinks("Bye", 5)]);
    let session = Session::new(config(), &model, "Hi").await;
    session.turn("More").await;
    session.turn("Last").await;
    let log = session.log().await;
    assert!(log.len() > 15);
    assert_same(&again(log, config()).await);
}

#[tokio::test(start_paused = true)]
async fn tools_of_every_temper_come_out_the_same_in_the_order_in_which_they_ended() {
    let model = Script::new([
        calls(&[
            ("c1", "slow", r#"{"s":3}"#),
            ("c2", "slow", r#"{"s":1}"#),
            ("c3", "echo", r#"{"a": 1}"#),
            ("c4", "fail", "{}"),
            ("c5", "says_error", "{}"),
            ("c6", "flood", "{}"),
            ("c7", "nothing", "{}"),
            ("c8", "hang", "{}"),
            ("c9", "ecko", "{}"),
            ("c10", "echo", "{\"a\": "),
            ("c11", "slow", r#"{"s":2}"#),
        ]),
        calls(&[("c1", "echo", r#"{"a": 1}"#), ("", "echo", r#"{"a": 1}"#)]),
        calls(&[("c1", "echo", r#"{"a":  1}"#)]),
        calls(&[("c1", "echo", r#"{"a":1}"#)]),
        says("Fine"),
    ]);
    let session = Session::new(config(), &model, "Do it").await;
    let log = session.log().await;
    let ended = of_kind(&log, "tool.execution.completed");
    assert!(ended.len() >= 8, "{}", ended.len());
    for _ in 0..3 {
        assert_same(&again(log.clone(), config()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_user_decided_is_decided_again() {
    let mut config = config();
    config.approval.default = Policy::Ask;
    let model = Script::new([
        calls(&[
            ("c1", "echo", r#"{"n":1}"#),
            ("c2", "fail", "{}"),
            ("c3", "slow", r#"{"s":1}"#),
        ]),
        calls(&[("c4", "echo", r#"{"n":2}"#)]),
        says("Fine"),
    ]);
    let (agent, store) = agent(config.clone(), &model, tools());
    let mut run = agent.run("Do it").await.unwrap();
    let decide = |event: &AgentEvent, run: &Run| {
        let Payload::ToolProposed { call, .. } = &event.payload else {
            return;
        };
        let decision = match call.id.as_str() {
            "c1" => Decision::Approve {
                scope: Scope::Session,
            },
            "c2" => Decision::Deny {
                reason: Some("not now: later".into()),
            },
            _ => Decision::Approve { scope: Scope::Once },
        };
        // Nobody is asked about what was approved for the session.
        let _ = run.handle().approve(event.call_id.as_deref().unwrap(), decision);
    };
    until(
        &mut run,
        |payload| matches!(payload, Payload::ToolProposed { .. }),
        decide,
    )
    .await;
    let log = store.log(run.session_id());
    let approved = of_kind(&log, "tool.execution.approved").len();
    assert_eq!((approved, of_kind(&log, "tool.execution.denied").len()), (2, 1));
    assert_same(&again(log.clone(), config.clone()).await);

    // And where nobody is asked any more, that is the difference.
    config.approval.default = Policy::Approve;
    let diff = again(log, config).await.to_string();
    assert!(diff.contains("-  needs_approval: true"), "{diff}");
    assert!(diff.contains("+  needs_approval: false"), "{diff}");
    assert!(diff.contains("-tool.execution.denied (t1.1.2)"), "{diff}");
}

/// Runs a log again in no time: the clock of the test stands still unless somebody waits on it.
async fn at_once(log: Vec<AgentEvent>, config: AgentConfig) -> Diff {
    let began = Instant::now();
    let diff = again(log, config).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody is waited for");
    diff
}

#[tokio::test(start_paused = true)]
async fn a_turn_in_which_nobody_was_there_comes_out_the_same_when_somebody_could_be() {
    let asks = |id: &str| calls(&[(id, "echo", &format!(r#"{{"id":"{id}"}}"#)), ("x", "fail", "{}")]);
    for policy in [Policy::Ask, Policy::ApproveReads] {
        let model = Script::new([asks("a"), says("One"), asks("b"), says("Two")]);
        let mut config = config();
        config.approval.default = policy;
        config.approval.tools.insert("fail".into(), Policy::Approve);
        config.approval.unattended = true;
        let session = Session::new(config.clone(), &model, "Go").await;
        session.turn("Again").await;
        let log = session.log().await;
        assert!(!of_kind(&log, "tool.execution.denied").is_empty());
        assert_same(&at_once(log.clone(), config.clone()).await);
        config.approval.unattended = false;
        assert_same(&at_once(log, config).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_the_log_does_not_have_is_not_waited_for() {
    let asks = |id: &str| {
        let arguments = format!(r#"{{"id":"{id}"}}"#);
        calls(&[(id, "echo", &arguments), ("x", "fail", &arguments)])
    };
    let model = Script::new([asks("a"), asks("b"), says("Fine")]);
    let log = Session::new(config(), &model, "Go").await.log().await;
    let mut asked = config();
    asked.approval.default = Policy::Ask;
    let diff = at_once(log, asked.clone()).await.to_string();
    assert!(diff.contains("+  needs_approval: true"), "{diff}");
    assert!(diff.contains("+tool.execution.denied (t1.2.2)"), "{diff}");
    assert!(diff.contains("+  by: \"timeout\""), "{diff}");

    // Where nobody decided in time, that comes at once as well, and is no difference.
    let model = Script::new([asks("a"), says("Fine")]);
    let log = Session::new(asked.clone(), &model, "Go").await.log().await;
    assert_eq!(of_kind(&log, "tool.execution.denied").len(), 2);
    assert_same(&at_once(log, asked.clone()).await);

    // Nor is what ended by the turn's own limit.
    asked.timeouts.turn = Some(5.0);
    let model = Script::new([asks("a")]);
    let log = Session::new(asked.clone(), &model, "Go").await.log().await;
    assert_eq!(of_kind(&log, "agent.turn.failed").len(), 1);
    assert_same(&again(log, asked).await);
}

#[tokio::test(start_paused = true)]
async fn a_turn_cancelled_anywhere_is_cancelled_there_again() {
    let streaming = vec![
        text("Once upon "),
        Act::Event(Event::TextDelta {
            index: 0,
            text: "a".into(),
        }),
        Act::Hang,
    ];
    let asks = |tool| calls(&[("c1", "echo", "{}"), ("c2", tool, "{}")]);
    for (name, script, policy) in [
        ("asking", vec![Act::Hang], Policy::Approve),
        ("streaming", streaming, Policy::Approve),
        ("running_tools", asks("hang"), Policy::Approve),
        ("waiting_for_approval", asks("echo"), Policy::Ask),
    ] {
        let mut config = config();
        config.approval.default = policy;
        config.timeouts.tool = 10_000.0;
        config.timeouts.approval = 10_000.0;
        let model = Script::new([script, says("Well then")]);
        let (agent, store) = agent(config.clone(), &model, tools());
        let mut run = agent.run("Go").await.unwrap();
        let handle = run.handle();
        // Nothing else moves the clock any more: the turn has come to its halt.
        tokio::spawn(async move {
            sleep(Duration::from_secs(100)).await;
            handle.cancel();
        });
        all(&mut run).await;
        let id = run.session_id().to_owned();
        let mut next = agent.run(RunInput::new("Again").session(&id)).await.unwrap();
        all(&mut next).await;
        let log = store.log(&id);
        let during = of_kind(&log, "agent.turn.cancelled")
            .first()
            .map(|event| serde_json::to_value(&event.payload).unwrap()["payload"]["during"].clone());
        assert_eq!(during, Some(json!(name)));
        let diff = again(log, config).await;
        assert!(diff.is_empty(), "{name}: {diff}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_titles_and_compaction_come_out_the_same() {
    let mut config = config();
    config.titles = true;
    config.compaction.keep_turns = 1;
    let full = Error::new(Code::ContextLength, "too long");
    let model = Script::new([
        says("One"),
        vec![Act::Fail(Error::new(Code::RateLimit, "slow down"))],
        vec![Act::Fail(full)],
        says("Two"),
    ])
    .chats([Ok("A fine \"title\".".into()), Ok("What was said".into())]);
    let session = Session::new(config.clone(), &model, "First").await;
    sleep(Duration::from_secs(1)).await;
    session.turn("Second").await;
    session.turn("Third").await;
    let log = session.log().await;
    for kind in [
        "title.generated",
        "agent.turn.failed",
        "agent.compaction.completed",
    ] {
        assert_eq!(of_kind(&log, kind).len(), 1, "{kind}");
    }
    assert_same(&again(log, config).await);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_was_nearly_full_is_so_again_at_the_same_place() {
    let mut config = config();
    config.compaction.window = Some(1_000);
    config.compaction.keep_turns = 1;
    let words = "word ".repeat(400);
    let model = Script::new([says("One"), says("Two"), says("Three")])
        .counts([500, 900, 200])
        .chats([Ok("Short".into())]);
    let session = Session::new(config.clone(), &model, &words).await;
    session.turn(words.as_str()).await;
    session.turn(words.as_str()).await;
    let log = session.log().await;
    assert_eq!(of_kind(&log, "agent.compaction.completed").len(), 1);
    assert_same(&again(log, config).await);
}

#[tokio::test(start_paused = true)]
async fn edits_and_regenerations_happen_where_they_happened() {
    let model = Script::new([
        says("One"),
        says("Two"),
        says("Three"),
        says("Four"),
        says("Five"),
    ]);
    let session = Session::new(config(), &model, "First").await;
    session.turn("Second").await;
    session.run(RunInput::regenerate(&session.id, None)).await;
    session
        .run(RunInput::edit(&session.id, "m3", "Another second"))
        .await;
    session
        .run(
            RunInput::new("Aside")
                .session(&session.id)
                .after(Some("m2".into())),
        )
        .await;
    let log = session.log().await;
    assert_same(&again(log, config()).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_between_the_turns_is_done_again() {
    let model = Script::new([says("One"), says("Two")]);
    let session = Session::new(config(), &model, "First").await;
    session.turn("Second").await;
    let mut log = session.log().await;
    // As a store writes it: a session forked from another, renamed after its first turn.
    let Payload::SessionCreated { forked_from, .. } = &mut log[0].payload else {
        panic!("the first event");
    };
    *forked_from = Some(omni_agent::ForkOrigin {
        session_id: "another".into(),
        message_id: None,
    });
    let end = log
        .iter()
        .position(|event| matches!(event.payload, Payload::TurnCompleted { .. }))
        .unwrap();
    let mut renamed = log[0].clone();
    let title = "Renamed".to_owned();
    renamed.payload = Payload::SessionRenamed { title };
    log.insert(end + 1, renamed.clone());
    // A fork of it, made by somebody else while the turn ran, is no doing of the loop.
    renamed.payload = Payload::SessionForked {
        new_session_id: "a-fork".into(),
        message_id: None,
    };
    log.insert(end - 1, renamed);
    for (event, seq) in log.iter_mut().zip(1..) {
        event.seq = Some(seq);
    }
    assert_same(&again(log, config()).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_tools_did_in_whatever_order_comes_out_the_same(
        rounds in prop::collection::vec(prop::collection::vec((0..7_usize, 0..4_u64), 1..6), 0..4),
        parallel in 1..4_usize,
        stops_after in prop::option::of(0..12_u64),
    ) {
        let names = ["echo", "fail", "says_error", "slow", "slow", "nothing", "flood"];
        let scripts = rounds.iter().enumerate().map(|(round, asked)| {
            let asked: Vec<(String, &str, String)> = asked
                .iter()
                .enumerate()
                .map(|(at, (tool, s))| (format!("c{round}-{at}"), names[*tool], format!("{{\"s\":{s}}}")))
                .collect();
            let asked: Vec<(&str, &str, &str)> =
                asked.iter().map(|(id, name, arguments)| (&**id, *name, &**arguments)).collect();
            calls(&asked)
        });
        let model = Script::new(scripts.chain([says("Fine")]));
        let mut config = config();
        config.max_parallel_tools = parallel;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (agent, store) = agent(config.clone(), &model, tools());
            let mut run = agent.run("Go").await.unwrap();
            let handle = run.handle();
            if let Some(seconds) = stops_after {
                // Between two whole seconds, so that no tool ends at the same moment.
                tokio::spawn(async move {
                    sleep(Duration::from_millis(seconds * 1_000 + 500)).await;
                    handle.cancel();
                });
            }
            all(&mut run).await;
            let diff = again(store.log(run.session_id()), config).await;
            assert!(diff.is_empty(), "{diff}");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_loop_shows_as_a_diff_of_its_events() {
    let round = |id: &str| calls(&[(id, "echo", &format!(r#"{{"id":"{id}"}}"#))]);
    let model = Script::new([round("a"), round("b"), says("Fine")]);
    let log = Session::new(config(), &model, "Go").await.log().await;
    let mut changed = config();
    changed.max_tool_rounds = 1;
    let diff = again(log.clone(), changed).await;
    let shown = diff.to_string();
    assert!(!diff.is_empty());
    assert!(shown.starts_with("--- recorded\n+++ new\n@@ event "), "{shown}");
    assert!(shown.contains("+tool.execution.denied (t1.2.1)"), "{shown}");
    assert!(shown.contains("-tool.execution.completed (t1.2.1)"), "{shown}");
    assert!(shown.contains("+  stopped_by: \"max_tool_rounds\""), "{shown}");

    // A log that was changed by hand shows in the one line that was changed.
    let mut touched = log.clone();
    for event in &mut touched {
        if let Payload::TurnCompleted { finish_reason, .. } = &mut event.payload {
            *finish_reason = Some(FinishReason::Length);
        }
    }
    let diff = compare(&log, &touched).to_string();
    let changed: Vec<&str> = diff
        .lines()
        .filter(|line| line.starts_with(['-', '+']))
        .skip(2)
        .collect();
    assert_eq!(
        changed,
        ["-  finish_reason: \"stop\"", "+  finish_reason: \"length\""],
        "{diff}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_run_again_says_why() {
    let model = Script::new([says("One")]);
    let log = Session::new(config(), &model, "First").await.log().await;
    let cut = log[..4].to_vec();
    let error = test_run(cut, |parts| parts.agent(config())).await.unwrap_err();
    assert!(error.message.contains("t1"), "{error}");
    let error = test_run(log[1..].to_vec(), |parts| parts.agent(config()))
        .await
        .unwrap_err();
    assert!(error.message.contains("session.created"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_log_of_json_lines_is_read_with_its_ephemeral_events_and_a_wrong_line_is_named() {
    let model = Script::new([says("One")]);
    let (agent, store) = agent(config(), &model, tools());
    let mut run = agent.run("First").await.unwrap();
    let events = all(&mut run).await;
    assert!(events.iter().any(|event| event.seq.is_none()));
    let lines: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    let read = read_log(&lines.join("\n\n")).unwrap();
    assert_eq!(read, events);
    assert_same(&compare(&store.log(run.session_id()), &read));
    assert_same(&again(read, config()).await);
    for (wrong, says) in [
        ("{\"v\": 1", "line 2"),
        (
            "{\"v\":9,\"timestamp_ms\":1,\"session_id\":\"s\",\"event_type\":\"session.deleted\",\"payload\":{}}",
            "version 9",
        ),
    ] {
        let error = read_log(&format!("{}\n{wrong}", lines[0])).unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_played_with_its_own_timing_divided_by_the_speed() {
    let model = Script::new([vec![
        Act::Wait(Duration::from_secs(2)),
        text("x"),
        Act::Wait(Duration::from_secs(40)),
        used(1, 1),
        Act::Finish(FinishReason::Stop),
    ]]);
    let log = Session::new(config(), &model, "Hi").await.log().await;
    for (pace, seconds) in [
        (
            Pace {
                speed: 1.0,
                longest_wait: None,
            },
            42.0,
        ),
        (
            Pace {
                speed: 4.0,
                longest_wait: None,
            },
            10.5,
        ),
        (Pace::from(1.0), 5.0),
        (Pace::from(f64::INFINITY), 0.0),
    ] {
        let start = Instant::now();
        let played: Vec<AgentEvent> = play(log.clone(), pace).unwrap().collect().await;
        assert_eq!(played, log);
        let took = start.elapsed().as_secs_f64();
        assert!((took - seconds).abs() < 0.1, "{pace:?}: {took}");
    }
    for speed in [0.0, -1.0, f64::NAN] {
        assert!(play(log.clone(), speed).is_err());
    }
}
