//! The Python engine behind a bridge service (`omni serve`): the same steps as from the embedded one.

mod unfold;

use futures_core::Stream;
use omni_core::{
    BoxFuture, CONTRACT, Canceller, ChatEngine, Code, Engine, Error, Event, ModelInfo, Reply, Request,
    Result, SseReader, Step, Steps, unreadable,
};
use omni_transport::{Bytes, Call, Exchange, Head, HeaderMap, HeaderValue, Method, Transport, base_url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

/// A whole reply may carry pictures; an error has no reason to be long.
const MAX_REPLY: usize = 256 * 1024 * 1024;
const MAX_ERROR: usize = 1024 * 1024;

/// A bridge service. Cheap to clone; clones share their connections.
///
/// The service is asked once, before the first call, whether it speaks this contract; and again after a failure to
/// reach it, since another version may have been started meanwhile.
#[derive(Clone)]
pub struct HttpBridge(Arc<Service>);

struct Service {
    transport: Transport,
    url: String,
    authorization: Option<HeaderValue>,
    /// It has said that it speaks this contract.
    checked: AtomicBool,
}

impl HttpBridge {
    /// The service at `url`, for example `http://127.0.0.1:8411`, with the token that it was started with, if any.
    ///
    /// # Errors
    /// `invalid_request` for an address or a token that cannot be one.
    pub fn new(url: &str, token: Option<String>) -> Result<Self> {
        let authorization = token.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map_err(|_| {
                Error::invalid("the bridge's token has characters that cannot stand in a header")
            })
        });
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let (transport, url) = (Transport::new(), base_url(url)?);
        Ok(Self(Arc::new(Service {
            transport,
            url,
            authorization,
            checked: AtomicBool::new(false),
        })))
    }

    /// Asks the service whether it speaks this contract.
    ///
    /// # Errors
    /// `connection` if nobody answers, `engine_unavailable` naming both contracts if they differ.
    pub async fn check(&self) -> Result<()> {
        let health = self.0.whole(self.0.get("/health")).await?;
        self.0.judge(&health)
    }
}

impl std::fmt::Debug for HttpBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpBridge")
            .field("url", &self.0.url)
            .finish_non_exhaustive()
    }
}

impl Service {
    fn get(&self, path: &str) -> Exchange {
        self.send(Method::GET, path, Bytes::new())
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> Exchange {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        self.transport.send(Call {
            method,
            url: format!("{}{path}", self.url),
            headers,
            body,
        })
    }

    async fn whole(&self, mut exchange: Exchange) -> Result<Vec<u8>> {
        let head = exchange.head().await.map_err(|error| self.unreached(error))?;
        let limit = if head.is_success() { MAX_REPLY } else { MAX_ERROR };
        let body = exchange.whole(limit).await.inspect_err(|_| self.lost())?;
        if head.is_success() {
            Ok(body)
        } else {
            Err(self.refused(&head, &body))
        }
    }

    /// Whether the answer of `/health` is that of a service of this contract.
    fn judge(&self, health: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Health {
            contract: u32,
            version: Option<String>,
        }
        let url = &self.url;
        let unavailable = |message| Err(Error::new(Code::EngineUnavailable, message));
        let Ok(health) = serde_json::from_slice::<Health>(health) else {
            return unavailable(format!(
                "{url} answers, but not as a bridge service does: is `omni serve` running there?"
            ));
        };
        if health.contract != CONTRACT {
            let version = health.version.unwrap_or_else(|| "unknown".into());
            return unavailable(format!(
                "the bridge at {url} (omni_bridge {version}) speaks contract {}, this program contract {CONTRACT}: run the \
                 same version on both sides, here {}",
                health.contract,
                env!("CARGO_PKG_VERSION")
            ));
        }
        self.checked.store(true, Ordering::Release);
        Ok(())
    }

    /// What answers the next call may be another service than the one that was asked.
    fn lost(&self) {
        self.checked.store(false, Ordering::Release);
    }

    /// A failure to reach the service, with where it was looked for.
    fn unreached(&self, error: Error) -> Error {
        if error.code != Code::Connection {
            return error;
        }
        self.lost();
        let message = format!(
            "the bridge at {}: {}; is `omni serve` running there?",
            self.url, error.message
        );
        Error { message, ..error }
    }

    /// The error of an answer that is none of success.
    fn refused(&self, head: &Head, body: &[u8]) -> Error {
        #[derive(Deserialize)]
        struct Refusal {
            error: Error,
        }
        if let Ok(refusal) = serde_json::from_slice::<Refusal>(body) {
            return refusal.error;
        }
        // Not ours: a proxy before the service, or another server altogether.
        let (code, next) = match head.status {
            401 | 403 => (
                Code::Authentication,
                "give the token that the service was started with",
            ),
            300..=399 => (
                Code::EngineUnavailable,
                "it redirects elsewhere: give the service's own address",
            ),
            429 => (Code::RateLimit, "try again later"),
            503 => (Code::Overloaded, "try again later"),
            502 | 504 => (Code::Connection, "a proxy before the service does not reach it"),
            _ => (Code::EngineUnavailable, "is `omni serve` running there?"),
        };
        let mut error = Error::new(
            code,
            format!("{} answered with HTTP status {}: {next}", self.url, head.status),
        );
        error.retry_after = head
            .header("retry-after")
            .and_then(|seconds| seconds.parse().ok());
        error
    }
}

impl ChatEngine for HttpBridge {
    fn name(&self) -> Engine {
        Engine::Litellm
    }

