//! Answers → events. The differences between those who speak this wire are fields, and every field that one of them
//! uses is read for all.

mod calls;
mod message;
mod remembered;
mod repeat;
mod typed;
mod usage;

use crate::fault::Fault;
use crate::parts::Parts;
use crate::protocol::{Context, Decode, Meta, mark};
use crate::value::{count, object, objects, parse, says_something, text};
use calls::{Calls, Piece};
use message::say;
use omni_core::{Finish, FinishReason, Object};
use remembered::Remembered;
use repeat::{Field, Repeat};
use serde_json::{Value, json};
use std::borrow::Cow;
use typed::{Document, Place, Word};
use usage::Raw;

/// The contract's words for what providers say of why a model stopped, in any case.
const FINISH: &[(&str, FinishReason)] = &[
    ("stop", FinishReason::Stop),
    ("eos", FinishReason::Stop),
    ("end_turn", FinishReason::Stop),
    ("stop_sequence", FinishReason::Stop),
    ("length", FinishReason::Length),
    ("max_tokens", FinishReason::Length),
    ("model_length", FinishReason::Length),
    ("model_context_window_exceeded", FinishReason::Length),
    ("tool_calls", FinishReason::ToolCalls),
    ("tool_use", FinishReason::ToolCalls),
    ("function_call", FinishReason::ToolCalls),
    ("content_filter", FinishReason::ContentFilter),
    ("content_filtered", FinishReason::ContentFilter),
    ("refusal", FinishReason::ContentFilter),
    ("safety", FinishReason::ContentFilter),
    ("recitation", FinishReason::ContentFilter),
    ("sensitive", FinishReason::ContentFilter),
    ("pause", FinishReason::Pause),
    ("pause_turn", FinishReason::Pause),
];

const DOCUMENT: &[&str] = &[
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "service_tier",
    "error",
    "obfuscation",
    "p",
];
const CHOICE: &[&str] = &[
    "index",
    "message",
    "delta",
    "finish_reason",
    "logprobs",
    "text",
    "error",
    "native_finish_reason",
];
const MESSAGE: &[&str] = &[
    "role",
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "annotations",
    "images",
    "audio",
    "padding",
    "token_id",
];

/// Decodes one answer, streamed or whole.
pub(crate) struct Decoder {
    provider: String,
    audio_format: Option<String>,
    meta: Meta,
    finish: Finish,
    calls: Calls,
    /// Of the text that is open.
    annotations: Vec<Value>,
    details: Vec<Object>,
    logprobs: Object,
    audio: Object,
    data: Object,
    /// Whether reasoning was signed.
    signed: bool,
    remembered: Remembered,
    repeat: Repeat,
    usage: Option<Value>,
    last_seen: bool,
    /// Whether common documents are read the quick way; only tests turn it off.
    quick: bool,
}

impl Decoder {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            provider: context.provider.clone(),
            audio_format: context.audio_format.clone(),
            meta: Meta::default(),
            finish: Finish::default(),
            calls: Calls::default(),
            annotations: Vec::new(),
            details: Vec::new(),
            logprobs: Object::new(),
            audio: Object::new(),
            data: Object::new(),
            signed: false,
            remembered: Remembered::default(),
            repeat: Repeat::default(),
            usage: None,
            last_seen: false,
            quick: true,
        }
    }
}

impl Decode for Decoder {
    fn frame(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        if self.quick && event != "error" {
            match self.repeat.read(data) {
                Some((Field::Content, text)) => {
                    say(text, parts);
                    return Ok(());
                }
                Some((Field::Reasoning, text)) => {
                    self.reasoning(text, parts);
                    return Ok(());
                }
                None => {}
            }
            if let Some(mut document) = Document::read(data, &self.remembered)
                && (document.choices || document.usage.is_some())
            {
                self.repeat.learn(data, &document);
                return self.common(&mut document, false, parts);
            }
        }
        self.repeat.forget();
        if data.trim() == "[DONE]" {
            self.last_seen = true;
            return Ok(());
        }
        let Value::Object(document) = parse(data.as_bytes())? else {
            return Err(Fault::protocol(
                "the provider sent an event that is not an object",
            ));
        };
        if let Some(error) = error_of(&document, event == "error") {
            return Err(Fault::Said(error));
        }
        let nothing = !document.contains_key("choices") && usage_of(&document).is_none();
        if nothing && document.get("type").is_some_and(Value::is_string) {
            parts.ignored += 1;
            return Ok(());
        }
        self.document(&document, parts, true);
        for choice in objects(document.get("choices")) {
            // Only one answer is ever asked for.
            if is_first(choice) {
                self.choice(choice, ["delta", "message"], false, parts)?;
            }
        }
        Ok(())
    }

