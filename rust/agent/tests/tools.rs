//! Tools in the loop: run at once, each with its result in its place, and none that can bring the turn down.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{HostTools, Invocation, Payload, Progress, StoppedBy, ToolError, ToolFailure, ToolOutput};
use omni_core::{Content, Error, FinishReason, Part, Tool};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;

fn any() -> serde_json::Value {
    json!({"type": "object"})
}

/// Tools of every temper.
fn tools() -> HostTools {
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
        .raw("flood", "", any(), |_| async { "é".repeat(1_000_000) })
        .raw("hang", "", any(), |_| std::future::pending::<String>())
        .raw("garbled", "", any(), |_| async {
            Err::<String, _>(ToolError::new(
                ToolFailure::Malformed,
                "the server's answer has no content",
            ))
        })
        .raw("panic", "", any(), |call: Invocation| async move {
            let empty: Vec<String> = Vec::new();
            empty[call.arguments.len()].clone()
        })
        .raw("panic_early", "", any(), |call: Invocation| {
            assert!(call.arguments.contains_key("x"), "no x");
            async { "x" }
        })
        .raw("nothing", "", any(), |_| async { "" })
        .raw("slow", "", any(), |call: Invocation| async move {
            let seconds = call.arguments["s"].as_u64().unwrap();
            sleep(Duration::from_secs(seconds)).await;
            format!("slept {seconds}")
        })
}

