//! The conversation as turns of the wire.

use super::media;
use super::model::Ability;
use super::wire::{Block, Body, Input, Said};
use crate::merge;
use crate::protocol::{Protocol, Target};
use crate::value::text;
use omni_core::{Code, Content, Error, Message, Object, Part, Request, Result, Role, ToolCall};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// The instructions and the turns after them.
#[derive(Default)]
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<Block<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
}

/// One message of the wire.
pub(super) struct Turn<'a> {
    role: &'static str,
    pub(super) blocks: Vec<Block<'a>>,
    /// What is merged into the message.
    pub(super) extras: Vec<&'a Value>,
}

impl Serialize for Turn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.extras.is_empty() {
            use serde::ser::Error as _;
            let blocks = serde_json::to_value(&self.blocks).map_err(S::Error::custom)?;
            let mut whole = serde_json::json!({ "role": self.role, "content": blocks });
            for extra in &self.extras {
                merge::deep(&mut whole, extra);
            }
            return whole.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("role", self.role)?;
        map.serialize_entry("content", &self.blocks)?;
        map.end()
    }
}

/// Reads the messages of a request.
pub(super) struct Reader<'a> {
    target: &'a Target,
    ability: Ability,
    out: Conversation<'a>,
    /// Of the user's turn that is being read: the results, which the wire wants first, and the rest.
    results: Vec<Block<'a>>,
    said: Vec<Block<'a>>,
    extras: Vec<&'a Value>,
    /// Instructions that stand in it.
    told: Vec<Block<'a>>,
    told_extras: Vec<&'a Value>,
}

/// The conversation of `request`.
///
/// The wire has turns: results of tools stand at the start of the user's turn that follows their calls, and messages
/// of one role that follow each other are one turn.
pub(super) fn conversation<'a>(
    request: &'a Request,
    target: &'a Target,
    ability: Ability,
) -> Result<Conversation<'a>> {
    let mut reader = Reader {
        target,
        ability,
        out: Conversation::default(),
        results: Vec::new(),
        said: Vec::new(),
        extras: Vec::new(),
        told: Vec::new(),
        told_extras: Vec::new(),
    };
    for (at, message) in request.messages.iter().enumerate() {
        reader
            .message(at, message)
            .map_err(|error| error.for_model(&request.model))?;
    }
    reader.flush();
    let mut out = reader.out;
    trim_end(&mut out.turns);
    Ok(out)
}

/// The wire refuses a last assistant turn that ends in blanks.
fn trim_end(turns: &mut Vec<Turn<'_>>) {
    let Some(turn) = turns.last_mut().filter(|turn| turn.role == "assistant") else {
        return;
    };
    if let Some(Block {
        body: Body::Text { text, .. },
        ..
    }) = turn.blocks.last_mut()
    {
        match text {
            Cow::Borrowed(borrowed) => *borrowed = borrowed.trim_end(),
            Cow::Owned(owned) => owned.truncate(owned.trim_end().len()),
        }
    }
}

impl<'a> Reader<'a> {
    fn message(&mut self, at: usize, message: &'a Message) -> Result<()> {
        match message.role {
            Role::System | Role::Developer => {
                let mut blocks = self.speaker(at, message)?;
                let extras = self.extras(message.extra.as_ref());
                let leading = self.out.turns.is_empty() && self.results.is_empty() && self.said.is_empty();
                if leading {
                    // In front there are blocks alone, and no message that could take it.
                    if let Some(last) = blocks.pop() {
                        blocks.push(last.merged(extras));
                    }
                    self.out.system.extend(blocks);
                } else if self.ability.mid_system {
                    self.told_extras.extend(extras);
                    self.told.extend(blocks);
                } else {
                    self.said.extend(blocks.into_iter().map(as_said));
                }
            }
            Role::User => {
                let blocks = self.speaker(at, message)?;
                self.said.extend(blocks);
                let extras = self.extras(message.extra.as_ref());
                self.extras.extend(extras);
            }
            Role::Tool => {
                let block = self.result(at, message)?;
                self.results.push(block);
            }
            Role::Assistant => {
                self.flush();
                let blocks = self.assistant(message);
                let extras = self.extras(message.extra.as_ref()).collect();
                self.turn("assistant", blocks, extras);
            }
        }
        Ok(())
    }

    fn extras(&self, extra: Option<&'a Object>) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.target
            .extras(Protocol::Anthropic, extra)
            .filter(|extra| extra.is_object())
    }

    fn owns(&self, provider: &str) -> bool {
        self.target.owns(Protocol::Anthropic, provider)
    }

