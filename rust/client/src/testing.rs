//! An engine that answers from a script: for tests of programs that use this crate, without Python or a network.

use futures_core::Stream;
use futures_util::task::AtomicWaker;
use omni_core::{
    BoxFuture, Canceller, ChatEngine, Engine, Error, Event, Finish, FinishReason, ModelInfo, Request, Result,
    Step, Steps,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// What a scripted try does next.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends an event.
    Event(Event),
    /// Ends the answer.
    Finish(Finish),
    /// Fails.
    Fail(Error),
    /// Says nothing for so long (on tokio's clock, which tests may pause).
    Wait(Duration),
    /// Says nothing until it is cancelled.
    Hang,
    /// Says nothing, and does not answer a cancel either.
    Deaf,
    /// Panics.
    Panic,
}

/// An engine that answers from a script. Clones share everything, so a test keeps one to look at.
///
/// ```
/// use omni_bridge::testing::{Act, FakeEngine};
/// use omni_bridge::{Client, Code, Error, Message, Request};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let engine = FakeEngine::new([
///     vec![Act::Fail(Error::new(Code::Overloaded, "busy"))], // the first try
///     FakeEngine::answer("Here you are."),                   // every later one
/// ]);
/// let client = Client::builder().engine(engine.clone()).build()?;
/// let reply = client.chat(Request::new("demo/model", vec![Message::user("Please?")])).await?;
/// assert_eq!((reply.content.as_str(), reply.attempts.len()), ("Here you are.", 2));
/// assert_eq!(engine.requests().len(), 2);
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FakeEngine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scripts: Mutex<VecDeque<Vec<Act>>>,
    requests: Mutex<Vec<(Request, bool)>>,
    open: AtomicUsize,
    cancelled: AtomicUsize,
}

impl FakeEngine {
    /// Each try takes the next script; the last script serves all further tries.
    pub fn new(scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        Self(Arc::new(Inner {
            scripts: Mutex::new(scripts.into_iter().collect()),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        }))
    }

    /// Answers every call with `text`.
    pub fn saying(text: &str) -> Self {
        Self::new([Self::answer(text)])
    }

    /// The script of an answer of one text part.
    pub fn answer(text: &str) -> Vec<Act> {
        let finish = Finish {
            finish_reason: Some(FinishReason::Stop),
            ..Finish::default()
        };
        vec![
            Self::start(),
            Act::Event(Event::TextStart { index: 0 }),
            Act::Event(Event::TextDelta {
                index: 0,
                text: text.to_owned(),
            }),
            Act::Event(Event::TextEnd {
                index: 0,
                annotations: None,
                signature: None,
            }),
            Act::Finish(finish),
        ]
    }

    /// The first event of an answer.
    pub fn start() -> Act {
        let (model, provider) = ("fake".to_owned(), "fake".to_owned());
        Act::Event(Event::Start {
            id: None,
            request_id: None,
            model,
            provider,
            engine: Engine::Litellm,
        })
    }

    /// What was asked so far, in order, each with whether it was to be streamed.
    pub fn requests(&self) -> Vec<(Request, bool)> {
        self.0
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tries that have begun and neither ended nor been dropped.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// Tries that were told to stop.
    pub fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

impl ChatEngine for FakeEngine {
    fn name(&self) -> Engine {
        Engine::Litellm
    }

    fn call(&self, request: &Request, stream: bool) -> Steps {
        self.0
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((request.clone(), stream));
        let mut scripts = self.0.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let script = if scripts.len() > 1 {
            scripts.pop_front()
        } else {
            scripts.front().cloned()
        };
        drop(scripts);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let stop = Arc::new(Stop::default());
        let inner = Arc::clone(&self.0);
        let canceller = Canceller::new({
            let stop = Arc::clone(&stop);
            move || {
                if !stop.asked.swap(true, Ordering::SeqCst) {
                    inner.cancelled.fetch_add(1, Ordering::SeqCst);
                    stop.waker.wake();
                }
            }
        });
        let play = Play {
            acts: script.unwrap_or_default().into(),
            stop,
            sleep: None,
            engine: Arc::clone(&self.0),
        };
        Steps::new(play, canceller)
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let info = ModelInfo {
            id: model.to_owned(),
            ..ModelInfo::default()
        };
        Box::pin(async { Ok(info) })
    }

    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async { Ok(json!([{"id": "fake/model"}])) })
    }

    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(request.messages.len() as u64) })
    }
}

#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    waker: AtomicWaker,
}

/// One try, as it plays its script.
struct Play {
    acts: VecDeque<Act>,
    stop: Arc<Stop>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    engine: Arc<Inner>,
}

impl Stream for Play {
    type Item = Step;

    #[expect(clippy::panic, reason = "`Act::Panic` asks for it")]
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        self.stop.waker.register(context.waker());
        if self.stop.asked.load(Ordering::SeqCst) && !matches!(self.acts.front(), Some(Act::Deaf)) {
            self.acts.clear();
            return Poll::Ready(Some(Step::Cancelled { closed_ms: Some(0) }));
        }
        match self.acts.front() {
            Some(Act::Wait(time)) => {
                let time = *time;
                let sleep = self
                    .sleep
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
                self.acts.pop_front();
                self.poll_next(context)
            }
            Some(Act::Hang | Act::Deaf) => Poll::Pending,
            Some(Act::Panic) => panic!("the script says so"),
            _ => Poll::Ready(self.acts.pop_front().and_then(|act| match act {
                Act::Event(event) => Some(Step::Event(event)),
                Act::Finish(finish) => Some(Step::Finish(Box::new(finish))),
                Act::Fail(error) => Some(Step::Failed(error)),
                Act::Wait(_) | Act::Hang | Act::Deaf | Act::Panic => None,
            })),
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.engine.open.fetch_sub(1, Ordering::SeqCst);
    }
}
