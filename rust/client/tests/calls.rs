//! What a call does, over a scripted engine, with the clock paused: no test waits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_bridge::testing::{Act, FakeEngine};
use omni_bridge::{
    Client, ClientBuilder, Code, Error, Event, FinishReason, Message, Request, Retry, RetryPolicy, Timeout,
    Timeouts,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn client(engine: &FakeEngine) -> Client {
    build(engine, |builder| builder)
}

fn build(engine: &FakeEngine, with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    with(Client::builder().engine(engine.clone())).build().unwrap()
}

fn request() -> Request {
    Request::new("demo/one", vec![Message::user("Hello")])
}

fn fail(code: Code) -> Vec<Act> {
    vec![Act::Fail(Error::new(code, "as the script says"))]
}

fn delta(text: &str) -> Act {
    Act::Event(Event::TextDelta {
        index: 0,
        text: text.into(),
    })
}

async fn all(client: &Client, request: Request) -> Vec<Event> {
    let mut stream = client.stream(request);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    assert_eq!(
        events.iter().filter(|event| event.is_last()).count(),
        1,
        "exactly one last event: {events:?}"
    );
    assert!(events.last().unwrap().is_last());
    events
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::kind).collect()
}

fn error_of(events: &[Event]) -> &Error {
    match events.last() {
        Some(Event::Error { error, .. }) => error,
        other => panic!("not an error: {other:?}"),
    }
}

#[test]
fn a_client_can_be_shared_and_shows_no_secret() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let bridge = omni_bridge::Bridge::Url {
        url: "http://127.0.0.1:1".into(),
        token: Some("hunter2".into()),
    };
    let builder = Client::builder()
        .bridge(bridge)
        .fallbacks([json!({"model": "a/b", "api_key": "hunter2"})]);
    assert!(!format!("{builder:?}").contains("hunter2"));
    let client = builder.build().unwrap();
    shared(&client);
    assert!(!format!("{client:?}").contains("hunter2"), "{client:?}");
}

