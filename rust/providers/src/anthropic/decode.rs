//! Answers → events.
//!
//! Server-side tool calls and their results, compaction and every block that we do not know become provider parts:
//! whole, in place, and never shown as a call to run.

use super::block::Block;
use super::usage::{FINISH, read_usage};
use crate::fault::Fault;
use crate::parts::Parts;
use crate::protocol::{Context, Decode, Meta};
use crate::value::{object, parse, says_something, some_text, text};
use omni_core::{Finish, FinishReason, Object};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Decodes one answer, streamed or whole.
pub(crate) struct Decoder {
    meta: Meta,
    /// Whose the provider parts and extras are.
    provider: String,
    format_tool: Option<String>,
    /// The blocks that are open, by their index on the wire, with the number of their start.
    blocks: BTreeMap<i64, (u64, Block)>,
    started: u64,
    /// The block whose text or reasoning part is open.
    owner: Option<i64>,
    usage: Object,
    data: Object,
    finish: Finish,
    last_seen: bool,
}

/// One streamed piece of text, reasoning or arguments: nearly all of a stream, read without a tree of values.
/// A document that does not fit goes the general way, which gives the same events.
#[derive(Deserialize)]
struct QuickDelta<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    index: i64,
    #[serde(borrow)]
    delta: QuickPiece<'a>,
}

#[derive(Deserialize)]
struct QuickPiece<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    text: Option<String>,
    thinking: Option<String>,
    partial_json: Option<String>,
}

const DELTA: &str = "content_block_delta";