    fn turn(&mut self, role: &'static str, blocks: Vec<Block<'a>>, extras: Vec<&'a Value>) {
        if blocks.is_empty() {
            return;
        }
        match self.out.turns.last_mut() {
            Some(last) if last.role == role && extras.is_empty() && last.extras.is_empty() => {
                last.blocks.extend(blocks);
            }
            _ => self.out.turns.push(Turn { role, blocks, extras }),
        }
    }

    /// Ends the user's turn that is being read.
    ///
    /// A system message of the wire must follow a user's turn, or results of the provider's own tools, and stand
    /// before an assistant's turn or last; elsewhere it goes as words of the user that say what they are.
    fn flush(&mut self) {
        let mut blocks = std::mem::take(&mut self.results);
        blocks.append(&mut self.said);
        let extras = std::mem::take(&mut self.extras);
        self.turn("user", blocks, extras);
        let told = std::mem::take(&mut self.told);
        let extras = std::mem::take(&mut self.told_extras);
        let fits = self.out.turns.last().is_some_and(|turn| {
            turn.role != "assistant"
                || turn
                    .blocks
                    .last()
                    .and_then(Block::wire)
                    .is_some_and(|wire| text(wire.get("type")).ends_with("_tool_result"))
        });
        if fits {
            self.turn("system", told, extras);
        } else {
            self.turn("user", told.into_iter().map(as_said).collect(), Vec::new());
        }
    }

    /// The blocks of a message that no model wrote.
    fn speaker(&self, at: usize, message: &'a Message) -> Result<Vec<Block<'a>>> {
        let mut blocks = match &message.content {
            None => Vec::new(),
            Some(Content::Text(text)) => some(text).map(Block::text).into_iter().collect(),
            Some(Content::Parts(parts)) => self.parts(at, parts)?,
        };
        cache_last(&mut blocks, message.cache_control.as_ref());
        Ok(blocks)
    }

    fn parts(&self, at: usize, parts: &'a [Part]) -> Result<Vec<Block<'a>>> {
        let mut blocks = Vec::with_capacity(parts.len());
        for (nth, part) in parts.iter().enumerate() {
            let (block, other) = match part {
                Part::Text { text, other, .. } => (some(text).map(Block::text), other),
                Part::ImageUrl { other, .. } | Part::InputAudio { other, .. } | Part::File { other, .. } => {
                    let block = media::block(part).map_err(|why| {
                        let what = part.kind();
                        Error::new(
                            Code::Unsupported,
                            format!("messages[{at}].content[{nth}].{what}: {why}"),
                        )
                    })?;
                    (block, other)
                }
                Part::Provider {
                    provider,
                    data,
                    other,
                    ..
                } if self.owns(provider) && data.is_object() => (Some(Block::new(Body::Whole(data))), other),
                Part::Provider { .. } | Part::Reasoning { .. } | Part::ToolCall { .. } | Part::Unknown(_) => {
                    continue;
                }
            };
            blocks.extend(block.map(|block| self.finished(block, other)));
        }
        Ok(blocks)
    }

    /// With the keys that may stand on any part.
    fn finished(&self, block: Block<'a>, other: &'a Object) -> Block<'a> {
        let extra = other.get("extra").and_then(Value::as_object);
        block
            .cached(other.get("cache_control"))
            .merged(self.extras(extra))
    }

    fn result(&self, at: usize, message: &'a Message) -> Result<Block<'a>> {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        if id.is_empty() {
            return Err(Error::invalid(format!(
                "messages[{at}].tool_call_id: a tool's result names the call that it answers"
            )));
        }
        let content = match &message.content {
            None => Said::Text(""),
            Some(Content::Text(text)) => Said::Text(text),
            Some(Content::Parts(parts)) => Said::Blocks(self.parts(at, parts)?),
        };
        let block = Block::new(Body::ToolResult {
            id: wire_id(id),
            content,
            is_error: message.is_error,
        });
        Ok(block
            .cached(message.cache_control.as_ref())
            .merged(self.extras(message.extra.as_ref())))
    }

    /// What a model wrote, as it came where it came from here; what others mean by theirs is left out.
    fn assistant(&self, message: &'a Message) -> Vec<Block<'a>> {
        let mut calls = Calls::new(message.tool_calls.as_deref().unwrap_or_default());
        let foreign = self.target.wrote(Protocol::Anthropic, message) == Some(false);
        let mut blocks = Vec::new();
        match &message.content {
            None => {}
            Some(Content::Text(text)) => blocks.extend(some(text).map(Block::text)),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    let block = match part {
                        Part::ToolCall { id, .. } => calls.take(id).map(|call| self.call(call)),
                        Part::Reasoning { .. } if foreign => None,
                        _ => self.own_part(part),
                    };
                    blocks.extend(block);
                }
            }
        }
        blocks.extend(calls.rest().map(|call| self.call(call)));
        if blocks.is_empty() {
            blocks.extend(message.refusal.as_deref().and_then(some).map(Block::text));
        }
        cache_last(&mut blocks, message.cache_control.as_ref());
        blocks
    }

    fn own_part(&self, part: &'a Part) -> Option<Block<'a>> {
        let (body, other) = match part {
            Part::Text {
                text,
                annotations,
                other,
                ..
            } => {
                let citations = annotations.iter().flatten().filter(|one| is_citation(one));
                let body = Body::Text {
                    text: Cow::Borrowed(some(text)?),
                    citations: citations.collect(),
                };
                (body, other)
            }
            Part::Reasoning {
                text,
                encrypted,
                id,
                signature,
                other,
            } => {
                // Reasoning of this wire has no id.
                if id.as_deref().is_some_and(|id| !id.is_empty()) {
                    return None;
                }
                let signature = signature.as_deref().filter(|signature| !signature.is_empty());
                let body = match (signature, encrypted.as_deref()) {
                    (Some(signature), _) => Body::Thinking { text, signature },
                    (None, Some(data)) if !data.is_empty() => Body::Redacted { data },
                    _ => return None,
                };
                let extra = other.get("extra").and_then(Value::as_object);
                return Some(Block::new(body).merged(self.extras(extra)));
            }
            Part::Provider {
                provider,
                data,
                other,
                ..
            } if self.owns(provider) && data.is_object() => (Body::Whole(data), other),
            _ => return None,
        };
        Some(self.finished(Block::new(body), other))
    }

    fn call(&self, call: &'a ToolCall) -> Block<'a> {
        let block = Block::new(Body::ToolUse {
            id: wire_id(&call.id),
            name: call.name(),
            input: Input::of(call.text()),
        });
        block
            .cached(call.other.get("cache_control"))
            .merged(self.extras(call.extra.as_ref()))
    }
}

/// The calls of a message, taken where their marks stand.
struct Calls<'a> {
    calls: Vec<Option<&'a ToolCall>>,
    next: usize,
}

impl<'a> Calls<'a> {
    fn new(calls: &'a [ToolCall]) -> Self {
        Self {
            calls: calls.iter().map(Some).collect(),
            next: 0,
        }
    }

    fn take(&mut self, id: &str) -> Option<&'a ToolCall> {
        // Marks nearly always stand in the order of the calls: looking from the last one on keeps this constant.
        let (before, after) = self.calls.split_at(self.next);
        let find = |calls: &[Option<&ToolCall>]| {
            let fits = |call: &ToolCall| call.id == id;
            calls.iter().position(|call| call.is_some_and(fits))
        };
        let at = find(after).map(|at| at + self.next).or_else(|| find(before))?;
        self.next = at + 1;
        self.calls.get_mut(at)?.take()
    }

    fn rest(self) -> impl Iterator<Item = &'a ToolCall> {
        self.calls.into_iter().flatten()
    }
}