#[test]
fn a_wrong_setting_is_refused_by_name_before_any_call() {
    let engine = FakeEngine::saying("");
    let build = |with: fn(ClientBuilder) -> ClientBuilder| {
        with(Client::builder().engine(engine.clone()))
            .build()
            .unwrap_err()
    };
    let error = build(|b| {
        b.timeout(Timeouts {
            idle: Some(-1.0),
            ..Timeouts::default()
        })
    });
    assert!(error.message.starts_with("timeout.idle"), "{error}");
    let error = build(|b| b.fallbacks([json!({"modle": "a/b"})]));
    assert!(error.message.starts_with("fallbacks[0].modle"), "{error}");
    let error = build(|b| {
        b.retry(RetryPolicy {
            max_wait: Some(-1.0),
            ..RetryPolicy::default()
        })
    });
    assert!(error.message.starts_with("retry.max_wait"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn chat_uses_the_unstreamed_wire_and_stream_the_other() {
    let engine = FakeEngine::saying("Hi");
    let client = client(&engine);
    assert_eq!(client.chat(request()).await.unwrap().content, "Hi");
    assert_eq!(
        kinds(&all(&client, request()).await),
        ["start", "text_start", "text_delta", "text_end", "done"]
    );
    let streamed: Vec<bool> = engine
        .requests()
        .into_iter()
        .map(|(_, streamed)| streamed)
        .collect();
    assert_eq!(streamed, [false, true]);
    assert_eq!(engine.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_first_poll_and_a_bad_request_never() {
    let engine = FakeEngine::saying("Hi");
    let client = client(&engine);
    drop(client.stream(request()));
    let events = all(&client, Request::new("", vec![Message::user("x")])).await;
    assert_eq!(error_of(&events).code, Code::InvalidRequest);
    let native = Request {
        engine: Some(omni_bridge::EngineChoice::Native),
        ..request()
    };
    assert_eq!(client.chat(native).await.unwrap_err().code, Code::Unsupported);
    assert_eq!(engine.requests(), []);
}

#[tokio::test(start_paused = true)]
async fn a_retryable_failure_is_tried_again_and_attempts_tell() {
    let engine = FakeEngine::new([
        fail(Code::Overloaded),
        fail(Code::RateLimit),
        FakeEngine::answer("third"),
    ]);
    let reply = client(&engine).chat(request()).await.unwrap();
    let codes: Vec<Option<Code>> = reply
        .attempts
        .iter()
        .map(|a| a.error.as_ref().map(|e| e.code))
        .collect();
    assert_eq!(codes, [Some(Code::Overloaded), Some(Code::RateLimit), None]);
    assert!(
        reply
            .attempts
            .iter()
            .all(|a| a.model == "demo/one" && a.duration_ms.is_some() && a.engine.is_some())
    );
    assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
}

#[tokio::test(start_paused = true)]
async fn what_the_policies_say_is_not_sent_on_but_the_connect_limit_is() {
    let engine = FakeEngine::saying("Hi");
    let limits = Timeouts {
        connect: Some(3.0),
        total: Some(9.0),
        ..Timeouts::default()
    };
    let asked = Request {
        timeout: Some(Timeout::Each(limits)),
        retry: Some(Retry::Count(1)),
        fallbacks: Some(vec![json!("demo/two")]),
        ..request()
    };
    client(&engine).chat(asked).await.unwrap();
    let connect = Timeout::Each(Timeouts {
        connect: Some(3.0),
        ..Timeouts::default()
    });
    assert_eq!(
        engine.requests(),
        [(
            Request {
                timeout: Some(connect),
                ..request()
            },
            false
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_out() {
    let busy = Error {
        retry_after: Some(7.0),
        ..Error::new(Code::RateLimit, "slow down")
    };
    let engine = FakeEngine::new([vec![Act::Fail(busy)], FakeEngine::answer("ok")]);
    let before = Instant::now();
    client(&engine).chat(request()).await.unwrap();
    let waited = before.elapsed();
    assert!(
        waited >= Duration::from_secs(7) && waited < Duration::from_secs(8),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_succeed_and_what_exceeds_the_policy_is_not_tried_again() {
    let engine = FakeEngine::new([fail(Code::Authentication)]);
    let error = client(&engine).chat(request()).await.unwrap_err();
    assert_eq!(
        (error.code, error.model.as_deref(), engine.requests().len()),
        (Code::Authentication, Some("demo/one"), 1)
    );

    let engine = FakeEngine::new([fail(Code::Overloaded)]);
    let once = Request {
        retry: Some(Retry::Count(1)),
        ..request()
    };
    assert_eq!(
        client(&engine).chat(once).await.unwrap_err().code,
        Code::Overloaded
    );
    assert_eq!(engine.requests().len(), 2);
    let never = build(&engine, |b| {
        b.retry(RetryPolicy {
            max_retries: Some(0),
            max_wait: None,
        })
    });
    never.chat(request()).await.unwrap_err();
    assert_eq!(engine.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_event_is_the_end_and_keeps_what_came() {
    let broken = vec![
        FakeEngine::start(),
        delta("half"),
        Act::Fail(Error::new(Code::Protocol, "cut off")),
    ];
    let engine = FakeEngine::new([broken]);
    let asked = Request {
        fallbacks: Some(vec![json!("demo/two")]),
        ..request()
    };
    let events = all(&client(&engine), asked).await;
    assert_eq!(kinds(&events), ["start", "text_delta", "error"]);
    let Some(Event::Error { error, reply }) = events.last() else {
        panic!()
    };
    assert_eq!(
        (error.code, reply.content.as_str(), reply.finish_reason),
        (Code::Protocol, "half", None)
    );
    assert_eq!(reply.attempts.len(), 1);
    assert_eq!((engine.requests().len(), engine.open()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn fallbacks_are_taken_in_order_each_with_an_event() {
    let engine = FakeEngine::new([
        fail(Code::NotFound),
        fail(Code::Authentication),
        FakeEngine::answer("third"),
    ]);
    let fallbacks = vec![
        json!("demo/two"),
        json!({"model": "other/three", "temperature": 0.0}),
    ];
    let asked = Request {
        fallbacks: Some(fallbacks),
        api_key: Some("of demo".into()),
        ..request()
    };
    let events = all(&client(&engine), asked).await;
    assert_eq!(kinds(&events)[..3], ["fallback", "fallback", "start"]);
    let Event::Fallback {
        from,
        to,
        error,
        discarded,
    } = &events[1]
    else {
        panic!()
    };
    assert_eq!(
        (from.as_str(), to.as_str(), error.code, discarded.len()),
        ("demo/two", "other/three", Code::Authentication, 0)
    );
    let Some(Event::Done { reply }) = events.last() else {
        panic!()
    };
    let models: Vec<&str> = reply
        .attempts
        .iter()
        .map(|attempt| attempt.model.as_str())
        .collect();
    assert_eq!(
        (reply.content.as_str(), models.as_slice()),
        ("third", ["demo/one", "demo/two", "other/three"].as_slice())
    );
    let asked: Vec<Request> = engine
        .requests()
        .into_iter()
        .map(|(request, _)| request)
        .collect();
    assert_eq!(asked[1].api_key.as_deref(), Some("of demo"));
    assert_eq!(
        (asked[2].api_key.as_deref(), asked[2].temperature),
        (None, Some(0.0))
    );
    assert_eq!(asked[2].messages, request().messages);
}

#[tokio::test(start_paused = true)]
async fn every_model_has_its_tries_anew() {
    let engine = FakeEngine::new([fail(Code::Overloaded)]);
    let asked = Request {
        fallbacks: Some(vec![json!("demo/two")]),
        retry: Some(Retry::Count(1)),
        ..request()
    };
    client(&engine).chat(asked).await.unwrap_err();
    let models: Vec<String> = engine
        .requests()
        .into_iter()
        .map(|(request, _)| request.model)
        .collect();
    assert_eq!(models, ["demo/one", "demo/one", "demo/two", "demo/two"]);
}

#[tokio::test(start_paused = true)]
async fn each_fallback_changes_the_first_request_not_the_one_before_it() {
    let engine = FakeEngine::new([fail(Code::NotFound)]);
    let elsewhere = json!({"model": "other/two", "temperature": 0.0, "timeout": {"connect": 1.0}});
    let asked = Request {
        fallbacks: Some(vec![elsewhere, json!("demo/three")]),
        api_key: Some("of demo".into()),
        ..request()
    };
    client(&engine).chat(asked).await.unwrap_err();
    let asked: Vec<Request> = engine
        .requests()
        .into_iter()
        .map(|(request, _)| request)
        .collect();
    assert_ne!(asked[1].timeout, asked[0].timeout);
    let last = Request {
        model: "demo/three".into(),
        ..asked[0].clone()
    };
    assert_eq!((asked.len(), &asked[2]), (3, &last));
}

#[tokio::test(start_paused = true)]
async fn the_clients_fallbacks_serve_requests_without_their_own() {
    let engine = FakeEngine::new([fail(Code::NotFound), FakeEngine::answer("second")]);
    let client = build(&engine, |b| b.fallbacks(["demo/two"]));
    assert_eq!(client.chat(request()).await.unwrap().content, "second");
    let engine = FakeEngine::new([fail(Code::NotFound)]);
    let client = build(&engine, |b| b.fallbacks(["demo/two"]));
    let none = Request {
        fallbacks: Some(Vec::<Value>::new()),
        ..request()
    };
    assert_eq!(
        client.chat(none).await.unwrap_err().model.as_deref(),
        Some("demo/one")
    );
}

#[tokio::test(start_paused = true)]
async fn silence_before_the_first_event_is_a_timeout_that_is_tried_again() {
    let engine = FakeEngine::new([vec![Act::Hang], FakeEngine::answer("awake")]);
    let limits = Timeout::Each(Timeouts {
        first_event: Some(2.0),
        ..Timeouts::default()
    });
    let reply = client(&engine)
        .chat(Request {
            timeout: Some(limits),
            ..request()
        })
        .await
        .unwrap();
    let error = reply.attempts[0].error.clone().unwrap();
    assert_eq!(
        (error.code, error.provider.as_deref()),
        (Code::Timeout, Some("demo"))
    );
    assert!(error.message.starts_with("timeout.first_event: "), "{error}");
    assert_eq!(reply.attempts[0].duration_ms, Some(2000));
    assert_eq!(engine.open(), 0, "the silent try was dropped");
}

#[tokio::test(start_paused = true)]
async fn idle_is_counted_from_the_last_event_and_only_while_the_caller_reads() {
    let wait = || Act::Wait(Duration::from_secs(3));
    let script = vec![
        FakeEngine::start(),
        wait(),
        delta("a"),
        wait(),
        delta("b"),
        wait(),
        delta("c"),
        Act::Hang,
    ];
    let engine = FakeEngine::new([script]);
    let limits = Timeout::Each(Timeouts {
        idle: Some(4.0),
        ..Timeouts::default()
    });
    let mut stream = client(&engine).stream(Request {
        timeout: Some(limits),
        ..request()
    });
    let began = Instant::now();
    assert_eq!(stream.next().await.unwrap().kind(), "start");
    tokio::time::advance(Duration::from_secs(100)).await;
    for text in ["a", "b", "c"] {
        assert_eq!(
            stream.next().await,
            Some(Event::TextDelta {
                index: 0,
                text: text.into()
            })
        );
    }
    let Some(Event::Error { error, reply }) = stream.next().await else {
        panic!()
    };
    assert!(error.message.starts_with("timeout.idle: "), "{error}");
    assert_eq!((error.code, reply.content.as_str()), (Code::Timeout, "abc"));
    assert_eq!(began.elapsed().as_secs(), 100 + 3 * 3 + 4);
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn total_bounds_tries_rests_and_a_stream_that_never_pauses() {
    let engine = FakeEngine::new([vec![
        Act::Wait(Duration::from_secs(4)),
        Act::Fail(Error::new(Code::Overloaded, "busy")),
    ]]);
    let client_ = client(&engine);
    let began = Instant::now();
    let five = Request {
        timeout: Some(Timeout::Total(5.0)),
        retry: Some(Retry::Count(100)),
        ..request()
    };
    let events = all(&client_, five).await;
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(matches!(error_of(&events).code, Code::Timeout | Code::Overloaded));

    // The clock is only looked at when something waits, or every so many events.
    let flood = std::iter::once(FakeEngine::start())
        .chain((0..200).map(|_| delta("x")))
        .collect();
    let engine = FakeEngine::new([flood]);
    let mut stream = client(&engine).stream(Request {
        timeout: Some(Timeout::Total(5.0)),
        ..request()
    });
    stream.next().await.unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    let mut seen = 0;
    let last = loop {
        match stream.next().await.unwrap() {
            Event::TextDelta { .. } => seen += 1,
            last => break last,
        }
    };
    let Event::Error { error, .. } = last else {
        panic!("{last:?}")
    };
    assert!(
        error.message.starts_with("timeout.total: ") && seen < 100,
        "{error} after {seen}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_limit_wins_over_the_clients() {
    let engine = FakeEngine::new([vec![
        Act::Wait(Duration::from_secs(30)),
        FakeEngine::start(),
        Act::Hang,
    ]]);
    let client = build(&engine, |b| {
        b.timeout(Timeouts {
            first_event: Some(1.0),
            idle: Some(2.0),
            ..Timeouts::default()
        })
    });
    let limits = Timeout::Each(Timeouts {
        first_event: Some(60.0),
        ..Timeouts::default()
    });
    let events = all(
        &client,
        Request {
            timeout: Some(limits),
            ..request()
        },
    )
    .await;
    assert!(
        error_of(&events)
            .message
            .starts_with("timeout.idle: nothing came within 2 s"),
        "{:?}",
        error_of(&events)
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_or_a_future_stops_the_try() {
    let engine = FakeEngine::new([vec![FakeEngine::start(), Act::Hang]]);
    let client = client(&engine);
    let mut stream = client.stream(request());
    stream.next().await.unwrap();
    assert_eq!(engine.open(), 1);
    drop(stream);
    assert_eq!(engine.open(), 0);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), client.chat(request()))
            .await
            .is_err()
    );
    assert_eq!(engine.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn cancel_reaches_the_engine_at_once_even_if_nobody_reads() {
    let engine = FakeEngine::new([vec![
        FakeEngine::start(),
        delta("seen"),
        delta("not seen"),
        Act::Hang,
    ]]);
    let mut stream = client(&engine).stream(request());
    stream.next().await.unwrap();
    stream.next().await.unwrap();
    let canceller = stream.canceller();
    std::thread::spawn(move || canceller.cancel()).join().unwrap();
    assert_eq!(engine.cancelled(), 1);
    let Some(Event::Cancelled { reply, closed_ms }) = stream.next().await else {
        panic!()
    };
    assert_eq!(
        (reply.content.as_str(), closed_ms, reply.finish_reason),
        ("seen", Some(0), None)
    );
    assert_eq!((stream.next().await, engine.open()), (None, 0));
    stream.cancel();
}

#[tokio::test(start_paused = true)]
async fn cancel_wakes_a_reader_that_waits() {
    let engine = FakeEngine::new([vec![Act::Hang]]);
    let stream = client(&engine).stream(request());
    let canceller = stream.canceller();
    let reading = tokio::spawn(stream.reply());
    while engine.open() == 0 {
        tokio::task::yield_now().await;
    }
    canceller.cancel();
    assert_eq!(reading.await.unwrap().unwrap_err().code, Code::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn cancel_before_the_first_poll_sends_nothing_and_in_a_rest_ends_it() {
    let engine = FakeEngine::new([fail(Code::Overloaded)]);
    let mut stream = client(&engine).stream(request());
    stream.cancel();
    assert_eq!(stream.next().await.unwrap().kind(), "cancelled");
    assert_eq!(engine.requests().len(), 0);

    let long = Error {
        retry_after: Some(50.0),
        ..Error::new(Code::Overloaded, "busy")
    };
    let engine = FakeEngine::new([vec![Act::Fail(long)]]);
    let stream = client(&engine).stream(request());
    let canceller = stream.canceller();
    let began = Instant::now();
    let reading = tokio::spawn(stream.reply());
    while engine.requests().is_empty() || engine.open() > 0 {
        tokio::task::yield_now().await;
    }
    canceller.cancel();
    assert_eq!(reading.await.unwrap().unwrap_err().code, Code::Cancelled);
    assert_eq!((engine.requests().len(), began.elapsed().as_secs()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_engine_deaf_to_a_cancel_cannot_hold_the_caller() {
    let engine = FakeEngine::new([vec![FakeEngine::start(), Act::Deaf]]);
    let mut stream = client(&engine).stream(request());
    stream.next().await.unwrap();
    stream.cancel();
    let Some(Event::Cancelled { closed_ms, .. }) = stream.next().await else {
        panic!()
    };
    assert_eq!((closed_ms, engine.open()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_engine_is_an_internal_error_and_the_next_call_works() {
    let engine = FakeEngine::new([vec![FakeEngine::start(), Act::Panic], FakeEngine::answer("again")]);
    let client = client(&engine);
    let events = all(&client, request()).await;
    assert_eq!((error_of(&events).code, engine.open()), (Code::Internal, 0));
    assert_eq!(client.chat(request()).await.unwrap().content, "again");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_breaks_the_rules_gives_an_internal_error() {
    let no_end = vec![FakeEngine::start()];
    let own_end = vec![Act::Event(Event::Cancelled {
        reply: Box::new(reply()),
        closed_ms: None,
    })];
    for script in [no_end, own_end] {
        let engine = FakeEngine::new([script]);
        assert_eq!(
            error_of(&all(&client(&engine), request()).await).code,
            Code::Internal
        );
    }
}

fn reply() -> omni_bridge::Reply {
    serde_json::from_value(json!({"content": "", "message": {"role": "assistant", "content": ""}})).unwrap()
}
