//! What the loop makes of a model's answers: their parts, their ends, their cost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod common;

use common::*;
use omni_agent::{ChunkKind, HostTools, Payload, RunInput, StoppedBy};
use omni_core::{Code, Error, Event, FinishReason, Role, Timeout, Usage};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn tools() -> HostTools {
    HostTools::new().raw("now", "", json!({"type": "object"}), |_| async { "12:00" })
}

#[tokio::test(start_paused = true)]
async fn chunks_say_where_they_stand_and_join_to_the_message() {
    let model = Script::new([vec![
        Act::Event(Event::ReasoningStart { index: 0, id: None }),
        Act::Event(Event::ReasoningDelta {
            index: 0,
            text: "Hm".into(),
        }),
        Act::Event(Event::ReasoningDelta {
            index: 0,
            text: "…".into(),
        }),
        Act::Event(Event::ReasoningEnd {
            index: 0,
            signature: Some("s".into()),
            encrypted: None,
        }),
        Act::Event(Event::TextDelta {
            index: 1,
            text: "Grüß ".into(),
        }),
        Act::Event(Event::TextDelta {
            index: 1,
            text: "Gott".into(),
        }),
        Act::Event(Event::RefusalDelta { text: "No.".into() }),
        used(1, 1),
        Act::Finish(FinishReason::Stop),
    ]]);
    let (agent, store) = agent(config(), &model, HostTools::new());
    let mut run = agent.run("Hi").await.unwrap();
    let events = all(&mut run).await;
    let mut joined: BTreeMap<(u32, &str), String> = BTreeMap::new();
    for event in &events {
        let (index, kind, offset, text) = match &event.payload {
            Payload::StreamChunk {
                index,
                kind: ChunkKind::Text,
                offset,
                text,
                ..
            } => (*index, "text", offset, text),
            Payload::StreamChunk {
                index,
                kind: ChunkKind::Refusal,
                offset,
                text,
                ..
            } => (*index, "no", offset, text),
            Payload::ThinkingDelta { index, offset, text } => (*index, "thought", offset, text),
            _ => continue,
        };
        let part = joined.entry((index, kind)).or_default();
        assert_eq!(part.len() as u64, *offset);
        part.push_str(text);
    }
    assert_eq!(
        joined.into_iter().collect::<Vec<_>>(),
        [
            ((0, "no"), "No.".to_owned()),
            ((0, "thought"), "Hm…".to_owned()),
            ((1, "text"), "Grüß Gott".to_owned())
        ]
    );
    let thought = of_kind(&events, "agent.thinking.completed");
    assert!(matches!(
        thought[0].payload,
        Payload::ThinkingCompleted { index: 0, length: 5 }
    ));
    assert_eq!(of_kind(&events, "agent.thinking.started").len(), 1);
    assert_eq!(
        store.commits(),
        [4, 5],
        "the reasoning's end costs no commit of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_model_took_over_does_not_count() {
    let model = Script::new([vec![
        Act::Event(Event::ReasoningDelta {
            index: 0,
            text: "Hm".into(),
        }),
        Act::Event(Event::ReasoningEnd {
            index: 0,
            signature: None,
            encrypted: None,
        }),
        Act::Event(Event::Fallback {
            from: "demo/one".into(),
            to: "demo/two".into(),
            error: Error::new(Code::Overloaded, "busy"),
            discarded: vec![0],
        }),
        text("Two says"),
        Act::Finish(FinishReason::Stop),
    ]]);
    let (agent, _) = agent(config(), &model, HostTools::new());
    let mut run = agent.run("Hi").await.unwrap();
    let events = all(&mut run).await;
    assert!(of_kind(&events, "agent.thinking.completed").is_empty());
    let told = of_kind(&events, "assistant.stream.fallback");
    assert!(
        matches!(&told[0].payload, Payload::StreamFallback { to, discarded, .. } if to == "demo/two" && discarded == &[0])
    );
    assert_eq!(run.result().await.unwrap().text, "Two says");
}

#[tokio::test(start_paused = true)]
async fn every_finish_reason_ends_the_turn_as_it_should() {
    for (finish, rounds) in [
        (FinishReason::Stop, 1),
        (FinishReason::Length, 1),
        (FinishReason::ContentFilter, 1),
        (FinishReason::Other, 1),
        (FinishReason::Pause, 2),
    ] {
        let model = Script::new([vec![text("Half"), used(1, 1), Act::Finish(finish)], says("Whole")]);
        let (agent, store) = agent(config(), &model, HostTools::new());
        let run = agent.run("Hi").await.unwrap();
        let outcome = run.result().await.unwrap();
        assert_eq!(outcome.rounds, rounds, "{finish:?}");
        assert_eq!(outcome.stopped_by, None);
        if finish == FinishReason::Pause {
            assert_eq!(store.roles(run.session_id()), "uaa");
            assert_eq!(
                model.requests()[1].messages[1].text(),
                "Half",
                "appended, and asked again"
            );
        } else {
            assert_eq!(outcome.finish_reason, Some(finish));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_only_pauses_is_not_asked_for_ever() {
    let mut config = config();
    config.max_tool_rounds = 3;
    let model = Script::new([vec![text("…"), Act::Finish(FinishReason::Pause)]]);
    let (agent, _) = agent(config, &model, HostTools::new());
    let outcome = agent.run("Hi").await.unwrap().result().await.unwrap();
    assert_eq!(
        (outcome.rounds, outcome.stopped_by),
        (4, Some(StoppedBy::MaxToolRounds))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_fails_the_turn_and_the_next_one_works() {
    for (acts, code) in [
        (
            vec![text("Half"), Act::Fail(Error::new(Code::Overloaded, "busy"))],
            Code::Overloaded,
        ),
        (vec![text("Half"), Act::Break], Code::Protocol),
        (
            vec![Act::Fail(Error::new(Code::Authentication, "no key"))],
            Code::Authentication,
        ),
    ] {
        let model = Script::new([acts, says("Fine")]);
        let (agent, store) = agent(config(), &model, HostTools::new());
        let mut run = agent.run("Hi").await.unwrap();
        let events = all(&mut run).await;
        assert_eq!(run.result().await.unwrap_err().code, code);
        let last: Vec<_> = durable(&events).into_iter().rev().take(2).collect();
        assert_eq!(last, ["agent.turn.failed", "assistant.stream.failed"]);
        assert_eq!(store.roles(run.session_id()), "u");
        let next = agent
            .run(RunInput::new("Again").session(run.session_id()))
            .await
            .unwrap();
        assert_eq!(next.result().await.unwrap().text, "Fine");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_model_is_not_waited_for_longer_than_its_limit() {
    let mut config = config();
    config.timeouts.first_event = Some(20.0);
    let model = Script::new([vec![Act::Hang]]);
    let (first, _) = agent(config.clone(), &model, HostTools::new());
    let began = tokio::time::Instant::now();
    let error = first.run("Hi").await.unwrap().result().await.unwrap_err();
    assert_eq!(
        (error.code, began.elapsed()),
        (Code::Timeout, Duration::from_secs(20))
    );
    assert_eq!(model.open(), 0);
    let Some(Timeout::Each(limits)) = model.requests()[0].timeout else {
        panic!("the client keeps it too")
    };
    assert_eq!(limits.first_event, Some(20.0));
    // One that has begun may take its time.
    let slow = vec![
        text("So"),
        Act::Wait(Duration::from_secs(60)),
        text(" slow"),
        Act::Finish(FinishReason::Stop),
    ];
    let (second, _) = agent(config, &Script::new([slow]), HostTools::new());
    assert_eq!(
        second.run("Hi").await.unwrap().result().await.unwrap().text,
        "So slow"
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_checked_before_each_question_and_goes_with_it() {
    let script = || {
        Script::new([
            calls(&[("c1", "now", "{}")]),
            calls(&[("c2", "now", "{}")]),
            says("Noon"),
        ])
    };
    // Each answer takes 15 tokens and a quarter of a dollar.
    for (tokens, usd, rounds) in [
        (Some(30), None, 2),
        (Some(29), None, 2),
        (None, Some(0.25), 1),
        (Some(1_000), Some(9.0), 3),
    ] {
        let mut config = config();
        config.budget.tokens = tokens;
        config.budget.usd = usd;
        let model = script();
        let (agent, store) = agent(config, &model, tools());
        let run = agent.run("When?").await.unwrap();
        let outcome = run.result().await.unwrap();
        assert_eq!(outcome.rounds, rounds, "{tokens:?} {usd:?}");
        assert_eq!(outcome.stopped_by, (rounds < 3).then_some(StoppedBy::Budget));
        let budgets: Vec<_> = model
            .requests()
            .iter()
            .map(|request| request.budget.unwrap())
            .collect();
        assert_eq!((budgets[0].tokens, budgets[0].usd), (tokens, usd));
        if rounds > 1 {
            assert_eq!(
                budgets[1].tokens,
                tokens.map(|tokens| tokens - 15),
                "what is left"
            );
        }
        let next = agent
            .run(RunInput::new("Go on").session(run.session_id()))
            .await
            .unwrap();
        next.result().await.unwrap();
        assert!(store.roles(run.session_id()).starts_with("uat"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_the_client_finds_spent_ends_the_turn_with_what_it_has() {
    let spent = || vec![Act::Fail(Error::new(Code::Budget, "spent"))];
    let (first, _) = agent(
        config(),
        &Script::new([calls(&[("c1", "now", "{}")]), spent()]),
        tools(),
    );
    let outcome = first.run("Hi").await.unwrap().result().await.unwrap();
    assert_eq!(outcome.stopped_by, Some(StoppedBy::Budget));
    let (second, _) = agent(config(), &Script::new([spent()]), tools());
    assert_eq!(
        second.run("Hi").await.unwrap().result().await.unwrap_err().code,
        Code::Budget,
        "there is nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn usage_is_summed_over_turn_and_session_and_an_unknown_price_is_unknown() {
    let unpriced = vec![
        text("x"),
        Act::Event(Event::Usage {
            usage: Usage {
                input_tokens: Some(1),
                output_tokens: Some(2),
                ..Usage::default()
            },
        }),
        Act::Finish(FinishReason::Stop),
    ];
    let model = Script::new([calls(&[("c1", "now", "{}")]), says("Noon"), unpriced]);
    let (agent, store) = agent(config(), &model, tools());
    let run = agent.run("When?").await.unwrap();
    let usage = run.result().await.unwrap().usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.cost_usd),
        (20, 10, Some(0.5))
    );
    let session = run.session_id().to_owned();
    let next = agent.run(RunInput::new("x").session(&session)).await.unwrap();
    let usage = next.result().await.unwrap().usage;
    assert_eq!((usage.input_tokens, usage.cost_usd), (1, None));
    let log = store.log(&session);
    let Payload::UsageUpdated { session, .. } =
        of_kind(&log, "usage.updated").last().unwrap().payload.clone()
    else {
        panic!("usage")
    };
    assert_eq!(
        (session.input_tokens, session.output_tokens, session.cost_usd),
        (21, 12, None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_is_kept_and_not_sent_back() {
    let model = Script::new([vec![used(1, 0), Act::Finish(FinishReason::Stop)], says("Sorry")]);
    let (agent, store) = agent(config(), &model, HostTools::new());
    let run = agent.run("Hi").await.unwrap();
    run.result().await.unwrap();
    agent
        .run(RunInput::new("Hello?").session(run.session_id()))
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    assert_eq!(store.roles(run.session_id()), "uaua");
    let sent: Vec<_> = model.requests()[1]
        .messages
        .iter()
        .map(|message| message.role)
        .collect();
    assert_eq!(sent, [Role::User, Role::User]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_what_the_configuration_says() {
    let mut config = config();
    config.system = Some("Be brief.".into());
    config.request.insert("temperature".into(), json!(0.5));
    config.request.insert("tool_choice".into(), json!("auto"));
    let model = Script::new([says("x")]);
    let (first, _) = agent(config.clone(), &model, tools());
    first.run("Hi").await.unwrap().result().await.unwrap();
    let request = &model.requests()[0];
    assert_eq!(request.messages[0].role, Role::System);
    assert_eq!(
        (request.temperature, request.tools.as_ref().map(Vec::len)),
        (Some(0.5), Some(1))
    );
    assert!(request.tool_choice.is_some() && request.budget.is_none());
    let (second, _) = agent(config, &model, HostTools::new());
    second.run("Hi").await.unwrap().result().await.unwrap();
    assert!(
        model.requests()[1].tool_choice.is_none(),
        "no word about tools where there are none"
    );
}