    fn body(&mut self, body: &[u8], parts: &mut Parts) -> Result<(), Fault> {
        self.last_seen = true;
        if self.quick
            && let Ok(text) = std::str::from_utf8(body)
            && let Some(mut document) = Document::read(text, &self.remembered)
            && document.choices
        {
            return self.common(&mut document, true, parts);
        }
        let document = match parse(body)? {
            Value::Object(document) => document,
            // Google wraps its errors in a list.
            Value::Array(list) => match list.into_iter().next() {
                Some(Value::Object(document)) => document,
                _ => Object::new(),
            },
            _ => Object::new(),
        };
        let choices = document.get("choices").filter(|choices| choices.is_array());
        if choices.and_then(Value::as_array).is_none_or(Vec::is_empty)
            && let Some(error) = error_of(&document, false)
        {
            return Err(Fault::Said(error));
        }
        if choices.is_none() {
            return Err(Fault::protocol("the provider's answer has no choices"));
        }
        self.document(&document, parts, false);
        match objects(choices).find(|choice| is_first(choice)) {
            Some(choice) => self.choice(choice, ["message", "delta"], true, parts),
            None => Ok(()),
        }
    }

    fn end(&mut self, parts: &mut Parts) -> Result<Finish, Fault> {
        if !self.last_seen && self.finish.finish_reason.is_none() {
            return Err(Fault::protocol(
                "the provider's stream ended before its last event",
            ));
        }
        self.close_text(parts);
        parts.close();
        self.calls.end(&self.provider, self.meta.id.as_deref(), parts);
        self.end_audio(parts);
        let mut finish = std::mem::take(&mut self.finish);
        let mut extra = Object::new();
        if let Some(id) = self.audio.get("id").filter(|id| says_something(id)) {
            // So OpenAI takes its own sound back.
            extra.insert("audio".to_owned(), json!({ "id": id }));
        }
        if !self.details.is_empty() {
            let details = std::mem::take(&mut self.details);
            let details = details.into_iter().map(Value::Object).collect();
            extra.insert("reasoning_details".to_owned(), Value::Array(details));
        }
        if self.signed {
            extra.extend(mark(&self.provider, Object::new()));
        }
        finish.message_extra = some(extra);
        if !self.audio.is_empty() {
            let audio = std::mem::take(&mut self.audio);
            self.data.insert("audio".to_owned(), Value::Object(audio));
        }
        if !self.annotations.is_empty() {
            // They came after their text was closed.
            let late = std::mem::take(&mut self.annotations);
            self.data.insert("annotations".to_owned(), Value::Array(late));
        }
        finish.logprobs = some(std::mem::take(&mut self.logprobs)).map(Value::Object);
        finish.provider_data = some(std::mem::take(&mut self.data));
        finish.finish_reason = finish.finish_reason.or(Some(if parts.calls > 0 {
            FinishReason::ToolCalls
        } else {
            FinishReason::Other
        }));
        Ok(finish)
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn last_seen(&self) -> bool {
        self.last_seen
    }
}

impl Decoder {
    /// A common document.
    fn common(&mut self, document: &mut Document<'_>, whole: bool, parts: &mut Parts) -> Result<(), Fault> {
        if !self.is_identified() {
            let created = document.created.and_then(|created| count(Some(&json!(created))));
            self.identify(word(document.id.as_ref()), word(document.model.as_ref()), created);
        }
        self.service_tier(word(document.service_tier.as_ref()));
        if let Some(Raw(usage)) = document.usage.take() {
            self.consumed(usage, !whole, parts);
        }
        for (place, key, value) in document.others.drain(..) {
            self.unknown_text(place, &key, value, !whole)?;
        }
        let mut reasoning = take(&mut document.reasoning_content);
        if reasoning.is_empty() {
            reasoning = take(&mut document.reasoning);
        }
        self.reasoning(reasoning, parts);
        say(take(&mut document.content), parts);
        parts.refusal(take(&mut document.refusal));
        if let Some(first) = document.call.take() {
            self.calls.next_document();
            for mut call in std::iter::once(first).chain(document.more_calls.drain(..)) {
                let piece = Piece {
                    index: call.index,
                    id: take(&mut call.id),
                    name: take(&mut call.name),
                    arguments: take(&mut call.arguments),
                    ..Piece::default()
                };
                self.call(piece, whole, parts);
            }
        }
        if let Some(Word(reason)) = document.finish_reason.take() {
            self.finish_reason(reason.into_owned());
        }
        Ok(())
    }

    /// What stands beside the choices.
    fn document(&mut self, document: &Object, parts: &mut Parts, streamed: bool) {
        self.identify(
            text(document.get("id")),
            text(document.get("model")),
            count(document.get("created")),
        );
        self.service_tier(text(document.get("service_tier")));
        if let Some(usage) = usage_of(document) {
            self.consumed(usage.clone(), streamed, parts);
        }
        self.unknowns(Place::Document, document, DOCUMENT);
    }

    fn is_identified(&self) -> bool {
        self.meta.id.is_some() || self.meta.model.is_some()
    }

