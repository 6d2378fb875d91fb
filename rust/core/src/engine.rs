//! What the client asks of an engine: one try of one request, as steps.
//!
//! An engine decides nothing about retries, fallbacks, budgets or whole-call time limits and builds no reply:
//! the client does, once, above every engine.

use crate::event::{Event, Finish};
use crate::model::{BoxFuture, Canceller, ModelInfo};
use crate::reply::{Engine as EngineName, Reply};
use crate::request::Request;
use crate::{Error, Result};
use futures_core::Stream;
use serde_json::Value;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One step of one try. Everything but `Event` is the last.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A contract event; never `done`, `error`, `cancelled` or `fallback`.
    Event(Event),
    /// The answer is whole; the client folds the reply.
    Finish(Box<Finish>),
    /// The answer is whole and somebody else (a bridge service) has folded it.
    Reply(Box<Reply>),
    /// The try failed.
    Failed(Error),
    /// The try was cancelled; the socket took `closed_ms` to close, if that is known.
    Cancelled {
        /// Milliseconds from the cancel to the closed socket.
        closed_ms: Option<u64>,
    },
}

impl Step {
    /// Whether nothing can follow.
    pub const fn is_last(&self) -> bool {
        !matches!(self, Step::Event(_))
    }
}

/// The steps of one try. Dropping it cancels the try.
pub struct Steps {
    steps: Pin<Box<dyn Stream<Item = Step> + Send>>,
    canceller: Canceller,
}

impl Steps {
    /// `steps`, which `canceller` stops and which stop their call themselves when dropped.
    pub fn new(steps: impl Stream<Item = Step> + Send + 'static, canceller: Canceller) -> Self {
        Self {
            steps: Box::pin(steps),
            canceller,
        }
    }

    /// A try that failed before it began.
    pub fn failed(error: Error) -> Self {
        struct Once(Option<Error>);
        impl Stream for Once {
            type Item = Step;
            fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Step>> {
                Poll::Ready(self.0.take().map(Step::Failed))
            }
        }
        Self::new(Once(Some(error)), Canceller::new(|| {}))
    }

    /// A handle that stops the try from elsewhere; the steps then end in `Cancelled`.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

impl Stream for Steps {
    type Item = Step;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        self.steps.as_mut().poll_next(context)
    }
}

/// Something that answers: LiteLLM in an embedded interpreter, a bridge service, a native protocol.
pub trait Engine: Send + Sync {
    /// Its name in replies.
    fn name(&self) -> EngineName;

    /// One try. `stream` says which of the provider's wires to use; the steps are of the same kind either way.
    fn call(&self, request: &Request, stream: bool) -> Steps;

    /// What is known of a model.
    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>>;

    /// The models that are known, as the documents of `omni models`.
    fn models(&self) -> BoxFuture<'_, Result<Value>>;

    /// The input tokens that `request` will take, without calling the provider.
    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>>;
}
