//! One exchange: the head, then the body as it is asked for; cancelled from any thread.

use crate::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use omni_core::{Canceller, Code, Error, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the status is one of success.
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(Head, Body)>> + Send>>;

enum Stage {
    Sending(Sending),
    Reading(Body),
    Ended,
    Cancelled,
}

struct Shared {
    stage: Mutex<Stage>,
    reader: AtomicWaker,
}

/// One request and its answer. Dropping it closes its socket (HTTP/2: resets its stream), unless the answer has come
/// to its end.
pub struct Exchange {
    shared: Arc<Shared>,
}

impl Exchange {
    pub(crate) fn new(sending: impl Future<Output = Result<(Head, Body)>> + Send + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                stage: Mutex::new(Stage::Sending(Box::pin(sending))),
                reader: AtomicWaker::new(),
            }),
        }
    }

    /// Closes the socket from any thread, at once, also when nobody reads. The reader then gets `cancelled`.
    pub fn canceller(&self) -> Canceller {
        let shared = Arc::downgrade(&self.shared);
        Canceller::new(move || {
            let Some(shared) = shared.upgrade() else { return };
            let closed = match &mut *shared.stage() {
                Stage::Ended | Stage::Cancelled => return,
                stage => std::mem::replace(stage, Stage::Cancelled),
            };
            // Dropped without the lock: dropping a body runs the HTTP library's code.
            drop(closed);
            shared.reader.wake();
        })
    }

    /// The head, once.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head>> {
        let stage = &mut *self.shared.stage();
        let sending = match stage {
            Stage::Sending(sending) => sending,
            Stage::Cancelled => return Poll::Ready(Err(cancelled())),
            Stage::Reading(_) | Stage::Ended => return Poll::Ready(Err(read_on())),
        };
        self.shared.reader.register(context.waker());
        Poll::Ready(match ready!(sending.as_mut().poll(context)) {
            Ok((head, body)) => {
                *stage = Stage::Reading(body);
                Ok(head)
            }
            Err(error) => {
                *stage = Stage::Ended;
                Err(error)
            }
        })
    }

    /// The next piece of the body, `None` after the last. The head comes first.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let stage = &mut *self.shared.stage();
        let body = match stage {
            Stage::Reading(body) => body,
            Stage::Cancelled => return Poll::Ready(Err(cancelled())),
            Stage::Ended => return Poll::Ready(Ok(None)),
            Stage::Sending(_) => return Poll::Ready(Err(read_on())),
        };
        self.shared.reader.register(context.waker());
        let chunk = ready!(body.poll_chunk(context));
        if !matches!(chunk, Ok(Some(_))) {
            *stage = Stage::Ended;
        }
        Poll::Ready(chunk)
    }

    /// The head, once.
    pub async fn head(&mut self) -> Result<Head> {
        std::future::poll_fn(|context| self.poll_head(context)).await
    }

    /// The next piece of the body, `None` after the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// The rest of the body, which may be `limit` bytes long.
    ///
    /// # Errors
    /// `protocol` if it is longer: what follows is not read.
    pub async fn whole(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(Error::new(
                    Code::Protocol,
                    format!("the answer is longer than {limit} bytes: it was not read on"),
                ));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl Drop for Exchange {
    /// Cancellers may outlive the exchange; the socket does not.
    fn drop(&mut self) {
        let closed = std::mem::replace(&mut *self.shared.stage(), Stage::Ended);
        drop(closed);
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange")
    }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the call was cancelled")
}

fn read_on() -> Error {
    Error::internal("an exchange was read out of order")
}