impl Decoder {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            meta: Meta::default(),
            provider: if context.provider.is_empty() {
                "anthropic".to_owned()
            } else {
                context.provider.clone()
            },
            format_tool: context.format_tool.clone(),
            blocks: BTreeMap::new(),
            started: 0,
            owner: None,
            usage: Object::new(),
            data: Object::new(),
            finish: Finish::default(),
            last_seen: false,
        }
    }

    /// Whether `data` was a delta of the usual kinds; its events are then written.
    pub(super) fn quick(&mut self, event: &str, data: &str, parts: &mut Parts) -> bool {
        if event != DELTA && !data.starts_with(r#"{"type":"content_block_delta""#) {
            return false;
        }
        let Ok(read) = serde_json::from_str::<QuickDelta<'_>>(data) else {
            return false;
        };
        if read.kind != DELTA {
            return false;
        }
        let piece = read.delta;
        match piece.kind {
            "text_delta" => self.text(read.index, piece.text.unwrap_or_default(), parts),
            "thinking_delta" => self.thinking(read.index, piece.thinking.unwrap_or_default(), parts),
            "input_json_delta" => self.json(read.index, piece.partial_json.unwrap_or_default(), parts),
            _ => return false,
        }
        true
    }

    /// One streamed document, whatever it is.
    pub(super) fn general(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        let Value::Object(mut doc) = parse(data.as_bytes())? else {
            parts.ignored += 1;
            return Ok(());
        };
        let kind = some_text(doc.get("type")).unwrap_or_else(|| event.to_owned());
        let index = doc.get("index").and_then(Value::as_i64).unwrap_or(0);
        match kind.as_str() {
            DELTA => {
                if let Some(Value::Object(delta)) = doc.shift_remove("delta") {
                    self.delta(index, delta, parts);
                }
            }
            "content_block_start" => {
                if let Some(Value::Object(block)) = doc.shift_remove("content_block") {
                    self.start(index, block, parts);
                }
            }
            "content_block_stop" => self.stop(index, parts),
            "message_start" => {
                if let Some(Value::Object(mut message)) = doc.shift_remove("message") {
                    // A proxy may put whole blocks into the first event.
                    let content = message.shift_remove("content");
                    self.top(&mut message, parts);
                    self.whole(content, |position| -1 - position, parts);
                }
            }
            "message_delta" => {
                let usage = doc.shift_remove("usage");
                self.merge_usage(usage, parts);
                let mut delta = match doc.shift_remove("delta") {
                    Some(Value::Object(delta)) => delta,
                    _ => Object::new(),
                };
                self.reason(&mut delta);
                self.keep(&mut delta, &["context_management", "container"]);
                self.keep(&mut doc, &["context_management", "container"]);
            }
            "message_stop" => self.last_seen = true,
            "ping" => {}
            _ => {
                let error = doc.get("error").filter(|error| says_something(error));
                if let Some(error) = error {
                    return Err(Fault::Said(error.clone()));
                }
                if kind == "error" {
                    return Err(Fault::Said(Value::Object(doc)));
                }
                parts.ignored += 1;
            }
        }
        Ok(())
    }

    /// What stands at the top of a message.
    fn top(&mut self, message: &mut Object, parts: &mut Parts) {
        if let Some(id) = some_text(message.get("id")) {
            self.meta.id = Some(id.clone());
            self.finish.id = Some(id);
        }
        if let Some(model) = some_text(message.get("model")) {
            self.meta.model = Some(model.clone());
            self.finish.model = Some(model);
        }
        self.keep(message, &["container"]);
        let usage = message.shift_remove("usage");
        self.merge_usage(usage, parts);
    }

    /// Why the model stopped.
    fn reason(&mut self, holder: &mut Object) {
        if let Some(raw) = some_text(holder.get("stop_reason")) {
            let known = FINISH.iter().find(|(word, _)| *word == raw);
            self.finish.finish_reason = Some(known.map_or(FinishReason::Other, |(_, reason)| *reason));
            self.finish.finish_reason_raw = Some(raw);
        }
        self.keep(holder, &["stop_sequence", "stop_details"]);
    }

    /// Takes what only this provider gives out of `holder`.
    fn keep(&mut self, holder: &mut Object, keys: &[&str]) {
        for key in keys {
            if let Some(value) = holder.shift_remove(*key).filter(says_something) {
                self.data.insert((*key).to_owned(), value);
            }
        }
    }

    /// What is said later counts; what is not said again stays. Each is told at once, so that an answer that is cut
    /// off has the usage that was known.
    fn merge_usage(&mut self, usage: Option<Value>, parts: &mut Parts) {
        let Some(Value::Object(usage)) = usage else { return };
        for (key, value) in usage {
            if !value.is_null() {
                self.usage.insert(key, value);
            }
        }
        if let Some(tier) = some_text(self.usage.get("service_tier")) {
            self.finish.service_tier = Some(tier);
        }
        if !self.usage.is_empty() {
            parts.usage(read_usage(&self.usage));
        }
    }

    /// Blocks that came in one piece.
    fn whole(&mut self, content: Option<Value>, index: fn(i64) -> i64, parts: &mut Parts) {
        let blocks = match content {
            Some(Value::Array(blocks)) => blocks,
            Some(Value::String(text)) if !text.is_empty() => {
                parts.begin_text();
                parts.text(text);
                parts.close();
                return;
            }
            _ => return,
        };
        for (position, block) in (0..).zip(blocks) {
            if let Value::Object(block) = block {
                self.start(index(position), block, parts);
                self.stop(index(position), parts);
            }
        }
    }

    fn open(&mut self, index: i64, block: Block) -> &mut Block {
        self.started += 1;
        let slot = self.blocks.entry(index).or_insert((0, Block::None));
        *slot = (self.started, block);
        &mut slot.1
    }

    fn start(&mut self, index: i64, mut block: Object, parts: &mut Parts) {
        self.stop(index, parts);
        self.owner = None;
        let opened = match text(block.get("type")) {
            "text" => {
                parts.begin_text();
                parts.text(text(block.get("text")));
                self.owner = Some(index);
                Block::text(block.shift_remove("citations"))
            }
            "thinking" => {
                parts.begin_reasoning(None);
                parts.reasoning(text(block.get("thinking")));
                self.owner = Some(index);
                Block::Thinking {
                    signature: text(block.get("signature")).to_owned(),
                }
            }
            "redacted_thinking" => {
                parts.begin_reasoning(None);
                self.owner = Some(index);
                Block::Redacted {
                    data: text(block.get("data")).to_owned(),
                }
            }
            "tool_use" => {
                let name = text(block.get("name"));
                let given = block.get("input").filter(|input| !input.is_null()).cloned();
                if self.format_tool.as_deref() == Some(name) {
                    parts.begin_text();
                    self.owner = Some(index);
                    Block::format(name, given)
                } else {
                    let call = parts.call_start(text(block.get("id")).to_owned(), name.to_owned(), false);
                    let mut extra = Object::new();
                    if let Some(caller) = block.shift_remove("caller").filter(says_something) {
                        extra.insert("caller".to_owned(), caller);
                    }
                    Block::Call {
                        call,
                        said: false,
                        given,
                        extra,
                    }
                }
            }
            _ => Block::Other {
                block,
                json: String::new(),
            },
        };
        self.open(index, opened);
    }

    /// The block that a delta is of; one that never began is made by what comes for it.
    fn block(&mut self, index: i64, made: fn() -> Block) -> &mut Block {
        if self.blocks.contains_key(&index) {
            &mut self.blocks.entry(index).or_insert((0, Block::None)).1
        } else {
            self.open(index, made())
        }
    }

    fn text(&mut self, index: i64, piece: String, parts: &mut Parts) {
        if let Block::Other { block, .. } = self.block(index, || Block::text(None)) {
            append(block, "text", piece);
        } else {
            if self.owner != Some(index) {
                self.owner = Some(index);
                parts.begin_text();
            }
            parts.text(piece);
        }
    }

    fn thinking(&mut self, index: i64, piece: String, parts: &mut Parts) {
        let made = || Block::Thinking {
            signature: String::new(),
        };
        if let Block::Other { block, .. } = self.block(index, made) {
            append(block, "thinking", piece);
        } else {
            if self.owner != Some(index) {
                self.owner = Some(index);
                parts.begin_reasoning(None);
            }
            parts.reasoning(piece);
        }
    }

    fn json(&mut self, index: i64, piece: String, parts: &mut Parts) {
        let made = || Block::None;
        match self.block(index, made) {
            Block::Call { call, said, .. } => {
                *said |= !piece.is_empty();
                parts.call_delta(*call, piece);
            }
            Block::Format {
                wrapped: false, said, ..
            } => {
                *said |= !piece.is_empty();
                if self.owner != Some(index) {
                    self.owner = Some(index);
                    parts.begin_text();
                }
                parts.text(piece);
            }
            Block::Format { held: json, .. } | Block::Other { json, .. } => json.push_str(&piece),
            Block::None | Block::Text { .. } | Block::Thinking { .. } | Block::Redacted { .. } => {}
        }
    }

    fn delta(&mut self, index: i64, mut delta: Object, parts: &mut Parts) {
        let kind = some_text(delta.get("type")).unwrap_or_default();
        let mut taken = |key: &str| match delta.shift_remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        match kind.as_str() {
            "text_delta" => {
                let piece = taken("text");
                self.text(index, piece, parts);
            }
            "thinking_delta" => {
                let piece = taken("thinking");
                self.thinking(index, piece, parts);
            }
            "input_json_delta" => {
                let piece = taken("partial_json");
                self.json(index, piece, parts);
            }
            "signature_delta" => {
                let piece = taken("signature");
                let made = || Block::Thinking {
                    signature: String::new(),
                };
                match self.block(index, made) {
                    Block::Thinking { signature } => signature.push_str(&piece),
                    Block::Other { block, .. } => append(block, "signature", piece),
                    _ => {}
                }
            }
            "citations_delta" => {
                let citation = delta.shift_remove("citation").filter(|one| !one.is_null());
                match self.block(index, || Block::text(None)) {
                    Block::Text { citations } => citations.extend(citation),
                    Block::Other { block, .. } => {
                        let list = block
                            .entry("citations")
                            .or_insert_with(|| Value::Array(Vec::new()));
                        if !list.is_array() {
                            *list = Value::Array(Vec::new());
                        }
                        if let Value::Array(list) = list {
                            list.extend(citation);
                        }
                    }
                    _ => {}
                }
            }
            _ => self.unknown_delta(index, delta, parts),
        }
    }

    /// A delta of a kind that we do not know adds to its block what it names, under the same keys.
    fn unknown_delta(&mut self, index: i64, delta: Object, parts: &mut Parts) {
        match self.block(index, || Block::None) {
            Block::Other { block, .. } => {
                for (key, value) in delta {
                    match value {
                        Value::Null => {}
                        _ if key == "type" => {}
                        Value::String(piece) => append(block, &key, piece),
                        value => drop(block.insert(key, value)),
                    }
                }
            }
            Block::Redacted { data } => data.push_str(text(delta.get("data"))),
            _ => parts.ignored += 1,
        }
    }

    fn stop(&mut self, index: i64, parts: &mut Parts) {
        let Some((_, block)) = self.blocks.remove(&index) else {
            return;
        };
        let open = self.owner == Some(index);
        if open {
            self.owner = None;
        }
        let provider = block.end(open, &self.provider, parts);
        if provider {
            self.owner = None;
        }
    }
}

