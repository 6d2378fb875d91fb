//! Answers → events.
//!
//! An answer is a list of items, each named by its `output_index`. Items that only the provider understands become
//! provider parts, whole and in place. Reasoning items keep id, summaries and encrypted content, so that they go back
//! as they came; one that says more than that is kept whole beside its text.

use super::items::{Item, Piece};
use super::usage;
use super::wire::{Begin, Delta, Head, Kind, Last, Response, sniff, told_again};
use crate::fault::Fault;
use crate::parts::{Open, Parts};
use crate::protocol::{Context, Decode, Meta, mark};
use crate::value::{count, object, parse, says_something, some_text, text};
use omni_core::{Finish, FinishReason, Object};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Decodes one answer, streamed or whole.
pub(crate) struct Decoder {
    /// Under whose name parts and extras are kept.
    pub(super) provider: String,
    pub(super) meta: Meta,
    pub(super) finish: Finish,
    pub(super) items: BTreeMap<u64, Item>,
    /// Where the item of an id stands.
    pub(super) ids: HashMap<String, u64>,
    /// The item that was spoken of last: for servers that name none.
    pub(super) last: u64,
    /// The text or reasoning that is open.
    pub(super) open: Option<(u64, Piece)>,
    /// Those that are neither open nor ended: items may be told at the same time.
    pub(super) parked: BTreeMap<(u64, Piece), (Open, u32)>,
    /// A reasoning item that has begun and told nothing: it may tell only its encrypted form, and that late.
    pub(super) waiting: Option<u64>,
    pub(super) logprobs: Vec<Value>,
    /// What the last message says of its place in the answer: a comment on the way, or the end.
    pub(super) phase: Option<Value>,
    /// Whether there is reasoning that only its provider can take back.
    pub(super) reasoned: bool,
    pub(super) server_tools: BTreeMap<String, u64>,
    pub(super) over: bool,
}

