//! The loop alone, without a driver: what goes in and what comes out are plain data, and no order of inputs, no lost
//! answer and no kill can leave a call without its result.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::{check_messages, kind};
use omni_agent::{
    AgentConfig, Command, Decision, Ending, Entry, Flow, Input, Payload, Policy, Progress, Scope,
    SessionView, Timer, ToolError, ToolFailure, ToolOutput, ToolSpec,
};
use omni_core::{
    Code, Content, Custom, Error, Event, Finish, FinishReason, Fold, Function, Message, Object, Reply, Tool,
    ToolCall, Usage,
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

fn config() -> AgentConfig {
    let mut config = AgentConfig::new("demo/one");
    config.approval.default = Policy::Ask;
    config.approval.tools.insert("free".into(), Policy::Approve);
    config.max_parallel_tools = 2;
    config.max_tool_rounds = 3;
    config.timeouts.turn = Some(1_000.0);
    config.timeouts.first_event = Some(10.0);
    config.compaction.window = Some(400);
    config.compaction.keep_turns = 1;
    config.budget.tokens = Some(2_000);
    config
}

fn spec(name: &str) -> ToolSpec {
    let mut function = Object::new();
    function.insert("name".into(), json!(name));
    ToolSpec {
        name: name.into(),
        own_name: name.into(),
        server: "host".into(),
        tool: Tool::Function {
            function,
            other: Object::new(),
        },
        read_only: false,
    }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    let custom = (name == "custom").then(|| Custom {
        name: "free".into(),
        input: arguments.into(),
        ..Custom::default()
    });
    ToolCall {
        id: id.into(),
        kind: if custom.is_some() { "custom" } else { "function" }.into(),
        function: custom.is_none().then(|| Function {
            name: name.into(),
            arguments: arguments.into(),
            other: Object::new(),
        }),
        custom,
        signature: None,
        extra: None,
        other: Object::new(),
    }
}

fn reply(text: &str, calls: Vec<ToolCall>, finish: FinishReason) -> Box<Reply> {
    let mut fold = Fold::new();
    fold.push(&Event::TextDelta {
        index: 0,
        text: text.into(),
    });
    let mut reply = fold.finish(
        Finish {
            finish_reason: Some(finish),
            ..Finish::default()
        },
        Vec::new(),
    );
    reply.message.tool_calls = (!calls.is_empty()).then_some(calls);
    reply.usage = Usage {
        input_tokens: Some(100),
        output_tokens: Some(20),
        ..Usage::default()
    };
    Box::new(reply)
}

fn view() -> SessionView {
    SessionView {
        session_id: "s".into(),
        ..SessionView::default()
    }
}

/// The messages on the path of a log of commits.
fn saved(commits: &[Command]) -> Vec<Entry> {
    let mut path: Vec<Entry> = Vec::new();
    for command in commits {
        let Command::Commit { events } = command else {
            continue;
        };
        for event in events {
            assert!(event.payload.durable(), "a commit holds durable events only");
            if let Payload::MessageSaved {
                message_id,
                parent_id,
                message,
            } = &event.payload
            {
                assert_eq!(
                    parent_id.as_ref(),
                    path.last().map(|entry| &entry.message_id),
                    "a path has no gap"
                );
                path.push(Entry {
                    message_id: message_id.clone(),
                    turn_id: event.turn_id.clone(),
                    message: message.clone(),
                });
            }
        }
    }
    path
}

/// A run by hand: a turn with two tools, one of them approved by somebody.
fn scripted() -> Vec<Input> {
    let ended = |call_id: &str, text: &str| Input::ToolEnded {
        call_id: call_id.into(),
        result: Ok(ToolOutput {
            content: Content::Text(text.into()),
            is_error: false,
            structured: None,
        }),
    };
    let asked = vec![call("a", "free", "{}"), call("b", "guarded", r#"{"x": 1}"#)];
    vec![
        Input::Begin {
            message: Some(Message::user("Hi")),
        },
        Input::Tools {
            tools: vec![spec("free"), spec("guarded")],
            failed: Vec::new(),
        },
        Input::Stream {
            event: Event::TextDelta {
                index: 0,
                text: "So".into(),
            },
        },
        Input::Stream {
            event: Event::Done {
                reply: reply("So", asked, FinishReason::ToolCalls),
            },
        },
        ended("t1.1.1", "one"),
        Input::Approval {
            call_id: "t1.1.2".into(),
            decision: Decision::Approve { scope: Scope::Once },
        },
        ended("t1.1.2", "two"),
        Input::Tools {
            tools: vec![spec("free")],
            failed: Vec::new(),
        },
        Input::Stream {
            event: Event::Done {
                reply: reply("Done", Vec::new(), FinishReason::Stop),
            },
        },
    ]
}

fn play(inputs: &[Input]) -> Vec<Command> {
    let mut flow = Flow::new(Arc::new(config()), view());
    let steps = inputs.iter().zip(1..);
    steps
        .flat_map(|(input, at)| flow.step(input.clone(), at * 10))
        .collect()
}

#[test]
fn a_run_played_again_from_its_written_inputs_gives_the_same_commands() {
    let inputs = scripted();
    let written = serde_json::to_string(&inputs).unwrap();
    let read: Vec<Input> = serde_json::from_str(&written).unwrap();
    assert_eq!(read, inputs);
    let commands = play(&inputs);
    assert_eq!(play(&read), commands);
    let written = serde_json::to_string(&commands).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Command>>(&written).unwrap(), commands);
    let Some(Command::Done { outcome }) = commands
        .iter()
        .find(|command| matches!(command, Command::Done { .. }))
    else {
        panic!("the turn ended")
    };
    assert_eq!(
        (&outcome.ending, outcome.text.as_str(), outcome.duration_ms),
        (&Ending::Completed, "Done", 80)
    );
}

#[test]
fn ids_say_turn_round_and_place() {
    let mut turns = Vec::new();
    let mut calls = Vec::new();
    let mut messages = Vec::new();
    for command in play(&scripted()) {
        let Command::Commit { events } = command else {
            continue;
        };
        for event in events {
            turns.push(event.turn_id.clone().unwrap());
            match &event.payload {
                Payload::StreamStarted { .. } | Payload::ToolProposed { .. } => {
                    calls.push((event.call_id.clone().unwrap(), event.parent.clone()));
                }
                Payload::MessageSaved { message_id, .. } => messages.push(message_id.clone()),
                _ => {}
            }
        }
    }
    turns.dedup();
    assert_eq!(turns, ["t1"]);
    let parent = Some("t1.1".to_owned());
    let ids = [
        ("t1.1", None),
        ("t1.1.1", parent.clone()),
        ("t1.1.2", parent),
        ("t1.2", None),
    ];
    assert_eq!(calls, ids.map(|(id, parent)| (id.to_owned(), parent)));
    assert_eq!(messages, ["m1", "m2", "m3", "m4", "m5"]);
}

#[test]
fn nothing_runs_and_nothing_is_asked_before_its_commit() {
    let commands = play(&scripted());
    let mut stored = HashSet::new();
    for command in &commands {
        match command {
            Command::Commit { events } => {
                stored.extend(
                    events
                        .iter()
                        .map(|event| (kind(&event.payload), event.call_id.clone())),
                );
            }
            Command::Ask { call_id, .. } => {
                assert!(stored.contains(&("assistant.stream.started".into(), Some(call_id.clone()))));
            }
            Command::CallTool { call_id, .. } => {
                assert!(stored.contains(&("tool.execution.started".into(), Some(call_id.clone()))));
            }
            Command::Done { .. } => assert!(stored.contains(&("agent.turn.completed".into(), None))),
            _ => {}
        }
    }
    assert_eq!(
        commands
            .iter()
            .filter(|command| matches!(command, Command::Done { .. }))
            .count(),
        1
    );
}

#[test]
fn a_clock_that_is_set_back_makes_no_time_negative() {
    let mut flow = Flow::new(Arc::new(config()), view());
    flow.step(
        Input::Begin {
            message: Some(Message::user("Hi")),
        },
        1_000,
    );
    let commands = flow.step(Input::Cancel, 10);
    let Some(Command::Done { outcome }) = commands.last() else {
        panic!("{commands:?}")
    };
    assert_eq!(outcome.duration_ms, 0);
}

// ------------------------------------------------------------------------------------------------ any order

fn any_call_id() -> impl Strategy<Value = String> {
    (1_u32..3, 1_u32..5, 1_u32..4).prop_map(|(turn, round, place)| format!("t{turn}.{round}.{place}"))
}

fn any_reply() -> impl Strategy<Value = Box<Reply>> {
    let name = prop::sample::select(vec!["free", "guarded", "nowhere", "custom"]);
    let arguments = prop::sample::select(vec!["{}", "", "{\"a\":1}", "[", "3"]);
    let id = prop::sample::select(vec!["a", "b", "c", ""]);
    let finish = prop::sample::select(FinishReason::ALL.to_vec());
    let calls = prop::collection::vec((id, name, arguments), 0..4);
    (".{0,40}", calls, finish).prop_map(|(text, calls, finish)| {
        let calls = calls
            .into_iter()
            .map(|(id, name, arguments)| call(id, name, arguments))
            .collect();
        reply(&text, calls, finish)
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let code = prop::sample::select(Code::ALL.to_vec());
    let index = 0_u32..3;
    prop_oneof![
        6 => any_reply().prop_map(|reply| Event::Done { reply }),
        1 => (code, any_reply()).prop_map(|(code, reply)| Event::Error { error: Error::new(code, "x"), reply }),
        1 => any_reply().prop_map(|reply| Event::Cancelled { reply, closed_ms: None }),
        2 => (index.clone(), ".{0,20}").prop_map(|(index, text)| Event::TextDelta { index, text }),
        1 => (index.clone(), ".{0,20}").prop_map(|(index, text)| Event::ReasoningDelta { index, text }),
        1 => index.clone().prop_map(|index| Event::ReasoningEnd { index, signature: None, encrypted: None }),
        1 => index.clone().prop_map(|index| Event::ToolCallStart { index, id: "a".into(), name: "free".into(), kind: None }),
        1 => index.prop_map(|index| Event::Fallback {
            from: "a".into(), to: "b".into(), error: Error::internal("x"), discarded: vec![index],
        }),
    ]
}

fn any_timer() -> impl Strategy<Value = Timer> {
    prop_oneof![
        Just(Timer::Turn),
        Just(Timer::FirstEvent),
        Just(Timer::Preparing),
        any_call_id().prop_map(Timer::Tool),
        any_call_id().prop_map(Timer::Approval),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let output = prop_oneof![
        ".{0,60}".prop_map(|text| Ok(ToolOutput {
            content: Content::Text(text),
            is_error: false,
            structured: None
        })),
        Just(Err(ToolError::new(ToolFailure::Failed, "x"))),
    ];
    let decision = prop_oneof![
        prop::sample::select(vec![Scope::Once, Scope::Session, Scope::Always])
            .prop_map(|scope| Decision::Approve { scope }),
        Just(Decision::Deny { reason: None }),
    ];
    prop_oneof![
        2 => prop::option::of("[a-z]{1,300}").prop_map(|text| Input::Begin { message: text.map(Message::user) }),
        6 => any::<bool>().prop_map(|guarded| Input::Tools {
            tools: std::iter::once(spec("free")).chain(guarded.then(|| spec("guarded"))).collect(),
            failed: Vec::new(),
        }),
        3 => prop::option::of(0_u64..800).prop_map(|tokens| Input::Counted { tokens }),
        3 => prop_oneof![any_reply().prop_map(Ok), Just(Err(Error::internal("x")))].prop_map(|reply| Input::Summarised { reply }),
        12 => any_event().prop_map(|event| Input::Stream { event }),
        4 => (any_call_id(), decision).prop_map(|(call_id, decision)| Input::Approval { call_id, decision }),
        1 => any_call_id().prop_map(|call_id| Input::Progress {
            call_id, progress: Progress { progress: 1.0, total: None, message: None },
        }),
        8 => (any_call_id(), output).prop_map(|(call_id, result)| Input::ToolEnded { call_id, result }),
        2 => any_timer().prop_map(|timer| Input::TimedOut { timer }),
        1 => Just(Input::Cancel),
    ]
}

/// What must hold whatever comes, and in whatever order.
fn hold(inputs: Vec<Input>) {
    let mut flow = Flow::new(Arc::new(config()), view());
    let mut commands = Vec::new();
    let (mut begun, mut done) = (0, 0);
    for (input, at) in inputs.into_iter().zip(1..) {
        let step = flow.step(input, at);
        for command in &step {
            match command {
                Command::Commit { events } => {
                    assert!(!events.is_empty());
                    let started = events
                        .iter()
                        .filter(|event| matches!(event.payload, Payload::TurnStarted { .. }));
                    begun += started.count();
                }
                Command::Publish { event } => assert!(!event.payload.durable(), "{:?}", kind(&event.payload)),
                Command::Ask { request, .. } => check_messages(&request.messages).unwrap(),
                Command::Done { .. } => done += 1,
                _ => {}
            }
        }
        commands.extend(step);
        if flow.is_idle() {
            // Between turns the session is whole.
            let path: Vec<Message> = saved(&commands).into_iter().map(|entry| entry.message).collect();
            let sent: Vec<Message> = flow.messages();
            check_messages(&sent).unwrap();
            check_calls(&path);
            assert_eq!(begun, done, "each turn ends once");
        }
    }
    // Wherever it is killed, the next process repairs it: here after every commit.
    for cut in 0..commands.len() {
        if !matches!(commands[cut], Command::Commit { .. }) {
            continue;
        }
        let path = saved(&commands[..=cut]);
        let messages = path.len() as u64;
        let again = SessionView {
            path,
            messages,
            turns: 9,
            ..view()
        };
        let mut flow = Flow::new(Arc::new(config()), again);
        flow.step(
            Input::Begin {
                message: Some(Message::user("Go on")),
            },
            1,
        );
        flow.step(Input::Cancel, 2);
        check_messages(&flow.messages()).unwrap();
    }
}

/// As `check_messages`, for a whole path with its empty answers.
fn check_calls(path: &[Message]) {
    let told: Vec<Message> = path
        .iter()
        .filter(|message| !(message.text().is_empty() && message.tool_calls.is_none()))
        .cloned()
        .collect();
    check_messages(&told).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_inputs_leaves_every_call_with_its_result(inputs in prop::collection::vec(any_input(), 1..60)) {
        hold(inputs);
    }

    /// Whatever happens in a turn, a cancel ends it and the session is whole.
    #[test]
    fn a_cancel_after_anything_leaves_a_whole_session(inputs in prop::collection::vec(any_input(), 0..30)) {
        let begin = Input::Begin { message: Some(Message::user("Hi")) };
        hold(std::iter::once(begin).chain(inputs).chain([Input::Cancel]).collect());
    }
}
