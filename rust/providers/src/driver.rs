//! Drives any protocol over HTTP: sends the request, reads the answer, and says what came as steps.

use crate::answer::Answer;
use crate::error::{self, Case};
use crate::fault::Fault;
use crate::protocol::{Encoded, Protocol};
use crate::secret::Secret;
use bytes::Bytes;
use futures_core::Stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use omni_core::{Code, Error, Finish, Result, Step, Steps};
use omni_transport::{Call, Exchange, Head, Transport};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes of an error's body that are read.
const MAX_ERROR: usize = 64 * 1024;

/// How long the end of a body is waited for after the wire's own last event: a connection whose body was read to its
/// end can be used again, but no server may hold a whole answer back.
const LINGER: Duration = Duration::from_millis(200);

/// Pieces without an event that are read in one turn.
const AT_A_TIME: u32 = 64;

/// One request, ready to be sent.
pub struct Outgoing {
    /// What is spoken.
    pub protocol: Protocol,
    /// The encoded request.
    pub encoded: Encoded,
    /// Whether the events are read as they come; else the answer is held until it is whole, and bounded.
    pub stream: bool,
    /// Where it goes: a base URL and the encoded path, [`join`]ed.
    pub url: String,
    /// Headers of the provider and of the caller, the key among them (marked sensitive).
    pub headers: HeaderMap,
    /// The model id that was asked for, as errors name it.
    pub model_id: String,
    /// The model as the provider names it.
    pub model: String,
    /// Values that no message may hold: the key, and what else the caller gave.
    pub secrets: Vec<Secret>,
    /// Limit for the connection alone.
    pub connect_timeout: Option<Duration>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("protocol", &self.protocol)
            .field("model", &self.model_id)
            .finish_non_exhaustive()
    }
}

