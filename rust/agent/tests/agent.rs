//! The agent as a program uses it: sessions, trees, readers, many at once, and a store that fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use futures_util::StreamExt as _;
use omni_agent::{
    Agent, Ending, HostTools, Invocation, LogLevel, Notice, NoticeSink, Payload, Policy, RunInput,
    SessionStore, ToolError, ToolOutput, ToolSource, ToolSpec,
};
use omni_core::{BoxFuture, ChatModel, ChatStream, Code, Error, Message, ModelInfo, Reply, Request, Role};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
}

#[tokio::test(start_paused = true)]
async fn what_the_readers_see_is_what_the_store_has() {
    let model = Script::new([calls(&[("c1", "now", "{}")]), says("Noon")]);
    let tools = HostTools::new().raw("now", "", json!({"type": "object"}), |_| async { "12:00" });
    let (agent, store) = agent(config(), &model, tools);
    let mut run = agent.run("When?").await.unwrap();
    let session = run.session_id().to_owned();
    let late = agent.subscribe(&session, Some(0)).unwrap();
    let events = all(&mut run).await;
    let kept: Vec<_> = events
        .iter()
        .filter(|event| event.seq.is_some())
        .cloned()
        .collect();
    assert_eq!(
        kept,
        store.log(&session),
        "every durable event, in the order of the log"
    );
    let also: Vec<_> = late
        .filter(|event| std::future::ready(event.seq.is_some()))
        .take(kept.len())
        .collect()
        .await;
    assert_eq!(also, kept);
    // An ephemeral event says after which durable one it came.
    let mut last = 0;
    for event in &events {
        match event.seq {
            Some(seq) => last = seq,
            None => assert_eq!(event.after_seq, Some(last)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_where_the_session_was() {
    let (first, store) = agent(config(), &Script::new([says("One")]), HostTools::new());
    let run = first.run("Hi").await.unwrap();
    run.result().await.unwrap();
    let session = run.session_id().to_owned();
    assert!(store.is_leased(&session), "for a moment, for the next turn");
    first.release().await;
    assert!(!store.is_leased(&session));

    let model = Script::new([says("Two")]);
    let (second, store) = agent_on(config(), &model, HostTools::new(), (*store).clone());
    let run = second.run(RunInput::new("And?").session(&session)).await.unwrap();
    let outcome = run.result().await.unwrap();
    assert_eq!(
        (outcome.turn_id.as_str(), outcome.message_id.as_deref()),
        ("t2", Some("m4"))
    );
    let texts: Vec<_> = model.requests()[0]
        .messages
        .iter()
        .map(|message| message.text().into_owned())
        .collect();
    assert_eq!(texts, ["Hi", "One", "And?"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!store.is_leased(&session), "given back by itself");
}

#[tokio::test(start_paused = true)]
async fn an_edit_and_a_regeneration_add_siblings() {
    let model = Script::new([says("A1"), says("A2"), says("B1"), says("B2"), says("C")]);
    let (agent, store) = agent(config(), &model, HostTools::new());
    let run = agent.run("Q1").await.unwrap();
    run.result().await.unwrap();
    let session = run.session_id().to_owned();
    agent
        .run(RunInput::new("Q2").session(&session))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();

    agent
        .run(RunInput::edit(&session, "m3", "Q2 better"))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let mut again = agent.run(RunInput::regenerate(&session, None)).await.unwrap();
    let events = all(&mut again).await;
    assert_eq!(
        durable(&events)[..3],
        [
            "agent.turn.started",
            "session.leaf_changed",
            "assistant.stream.started"
        ]
    );
    assert!(matches!(&events[0].payload, Payload::TurnStarted { message_id, .. } if message_id == "m5"));
    agent
        .run(
            RunInput::new("Elsewhere")
                .session(&session)
                .after(Some("m2".into())),
        )
        .await
        .unwrap()
        .result()
        .await
        .unwrap();

    let tree: Vec<_> = store
        .messages(&session)
        .iter()
        .map(|stored| {
            format!(
                "{}<{}",
                stored.message.text(),
                stored.parent_id.as_deref().unwrap_or("")
            )
        })
        .collect();
    assert_eq!(
        tree,
        [
            "Q1<",
            "A1<m1",
            "Q2<m2",
            "A2<m3",
            "Q2 better<m2",
            "B1<m5",
            "B2<m5",
            "Elsewhere<m2",
            "C<m8"
        ]
    );
    let texts: Vec<_> = model.requests()[3]
        .messages
        .iter()
        .map(|message| message.text().into_owned())
        .collect();
    assert_eq!(texts, ["Q1", "A1", "Q2 better"]);

    let error = agent.run(RunInput::edit(&session, "m2", "x")).await.unwrap_err();
    assert!(
        error.message.contains("m2") && error.message.contains("no message of the user"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_goes_its_own_way() {
    let model = Script::new([says("One"), says("Two")]);
    let (agent, store) = agent(config(), &model, HostTools::new());
    let run = agent.run("Hi").await.unwrap();
    run.result().await.unwrap();
    let fork = agent.fork(run.session_id(), Some("m1".into())).await.unwrap();
    let next = agent
        .run(RunInput::regenerate(&fork.session_id, None))
        .await
        .unwrap();
    assert_eq!(next.result().await.unwrap().text, "Two");
    assert_eq!(
        (store.roles(run.session_id()), store.roles(&fork.session_id)),
        ("ua".into(), "ua".into())
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_run_cannot_begin_with_is_refused() {
    let (agent, store) = agent(config(), &Script::new([vec![Act::Hang]]), HostTools::new());
    let running = agent.run(RunInput::new("Hi").new_session("mine")).await.unwrap();
    for (input, code, says) in [
        (RunInput::new("Hi").session("other"), Code::NotFound, "other"),
        (RunInput::new(" "), Code::InvalidRequest, "empty"),
        (
            RunInput::new(Message::assistant("x")),
            Code::InvalidRequest,
            "role",
        ),
        (RunInput::new("x").after(None), Code::InvalidRequest, "no session"),
        (
            RunInput::new("x").session("mine"),
            Code::InvalidRequest,
            "is running",
        ),
    ] {
        let error = agent.run(input).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
    assert!(agent.running("mine").is_some());
    agent.close().await;
    assert!(matches!(running.outcome().await.ending, Ending::Cancelled { .. }));
    assert!(!store.is_leased("mine"));
    let missing = Agent::builder(config()).build().unwrap_err();
    assert!(missing.message.contains("model(…)"), "{missing}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_turn_and_what_it_has_stays() {
    for works in 0..4 {
        let model = Script::new([says("x"), calls(&[("c1", "now", "{}")]), says("Noon")]);
        let tools = HostTools::new().raw("now", "", json!({"type": "object"}), |_| async { "12:00" });
        let (agent, store) = agent(config(), &model, tools);
        let first = agent.run("Hi").await.unwrap();
        first.result().await.unwrap();
        let session = first.session_id().to_owned();
        let before = store.log(&session).len();
        store.fail_after(Some(works));
        let model_calls = model.requests().len();
        let mut run = agent.run(RunInput::new("More").session(&session)).await.unwrap();
        let events = all(&mut run).await;
        let error = run.result().await.unwrap_err();
        assert!(error.message.contains("disk is full"), "{error}");
        let seen = events.iter().filter(|event| event.seq.is_some()).count();
        assert_eq!(
            seen,
            store.log(&session).len() - before,
            "nobody saw what was not stored"
        );
        if works == 0 {
            assert_eq!(
                model.requests().len(),
                model_calls,
                "no model is asked for what is not stored"
            );
        }
        assert_eq!(model.open(), 0);
        store.fail_after(None);
        let next = agent.run(RunInput::new("Now?").session(&session)).await.unwrap();
        assert_eq!(next.result().await.unwrap().text, "Noon", "after {works} commits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_once_makes_no_session() {
    let (agent, store) = agent(config(), &Script::new([says("x")]), HostTools::new());
    store.fail_after(Some(0));
    let mut run = agent.run("Hi").await.unwrap();
    assert!(all(&mut run).await.is_empty());
    run.result().await.unwrap_err();
    store.fail_after(None);
    let again = agent
        .run(RunInput::new("Hi").new_session(run.session_id()))
        .await
        .unwrap();
    assert_eq!(again.result().await.unwrap().text, "x");
}

/// On one thread, and with no other: an agent has none of its own.
#[tokio::test(start_paused = true)]
async fn two_hundred_agents_at_once_on_one_thread() {
    let mut slow = says("Hello");
    slow.insert(0, Act::Wait(Duration::from_secs(5)));
    let model = Script::new([slow]);
    let agents: Vec<_> = (0..200)
        .map(|_| agent(config(), &model, HostTools::new()).0)
        .collect();
    let began = tokio::time::Instant::now();
    let mut runs = Vec::new();
    for agent in agents.iter().chain(&agents) {
        runs.push(agent.run("Hi").await.unwrap());
    }
    while model.open() < 400 {
        tokio::task::yield_now().await;
    }
    for run in &runs {
        assert_eq!(run.result().await.unwrap().text, "Hello");
    }
    assert_eq!(began.elapsed(), Duration::from_secs(5), "all at once");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_there_is_not_made_again() {
    let (agent, _) = agent(config(), &Script::new([says("x")]), HostTools::new());
    let mine = || RunInput::new("Hi").new_session("mine");
    agent.run(mine()).await.unwrap().result().await.unwrap();
    // While it is still open here, and when only the store knows it.
    assert!(agent.run(mine()).await.unwrap_err().message.contains("already"));
    agent.release().await;
    let error = agent.run(mine()).await.unwrap().result().await.unwrap_err();
    assert!(error.message.contains("one of this id"), "{error}");
}

/// A source whose list fails, and which tells things.
#[derive(Clone, Default)]
struct Lame(Arc<Mutex<Option<NoticeSink>>>);

impl ToolSource for Lame {
    fn name(&self) -> &'static str {
        "lame"
    }
    fn tools(&self) -> BoxFuture<'_, Result<Vec<ToolSpec>, Error>> {
        Box::pin(async { Err(Error::new(Code::Connection, "the server did not start")) })
    }
    fn call(&self, _: Invocation) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(std::future::pending())
    }
    fn watch(&self, sink: NoticeSink) {
        *self.0.lock().unwrap() = Some(sink);
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_costs_its_own_tools_only_and_its_notices_are_kept() {
    let source = Lame::default();
    let model = Script::new([vec![
        Act::Wait(Duration::from_secs(1)),
        text("Fine"),
        Act::Finish(omni_core::FinishReason::Stop),
    ]]);
    let (agent, store) = agent(config(), &model, source.clone());
    let sink = source.0.lock().unwrap().clone().unwrap();
    sink("lame", Notice::Connected(vec!["walk".into()]));
    let run = agent.run("Hi").await.unwrap();
    tokio::task::yield_now().await;
    sink("lame", Notice::Log(LogLevel::Info, "z".repeat(5_000)));
    assert_eq!(run.result().await.unwrap().text, "Fine");
    let log = store.log(run.session_id());
    assert_eq!(
        of_kind(&log, "mcp.server.connected").len(),
        1,
        "what came before the run too"
    );
    let said: Vec<_> = log
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::Log { message, server, .. } => Some((server.clone().unwrap(), message.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter()
            .any(|(server, message)| server == "lame" && message.contains("did not start"))
    );
    assert!(
        said.iter().any(|(_, message)| message.len() == 2_000),
        "a long entry is cut"
    );
}

/// A model whose stream panics.
struct Broken;

impl ChatModel for Broken {
    fn chat(&self, _: Request) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(std::future::pending())
    }
    fn stream(&self, _: Request) -> ChatStream {
        panic!("a model that breaks")
    }
    fn model_info(&self, _: &str) -> BoxFuture<'_, Result<ModelInfo, Error>> {
        Box::pin(async { Ok(ModelInfo::default()) })
    }
    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async { Ok(1) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_task_dies_ends_for_its_callers_and_frees_its_session() {
    let store = MemoryStore::default();
    let kept: Arc<dyn SessionStore> = Arc::new(store.clone());
    let broken = Agent::builder(config())
        .model(Arc::new(Broken))
        .store(kept)
        .build()
        .unwrap();
    let mut run = broken.run("Hi").await.unwrap();
    all(&mut run).await;
    assert_eq!(run.result().await.unwrap_err().code, Code::Internal);
    assert!(broken.running(run.session_id()).is_none() && !store.is_leased(run.session_id()));
    let (agent, _) = agent_on(config(), &Script::new([says("Fine")]), HostTools::new(), store);
    let next = agent
        .run(RunInput::new("Again").session(run.session_id()))
        .await
        .unwrap();
    assert_eq!(next.result().await.unwrap().text, "Fine");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_goes_on_and_its_handle_still_works() {
    let mut config = config();
    config.approval.default = Policy::Ask;
    let model = Script::new([calls(&[("c1", "now", "{}")]), says("Noon")]);
    let tools = HostTools::new().raw("now", "", json!({"type": "object"}), |_| async { "12:00" });
    let (agent, store) = agent(config, &model, tools);
    let run = agent.run("When?").await.unwrap();
    let session = run.session_id().to_owned();
    drop(run);
    let handle = agent.running(&session).unwrap();
    while handle.waiting().is_empty() {
        tokio::task::yield_now().await;
    }
    let once = omni_agent::Decision::Approve {
        scope: omni_agent::Scope::Once,
    };
    handle.approve("t1.1.1", once).unwrap();
    assert_eq!(handle.result().await.unwrap().text, "Noon");
    assert!(handle.is_finished());
    assert_eq!(store.roles(&session), "uata");
    assert!(
        store
            .messages(&session)
            .iter()
            .all(|stored| stored.message.role != Role::System)
    );
}
