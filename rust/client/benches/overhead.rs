//! What the client adds to an engine: nanoseconds for a call and for a streamed event, against the engine alone.
//! No network, no timer: the engine's events are always ready. Prints the best of several rounds, for the machine's
//! noise only ever adds.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a failure ends it"
)]

use futures_core::Stream;
use futures_util::StreamExt;
use omni_bridge::{
    BoxFuture, Canceller, ChatEngine, Client, Engine, Event, Message, ModelInfo, Request, Result, Step, Steps,
};
use omni_core::{Finish, FinishReason};
use serde_json::Value;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

const EVENTS: u32 = 20_000;
const ROUNDS: u32 = 15;

/// Answers with so many deltas.
#[derive(Clone)]
struct Deltas(u32);

struct Answer {
    at: u32,
    deltas: u32,
}

impl Stream for Answer {
    type Item = Step;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Step>> {
        let at = self.at;
        self.at += 1;
        Poll::Ready(Some(match at {
            0 => Step::Event(Event::Start {
                id: None,
                request_id: None,
                model: "model".to_owned(),
                provider: "bench".to_owned(),
                engine: Engine::Native,
            }),
            1 => Step::Event(Event::TextStart { index: 0 }),
            at if at < self.deltas + 2 => Step::Event(Event::TextDelta {
                index: 0,
                text: " token".to_owned(),
            }),
            at if at == self.deltas + 2 => Step::Event(Event::TextEnd {
                index: 0,
                annotations: None,
                signature: None,
            }),
            _ => Step::Finish(Box::new(Finish {
                finish_reason: Some(FinishReason::Stop),
                ..Finish::default()
            })),
        }))
    }
}

impl ChatEngine for Deltas {
    fn name(&self) -> Engine {
        Engine::Native
    }
    fn call(&self, _: &Request, _: bool) -> Steps {
        let answer = Answer {
            at: 0,
            deltas: self.0,
        };
        Steps::new(answer, Canceller::new(|| {}))
    }
    fn model_info(&self, _: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        Box::pin(async { Ok(ModelInfo::default()) })
    }
    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async { Ok(Value::Null) })
    }
    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async { Ok(0) })
    }
}

fn request() -> Request {
    Request::new("bench/model", vec![Message::user("Hello")])
}

/// The least nanoseconds of one of `count` repetitions of `work`.
async fn least<F: Future<Output = ()>>(count: u32, mut work: impl FnMut() -> F) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work().await;
        best = best.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(count));
    }
    best
}

async fn events(name: &str, client: &Client) {
    let bare = Deltas(EVENTS);
    let floor = least(EVENTS, || async {
        let mut steps = bare.call(&request(), true);
        while let Some(step) = steps.next().await {
            let last = step.is_last();
            std::hint::black_box(step);
            if last {
                break;
            }
        }
    })
    .await;
    let ours = least(EVENTS, || async {
        let mut stream = client.stream(request());
        while let Some(event) = stream.next().await {
            std::hint::black_box(event);
        }
    })
    .await;
    println!(
        "{name}: an event {ours:.1} ns, {:.1} ns above the engine's {floor:.1}",
        ours - floor
    );
}

async fn calls(name: &str, client: &Client) {
    let bare = Deltas(1);
    let floor = least(EVENTS, || async {
        for _ in 0..EVENTS {
            let mut steps = bare.call(&std::hint::black_box(request()), false);
            while let Some(step) = steps.next().await {
                let last = step.is_last();
                std::hint::black_box(step);
                if last {
                    break;
                }
            }
        }
    })
    .await;
    let ours = least(EVENTS, || async {
        for _ in 0..EVENTS {
            std::hint::black_box(client.chat(request()).await.unwrap());
        }
    })
    .await;
    println!(
        "{name}: a call {ours:.0} ns, {:.0} ns above the engine's {floor:.0}",
        ours - floor
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        // For a profiler: only calls.
        if std::env::args().any(|word| word == "calls") {
            return calls("plain", &Client::builder().engine(Deltas(1)).build().unwrap()).await;
        }
        let plain = Client::builder().engine(Deltas(EVENTS)).build().unwrap();
        events("plain", &plain).await;
        let short = Client::builder().engine(Deltas(1)).build().unwrap();
        calls("plain", &short).await;
    });
}
