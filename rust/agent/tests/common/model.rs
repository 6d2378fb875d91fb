//! A model that answers from a script.

use futures_core::Stream;
use omni_core::{
    BoxFuture, Canceller, ChatModel, ChatStream, Engine, Error, Event, Finish, FinishReason, Fold, ModelInfo,
    Reply, Request, Result, Usage,
};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// What an answer does next.
#[derive(Clone, Debug)]
pub enum Act {
    Event(Event),
    Finish(FinishReason),
    Fail(Error),
    Wait(Duration),
    /// Says nothing for ever.
    Hang,
    /// Ends without a last event.
    Break,
}

/// A model whose calls take one script each; the last one serves all that follow. Clones share everything.
#[derive(Clone, Default)]
pub struct Script(Arc<Inner>);

#[derive(Default)]
struct Inner {
    scripts: Mutex<VecDeque<Vec<Act>>>,
    requests: Mutex<Vec<Request>>,
    /// Answers of `chat`, which only titles and summaries use.
    chats: Mutex<VecDeque<Result<String>>>,
    chatted: Mutex<Vec<Request>>,
    counts: Mutex<VecDeque<u64>>,
    window: Mutex<Option<u64>>,
    open: Mutex<usize>,
}

impl Script {
    pub fn new(scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let script = Self::default();
        script.0.scripts.lock().unwrap().extend(scripts);
        script
    }

    /// Answers of `chat`, in their order; without one it waits for ever.
    pub fn chats(self, answers: impl IntoIterator<Item = Result<String>>) -> Self {
        self.0.chats.lock().unwrap().extend(answers);
        self
    }

    /// Token counts, in their order; without one, 1.
    pub fn counts(self, counts: impl IntoIterator<Item = u64>) -> Self {
        self.0.counts.lock().unwrap().extend(counts);
        self
    }

    pub fn window(self, tokens: u64) -> Self {
        *self.0.window.lock().unwrap() = Some(tokens);
        self
    }

    /// The requests of the streamed calls.
    pub fn requests(&self) -> Vec<Request> {
        self.0.requests.lock().unwrap().clone()
    }

    /// The requests of titles and summaries.
    pub fn chatted(&self) -> Vec<Request> {
        self.0.chatted.lock().unwrap().clone()
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        *self.0.open.lock().unwrap()
    }
}

/// The events of a text.
pub fn says(text: &str) -> Vec<Act> {
    let (first, second) = text.split_at(text.len() / 2);
    vec![
        Act::Event(Event::TextStart { index: 0 }),
        Act::Event(Event::TextDelta {
            index: 0,
            text: first.into(),
        }),
        Act::Event(Event::TextDelta {
            index: 0,
            text: second.into(),
        }),
        used(10, 5),
        Act::Finish(FinishReason::Stop),
    ]
}

pub fn text(text: &str) -> Act {
    Act::Event(Event::TextDelta {
        index: 0,
        text: text.into(),
    })
}

pub fn used(input: u64, output: u64) -> Act {
    Act::Event(Event::Usage {
        usage: Usage {
            input_tokens: Some(input),
            output_tokens: Some(output),
            cost_usd: Some(0.25),
            ..Usage::default()
        },
    })
}

/// An answer that calls functions: (id, name, arguments).
pub fn calls(calls: &[(&str, &str, &str)]) -> Vec<Act> {
    let mut acts = Vec::new();
    for ((id, name, arguments), index) in calls.iter().zip(1..) {
        acts.push(Act::Event(Event::ToolCallStart {
            index,
            id: (*id).into(),
            name: (*name).into(),
            kind: None,
        }));
        acts.push(Act::Event(Event::ToolCallDelta {
            index,
            arguments: (*arguments).into(),
        }));
        acts.push(Act::Event(Event::ToolCallEnd {
            index,
            signature: None,
            extra: None,
        }));
    }
    acts.push(used(10, 5));
    acts.push(Act::Finish(FinishReason::Stop));
    acts
}

struct Answer {
    acts: VecDeque<Act>,
    fold: Option<Fold>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    open: Arc<Inner>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        *self.open.open.lock().unwrap() -= 1;
    }
}

impl Stream for Answer {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(context));
                self.sleep = None;
            }
            let event = match self.acts.pop_front() {
                Some(Act::Event(event)) => event,
                Some(Act::Wait(time)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
                Some(Act::Hang) => {
                    self.acts.push_front(Act::Hang);
                    return Poll::Pending;
                }
                Some(Act::Finish(reason)) => Event::Done {
                    reply: Box::new(self.fold.take().unwrap().finish(
                        Finish {
                            finish_reason: Some(reason),
                            ..Finish::default()
                        },
                        Vec::new(),
                    )),
                },
                Some(Act::Fail(error)) => Event::Error {
                    error,
                    reply: Box::new(self.fold.take().unwrap().partial(Vec::new())),
                },
                Some(Act::Break) | None => return Poll::Ready(None),
            };
            if let Some(fold) = &mut self.fold {
                fold.push(&event);
            }
            return Poll::Ready(Some(event));
        }
    }
}

impl ChatModel for Script {
    fn chat(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        self.0.chatted.lock().unwrap().push(request);
        let answer = self.0.chats.lock().unwrap().pop_front();
        Box::pin(async move {
            let Some(answer) = answer else {
                return std::future::pending().await;
            };
            let mut fold = Fold::new();
            fold.push(&Event::TextDelta {
                index: 0,
                text: answer?,
            });
            Ok(fold.finish(
                Finish {
                    finish_reason: Some(FinishReason::Stop),
                    ..Finish::default()
                },
                Vec::new(),
            ))
        })
    }

    fn stream(&self, request: Request) -> ChatStream {
        super::check_messages(&request.messages).unwrap();
        request.check().unwrap();
        self.0.requests.lock().unwrap().push(request);
        let mut scripts = self.0.scripts.lock().unwrap();
        let acts = if scripts.len() > 1 {
            scripts.pop_front()
        } else {
            scripts.front().cloned()
        };
        *self.0.open.lock().unwrap() += 1;
        let start = Event::Start {
            id: None,
            request_id: None,
            model: "one".into(),
            provider: "demo".into(),
            engine: Engine::Native,
        };
        let mut acts: VecDeque<Act> = acts.unwrap().into();
        if !matches!(acts.front(), Some(Act::Hang | Act::Wait(_))) {
            acts.push_front(Act::Event(start));
        }
        let answer = Answer {
            acts,
            fold: Some(Fold::new()),
            sleep: None,
            open: Arc::clone(&self.0),
        };
        ChatStream::new(answer, Canceller::new(|| {}))
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let info = ModelInfo {
            id: model.into(),
            max_input_tokens: *self.0.window.lock().unwrap(),
            ..ModelInfo::default()
        };
        Box::pin(async move { Ok(info) })
    }

    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        let count = self.0.counts.lock().unwrap().pop_front().unwrap_or(1);
        Box::pin(async move { Ok(count) })
    }
}