/// Adds `piece` to the text under `key`; anything else that stands there is replaced.
fn append(block: &mut Object, key: &str, piece: String) {
    match block.get_mut(key) {
        Some(Value::String(text)) => text.push_str(&piece),
        _ => drop(block.insert(key.to_owned(), Value::String(piece))),
    }
}

impl Decode for Decoder {
    fn frame(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        if self.quick(event, data, parts) || data.trim_ascii() == "[DONE]" {
            return Ok(());
        }
        self.general(event, data, parts)
    }

    fn body(&mut self, body: &[u8], parts: &mut Parts) -> Result<(), Fault> {
        let Value::Object(mut doc) = parse(body)? else {
            return Err(Fault::protocol("the provider's answer is not an object"));
        };
        let error = doc.get("error").filter(|error| says_something(error));
        if text(doc.get("type")) == "error" || (error.is_some() && !doc.contains_key("content")) {
            let error = error.cloned().unwrap_or(Value::Object(doc));
            return Err(Fault::Said(error));
        }
        let Some(content) = doc.shift_remove("content") else {
            return Err(Fault::protocol("the provider's answer has no content"));
        };
        if object(Some(&content)).is_some() {
            return Err(Fault::protocol(
                "the provider's answer has an object as its content",
            ));
        }
        self.top(&mut doc, parts);
        self.whole(Some(content), |position| position, parts);
        self.reason(&mut doc);
        self.keep(&mut doc, &["context_management"]);
        self.last_seen = true;
        Ok(())
    }

    fn end(&mut self, parts: &mut Parts) -> Result<Finish, Fault> {
        if !self.last_seen {
            return Err(Fault::protocol(
                "the provider's stream ended before its last event",
            ));
        }
        let mut open: Vec<(u64, i64)> = self
            .blocks
            .iter()
            .map(|(index, (started, _))| (*started, *index))
            .collect();
        open.sort_unstable();
        for (_, index) in open {
            self.stop(index, parts);
        }
        parts.close();
        let mut finish = std::mem::take(&mut self.finish);
        let data = std::mem::take(&mut self.data);
        finish.provider_data = (!data.is_empty()).then_some(data);
        Ok(finish)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn last_seen(&self) -> bool {
        self.last_seen
    }
}

#[cfg(test)]
pub(super) mod tests;