impl Decoder {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            provider: context.provider.clone(),
            meta: Meta::default(),
            finish: Finish::default(),
            items: BTreeMap::new(),
            ids: HashMap::new(),
            last: 0,
            open: None,
            parked: BTreeMap::new(),
            waiting: None,
            logprobs: Vec::new(),
            phase: None,
            reasoned: false,
            server_tools: BTreeMap::new(),
            over: false,
        }
    }

    /// The events that come by the hundred, and those that repeat the whole request: read without building a value.
    /// `false` for every other one, and for one that is not as it should be.
    fn typed(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<bool, Fault> {
        let name = if event.is_empty() { sniff(data) } else { event };
        let agrees = |kind: &str| kind.is_empty() || kind == name;
        if let Some(kind) = Kind::of(name) {
            let Ok(delta) = serde_json::from_str::<Delta<'_>>(data) else {
                return Ok(false);
            };
            if !agrees(&delta.kind) {
                return Ok(false);
            }
            let index = self.place(delta.output_index, &delta.item_id);
            let number = match kind {
                Kind::Summary => delta.summary_index,
                _ => delta.content_index,
            };
            self.delta(kind, index, number.unwrap_or(0), delta.more, parts);
            return Ok(true);
        }
        match name {
            "response.created" | "response.in_progress" | "response.queued" => {
                match serde_json::from_str::<Begin<'_>>(data) {
                    Ok(begin) if agrees(&begin.kind) => self.head(&begin.response),
                    _ => return Ok(false),
                }
            }
            "response.completed" | "response.incomplete" => match serde_json::from_str::<Last<'_>>(data) {
                Ok(last) if agrees(&last.kind) => self.whole(last.response, parts)?,
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Any event, read as a value.
    pub(super) fn general(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        let Value::Object(mut document) = parse(data.as_bytes())? else {
            parts.ignored += 1;
            return Ok(());
        };
        let name = some_text(document.get("type")).unwrap_or_else(|| event.to_owned());
        let index = count(document.get("output_index"));
        let number = |key: &str| count(document.get(key)).unwrap_or(0);
        let id = text(document.get("item_id"));
        if let Some(kind) = Kind::of(&name) {
            let index = self.place(index, id);
            let number = number(match kind {
                Kind::Summary => "summary_index",
                _ => "content_index",
            });
            let delta = Cow::Borrowed(text(document.get("delta")));
            self.delta(kind, index, number, delta, parts);
            return Ok(());
        }
        match name.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.head(&lenient::<Head>(document.remove("response")));
            }
            "response.output_item.added" => {
                if let Some(item) = object(document.get("item")) {
                    let index = index.unwrap_or_else(|| self.next_free());
                    self.added(index, item, parts);
                }
            }
            "response.output_item.done" => {
                if let Some(Value::Object(item)) = document.shift_remove("item") {
                    let index = index.unwrap_or_else(|| self.place_of_whole(&item));
                    self.item(index, item, parts);
                }
            }
            "response.content_part.done" => {
                let (index, number) = (self.place(index, id), number("content_index"));
                if let Some(Value::Object(part)) = document.shift_remove("part") {
                    let mut item = self.items.remove(&index).unwrap_or_default();
                    self.content(&mut item, index, number, part, parts);
                    self.items.insert(index, item);
                }
            }
            "response.output_text.annotation.added" => {
                let piece = Piece::Content(number("content_index"));
                let index = self.place(index, id);
                let begun = self.items.entry(index).or_default().pieces.entry(piece);
                if let Some(annotation) = document.shift_remove("annotation") {
                    begun.or_default().annotations.push(annotation);
                }
            }
            "response.completed" | "response.incomplete" | "response.done" | "response.cancelled" => {
                self.whole(lenient(document.remove("response")), parts)?;
            }
            "response.failed" => {
                let mut response = lenient::<Response>(document.remove("response"));
                response.status = json!("failed");
                if !says_something(&response.error) {
                    response.error = document.remove("error").unwrap_or_default();
                }
                self.whole(response, parts)?;
            }
            name if told_again(name) => {}
            _ => {
                let error = document.get("error").filter(|error| says_something(error));
                if name == "error" || (error.is_some() && !document.contains_key("response")) {
                    let said = error.cloned();
                    return Err(Fault::Said(said.unwrap_or(Value::Object(document))));
                }
                parts.ignored += 1;
            }
        }
        Ok(())
    }

    /// Which item an event speaks of: by its number; without one by its id; else the one spoken of last.
    fn place(&self, index: Option<u64>, id: &str) -> u64 {
        index.unwrap_or_else(|| self.ids.get(id).copied().unwrap_or(self.last))
    }

    fn next_free(&self) -> u64 {
        self.items
            .last_key_value()
            .map_or(0, |(last, _)| last.saturating_add(1))
    }

    fn place_of_whole(&self, item: &Object) -> u64 {
        let named = self.ids.get(text(item.get("id"))).copied();
        let last = || self.items.get(&self.last).filter(|item| !item.done);
        named.unwrap_or_else(|| last().map_or_else(|| self.next_free(), |_| self.last))
    }

    fn head(&mut self, head: &Head) {
        self.top(&head.id, &head.model, &head.created_at, &head.service_tier);
    }

    fn top(&mut self, id: &Value, model: &Value, created: &Value, tier: &Value) {
        if let Some(id) = some_text(Some(id)) {
            self.meta.id = Some(id.clone());
            self.finish.id = Some(id);
        }
        if let Some(model) = some_text(Some(model)) {
            self.meta.model = Some(model.clone());
            self.finish.model = Some(model);
        }
        self.finish.created = count(Some(created))
            .filter(|created| *created > 0)
            .or(self.finish.created);
        if let Some(tier) = some_text(Some(tier)) {
            self.finish.service_tier = Some(tier);
        }
    }

    /// The whole response: what was not streamed of it, and how it ended.
    fn whole(&mut self, response: Response, parts: &mut Parts) -> Result<(), Fault> {
        self.over = true;
        self.top(
            &response.id,
            &response.model,
            &response.created_at,
            &response.service_tier,
        );
        if let Value::Array(output) = response.output {
            for (number, item) in (0..).zip(output) {
                if let Value::Object(item) = item {
                    // By id where there is one: some servers leave this list short.
                    let index = self.ids.get(text(item.get("id"))).copied().unwrap_or(number);
                    self.item(index, item, parts);
                }
            }
        }
        if let Some(usage) = usage::read(&response.usage, &self.server_tools) {
            parts.usage(usage);
        }
        let status = some_text(Some(&response.status));
        if says_something(&response.error) {
            return Err(Fault::Said(response.error));
        }
        if status.as_deref() == Some("failed") {
            let said = json!({"code": "failed", "message": "the provider reported a failed response"});
            return Err(Fault::Said(said));
        }
        let reason = some_text(response.incomplete_details.get("reason"));
        self.finish.finish_reason = Some(match (reason.as_deref(), status.as_deref()) {
            (Some(reason), _) if reason.contains("max") => FinishReason::Length,
            (Some(reason), _) if reason.contains("filter") => FinishReason::ContentFilter,
            (None, None | Some("completed")) => FinishReason::Stop,
            _ => FinishReason::Other,
        });
        self.finish.finish_reason_raw = reason.or(status);
        let data: Object = [
            ("incomplete_details", response.incomplete_details),
            ("metadata", response.metadata),
            ("conversation", response.conversation),
            ("background", response.background),
            ("safety_identifier", response.safety_identifier),
            ("prompt_cache_key", response.prompt_cache_key),
            ("moderation", response.moderation),
            ("content_filters", response.content_filters),
        ]
        .into_iter()
        .filter(|(_, value)| says_something(value) && *value != Value::Bool(false))
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        self.finish.provider_data = Some(data).filter(|data| !data.is_empty());
        Ok(())
    }
}

