//! A fallback that takes over in the middle of a stream.

use super::*;

/// Two parts of an answer, then a failure.
fn half() -> Vec<Act> {
    vec![
        FakeEngine::start(),
        event(Event::ReasoningStart { index: 0, id: None }),
        event(Event::TextStart { index: 1 }),
        text(1, "half an ans"),
        used(7, 3),
        fail(Code::Connection),
    ]
}

fn asking(fallbacks: &[&str]) -> Request {
    Request {
        fallbacks: Some(fallbacks.iter().map(|model| json!(model)).collect()),
        fallback_mid_stream: Some(true),
        ..request()
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_takes_over_and_says_what_does_not_count() {
    let engine = FakeEngine::new([half(), FakeEngine::answer("a whole answer")]);
    let client = build(&engine, |builder| builder);
    let events = all(&client, asking(&["demo/two"])).await;
    assert_eq!(
        kinds(&events),
        [
            "start",
            "reasoning_start",
            "text_start",
            "text_delta",
            "usage",
            "fallback",
            "start",
            "text_start",
            "text_delta",
            "text_end",
            "done"
        ]
    );
    let Event::Fallback {
        from,
        to,
        error,
        discarded,
    } = &events[5]
    else {
        panic!("{:?}", events[5]);
    };
    assert_eq!(
        (from.as_str(), to.as_str(), error.code),
        ("demo/one", "demo/two", Code::Connection)
    );
    assert_eq!(discarded, &[0, 1]);
    assert_eq!(events[8].index(), Some(2), "no index is used twice");
    let reply = done(&events);
    assert_eq!(
        (reply.content.as_str(), reply.reasoning.len()),
        ("a whole answer", 0)
    );
    let told: Vec<_> = reply
        .attempts
        .iter()
        .map(|attempt| {
            let code = attempt.error.as_ref().map(|error| error.code);
            (attempt.model.as_str(), attempt.engine, code)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("demo/one", Some(Engine::Litellm), Some(Code::Connection)),
            ("demo/two", Some(Engine::Litellm), None)
        ]
    );
    // A caller who folds the events gets the same.
    let mut fold = Fold::new();
    for event in &events {
        fold.push(event);
    }
    assert_eq!(fold.partial(Vec::new()).message, reply.message);
    assert_eq!(client.spent().tokens, 10, "the half answer was paid for");
}

#[tokio::test(start_paused = true)]
async fn it_can_happen_again_and_each_model_has_its_tries_before_its_first_event() {
    let engine = FakeEngine::new([
        half(),
        vec![fail(Code::Overloaded)],
        half(),
        FakeEngine::answer("third"),
    ]);
    let client = build(&engine, |builder| builder);
    let events = all(&client, asking(&["demo/two", "demo/three"])).await;
    let discarded: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Fallback { discarded, .. } => Some(discarded.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(discarded, [vec![0, 1], vec![2, 3]]);
    let reply = done(&events);
    let models: Vec<_> = reply
        .attempts
        .iter()
        .map(|attempt| attempt.model.as_str())
        .collect();
    assert_eq!(models, ["demo/one", "demo/two", "demo/two", "demo/three"]);
    assert_eq!(reply.content, "third");
}

#[tokio::test(start_paused = true)]
async fn not_asked_for_what_was_read_is_never_taken_back() {
    let client_asks = |mid_stream| {
        let engine = FakeEngine::new([half(), FakeEngine::answer("other")]);
        build(&engine, |builder| {
            builder.fallbacks(["demo/two"]).fallback_mid_stream(mid_stream)
        })
    };
    let events = all(&client_asks(false), request()).await;
    let (error, reply) = failed(&events);
    assert_eq!(
        (error.code, reply.content.as_str()),
        (Code::Connection, "half an ans")
    );
    assert_eq!(reply.attempts.len(), 1);
    assert_eq!(done(&all(&client_asks(true), request()).await).content, "other");
    let no = Request {
        fallback_mid_stream: Some(false),
        ..request()
    };
    failed(&all(&client_asks(true), no).await);
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_is_a_failure_too() {
    let mut silent = half();
    silent.pop();
    silent.push(Act::Hang);
    let engine = FakeEngine::new([silent, FakeEngine::answer("other")]);
    let client = build(&engine, |builder| {
        builder.timeout(Timeouts {
            idle: Some(5.0),
            ..Timeouts::default()
        })
    });
    let events = all(&client, asking(&["demo/two"])).await;
    let reply = done(&events);
    assert_eq!(reply.attempts[0].error.as_ref().unwrap().code, Code::Timeout);
    assert_eq!((reply.content.as_str(), engine.open()), ("other", 0));
}

#[test]
fn it_belongs_to_the_whole_call() {
    for field in ["fallback_mid_stream", "budget"] {
        let error = Client::builder()
            .fallbacks([json!({"model": "a/b", field: null})])
            .build()
            .unwrap_err();
        assert!(
            error.message.starts_with(&format!("fallbacks[0].{field}: ")),
            "{error}"
        );
    }
}
