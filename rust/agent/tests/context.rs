//! What the model sees when its window is nearly full, and titles.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{Agent, AgentConfig, CompactionReason, HostTools, Payload, RunInput};
use omni_core::{Code, Error, Event, Message, Part, Role};
use serde_json::json;
use std::time::Duration;

fn short(window: u64) -> AgentConfig {
    let mut config = config();
    config.compaction.window = Some(window);
    config.compaction.keep_turns = 1;
    config
}

async fn turn(agent: &Agent, session: Option<&str>, text: &str) -> String {
    let mut input = RunInput::new(text);
    if let Some(session) = session {
        input = input.session(session);
    }
    let run = agent.run(input).await.unwrap();
    run.result().await.unwrap();
    run.session_id().to_owned()
}

fn overflow() -> Vec<Act> {
    vec![Act::Fail(Error::new(Code::ContextLength, "too long"))]
}

fn signed() -> Vec<Act> {
    let mut acts = vec![
        Act::Event(Event::ReasoningDelta {
            index: 0,
            text: "Hm".into(),
        }),
        Act::Event(Event::ReasoningEnd {
            index: 0,
            signature: Some("proof".into()),
            encrypted: None,
        }),
    ];
    acts.extend(calls(&[("c9", "look", r#"{"n":9}"#)]));
    // The provider says that the window is nearly full.
    let at = acts.len() - 2;
    acts[at] = used(1_500, 5);
    acts
}

fn look() -> HostTools {
    HostTools::new().raw("look", "", json!({"type": "object"}), |_| async {
        "much ".repeat(200)
    })
}

#[tokio::test(start_paused = true)]
async fn a_nearly_full_window_is_shortened_before_the_model_is_asked() {
    let model = Script::new([says("One"), says("Two"), says("Three"), says("Four")])
        .chats([Ok("The user counts.".into())])
        .counts([900, 120]);
    let (agent, store) = agent(short(1_000), &model, HostTools::new());
    let session = turn(&agent, None, &"first ".repeat(200)).await;
    let mut run = agent
        .run(RunInput::new("x ".repeat(900)).session(&session))
        .await
        .unwrap();
    let events = all(&mut run).await;
    let kinds = durable(&events);
    let at = |kind: &str| kinds.iter().position(|found| found == kind).unwrap();
    assert!(
        at("agent.compaction.completed") < at("assistant.stream.started"),
        "{kinds:?}"
    );
    assert!(matches!(
        &of_kind(&events, "agent.compaction.started")[0].payload,
        Payload::CompactionStarted {
            reason: CompactionReason::WindowNearlyFull,
            tokens: 900
        }
    ));
    let Payload::CompactionCompleted {
        summary,
        first_kept,
        tokens_before,
        tokens_after,
    } = &of_kind(&events, "agent.compaction.completed")[0].payload
    else {
        panic!("completed")
    };
    assert_eq!(
        (summary.as_deref(), first_kept.as_deref()),
        (Some("The user counts."), Some("m3"))
    );
    assert_eq!((*tokens_before, *tokens_after), (900, 120));
    // What was summed up went to the small question, and not to the model any more.
    assert!(model.chatted()[0].messages[1].text().contains("first first"));
    let sent = &model.requests()[1].messages;
    assert_eq!(sent.len(), 2);
    assert!(sent[0].text().contains("The user counts.") && sent[0].role == Role::User);
    assert_eq!(sent[1].text(), "x ".repeat(900));

    // The log keeps everything, and a new process sees what the model saw.
    assert_eq!(store.roles(&session), "uaua");
    let copy = MemoryStore::with_log(&session, store.log(&session));
    let model = Script::new([says("Five")]).counts([10]);
    let (other, _) = agent_on(short(1_000), &model, HostTools::new(), copy);
    turn(&other, Some(&session), "And?").await;
    let sent = &model.requests()[0].messages;
    let texts: Vec<_> = sent.iter().map(|message| message.text().into_owned()).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[0].contains("The user counts."));
    assert_eq!((texts[2].as_str(), texts[3].as_str()), ("Two", "And?"));
}

#[tokio::test(start_paused = true)]
async fn below_the_limit_nothing_is_counted_and_above_it_the_count_decides() {
    let model = Script::new([says("One")]).counts([500]);
    let (agent, _) = agent(short(1_000), &model, HostTools::new());
    let session = turn(&agent, None, "short").await;
    turn(&agent, Some(&session), &"x ".repeat(1_000)).await;
    assert!(model.chatted().is_empty(), "the count says that it fits");
    assert_eq!(model.requests()[1].messages.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_overflow_is_shortened_and_asked_once_more() {
    let model = Script::new([says("One"), overflow(), says("Two")]).chats([Ok("They met.".into())]);
    // No window is known: only the provider's word.
    let (agent, _) = agent(config(), &model, HostTools::new());
    let session = turn(&agent, None, "Hello").await;
    let mut run = agent.run(RunInput::new("More").session(&session)).await.unwrap();
    let events = all(&mut run).await;
    assert_eq!(run.result().await.unwrap().text, "Two");
    assert!(matches!(
        of_kind(&events, "assistant.stream.failed")[0].payload,
        Payload::StreamFailed { retried: true, .. }
    ));
    assert!(matches!(
        of_kind(&events, "agent.compaction.started")[0].payload,
        Payload::CompactionStarted {
            reason: CompactionReason::ContextLength,
            ..
        }
    ));
    let ids: Vec<_> = of_kind(&events, "assistant.stream.started")
        .iter()
        .map(|event| event.call_id.clone().unwrap())
        .collect();
    assert_eq!(ids, ["t2.1", "t2.2"]);
    assert!(model.requests()[2].messages[0].text().contains("They met."));
}

#[tokio::test(start_paused = true)]
async fn an_overflow_that_stays_fails_the_turn_after_one_retry() {
    let scripts = (0..6).map(|_| says("One")).chain([overflow()]);
    let model = Script::new(scripts).chats((0..3).map(|_| Ok("They met.".into())));
    let (agent, store) = agent(config(), &model, HostTools::new());
    let session = turn(&agent, None, "Hello").await;
    for _ in 0..5 {
        turn(&agent, Some(&session), "And").await;
    }
    let run = agent.run(RunInput::new("More").session(&session)).await.unwrap();
    assert_eq!(run.result().await.unwrap_err().code, Code::ContextLength);
    assert_eq!(model.chatted().len(), 1, "though there is more that could go");
    assert_eq!(model.requests().len(), 8);
    // One message and nothing that could go: no summary is asked for.
    let model = Script::new([overflow()]);
    let (agent, _) = common::agent(config(), &model, HostTools::new());
    let run = agent.run("Hello").await.unwrap();
    assert_eq!(run.result().await.unwrap_err().code, Code::ContextLength);
    assert!(model.chatted().is_empty());
    assert_eq!(store.roles(&session), "uauauauauauau");
}

#[tokio::test(start_paused = true)]
async fn inside_a_turn_the_task_and_whole_pairs_with_their_proofs_are_kept() {
    let mut config = short(2_000);
    config.max_repeated_calls = 9;
    let one = |n: u32| calls(&[("c", "look", &format!(r#"{{"n":{n}}}"#))]);
    let model = Script::new([one(1), one(2), one(3), signed(), says("Seen")])
        .chats([Ok("Looked three times.".into())])
        .counts([1_900, 500]);
    let (agent, store) = agent(config, &model, look());
    let run = agent
        .run("Look at everything, and name the red one.")
        .await
        .unwrap();
    run.result().await.unwrap();
    let requests = model.requests();
    let sent = &requests.last().unwrap().messages;
    let summary = sent[0].text();
    assert!(summary.contains("Looked three times."), "{summary}");
    assert!(
        summary.contains("name the red one."),
        "the task, word for word: {summary}"
    );
    assert_eq!(sent[1].role, Role::Assistant, "{sent:?}");
    let kept = sent
        .iter()
        .find(|message| message.tool_calls.iter().flatten().any(|call| call.id == "c9"));
    let Some(omni_core::Content::Parts(parts)) = &kept.unwrap().content else {
        panic!("parts")
    };
    assert!(matches!(&parts[0], Part::Reasoning { signature: Some(proof), .. } if proof == "proof"));
    assert_eq!(store.roles(run.session_id()), "uatatatata");
}

#[tokio::test(start_paused = true)]
async fn without_a_summary_only_old_results_are_left_out() {
    let mut config = short(2_000);
    config.compaction.keep_turns = 1;
    for failure in [
        Some(Err(Error::new(Code::Overloaded, "busy"))),
        Some(Ok("  ".into())),
        None,
    ] {
        let model = Script::new([
            calls(&[("c1", "look", "{}")]),
            says("One"),
            says("Two"),
            says("Three"),
        ])
        .chats(failure)
        .counts([1_900, 300]);
        let (agent, store) = agent(config.clone(), &model, look());
        let session = turn(&agent, None, "Look").await;
        turn(&agent, Some(&session), &"x ".repeat(2_000)).await;
        let blanked = |sent: &[Message]| {
            sent.iter()
                .any(|message| message.text().contains("left out to save space"))
        };
        let sent = &model.requests()[2].messages;
        assert_eq!(sent.len(), 5);
        assert!(blanked(sent));
        assert!(
            store.messages(&session)[2].message.text().contains("much much"),
            "the log keeps it"
        );
        let copy = MemoryStore::with_log(&session, store.log(&session));
        let model = Script::new([says("Five")]);
        let (other, _) = agent_on(config.clone(), &model, look(), copy);
        turn(&other, Some(&session), "And?").await;
        assert!(blanked(&model.requests()[0].messages));
    }
}

#[tokio::test(start_paused = true)]
async fn a_title_is_made_after_the_first_turn_and_nobody_waits_for_it() {
    let mut config = config();
    config.titles = true;
    config.small_model = Some("demo/small".into());
    let model = Script::new([says("Hello")]).chats([Ok("\"Greetings among friends.\"\n".into())]);
    let (agent, store) = agent(config, &model, HostTools::new());
    let mut run = agent.run("Hi there").await.unwrap();
    let session = run.session_id().to_owned();
    all(&mut run).await;
    run.result().await.unwrap();
    agent.close().await;
    let titles: Vec<_> = of_kind(&store.log(&session), "title.generated")
        .into_iter()
        .cloned()
        .collect();
    assert!(
        matches!(&titles[0].payload, Payload::TitleGenerated { title } if title == "Greetings among friends")
    );
    let asked = &model.chatted()[0];
    assert_eq!(asked.model, "demo/small");
    assert!(asked.messages[1].text().contains("Hi there") && asked.messages[1].text().contains("Hello"));
    turn(&agent, Some(&session), "Again").await;
    assert_eq!(model.chatted().len(), 1, "only after the first turn");
}

#[tokio::test(start_paused = true)]
async fn a_title_that_never_comes_delays_nothing() {
    let mut config = config();
    config.titles = true;
    // `chat` waits for ever.
    let model = Script::new([says("Hello")]);
    let (agent, store) = agent(config, &model, HostTools::new());
    let began = tokio::time::Instant::now();
    let session = turn(&agent, None, "Hi").await;
    turn(&agent, Some(&session), "And on").await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    agent.close().await;
    assert!(of_kind(&store.log(&session), "title.generated").is_empty());
    assert!(!store.is_leased(&session), "the session was given back");
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_title_gets_no_other() {
    let mut config = config();
    config.titles = true;
    let model = Script::new([says("Hello")]).chats([Ok("Another".into())]);
    let (agent, _) = agent(config, &model, HostTools::new());
    agent
        .run(RunInput::new("Hi").titled("Mine"))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert!(model.chatted().is_empty());
}
