//! The bytes of one answer, cut anywhere, as events. No clock and no socket.

use crate::fault::Fault;
use crate::parts::Parts;
use crate::protocol::{Context, Decode, Protocol};
use crate::value::not_json;
use omni_core::{Engine, Event, Finish, SseReader};
use std::collections::VecDeque;

/// Bytes of an answer that is held until it is whole.
const MAX_BODY: usize = 256 * 1024 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

enum Kind {
    /// Nothing but blanks or the beginning of a byte order mark came; what is still to be looked at of it.
    Unknown(Vec<u8>),
    Sse(SseReader),
    Json(Vec<u8>),
}

/// Said of an answer that nobody reads while it comes.
fn too_long() -> Fault {
    Fault::protocol("the provider's answer is longer than 256 MiB")
}

/// Decodes one answer: push bytes, take events, and at the end ask how it ended.
///
/// Whether it is streamed shows in its first byte, whatever was asked for and whatever its content type says: servers
/// answer a streamed request with one JSON document, and the other way round.
pub struct Answer {
    decoder: Box<dyn Decode>,
    kind: Kind,
    parts: Parts,
    /// What `start` says; taken when it is sent.
    start: Option<Start>,
    ready: VecDeque<Event>,
    /// Bytes of a stream that may still come, where the answer is held until it is whole.
    room: Option<usize>,
}

struct Start {
    provider: String,
    model: String,
    request_id: Option<String>,
}

impl Answer {
    /// The decoder of an answer of `protocol` to a request of `context`; `model` is the one asked for, `request_id`
    /// what the answer's headers said.
    pub fn new(protocol: Protocol, context: &Context, model: &str, request_id: Option<String>) -> Self {
        Self {
            decoder: protocol.decoder(context),
            kind: Kind::Unknown(Vec::new()),
            parts: Parts::default(),
            start: Some(Start {
                provider: context.provider.clone(),
                model: model.to_owned(),
                request_id,
            }),
            ready: VecDeque::new(),
            room: None,
        }
    }

    /// Bounds a stream too, for a caller that holds the answer until it is whole: no provider may fill its memory.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.room = Some(MAX_BODY);
        self
    }

    /// Takes the next bytes; what they hold comes from [`event`](Self::event).
    ///
    /// # Errors
    /// What is wrong with the answer. Events that came before it are still to be taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let joined;
        let mut bytes = bytes;
        if let Kind::Unknown(held) = &mut self.kind {
            if !held.is_empty() {
                held.extend_from_slice(bytes);
                joined = std::mem::take(held);
                bytes = &joined;
            }
            if BOM.starts_with(bytes) {
                bytes.clone_into(held);
                return Ok(());
            }
            // Some servers drip blanks while they work.
            bytes = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
            self.kind = match bytes.first() {
                None => {
                    " ".as_bytes().clone_into(held); // no mark can follow it, and no drip fills the memory
                    return Ok(());
                }
                Some(b'{' | b'[') => Kind::Json(Vec::new()),
                Some(b'<') => return Err(not_json(bytes)),
                Some(_) => Kind::Sse(SseReader::new()),
            };
        }
        match &mut self.kind {
            Kind::Unknown(_) => Ok(()),
            Kind::Json(body) => {
                if body.len() + bytes.len() > MAX_BODY {
                    return Err(too_long());
                }
                body.extend_from_slice(bytes);
                Ok(())
            }
            Kind::Sse(reader) => {
                if self.decoder.last_seen() {
                    return Ok(());
                }
                if let Some(room) = &mut self.room {
                    *room = room.checked_sub(bytes.len()).ok_or_else(too_long)?;
                }
                reader.push(bytes);
                while let Some(frame) = reader.next_frame()? {
                    if !frame.data.trim_ascii().is_empty() {
                        let read = self.decoder.frame(frame.event, frame.data, &mut self.parts);
                        // After each event, so that it does not depend on how the bytes were cut; `start` waits for
                        // what names the answer, which the first event may not do.
                        settle(&mut self.start, &*self.decoder, &self.parts, &mut self.ready);
                        read?;
                        // What follows the last event is nobody's, in these bytes or in the next ones.
                        if self.decoder.last_seen() {
                            break;
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// The next event that is ready.
    pub fn event(&mut self) -> Option<Event> {
        match self.ready.pop_front() {
            Some(event) => Some(event),
            // Nothing is said before `start`.
            None if self.start.is_some() => None,
            None => self.parts.pop(),
        }
    }

    /// After the last byte: how the answer ended. Take the events that are still ready after it, too.
    ///
    /// # Errors
    /// What is wrong with the answer, such as that it was cut off.
    pub fn end(&mut self) -> Result<Finish, Fault> {
        let read = self.read_rest();
        self.settle_start(read.is_ok());
        read?;
        let finish = self.decoder.end(&mut self.parts);
        self.settle_start(true);
        finish
    }

    /// How many events of unknown types were left out.
    pub fn ignored(&self) -> u32 {
        self.parts.ignored
    }

    /// Whether the wire's own last event was seen.
    pub fn is_over(&self) -> bool {
        self.decoder.last_seen()
    }

    fn read_rest(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.kind, Kind::Unknown(Vec::new())) {
            Kind::Unknown(_) => Err(Fault::protocol("the provider's answer is empty")),
            Kind::Json(body) => self.decoder.body(&body, &mut self.parts),
            Kind::Sse(_) if self.decoder.last_seen() => Ok(()),
            Kind::Sse(mut reader) => {
                if reader.is_torn() {
                    return Err(Fault::protocol(
                        "the provider's stream was cut in the middle of an event",
                    ));
                }
                match reader.finish()? {
                    Some(frame) if !frame.data.trim().is_empty() => {
                        self.decoder.frame(frame.event, frame.data, &mut self.parts)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Sends `start` at the end, unless a failure came before anything else: that is no answer.
    fn settle_start(&mut self, well: bool) {
        if well {
            say_start(&mut self.start, &*self.decoder, &mut self.ready);
        } else {
            settle(&mut self.start, &*self.decoder, &self.parts, &mut self.ready);
        }
    }
}

/// Says `start` once something of the answer was read.
fn settle(start: &mut Option<Start>, decoder: &dyn Decode, parts: &Parts, ready: &mut VecDeque<Event>) {
    if start.is_some() && (decoder.meta().id.is_some() || parts.any()) {
        say_start(start, decoder, ready);
    }
}

fn say_start(start: &mut Option<Start>, decoder: &dyn Decode, ready: &mut VecDeque<Event>) {
    if let Some(start) = start.take() {
        let meta = decoder.meta();
        ready.push_back(Event::Start {
            id: meta.id.clone(),
            request_id: start.request_id,
            model: meta.model.clone().unwrap_or(start.model),
            provider: start.provider,
            engine: Engine::Native,
        });
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("ignored", &self.parts.ignored)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