    fn call(&self, request: &Request, stream: bool) -> Steps {
        /// The retries are the client's, on this side: the service must not multiply them.
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            request: &'a Request,
            retry: u32,
        }
        let body = match serde_json::to_vec(&Body { request, retry: 0 }) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                return Steps::failed(Error::internal(format!("the request cannot be written: {error}")));
            }
        };
        let service = Arc::clone(&self.0);
        let chat = service.send(Method::POST, if stream { "/chat/stream" } else { "/chat" }, body);
        let health = (!service.checked.load(Ordering::Acquire)).then(|| service.get("/health"));
        let cancellers = (chat.canceller(), health.as_ref().map(Exchange::canceller));
        let canceller = Canceller::new(move || {
            if let Some(health) = &cancellers.1 {
                health.cancel();
            }
            cancellers.0.cancel();
        });
        let stage = match health {
            Some(health) => Stage::Checking(Whole::new(health)),
            None => Stage::Opening,
        };
        Steps::new(
            Conversation {
                service,
                chat,
                streamed: stream,
                stage,
            },
            canceller,
        )
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let model = model.to_owned();
        Box::pin(async move {
            let models = self.models().await?;
            let found = models
                .as_array()
                .and_then(|all| all.iter().find(|one| one["id"] == model.as_str()));
            let unknown = || {
                Error::new(
                    Code::NotFound,
                    "the catalogue has no such model; it may work all the same",
                )
            };
            let found = found.cloned().ok_or_else(|| unknown().for_model(&model))?;
            serde_json::from_value(found)
                .map_err(|error| Error::new(Code::Protocol, format!("GET /models: {error}")))
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            if !self.0.checked.load(Ordering::Acquire) {
                self.check().await?;
            }
            let body = self.0.whole(self.0.get("/models")).await?;
            let mut models: Value = serde_json::from_slice(&body)
                .map_err(|error| Error::new(Code::Protocol, format!("GET /models is not JSON: {error}")))?;
            // An object leaves room for more than the list; the list is what is asked for.
            Ok(match models.get_mut("models") {
                Some(list) => list.take(),
                None => models,
            })
        })
    }

    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        let error = Error::new(
            Code::Unsupported,
            "a bridge service does not count tokens: use the embedded engine",
        );
        Box::pin(std::future::ready(Err(error)))
    }
}

/// An answer that is wanted whole.
struct Whole {
    exchange: Exchange,
    head: Option<Head>,
    body: Vec<u8>,
}

impl Whole {
    fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            head: None,
            body: Vec::new(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, service: &Service) -> Poll<Result<Vec<u8>>> {
        if self.head.is_none() {
            match ready!(self.exchange.poll_head(context)) {
                Ok(head) => self.head = Some(head),
                Err(error) => return Poll::Ready(Err(service.unreached(error))),
            }
        }
        let body = ready!(poll_rest(&mut self.exchange, MAX_ERROR, &mut self.body, context))?;
        Poll::Ready(match &self.head {
            // A wrong token, for one: the service says so itself.
            Some(head) if !head.is_success() => Err(service.refused(head, &body)),
            _ => Ok(body),
        })
    }
}