#[tokio::test(start_paused = true)]
async fn whatever_a_tool_does_the_model_reads_it_and_the_run_goes_on() {
    // tool, arguments; what the model reads, whether it is an error, and the kind of the failed event.
    for (tool, arguments, reads, is_error, failure) in [
        ("echo", r#"{"a": 1}"#, r#"{"a":1}"#, false, None),
        ("echo", "", "{}", false, None),
        ("nothing", "{}", "gave no output", false, None),
        ("says_error", "{}", "no such row", true, None),
        (
            "fail",
            "{}",
            "the file is not there",
            true,
            Some(ToolFailure::Failed),
        ),
        ("hang", "{}", "within 120 s", true, Some(ToolFailure::Timeout)),
        ("garbled", "{}", "no content", true, Some(ToolFailure::Malformed)),
        (
            "panic",
            "{}",
            "panicked: index out of bounds",
            true,
            Some(ToolFailure::Failed),
        ),
        (
            "panic_early",
            "{}",
            "panicked: no x",
            true,
            Some(ToolFailure::Failed),
        ),
        (
            "echo",
            r#"{"a": "#,
            "cannot be read",
            true,
            Some(ToolFailure::InvalidArguments),
        ),
        (
            "echo",
            "[1]",
            "they are a list",
            true,
            Some(ToolFailure::InvalidArguments),
        ),
        (
            "ecko",
            "{}",
            "did you mean \"echo\"?",
            true,
            Some(ToolFailure::Unknown),
        ),
        (
            "teleport",
            "{}",
            "the tools are: echo, fail",
            true,
            Some(ToolFailure::Unknown),
        ),
    ] {
        let model = Script::new([calls(&[("c1", tool, arguments)]), says("Fine")]);
        let (agent, store) = agent(config(), &model, tools());
        let mut run = agent.run("Do it").await.unwrap();
        let events = all(&mut run).await;
        assert_eq!(run.result().await.unwrap().text, "Fine", "{tool}");
        let read = results(&model.requests()[1]);
        assert_eq!(read.len(), 1, "{tool}");
        assert!(read[0].1.contains(reads), "{tool}: {}", read[0].1);
        assert_eq!(read[0].2, is_error, "{tool}: {}", read[0].1);
        let kinds: Vec<ToolFailure> = events
            .iter()
            .filter_map(|event| match &event.payload {
                Payload::ToolFailed { kind, .. } => Some(*kind),
                _ => None,
            })
            .collect();
        assert_eq!(kinds, Vec::from_iter(failure), "{tool}");
        assert_eq!(store.roles(run.session_id()), "uata", "{tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_cut_on_a_char_border_and_the_model_is_told() {
    let mut config = config();
    config.max_result_bytes = 1_001;
    let model = Script::new([calls(&[("c1", "flood", "{}")]), says("Fine")]);
    let (agent, _) = agent(config, &model, tools());
    let mut run = agent.run("Do it").await.unwrap();
    let events = all(&mut run).await;
    let read = &results(&model.requests()[1])[0].1;
    let (kept, note) = read.split_once('\n').unwrap();
    assert_eq!(kept, "é".repeat(500));
    assert!(note.contains("2000000 bytes") && note.contains("1001"), "{note}");
    let told = of_kind(&events, "tool.execution.completed");
    assert!(matches!(
        told[0].payload,
        Payload::ToolCompleted {
            bytes: 2_000_000,
            truncated: true,
            is_error: false,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn parts_are_cut_where_the_limit_is_and_a_picture_whole() {
    let mut config = config();
    config.max_result_bytes = 100;
    let picture = serde_json::from_value::<Part>(
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(500))}}),
    )
    .unwrap();
    let source = HostTools::new().raw("look", "", any(), move |_| {
        let content = Content::Parts(vec![
            Part::text("a".repeat(60)),
            picture.clone(),
            Part::text("b".repeat(60)),
        ]);
        async move { content }
    });
    let model = Script::new([calls(&[("c1", "look", "{}")]), says("Fine")]);
    let (agent, _) = agent(config, &model, source);
    agent.run("Look").await.unwrap().result().await.unwrap();
    let requests = model.requests();
    let Some(Content::Parts(parts)) = &requests[1].messages.last().unwrap().content else {
        panic!("parts")
    };
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Text { text, .. } => text.clone(),
            other => panic!("{other:?} was kept"),
        })
        .collect();
    assert_eq!((texts[0].len(), texts[2].as_str()), (60, "b".repeat(40).as_str()));
    assert!(
        texts[1].contains("left out") && texts[3].contains("[cut:"),
        "{texts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_answer_run_at_once_and_keep_their_order_in_the_messages() {
    let three = calls(&[
        ("c1", "slow", r#"{"s":30}"#),
        ("c2", "slow", r#"{"s":10}"#),
        ("c3", "slow", r#"{"s":20}"#),
    ]);
    let model = Script::new([three, says("Fine")]);
    let (agent, store) = agent(config(), &model, tools());
    let began = tokio::time::Instant::now();
    let mut run = agent.run("Do it").await.unwrap();
    let events = all(&mut run).await;
    assert_eq!(began.elapsed(), Duration::from_secs(30), "as long as the longest");
    let ended: Vec<_> = of_kind(&events, "tool.execution.completed")
        .iter()
        .map(|event| event.call_id.clone().unwrap())
        .collect();
    assert_eq!(ended, ["t1.1.2", "t1.1.3", "t1.1.1"], "told as they end");
    let read = results(&model.requests()[1]);
    let order: Vec<_> = read
        .iter()
        .map(|(id, text, _)| (id.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        order,
        [("c1", "slept 30"), ("c2", "slept 10"), ("c3", "slept 20")],
        "kept as they were asked for"
    );
    assert_eq!(store.roles(run.session_id()), "uattta");
    let parents: Vec<_> = of_kind(&events, "tool.execution.started")
        .iter()
        .map(|event| event.parent.clone())
        .collect();
    assert_eq!(parents, vec![Some("t1.1".to_owned()); 3]);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_at_once_than_may() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let source = HostTools::new().raw("count", "", any(), |_| async {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(Duration::from_secs(1)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        "counted"
    });
    let mut config = config();
    config.max_parallel_tools = 2;
    let ids = ["a", "b", "c", "d", "e"].map(|id| (id, "count", id));
    let asked: Vec<_> = ids.iter().map(|(id, name, _)| (*id, *name, "{}")).collect();
    config.max_repeated_calls = 5;
    let model = Script::new([calls(&asked), says("Fine")]);
    let (agent, _) = agent(config, &model, source);
    let began = tokio::time::Instant::now();
    agent.run("Count").await.unwrap().result().await.unwrap();
    assert_eq!(MOST.load(Ordering::SeqCst), 2);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_tool_round_takes_two_commits() {
    let model = Script::new([calls(&[("c1", "echo", "{}")]), says("Fine")]);
    let (agent, store) = agent(config(), &model, tools());
    agent.run("Do it").await.unwrap().result().await.unwrap();
    // The turn's beginning; the answer and the call's start; its end and the next question; the turn's end.
    assert_eq!(store.commits().len(), 4, "{:?}", store.commits());
}

#[tokio::test(start_paused = true)]
async fn a_servers_own_limit_takes_the_place_of_the_general_one() {
    struct Server(HostTools);
    impl omni_agent::ToolSource for Server {
        fn name(&self) -> &'static str {
            "web"
        }
        fn tools(&self) -> omni_core::BoxFuture<'_, Result<Vec<omni_agent::ToolSpec>, Error>> {
            Box::pin(async {
                let mut tools = self.0.tools().await?;
                for tool in &mut tools {
                    tool.server = "web".into();
                }
                Ok(tools)
            })
        }
        fn call(&self, invocation: Invocation) -> omni_core::BoxFuture<'_, Result<ToolOutput, ToolError>> {
            self.0.call(invocation)
        }
        fn watch(&self, _: omni_agent::NoticeSink) {}
        fn close(&self) -> omni_core::BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }
    let mut config = config();
    let server = json!({"command": "x", "tool_timeout": 7});
    config
        .mcp_servers
        .insert("web".into(), serde_json::from_value(server).unwrap());
    let model = Script::new([calls(&[("c1", "hang", "{}")]), says("Fine")]);
    let (agent, _) = agent(config, &model, Server(tools()));
    let began = tokio::time::Instant::now();
    agent.run("Do it").await.unwrap().result().await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert!(results(&model.requests()[1])[0].1.contains("within 7 s"));
}

#[tokio::test(start_paused = true)]
async fn the_same_call_again_and_again_is_noticed_and_stopped() {
    let one = |arguments| calls(&[("c", "echo", arguments)]);
    // White space and the order of keys make no other call.
    let model = Script::new([
        one(r#"{"a":1,"b":2}"#),
        one(r#"{"b":2, "a":1}"#),
        one(r#"{ "a":1,"b":2 }"#),
        one(r#"{"a":1,"b":2}"#),
    ]);
    let (agent, store) = agent(config(), &model, tools());
    let mut run = agent.run("Do it").await.unwrap();
    let events = all(&mut run).await;
    let outcome = run.result().await.unwrap();
    assert_eq!(outcome.stopped_by, Some(StoppedBy::RepeatedCall));
    assert_eq!(
        of_kind(&events, "tool.execution.started").len(),
        3,
        "so often it may run"
    );
    assert_eq!(outcome.rounds, 5, "told once, and stopped when it went on");
    let told = &results(&model.requests()[4])[3].1;
    assert!(told.contains("already made 3 times"), "{told}");
    assert_eq!(store.roles(run.session_id()), "uatatatatat");

    // Calls that fail before they run are no others.
    for (name, arguments, kind) in [
        ("ecko", "{}", ToolFailure::Unknown),
        ("echo", r#"{"a": "#, ToolFailure::InvalidArguments),
    ] {
        let model = Script::new([calls(&[("c", name, arguments)])]);
        let (agent, _) = common::agent(config(), &model, tools());
        let mut run = agent.run("Do it").await.unwrap();
        let events = all(&mut run).await;
        let kinds: Vec<ToolFailure> = events
            .iter()
            .filter_map(|event| match &event.payload {
                Payload::ToolFailed { kind, .. } => Some(*kind),
                _ => None,
            })
            .collect();
        let repeated = ToolFailure::Repeated;
        assert_eq!(kinds, [kind, kind, kind, repeated, repeated], "{name}");
        let outcome = run.result().await.unwrap();
        assert_eq!(outcome.stopped_by, Some(StoppedBy::RepeatedCall), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_has_so_many_rounds_of_tools_and_the_next_one_works() {
    let mut config = config();
    config.max_tool_rounds = 2;
    let numbered = |n: &str| calls(&[("c", "echo", &format!(r#"{{"n":{n}}}"#))]);
    let model = Script::new([numbered("1"), numbered("2"), numbered("3"), says("Fine")]);
    let (agent, store) = agent(config, &model, tools());
    let mut run = agent.run("Do it").await.unwrap();
    let events = all(&mut run).await;
    let outcome = run.result().await.unwrap();
    assert_eq!(
        (outcome.stopped_by, outcome.rounds),
        (Some(StoppedBy::MaxToolRounds), 3)
    );
    assert_eq!(of_kind(&events, "tool.execution.started").len(), 2);
    assert_eq!(of_kind(&events, "tool.execution.denied").len(), 1);
    let session = run.session_id().to_owned();
    let next = omni_agent::RunInput::new("Go on").session(&session);
    assert_eq!(
        agent.run(next).await.unwrap().result().await.unwrap().text,
        "Fine"
    );
    assert_eq!(store.roles(&session), "uatatatua");
}

#[tokio::test(start_paused = true)]
async fn a_custom_tool_gets_its_text() {
    let mut acts = calls(&[("c1", "echo", "SELECT 1")]);
    if let Act::Event(omni_core::Event::ToolCallStart { kind, .. }) = &mut acts[0] {
        *kind = Some("custom".into());
    }
    let model = Script::new([acts, says("Fine")]);
    let (agent, _) = agent(config(), &model, tools());
    agent.run("Query").await.unwrap().result().await.unwrap();
    assert_eq!(results(&model.requests()[1])[0].1, r#"{"input":"SELECT 1"}"#);
}

#[tokio::test(start_paused = true)]
async fn calls_cut_by_the_token_limit_or_withheld_do_not_run() {
    for (finish, reads, rounds) in [
        (FinishReason::Length, "limit of tokens", 2),
        (FinishReason::ContentFilter, "withheld", 1),
    ] {
        let mut acts = calls(&[("c1", "echo", r#"{"a": "#)]);
        acts.pop();
        acts.push(Act::Finish(finish));
        let model = Script::new([acts, says("Fine")]);
        let (agent, store) = agent(config(), &model, tools());
        let run = agent.run("Do it").await.unwrap();
        let outcome = run.result().await.unwrap();
        assert_eq!(outcome.rounds, rounds, "{finish:?}");
        let messages = store.messages(run.session_id());
        assert!(
            messages[2].message.text().contains(reads),
            "{}",
            messages[2].message.text()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn calls_without_an_id_of_their_own_get_one() {
    let model = Script::new([
        calls(&[
            ("", "echo", r#"{"a":1}"#),
            ("x", "echo", "{}"),
            ("x", "echo", r#"{"b":1}"#),
        ]),
        says("Fine"),
    ]);
    let (agent, _) = agent(config(), &model, tools());
    agent.run("Do it").await.unwrap().result().await.unwrap();
    let ids: Vec<_> = results(&model.requests()[1])
        .into_iter()
        .map(|(id, text, _)| (id, text))
        .collect();
    let want = [
        ("call_t1_1_1", r#"{"a":1}"#),
        ("x", "{}"),
        ("call_t1_1_3", r#"{"b":1}"#),
    ];
    assert_eq!(ids, want.map(|(id, text)| (id.to_owned(), text.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_while_the_tool_runs_and_not_kept() {
    let source = HostTools::new().raw("dig", "", any(), |call: Invocation| async move {
        call.progress.report(Progress {
            progress: 1.0,
            total: Some(2.0),
            message: Some("deep".into()),
        });
        sleep(Duration::from_secs(1)).await;
        "dug"
    });
    let model = Script::new([calls(&[("c1", "dig", "{}")]), says("Fine")]);
    let (agent, store) = agent(config(), &model, source);
    let mut run = agent.run("Dig").await.unwrap();
    let events = all(&mut run).await;
    let told = of_kind(&events, "tool.execution.progress");
    assert_eq!(
        (told.len(), told[0].call_id.as_deref(), told[0].seq),
        (1, Some("t1.1.1"), None)
    );
    assert!(of_kind(&store.log(run.session_id()), "tool.execution.progress").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closure_has_its_schema_from_its_types() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Sum {
        /// What is added up.
        numbers: Vec<u32>,
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let source = HostTools::new().tool("sum", "Adds numbers.", move |sum: Sum| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { json!({"sum": sum.numbers.iter().sum::<u32>()}) }
    });
    let asked = calls(&[
        ("c1", "sum", r#"{"numbers": [1, 2]}"#),
        ("c2", "sum", r#"{"numbers": "all"}"#),
    ]);
    let model = Script::new([asked, says("Fine")]);
    let (agent, _) = agent(config(), &model, source);
    agent.run("Add").await.unwrap().result().await.unwrap();
    let offered = model.requests()[0].tools.clone().unwrap();
    let [Tool::Function { function, .. }] = offered.as_slice() else {
        panic!("one function")
    };
    assert_eq!(function["description"], "Adds numbers.");
    let numbers = &function["parameters"]["properties"]["numbers"];
    assert_eq!(
        (numbers["type"].as_str(), numbers["description"].as_str()),
        (Some("array"), Some("What is added up."))
    );
    assert_eq!(function["parameters"]["required"], json!(["numbers"]));
    let read = results(&model.requests()[1]);
    assert_eq!(read[0].1, r#"{"sum":3}"#);
    assert!(
        read[1].2 && read[1].1.contains("do not fit the tool's schema"),
        "{}",
        read[1].1
    );
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}