/// `base` and the protocol's `path` as one address. A base that already ends in the path, or in its first piece (a
/// base with `/v1` before `/v1/messages`), is not given it twice.
pub fn join(base: &str, path: &str) -> String {
    let (base, base_query) = base.split_once('?').unwrap_or((base, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let base = base.trim_end_matches('/');
    // A dialect of the user's own making may have no path at all.
    let rest = path.strip_prefix('/').unwrap_or_default();
    let first = rest.find('/').map_or(path, |end| &path[..=end]);
    let missing = if base.ends_with(path) {
        ""
    } else if first.len() < path.len() && base.ends_with(first) {
        &path[first.len()..]
    } else {
        path
    };
    let mut url = String::with_capacity(base.len() + missing.len() + base_query.len() + query.len() + 2);
    url.push_str(base);
    url.push_str(missing);
    let mut sign = '?';
    for query in [base_query, query] {
        if !query.is_empty() {
            url.push(sign);
            url.push_str(query);
            sign = '&';
        }
    }
    url
}

/// Sends `outgoing`; the steps are those of one try.
pub fn call(transport: &Transport, outgoing: Outgoing) -> Steps {
    let mut headers = outgoing.headers;
    for (name, value) in &outgoing.encoded.headers {
        let Ok(value) = HeaderValue::from_str(value) else {
            let message = format!("the header {name} has characters that cannot stand in one");
            return Steps::failed(Error::invalid(message).for_model(&outgoing.model_id));
        };
        // The encoder has seen what the caller set, and merged it where a header is a list.
        headers.insert(HeaderName::from_static(name), value);
    }
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("text/event-stream, application/json"));
    let body = Bytes::from(outgoing.encoded.body);
    let sent = Call {
        method: Method::POST,
        url: outgoing.url,
        headers,
        body: body.clone(),
    };
    let exchange = match outgoing.connect_timeout {
        Some(limit) => transport.send_within(sent, limit),
        None => transport.send(sent),
    };
    let canceller = exchange.canceller();
    let conversation = Conversation {
        exchange,
        asked: Asked {
            protocol: outgoing.protocol,
            context: outgoing.encoded.context,
            stream: outgoing.stream,
            model_id: outgoing.model_id,
            model: outgoing.model,
            secrets: outgoing.secrets,
            body,
        },
        head: None,
        request_id: None,
        silent: 0,
        stage: Stage::Sent,
    };
    Steps::new(conversation, canceller)
}

/// What was asked, as far as the answer needs it.
struct Asked {
    protocol: Protocol,
    context: crate::protocol::Context,
    stream: bool,
    model_id: String,
    model: String,
    secrets: Vec<Secret>,
    body: Bytes,
}

impl Asked {
    fn case<'a>(&'a self, head: Option<&'a Head>) -> Case<'a> {
        Case {
            provider: &self.context.provider,
            model: &self.model_id,
            head,
            secrets: &self.secrets,
            asked: &self.body,
        }
    }
}

enum Stage {
    Sent,
    /// An error's body is read.
    Refused(Vec<u8>),
    Reading(Box<Answer>),
    /// The wire's last event was seen; the body's end is still to come, which the timer bounds.
    Lingering(Box<Answer>, Pin<Box<Sleep>>),
    /// All bytes were read: what is left are events, then this.
    Telling(Box<Answer>, Box<Option<Step>>),
    Ended,
}

struct Conversation {
    exchange: Exchange,
    asked: Asked,
    head: Option<Head>,
    request_id: Option<String>,
    /// Pieces read since the last event.
    silent: u32,
    stage: Stage,
}

impl Conversation {
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Step>>> {
        loop {
            match &mut self.stage {
                Stage::Sent => {
                    let head = ready!(self.exchange.poll_head(context))?;
                    self.stage = if head.is_success() {
                        self.request_id = error::request_id(&head);
                        let (asked, id) = (&self.asked, self.request_id.clone());
                        let answer = Answer::new(asked.protocol, &asked.context, &asked.model, id);
                        Stage::Reading(Box::new(if asked.stream { answer } else { answer.bounded() }))
                    } else {
                        Stage::Refused(Vec::new())
                    };
                    self.head = Some(head);
                }
                Stage::Refused(body) => {
                    let more = match ready!(self.exchange.poll_chunk(context)) {
                        Ok(more) => more,
                        Err(error) if error.code == Code::Cancelled => return Poll::Ready(Err(error)),
                        // The status alone says enough.
                        Err(_) => None,
                    };
                    if let Some(chunk) = more {
                        let room = MAX_ERROR - body.len();
                        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                        if body.len() < MAX_ERROR {
                            continue;
                        }
                    }
                    let error = error::of_status(&self.asked.case(self.head.as_ref()), body);
                    return Poll::Ready(Ok(Some(Step::Failed(error))));
                }
                Stage::Reading(answer) => {
                    if let Some(event) = answer.event() {
                        self.silent = 0;
                        return Poll::Ready(Ok(Some(Step::Event(event))));
                    }
                    if answer.is_over() {
                        let Stage::Reading(answer) = std::mem::replace(&mut self.stage, Stage::Ended) else {
                            return Poll::Ready(Ok(None));
                        };
                        self.stage = Stage::Lingering(answer, Box::pin(tokio::time::sleep(LINGER)));
                        continue;
                    }
                    if self.silent >= AT_A_TIME {
                        // A body that inflates to nothing but comments must not keep its thread: others have a turn.
                        self.silent = 0;
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.silent += 1;
                    if let Some(chunk) = ready!(self.exchange.poll_chunk(context))? {
                        if let Err(fault) = answer.push(&chunk) {
                            self.tell(Err(fault));
                        }
                    } else {
                        let ended = answer.end();
                        self.tell(ended);
                    }
                }
                Stage::Lingering(answer, timer) => {
                    let over = match self.exchange.poll_chunk(context) {
                        // What follows the last event is nobody's, however much it is: while there is something to
                        // read, the timer below is not asked.
                        Poll::Ready(Ok(Some(_))) if Instant::now() < timer.deadline() => continue,
                        Poll::Ready(_) => true,
                        Poll::Pending => timer.as_mut().poll(context).is_ready(),
                    };
                    if !over {
                        return Poll::Pending;
                    }
                    let ended = answer.end();
                    self.tell(ended);
                }
                Stage::Telling(answer, last) => {
                    if let Some(event) = answer.event() {
                        return Poll::Ready(Ok(Some(Step::Event(event))));
                    }
                    return Poll::Ready(Ok(last.take()));
                }
                Stage::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Nothing more is read: hands out what is ready, then how the answer ended.
    fn tell(&mut self, ended: Result<Finish, Fault>) {
        let last = match ended {
            Ok(mut finish) => {
                if finish.request_id.is_none() {
                    finish.request_id = self.request_id.take();
                }
                Step::Finish(Box::new(finish))
            }
            Err(fault) => Step::Failed(error::of_fault(&self.asked.case(self.head.as_ref()), fault)),
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Reading(answer) | Stage::Lingering(answer, _) => {
                Stage::Telling(answer, Box::new(Some(last)))
            }
            other => other,
        };
    }

    /// A failure of the connection, with whose it was.
    fn failed(&self, mut error: Error) -> Error {
        error
            .provider
            .get_or_insert_with(|| self.asked.context.provider.clone());
        // What broke after its head still has the head's status, and the id for the provider's support.
        error.status = error.status.or(self.head.as_ref().map(|head| head.status));
        error.request_id = error.request_id.or_else(|| self.request_id.clone());
        error.for_model(&self.asked.model_id)
    }
}

impl Stream for Conversation {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        let step = match ready!(self.poll_step(context)) {
            Ok(step) => step,
            // The socket is closed by the time that this is read, but nobody has measured it.
            Err(error) if error.code == Code::Cancelled => Some(Step::Cancelled { closed_ms: None }),
            Err(error) => Some(Step::Failed(self.failed(error))),
        };
        if step.as_ref().is_none_or(Step::is_last) {
            self.stage = Stage::Ended;
        }
        Poll::Ready(step)
    }
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn a_base_gets_the_path_once() {
        for (base, path, want) in [
            (
                "https://a/v1",
                "/chat/completions",
                "https://a/v1/chat/completions",
            ),
            (
                "https://a/v1/",
                "/chat/completions",
                "https://a/v1/chat/completions",
            ),
            (
                "https://a/v1/chat/completions",
                "/chat/completions",
                "https://a/v1/chat/completions",
            ),
            ("https://a", "/v1/messages", "https://a/v1/messages"),
            ("https://a/v1", "/v1/messages", "https://a/v1/messages"),
            ("https://a/v1/messages", "/v1/messages", "https://a/v1/messages"),
            (
                "https://a/v1beta",
                "/models/m:streamGenerateContent?alt=sse",
                "https://a/v1beta/models/m:streamGenerateContent?alt=sse",
            ),
            ("https://a/x?b=1", "/y?c=2", "https://a/x/y?b=1&c=2"),
        ] {
            assert_eq!(join(base, path), want);
        }
    }

    #[test]
    fn a_base_without_a_path_stays_as_it_is() {
        assert_eq!(join("https://a/v1", ""), "https://a/v1");
        assert_eq!(join("https://a/v1/", "?b=1"), "https://a/v1?b=1");
    }
}
