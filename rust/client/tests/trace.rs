//! The spans of calls: OpenTelemetry's names, and nothing of what was said.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_bridge::testing::{Act, FakeEngine};
use omni_bridge::{Client, Code, Error, Event, Message, Request, Usage};
use omni_core::{Finish, FinishReason};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

type Fields = BTreeMap<String, String>;

/// Remembers every span and event.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Fields)>>>);

struct Write<'a>(&'a mut Fields);

impl Visit for Write<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Recorder {
    fn told(&self) -> Vec<(String, Fields)> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "omni_bridge"
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut told = self.0.lock().unwrap();
        let mut fields = Fields::new();
        span.record(&mut Write(&mut fields));
        told.push((format!("span {}", span.metadata().name()), fields));
        Id::from_u64(told.len() as u64)
    }
    fn record(&self, span: &Id, values: &Record<'_>) {
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Write(&mut self.0.lock().unwrap()[at].1));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Write(&mut fields));
        self.0.lock().unwrap().push(("event".to_owned(), fields));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

const SECRET: &str = "hunter2";

fn request() -> Request {
    let document = json!({
        "model": "gemini/some-model",
        "messages": [{"role": "system", "content": "system hunter2"}, {"role": "user", "content": "prompt hunter2"}],
        "tools": [{"type": "function", "function": {"name": "tool_hunter2"}}],
        "temperature": 0.5, "max_tokens": 99, "stop": ["hunter2"], "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "hunter2"}},
        "api_key": "hunter2", "headers": {"x": "hunter2"}, "user": "hunter2",
        "api_base": "https://hunter2:hunter2@host.example:8443/hunter2",
        "provider_options": {"gemini": {"x": "hunter2"}}, "metadata": {"x": "hunter2"},
        "labels": {"team": "blue"},
    });
    Request::from_value(&document).unwrap()
}

fn scripts() -> Vec<Vec<Act>> {
    let error = Error {
        status: Some(529),
        ..Error::new(Code::Overloaded, "busy with prompt hunter2")
    };
    let usage = Usage {
        input_tokens: Some(11),
        output_tokens: Some(7),
        cached_input_tokens: Some(5),
        reasoning_tokens: Some(3),
        cost_usd: Some(0.25),
        ..Usage::default()
    };
    vec![
        vec![Act::Fail(error)],
        vec![
            FakeEngine::start(),
            Act::Event(Event::TextDelta {
                index: 0,
                text: "answer hunter2".into(),
            }),
            Act::Event(Event::Usage { usage }),
            Act::Finish(Finish {
                finish_reason: Some(FinishReason::Length),
                id: Some("id-1".into()),
                model: Some("some-model-001".into()),
                ..Finish::default()
            }),
        ],
    ]
}

fn listen(content: bool) -> (Recorder, Client, tracing::subscriber::DefaultGuard) {
    let recorder = Recorder::default();
    let guard = tracing::subscriber::set_default(recorder.clone());
    let client = Client::builder()
        .engine(FakeEngine::new(scripts()))
        .trace_content(content)
        .build()
        .unwrap();
    (recorder, client, guard)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_a_span_under_opentelemetrys_names_and_shows_nothing_that_was_said() {
    let (recorder, client, _guard) = listen(false);
    let mut stream = client.stream(request());
    while stream.next().await.is_some() {}
    drop(stream);
    let told = recorder.told();
    let (name, span) = &told[0];
    assert_eq!((name.as_str(), told.len()), ("span chat", 2));
    let want = [
        ("otel.name", "chat some-model"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "gcp.gemini"),
        ("gen_ai.request.model", "some-model"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.request.temperature", "0.5"),
        ("gen_ai.request.max_tokens", "99"),
        ("gen_ai.request.reasoning.level", "low"),
        ("gen_ai.output.type", "json"),
        ("gen_ai.response.id", "id-1"),
        ("gen_ai.response.model", "some-model-001"),
        ("gen_ai.response.finish_reasons", "[\"length\"]"),
        ("gen_ai.usage.input_tokens", "11"),
        ("gen_ai.usage.output_tokens", "7"),
        ("gen_ai.usage.cache_read.input_tokens", "5"),
        ("gen_ai.usage.reasoning.output_tokens", "3"),
        ("server.address", "host.example"),
        ("server.port", "8443"),
        ("omni_bridge.engine", "litellm"),
        ("omni_bridge.attempts", "2"),
        ("omni_bridge.cost_usd", "0.25"),
        ("omni_bridge.labels", "{\"team\":\"blue\"}"),
    ];
    for (name, value) in want {
        assert_eq!(
            span.get(name).map(String::as_str),
            Some(value),
            "{name} of {span:?}"
        );
    }
    assert!(span.contains_key("gen_ai.response.time_to_first_chunk"));
    assert_eq!(span.len(), want.len() + 1, "{span:?}");
    let (_, retry) = &told[1];
    assert_eq!(retry["error.type"], "overloaded");
    assert_eq!(retry["http.response.status_code"], "529");
    assert!(!format!("{told:?}").contains(SECRET), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_said_is_shown_when_asked_for_and_keys_still_not() {
    let (recorder, client, _guard) = listen(true);
    client.chat(request()).await.unwrap();
    let told = recorder.told();
    let span = &told[0].1;
    assert!(span["gen_ai.input.messages"].contains("prompt hunter2"));
    assert!(span["gen_ai.output.messages"].contains("answer hunter2"));
    assert!(span["gen_ai.tool.definitions"].contains("tool_hunter2"));
    let mut rest = span.clone();
    for content in [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.tool.definitions",
        "gen_ai.request.stop_sequences",
    ] {
        assert!(rest.remove(content).is_some(), "{content}");
    }
    assert!(!format!("{rest:?}").contains(SECRET), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_fallbacks_and_dropped_calls_say_so() {
    let recorder = Recorder::default();
    let _guard = tracing::subscriber::set_default(recorder.clone());
    let engine = FakeEngine::new([
        vec![Act::Fail(Error::new(Code::NotFound, "no"))],
        vec![Act::Fail(Error::new(Code::Quota, "no"))],
        vec![Act::Hang],
    ]);
    let client = Client::builder()
        .engine(engine)
        .fallbacks(["other/two"])
        .build()
        .unwrap();
    client.chat(request()).await.unwrap_err();
    let told = recorder.told();
    assert_eq!(told[0].1["error.type"], "quota");
    assert_eq!(told[0].1["otel.status_code"], "ERROR");
    assert_eq!(told[1].1["omni_bridge.fallback.to"], "other/two");
    let dropped = tokio::time::timeout(std::time::Duration::from_secs(1), client.chat(request()));
    assert!(dropped.await.is_err());
    assert_eq!(recorder.told()[2].1["error.type"], "cancelled");
    let asked = Request::new("", vec![Message::user("x")]);
    client.chat(asked).await.unwrap_err();
    assert_eq!(recorder.told()[3].1["error.type"], "invalid_request");
}