fn poll_rest(
    exchange: &mut Exchange,
    limit: usize,
    body: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<Result<Vec<u8>>> {
    while let Some(chunk) = ready!(exchange.poll_chunk(context))? {
        if body.len() + chunk.len() > limit {
            let message = format!("the bridge's answer is longer than {limit} bytes: it was not read on");
            return Poll::Ready(Err(Error::new(Code::Protocol, message)));
        }
        body.extend_from_slice(&chunk);
    }
    Poll::Ready(Ok(std::mem::take(body)))
}

enum Stage {
    /// The service's contract is being asked for.
    Checking(Whole),
    /// The call is sent.
    Opening,
    /// The rest of an answer that comes in one piece: a reply, or an error.
    Gathering(Head, Vec<u8>),
    /// The events come.
    Reading(SseReader),
    /// The events of a reply that came in one piece.
    Telling(std::vec::IntoIter<Step>),
    Ended,
}

/// One call of the service, as steps.
struct Conversation {
    service: Arc<Service>,
    chat: Exchange,
    streamed: bool,
    stage: Stage,
}

impl Conversation {
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Step>>> {
        loop {
            match &mut self.stage {
                Stage::Checking(whole) => {
                    let health = ready!(whole.poll(context, &self.service))?;
                    self.service.judge(&health)?;
                    self.stage = Stage::Opening;
                }
                Stage::Opening => {
                    let head = ready!(self.chat.poll_head(context))
                        .map_err(|error| self.service.unreached(error))?;
                    self.stage = if head.is_success() && self.streamed {
                        Stage::Reading(SseReader::new())
                    } else {
                        Stage::Gathering(head, Vec::new())
                    };
                }
                Stage::Gathering(head, body) => {
                    let limit = if head.is_success() { MAX_REPLY } else { MAX_ERROR };
                    let body = ready!(poll_rest(&mut self.chat, limit, body, context))
                        .inspect_err(|_| self.service.lost())?;
                    if !head.is_success() {
                        return Poll::Ready(Err(self.service.refused(head, &body)));
                    }
                    let reply: Reply = serde_json::from_slice(&body).map_err(|error| {
                        Error::new(Code::Protocol, unreadable("the bridge's reply", &error).message)
                    })?;
                    let events = unfold::events(&reply).into_iter().map(Step::Event);
                    let steps: Vec<Step> = events.chain([Step::Reply(Box::new(reply))]).collect();
                    self.stage = Stage::Telling(steps.into_iter());
                }
                Stage::Telling(steps) => return Poll::Ready(Ok(steps.next())),
                Stage::Reading(reader) => {
                    if let Some(frame) = reader.next_frame()? {
                        return Poll::Ready(step_of(frame.data).map(Some));
                    }
                    let chunk = ready!(self.chat.poll_chunk(context)).inspect_err(|_| self.service.lost())?;
                    let Some(chunk) = chunk else {
                        self.service.lost();
                        let message = "the bridge's stream ended before its last event: it was stopped, or a proxy cut it";
                        return Poll::Ready(Err(Error::new(Code::Protocol, message)));
                    };
                    reader.push(&chunk);
                }
                Stage::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl Stream for Conversation {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        let step = match ready!(self.poll_step(context)) {
            Ok(step) => step,
            // The socket is closed by the time that this is read, but nobody has measured it.
            Err(error) if error.code == Code::Cancelled => Some(Step::Cancelled { closed_ms: None }),
            Err(error) => Some(Step::Failed(error)),
        };
        if step.as_ref().is_none_or(Step::is_last) {
            self.stage = Stage::Ended;
        }
        Poll::Ready(step)
    }
}

fn step_of(data: &str) -> Result<Step> {
    let event: Event = serde_json::from_str(data).map_err(|error| {
        Error::new(
            Code::Protocol,
            unreadable("an event of the bridge", &error).message,
        )
    })?;
    Ok(match event {
        Event::Done { reply } => Step::Reply(reply),
        Event::Error { error, .. } => Step::Failed(error),
        Event::Cancelled { closed_ms, .. } => Step::Cancelled { closed_ms },
        event => Step::Event(event),
    })
}
