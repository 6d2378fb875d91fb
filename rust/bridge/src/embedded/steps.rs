//! The documents of a call, read: a chat's as steps, an op's as its result.

use super::RawCall;
use futures_core::Stream;
use omni_core::{Code, Error, Event, Finish, Result, Step};
use serde::Deserialize;
use serde_json::Value;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Documents one by one from batches.
struct Documents {
    call: RawCall,
    batch: Vec<u8>,
    at: usize,
}

impl Documents {
    fn new(call: RawCall) -> Self {
        Self {
            call,
            batch: Vec::new(),
            at: 0,
        }
    }

    /// Makes sure that there is a document, unless the call has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        while self.at >= self.batch.len() {
            self.at = 0;
            match self.call.poll_batch(context, &mut self.batch) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(true)
    }

    fn take(&mut self) -> &[u8] {
        let rest = &self.batch[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.at += len + 1;
        &rest[..len]
    }
}

/// A chat's steps.
pub(super) struct Reader {
    documents: Documents,
    model: String,
    ended: bool,
}

impl Reader {
    pub(super) fn new(call: RawCall, model: &str) -> Self {
        Self {
            documents: Documents::new(call),
            model: model.to_owned(),
            ended: false,
        }
    }
}

impl Stream for Reader {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let step = match self.documents.poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(true) => step(self.documents.take()),
            Poll::Ready(false) => {
                Step::Failed(Error::internal("the engine ended a call without a last event"))
            }
        };
        let step = match step {
            Step::Failed(error) => Step::Failed(error.for_model(&self.model)),
            other => other,
        };
        self.ended = step.is_last();
        Poll::Ready(Some(step))
    }
}

/// One document of a chat.
fn step(document: &[u8]) -> Step {
    if let Some(event) = delta(document) {
        return Step::Event(event);
    }
    let wrong = |error: serde_json::Error| {
        // Serde's message quotes the value, which may be anything that the provider sent.
        let kind = String::from_utf8_lossy(kind(document)).into_owned();
        let column = error.column();
        Step::Failed(Error::internal(format!(
            "an event of the engine ({kind:?}) is not in the contract, at column {column}"
        )))
    };
    match kind(document) {
        b"finish" => serde_json::from_slice::<Finish>(document)
            .map_or_else(wrong, |finish| Step::Finish(Box::new(finish))),
        b"error" => serde_json::from_slice::<Failure>(document)
            .map_or_else(wrong, |failure| Step::Failed(failure.error)),
        b"cancelled" => {
            serde_json::from_slice::<Closed>(document).map_or_else(wrong, |closed| Step::Cancelled {
                closed_ms: closed.closed_ms,
            })
        }
        _ => serde_json::from_slice::<Event>(document).map_or_else(wrong, Step::Event),
    }
}

#[derive(Deserialize)]
struct Failure {
    error: Error,
}

#[derive(Deserialize)]
struct Closed {
    #[serde(default)]
    closed_ms: Option<u64>,
}

/// The document's `type`, which our engine writes first.
fn kind(document: &[u8]) -> &[u8] {
    let Some(rest) = document.strip_prefix(b"{\"type\":\"") else {
        return b"";
    };
    let len = rest.iter().position(|byte| *byte == b'"').unwrap_or(0);
    &rest[..len]
}

/// The three events that come by the thousand, in the shape in which our engine writes them. Serde reads an enum
/// that is tagged inside by way of a buffer, three times as slowly; any other shape goes that way.
fn delta(document: &[u8]) -> Option<Event> {
    let rest = document.strip_prefix(b"{\"type\":\"")?;
    let (which, rest) = if let Some(rest) = rest.strip_prefix(b"text_delta\",\"index\":") {
        (0, rest)
    } else if let Some(rest) = rest.strip_prefix(b"tool_call_delta\",\"index\":") {
        (1, rest)
    } else {
        (2, rest.strip_prefix(b"reasoning_delta\",\"index\":")?)
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let index = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let field: &[u8] = if which == 1 {
        b",\"arguments\":"
    } else {
        b",\"text\":"
    };
    let text = rest[digits..].strip_prefix(field)?.strip_suffix(b"}")?;
    let text: String = serde_json::from_slice(text).ok()?;
    Some(match which {
        0 => Event::TextDelta { index, text },
        1 => Event::ToolCallDelta {
            index,
            arguments: text,
        },
        _ => Event::ReasoningDelta { index, text },
    })
}

/// The result of an op.
pub(super) struct Answer {
    state: std::result::Result<Documents, Option<Error>>,
}

impl Answer {
    pub(super) fn of(call: RawCall) -> Self {
        Self {
            state: Ok(Documents::new(call)),
        }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self {
            state: Err(Some(error)),
        }
    }
}

impl Future for Answer {
    type Output = Result<Value>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Value>> {
        #[derive(Deserialize)]
        struct Data {
            #[serde(default)]
            data: Value,
        }
        let documents = match &mut self.state {
            Ok(documents) => documents,
            Err(error) => {
                let error = error
                    .take()
                    .unwrap_or_else(|| Error::internal("an answer was polled after its end"));
                return Poll::Ready(Err(error));
            }
        };
        let unreadable = |error: serde_json::Error| {
            Error::internal(format!(
                "an op's answer cannot be read, at column {}",
                error.column()
            ))
        };
        let result = loop {
            match documents.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => break Err(Error::internal("the op ended without a result")),
                Poll::Ready(true) => {}
            }
            let document = documents.take();
            match kind(document) {
                b"result" | b"echo" => {
                    break serde_json::from_slice::<Data>(document)
                        .map(|data| data.data)
                        .map_err(unreadable);
                }
                b"error" => {
                    break match serde_json::from_slice::<Failure>(document) {
                        Ok(failure) => Err(failure.error),
                        Err(error) => Err(unreadable(error)),
                    };
                }
                b"cancelled" => break Err(Error::new(Code::Cancelled, "the call was cancelled")),
                _ => {}
            }
        };
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_way_reads_deltas_as_serde_does() {
        for document in [
            r#"{"type":"text_delta","index":0,"text":"a \"b\" \\ é 🙂 "}"#,
            r#"{"type":"reasoning_delta","index":12,"text":""}"#,
            r#"{"type":"tool_call_delta","index":3,"arguments":"{\"a\":"}"#,
        ] {
            let quick = delta(document.as_bytes());
            let serde: Event = serde_json::from_str(document).unwrap();
            assert_eq!(quick, Some(serde));
        }
    }

    #[test]
    fn the_quick_way_leaves_what_it_does_not_know() {
        for document in [
            r#"{"type":"text_delta","text":"a","index":0}"#,
            r#"{"type":"text_delta","index":0,"text":"a","more":"b"}"#,
            r#"{"type":"text_delta","index":-1,"text":"a"}"#,
            r#"{"type":"text_start","index":0}"#,
        ] {
            assert_eq!(delta(document.as_bytes()), None, "{document}");
        }
    }

    #[test]
    fn a_document_that_breaks_the_contract_fails_the_call_and_is_not_quoted() {
        let Step::Failed(error) = step(br#"{"type":"text_delta","index":"sk-secret"}"#) else {
            panic!("read")
        };
        assert_eq!(error.code, Code::Internal);
        assert!(!error.message.contains("secret"), "{error}");
    }
}