/// What of a document can be read; nothing if that is nothing.
fn lenient<T: Default + for<'de> Deserialize<'de>>(document: Option<Value>) -> T {
    document
        .and_then(|document| serde_json::from_value(document).ok())
        .unwrap_or_default()
}

impl Decode for Decoder {
    fn frame(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        if self.over || data.trim_ascii() == "[DONE]" {
            return Ok(());
        }
        if self.typed(event, data, parts)? {
            return Ok(());
        }
        self.general(event, data, parts)
    }

    fn body(&mut self, body: &[u8], parts: &mut Parts) -> Result<(), Fault> {
        let response = match serde_json::from_slice::<Response>(body) {
            Ok(response) => response,
            Err(_) => match parse(body)? {
                document @ Value::Object(_) => lenient(Some(document)),
                _ => return Err(Fault::protocol("the provider's answer is no object")),
            },
        };
        if says_something(&response.error) {
            return self.whole(response, parts);
        }
        if !response.output.is_array() {
            return Err(Fault::protocol("the provider's answer has no output"));
        }
        self.whole(response, parts)
    }

    fn end(&mut self, parts: &mut Parts) -> Result<Finish, Fault> {
        if !self.over {
            return Err(Fault::protocol(
                "the provider's stream ended before its last event",
            ));
        }
        parts.close();
        for parked in std::mem::take(&mut self.parked).into_values() {
            parts.resume(parked);
            parts.close();
        }
        for item in self.items.values_mut() {
            if let Some(call) = item.call.take() {
                parts.call_end(call, None, None);
            }
        }
        let mut finish = std::mem::take(&mut self.finish);
        if !self.logprobs.is_empty() {
            finish.logprobs = Some(json!({ "content": std::mem::take(&mut self.logprobs) }));
        }
        let phase = self.phase.take().map(|phase| ("phase".to_owned(), phase));
        if phase.is_some() || self.reasoned {
            // Without a phase it adds nothing to what is sent back: it only says whose reasoning this is.
            finish.message_extra = Some(mark(&self.provider, phase.into_iter().collect()));
        }
        Ok(finish)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn last_seen(&self) -> bool {
        self.over
    }
}
