//! A model in this process that answers at once, always the same; or, with a gate, stops in the middle of its answer
//! until the gate opens.

use futures_core::Stream;
use omni_core::{
    BoxFuture, Canceller, ChatModel, ChatStream, Engine, Error, Event, Finish, FinishReason, Fold, ModelInfo,
    Reply, Request, Result, Usage,
};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::{Semaphore, watch};

/// The model id.
pub const MODEL: &str = "bench/one";
/// What one delta says; an answer has [`DELTAS`] of them.
const WORDS: &str = "lorem ipsum dolor sit amet ";
const DELTAS: usize = 20;

/// The whole answer.
pub fn answer() -> String {
    WORDS.repeat(DELTAS)
}

/// Answers at once.
#[derive(Clone, Default)]
pub struct Model(Option<Gate>);

/// Where answers stop after half of their deltas.
#[derive(Clone)]
pub struct Gate {
    /// Gets a permit for each answer that stands there.
    pub here: Arc<Semaphore>,
    /// Opens it.
    pub open: watch::Sender<bool>,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            here: Arc::new(Semaphore::new(0)),
            open: watch::Sender::new(false),
        }
    }
}

impl Model {
    pub fn behind(gate: Gate) -> Self {
        Self(Some(gate))
    }
}

struct Answer {
    at: usize,
    fold: Fold,
    gate: Option<Gate>,
    waiting: Option<BoxFuture<'static, ()>>,
}

impl Answer {
    fn event(&mut self) -> Event {
        const FIRST: usize = 2;
        const AFTER: usize = FIRST + DELTAS;
        let event = match self.at {
            0 => Event::Start {
                id: None,
                request_id: None,
                model: MODEL.to_owned(),
                provider: "bench".to_owned(),
                engine: Engine::Native,
            },
            1 => Event::TextStart { index: 0 },
            FIRST..AFTER => Event::TextDelta {
                index: 0,
                text: WORDS.to_owned(),
            },
            AFTER => Event::Usage {
                usage: Usage {
                    input_tokens: Some(10),
                    output_tokens: Some(120),
                    cost_usd: Some(0.001),
                    ..Usage::default()
                },
            },
            _ => {
                let finish = Finish {
                    finish_reason: Some(FinishReason::Stop),
                    ..Finish::default()
                };
                let reply = std::mem::take(&mut self.fold).finish(finish, Vec::new());
                return Event::Done {
                    reply: Box::new(reply),
                };
            }
        };
        self.at += 1;
        self.fold.push(&event);
        event
    }
}

impl Stream for Answer {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.at == DELTAS / 2
            && let Some(gate) = self.gate.take()
        {
            self.waiting = Some(Box::pin(async move {
                let mut open = gate.open.subscribe();
                gate.here.add_permits(1);
                // A gate that is gone is open.
                let _ = open.wait_for(|open| *open).await;
            }));
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        Poll::Ready(Some(self.event()))
    }
}

impl ChatModel for Model {
    fn chat(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        let stream = self.stream(request);
        Box::pin(stream.reply())
    }

    fn stream(&self, _: Request) -> ChatStream {
        let answer = Answer {
            at: 0,
            fold: Fold::new(),
            gate: self.0.clone(),
            waiting: None,
        };
        ChatStream::new(answer, Canceller::new(|| {}))
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let id = model.to_owned();
        Box::pin(async move {
            Ok(ModelInfo {
                id,
                ..ModelInfo::default()
            })
        })
    }

    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async {
            Err(Error::internal(
                "no request of these benchmarks needs its tokens counted",
            ))
        })
    }
}
