//! What every engine and every wrapper around one offers: `ChatModel`.

use crate::event::Event;
use crate::reply::Reply;
use crate::request::Request;
use crate::{Error, Result};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A model id, `provider/model`, in its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelId<'a> {
    /// Who serves it; `None` where the id names no provider.
    pub provider: Option<&'a str>,
    /// The rest, slashes included.
    pub model: &'a str,
}

impl<'a> ModelId<'a> {
    /// Splits at the first slash.
    pub fn parse(id: &'a str) -> Self {
        match id.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => Self {
                provider: Some(provider),
                model,
            },
            _ => Self {
                provider: None,
                model: id,
            },
        }
    }
}

/// What is known of a model. Unknown is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelInfo {
    /// The model id.
    pub id: String,
    /// Who serves it.
    pub provider: Option<String>,
    /// Tokens that fit in.
    pub max_input_tokens: Option<u64>,
    /// Tokens that can come out.
    pub max_output_tokens: Option<u64>,
    /// Dollars for one input token.
    pub input_cost_per_token: Option<f64>,
    /// Dollars for one output token.
    pub output_cost_per_token: Option<f64>,
    /// Takes tools.
    pub supports_tools: Option<bool>,
    /// Takes images.
    pub supports_vision: Option<bool>,
    /// Shows reasoning.
    pub supports_reasoning: Option<bool>,
}

/// Something that answers chats: an engine, a client, a test double.
pub trait ChatModel: Send + Sync {
    /// One call, one reply; on the provider's unstreamed wire.
    fn chat(&self, request: Request) -> BoxFuture<'_, Result<Reply>>;

    /// One call, streamed. Never fails itself: a stream ends in `done`, `error` or `cancelled`.
    fn stream(&self, request: Request) -> ChatStream;

    /// What is known of a model.
    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>>;

    /// The input tokens that `request` will take, as near as is known without calling the provider.
    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>>;
}

/// Stops a call from any thread. Cancelling twice, or after the end, does nothing.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() + Send + Sync>);

impl Canceller {
    /// A canceller that does `cancel`.
    pub fn new(cancel: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(cancel))
    }

    /// Asks the call to stop; its stream then ends in `cancelled`.
    pub fn cancel(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

/// The events of one call. Dropping it cancels the call.
pub struct ChatStream {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    canceller: Canceller,
    ended: bool,
}

impl ChatStream {
    /// A stream of `events`, which `canceller` stops. `events` must itself stop its call when it is dropped.
    pub fn new(events: impl Stream<Item = Event> + Send + 'static, canceller: Canceller) -> Self {
        Self {
            events: Box::pin(events),
            canceller,
            ended: false,
        }
    }

    /// Asks the call to stop. The events that follow end in `cancelled`.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// A handle that stops the call from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// The next event, or `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Reads to the end and gives the reply.
    ///
    /// # Errors
    /// What the `error` event carries, or `cancelled`.
    pub async fn reply(mut self) -> Result<Reply> {
        while let Some(event) = self.next().await {
            match event {
                Event::Done { reply } => return Ok(*reply),
                Event::Error { error, .. } => return Err(error),
                Event::Cancelled { .. } => {
                    return Err(Error::new(crate::Code::Cancelled, "the call was cancelled"));
                }
                _ => {}
            }
        }
        Err(Error::internal("a stream ended without a last event"))
    }
}

impl Stream for ChatStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = self.events.as_mut().poll_next(context);
        if let Poll::Ready(Some(event)) = &next {
            self.ended = event.is_last();
        }
        next
    }
}

impl std::fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatStream")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Fold};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A stream that is always ready.
    struct Ready(std::vec::IntoIter<Event>);

    impl Stream for Ready {
        type Item = Event;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Event>> {
            Poll::Ready(self.0.next())
        }
    }

    fn stream(events: Vec<Event>) -> ChatStream {
        ChatStream::new(Ready(events.into_iter()), Canceller::new(|| {}))
    }

    /// Polls a future that is ready.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(std::task::Waker::noop()))
        {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a stream that is always ready makes nobody wait"),
        }
    }

    fn reply() -> Box<Reply> {
        Box::new(Fold::new().partial(Vec::new()))
    }

    #[test]
    fn a_model_id_splits_at_its_first_slash() {
        let parsed = ModelId::parse("openrouter/meta/llama");
        assert_eq!(
            (parsed.provider, parsed.model),
            (Some("openrouter"), "meta/llama")
        );
        for id in ["gpt-5", "/x", "x/", ""] {
            assert_eq!(
                ModelId::parse(id),
                ModelId {
                    provider: None,
                    model: id
                }
            );
        }
    }

    #[test]
    fn nothing_follows_the_last_event() {
        let mut stream = stream(vec![
            Event::Done { reply: reply() },
            Event::TextStart { index: 0 },
        ]);
        assert!(matches!(now(stream.next()), Some(Event::Done { .. })));
        assert_eq!(now(stream.next()), None);
        assert_eq!(now(stream.next()), None);
    }

    #[test]
    fn a_reply_is_what_the_last_event_says() {
        let text = || Event::TextDelta {
            index: 0,
            text: "x".into(),
        };
        let code = |last: Option<Event>| {
            let events = std::iter::once(text()).chain(last).collect();
            now(stream(events).reply())
                .map(|_| ())
                .map_err(|error| error.code)
        };
        assert_eq!(code(Some(Event::Done { reply: reply() })), Ok(()));
        let error = Error::new(Code::RateLimit, "slow down");
        assert_eq!(
            code(Some(Event::Error {
                error,
                reply: reply()
            })),
            Err(Code::RateLimit)
        );
        assert_eq!(
            code(Some(Event::Cancelled {
                reply: reply(),
                closed_ms: None
            })),
            Err(Code::Cancelled)
        );
        assert_eq!(code(None), Err(Code::Internal));
    }

    #[test]
    fn every_clone_of_a_canceller_cancels() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let canceller = Canceller::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let stream = ChatStream::new(Ready(Vec::new().into_iter()), canceller);
        stream.canceller().cancel();
        stream.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