    /// Takes the ids of the first document that has any.
    fn identify(&mut self, id: &str, model: &str, created: Option<u64>) {
        if self.is_identified() {
            return;
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.meta.id = some(id);
        self.meta.model = some(model);
        self.finish.id.clone_from(&self.meta.id);
        self.finish.model.clone_from(&self.meta.model);
        self.finish.created = created.filter(|seconds| *seconds > 0).or(self.finish.created);
    }

    fn service_tier(&mut self, tier: &str) {
        if !tier.is_empty() && self.finish.service_tier.as_deref() != Some(tier) {
            self.finish.service_tier = Some(tier.to_owned());
        }
    }

    /// Servers repeat their usage: it is said once.
    fn consumed(&mut self, raw: Value, streamed: bool, parts: &mut Parts) {
        if !says_something(&raw) || self.usage.as_ref() == Some(&raw) {
            return;
        }
        if streamed {
            self.usage = Some(raw.clone());
        }
        parts.usage(usage::read(raw));
    }

    fn finish_reason(&mut self, raw: String) {
        if raw.is_empty() {
            return;
        }
        let known = FINISH.iter().find(|(word, _)| word.eq_ignore_ascii_case(&raw));
        self.finish.finish_reason = Some(known.map_or(FinishReason::Other, |(_, reason)| *reason));
        self.finish.finish_reason_raw = Some(raw);
    }

    /// An unknown value as it stands in the text.
    fn unknown_text(&mut self, place: Place, key: &str, value: &str, streamed: bool) -> Result<(), Fault> {
        if matches!(value, "\"\"" | "[]" | "{}") {
            return Ok(());
        }
        if streamed {
            self.remembered.set(place, key, value);
        }
        let value = parse(value.as_bytes())?;
        self.unknown(place, key, value);
        Ok(())
    }

    fn unknowns(&mut self, place: Place, from: &Object, known: &[&str]) {
        for (key, value) in from {
            if !known.contains(&key.as_str()) {
                self.remembered.forget(place, key);
                self.unknown(place, key, value.clone());
            }
        }
    }

    /// Keeps what only this provider has; of what changes, the last.
    fn unknown(&mut self, place: Place, key: &str, value: Value) {
        if !says_something(&value) {
            return;
        }
        let keep = match place {
            Place::Document | Place::Choice => &mut self.data,
            Place::Message => {
                let message = self.data.entry("message").or_insert_with(|| json!({}));
                match message {
                    Value::Object(message) => message,
                    // A key of the document is called so, too.
                    _ => return,
                }
            }
        };
        keep.insert(key.to_owned(), value);
    }

    fn choice(
        &mut self,
        choice: &Object,
        keys: [&str; 2],
        whole: bool,
        parts: &mut Parts,
    ) -> Result<(), Fault> {
        if let Some(error) = choice.get("error").filter(|error| is_true(error)) {
            return Err(Fault::Said(error.clone()));
        }
        let message = keys
            .iter()
            .filter_map(|key| object(choice.get(*key)))
            .find(|message| !message.is_empty());
        match message {
            Some(message) => self.message(message, whole, parts),
            None => say(text(choice.get("text")).into(), parts),
        }
        match choice.get("finish_reason") {
            Some(Value::String(reason)) => self.finish_reason(reason.clone()),
            Some(other) if is_true(other) => self.finish_reason(other.to_string()),
            _ => {}
        }
        for (key, value) in object(choice.get("logprobs")).into_iter().flatten() {
            match (self.logprobs.get_mut(key), value) {
                (_, Value::Null) => {}
                (Some(Value::Array(have)), Value::Array(more)) => have.extend_from_slice(more),
                _ => drop(self.logprobs.insert(key.clone(), value.clone())),
            }
        }
        self.unknowns(Place::Choice, choice, CHOICE);
        Ok(())
    }
}

/// The error that a document reports; `certain` says that it is one, whatever it looks like.
fn error_of(document: &Object, certain: bool) -> Option<Value> {
    match document.get("error") {
        Some(error) if is_true(error) => Some(error.clone()),
        _ if certain || text(document.get("object")) == "error" => Some(Value::Object(document.clone())),
        _ => None,
    }
}

fn usage_of(document: &Object) -> Option<&Value> {
    let groq = || object(document.get("x_groq")).and_then(|groq| groq.get("usage"));
    let usage = document.get("usage").filter(|usage| says_something(usage));
    usage.or_else(groq).filter(|usage| says_something(usage))
}

fn is_true(value: &Value) -> bool {
    says_something(value) && *value != Value::Bool(false) && value.as_f64() != Some(0.0)
}

fn is_first(choice: &Object) -> bool {
    !choice.get("index").is_some_and(is_true)
}

fn some(object: Object) -> Option<Object> {
    (!object.is_empty()).then_some(object)
}

fn word<'w>(word: Option<&'w Word<'_>>) -> &'w str {
    word.map_or("", |Word(text)| text)
}

fn take<'a>(word: &mut Option<Word<'a>>) -> Cow<'a, str> {
    word.take().map_or(Cow::Borrowed(""), |Word(text)| text)
}

#[cfg(test)]
mod tests;
