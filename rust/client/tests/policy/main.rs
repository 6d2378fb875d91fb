//! What holds for all calls of a client together: the retry budget, limits by provider, budgets, and fallbacks in the
//! middle of a stream. Over a scripted engine, with the clock paused: no test waits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod budgets;
mod limits;
mod mid_stream;
mod retry_budget;

use futures_util::future::join_all;
use omni_bridge::testing::{Act, FakeEngine};
use omni_bridge::{
    BoxFuture, Budget, ChatEngine, Client, ClientBuilder, Code, Engine, Error, Event, Limit, Message,
    ModelInfo, Reply, Request, Result, Retry, RetryPolicy, Spent, Steps, Timeout, Timeouts, Usage,
};
use omni_core::{Finish, FinishReason, Fold};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn build(engine: &FakeEngine, with: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    with(Client::builder().engine(engine.clone())).build().unwrap()
}

fn request() -> Request {
    Request::new("demo/one", vec![Message::user("Hello")])
}

fn fail(code: Code) -> Act {
    Act::Fail(Error::new(code, "as the script says"))
}

fn event(event: Event) -> Act {
    Act::Event(event)
}

fn text(index: u32, text: &str) -> Act {
    let text = text.to_owned();
    event(Event::TextDelta { index, text })
}

fn used(input: u64, output: u64) -> Act {
    let usage = Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        ..Usage::default()
    };
    event(Event::Usage { usage })
}

fn finish() -> Act {
    Act::Finish(Finish {
        finish_reason: Some(FinishReason::Stop),
        ..Finish::default()
    })
}

/// A whole answer with its usage.
fn answer(input: u64, output: u64) -> Vec<Act> {
    vec![
        FakeEngine::start(),
        text(0, "whole"),
        used(input, output),
        finish(),
    ]
}

async fn all(client: &Client, request: Request) -> Vec<Event> {
    let mut stream = client.stream(request);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::kind).collect()
}

fn done(events: &[Event]) -> &Reply {
    match events.last() {
        Some(Event::Done { reply }) => reply,
        other => panic!("not done: {other:?}"),
    }
}

fn failed(events: &[Event]) -> (&Error, &Reply) {
    match events.last() {
        Some(Event::Error { error, reply }) => (error, reply),
        other => panic!("not an error: {other:?}"),
    }
}
