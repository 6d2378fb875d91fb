//! One exchange: the head, then the body as it is asked for; cancelled from any thread.

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::Body as _;
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

type Sending = Pin<Box<dyn Future<Output = reqwest::Result<reqwest::Response>> + Send>>;

enum Stage {
    Sending(Sending),
    Failed(Option<Error>),
    Reading(reqwest::Body),
    Ended,
    Cancelled,
}

struct Shared {
    stage: Mutex<Stage>,
    reader: AtomicWaker,
}

/// One request and its answer. Dropping it closes its socket, unless the answer was read to its end.
pub struct Exchange {
    shared: Arc<Shared>,
}

impl Exchange {
    pub(crate) fn new(
        sending: impl Future<Output = reqwest::Result<reqwest::Response>> + Send + 'static,
    ) -> Self {
        Self::at(Stage::Sending(Box::pin(sending)))
    }

    pub(crate) fn failed(error: Error) -> Self {
        Self::at(Stage::Failed(Some(error)))
    }

    fn at(stage: Stage) -> Self {
        Self {
            shared: Arc::new(Shared {
                stage: Mutex::new(stage),
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
        let result = match stage {
            Stage::Sending(sending) => {
                self.shared.reader.register(context.waker());
                ready!(sending.as_mut().poll(context))
                    .map_err(|error| explain(error, Code::Connection, "no answer"))
            }
            Stage::Failed(error) => Err(error.take().unwrap_or_else(read_on)),
            Stage::Cancelled => Err(cancelled()),
            Stage::Reading(_) | Stage::Ended => Err(read_on()),
        };
        Poll::Ready(match result {
            Ok(response) => {
                let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
                *stage = Stage::Reading(body);
                Ok(Head {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                })
            }
            Err(error) => {
                if !matches!(stage, Stage::Cancelled) {
                    *stage = Stage::Ended;
                }
                Err(error)
            }
        })
    }

    /// The next piece of the body, `None` after the last. The head comes first.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let stage = &mut *self.shared.stage();
        loop {
            let body = match stage {
                Stage::Reading(body) => body,
                Stage::Cancelled => return Poll::Ready(Err(cancelled())),
                Stage::Ended => return Poll::Ready(Ok(None)),
                Stage::Sending(_) | Stage::Failed(_) => return Poll::Ready(Err(read_on())),
            };
            self.shared.reader.register(context.waker());
            match ready!(Pin::new(body).poll_frame(context)) {
                // Trailers are no data.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                    Ok(_) | Err(_) => {}
                },
                Some(Err(error)) => {
                    *stage = Stage::Ended;
                    return Poll::Ready(Err(explain(error, Code::Protocol, "the answer was cut off")));
                }
                None => {
                    *stage = Stage::Ended;
                    return Poll::Ready(Ok(None));
                }
            }
        }
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

/// The transport's failure in the words of the contract. Addresses are left out: they may carry a key.
fn explain(error: reqwest::Error, code: Code, what: &str) -> Error {
    let error = error.without_url();
    let what = if error.is_connect() { "no connection" } else { what };
    // The innermost cause is the one that tells: "connection refused", "certificate expired".
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Error::new(code, format!("{what}: {cause}"))
}