/// A text that the wire takes: it refuses blank ones.
fn some(text: &str) -> Option<&str> {
    (!text.trim().is_empty()).then_some(text)
}

/// An instruction as words of the user.
fn as_said(block: Block<'_>) -> Block<'_> {
    match block.body {
        Body::Text { text, .. } => Block {
            cache: block.cache,
            ..Block::text(format!("<system>\n{text}\n</system>"))
        },
        body => Block { body, ..block },
    }
}

fn cache_last<'a>(blocks: &mut [Block<'a>], cache: Option<&'a Value>) {
    let last = blocks.iter_mut().rev().find(|block| block.takes_cache());
    if let (Some(last), Some(cache)) = (last, cache.filter(|cache| !cache.is_null())) {
        last.cache.get_or_insert(cache);
    }
}

/// Whether an annotation is a citation of this wire; those of others mean nothing here.
fn is_citation(annotation: &Value) -> bool {
    const KINDS: &[&str] = &[
        "char_location",
        "page_location",
        "content_block_location",
        "web_search_result_location",
        "search_result_location",
    ];
    KINDS.contains(&text(annotation.get("type")))
}

/// An id of a call in the letters that the wire takes.
pub(super) fn wire_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.chars().all(fits) && !id.is_empty() {
        return Cow::Borrowed(id);
    }
    if id.is_empty() {
        return Cow::Borrowed("_");
    }
    Cow::Owned(id.chars().map(|c| if fits(c) { c } else { '_' }).collect())
}

#[cfg(test)]
mod tests;
