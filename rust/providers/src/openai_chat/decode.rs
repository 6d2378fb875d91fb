//! Answers → events. The differences between those who speak this wire are fields, and every field that one of them
//! uses is read for all.

mod calls;
mod typed;
mod usage;

use crate::fault::Fault;
use crate::parts::{Ending, Open, Parts};
use crate::protocol::{Context, Decode, Meta};
use crate::value::{count, object, objects, parse, says_something, some_text, split_data_url, text};
use calls::{Calls, Piece};
use omni_core::{Finish, FinishReason, Object};
use serde_json::{Value, json};
use std::borrow::Cow;
use typed::{Document, Place, Word};

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

/// Unknown values that are remembered as text, so that those that come with every chunk cost a comparison.
const REMEMBERED: usize = 16;

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
    remembered: Vec<(Place, String, String)>,
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
            remembered: Vec::new(),
            usage: None,
            last_seen: false,
            quick: true,
        }
    }
}

impl Decode for Decoder {
    fn frame(&mut self, event: &str, data: &str, parts: &mut Parts) -> Result<(), Fault> {
        if self.quick
            && event != "error"
            && let Some(document) = Document::read(data)
            && (document.choices || document.usage.is_some())
        {
            return self.common(document, false, parts);
        }
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
            && let Some(document) = Document::read(text)
            && document.choices
        {
            return self.common(document, true, parts);
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
        if let Some(id) = self.audio.get("id") {
            // So OpenAI takes its own sound back.
            extra.insert("audio".to_owned(), json!({ "id": id }));
        }
        if !self.details.is_empty() {
            let details = std::mem::take(&mut self.details);
            let details = details.into_iter().map(Value::Object).collect();
            extra.insert("reasoning_details".to_owned(), Value::Array(details));
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
    fn common(&mut self, document: Document<'_>, whole: bool, parts: &mut Parts) -> Result<(), Fault> {
        self.identify(
            word(document.id.as_ref()),
            word(document.model.as_ref()),
            document.created.and_then(|created| count(Some(&json!(created)))),
        );
        self.service_tier(word(document.service_tier.as_ref()));
        if let Some(usage) = document.usage {
            self.consumed(usage, !whole, parts);
        }
        for (place, key, value) in document.others.iter() {
            self.unknown_text(place, key, value)?;
        }
        let Some(choice) = document.choice else {
            return Ok(());
        };
        let message = choice.message;
        let mut reasoning = into_text(message.reasoning_content);
        if reasoning.is_empty() {
            reasoning = into_text(message.reasoning);
        }
        self.reasoning(reasoning, parts);
        self.text(into_text(message.content), parts);
        parts.refusal(into_text(message.refusal));
        if let Some(first) = message.call {
            self.calls.next_document();
            for call in std::iter::once(first).chain(message.more_calls) {
                let piece = Piece {
                    index: call.index,
                    id: into_text(call.id),
                    name: into_text(call.name),
                    arguments: into_text(call.arguments),
                    ..Piece::default()
                };
                self.call(piece, whole, parts);
            }
        }
        if let Some(Word(reason)) = choice.finish_reason {
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

    /// Takes the ids of the first document that has any.
    fn identify(&mut self, id: &str, model: &str, created: Option<u64>) {
        if self.meta.id.is_some() || self.meta.model.is_some() {
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
    fn unknown_text(&mut self, place: Place, key: &str, value: &str) -> Result<(), Fault> {
        if matches!(value, "\"\"" | "[]" | "{}") {
            return Ok(());
        }
        let room = self.remembered.len() < REMEMBERED;
        let before = self.remembered.iter_mut().find(|(at, name, _)| *at == place && name == key);
        match before {
            Some((_, _, same)) if same == value => return Ok(()),
            Some((_, _, other)) => value.clone_into(other),
            None if room => {
                self.remembered.push((place, key.to_owned(), value.to_owned()));
            }
            None => {}
        }
        let value = parse(value.as_bytes())?;
        self.unknown(place, key, &value);
        Ok(())
    }

    fn unknowns(&mut self, place: Place, from: &Object, known: &[&str]) {
        for (key, value) in from {
            if !known.contains(&key.as_str()) {
                self.remembered.retain(|(at, name, _)| !(*at == place && name == key));
                self.unknown(place, key, value);
            }
        }
    }

    /// Keeps what only this provider has; of what changes, the last.
    fn unknown(&mut self, place: Place, key: &str, value: &Value) {
        if !says_something(value) {
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
        if keep.get(key) != Some(value) {
            keep.insert(key.to_owned(), value.clone());
        }
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
            None => self.text(text(choice.get("text")).into(), parts),
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

    fn message(&mut self, message: &Object, whole: bool, parts: &mut Parts) {
        let mut reasoning = text(message.get("reasoning_content"));
        if reasoning.is_empty() {
            reasoning = text(message.get("reasoning"));
        }
        self.reasoning(reasoning.into(), parts);
        for detail in objects(message.get("reasoning_details")) {
            self.detail(detail);
        }
        match message.get("content") {
            Some(Value::Array(list)) => {
                for part in list {
                    self.part(part, parts);
                }
            }
            Some(part) => self.part(part, parts),
            None => {}
        }
        parts.refusal(text(message.get("refusal")));
        if let Some(Value::Array(annotations)) = message.get("annotations") {
            self.annotations.extend_from_slice(annotations);
        }
        for image in objects(message.get("images")) {
            self.image(image, parts);
        }
        self.calls.next_document();
        let calls = message.get("tool_calls").filter(|calls| says_something(calls));
        for call in objects(calls) {
            self.call(piece(call), whole, parts);
        }
        if calls.is_none()
            && let Some(function) = object(message.get("function_call"))
        {
            // The older form, for one call: its pieces have neither number nor id.
            let piece = Piece {
                index: Some(0),
                ..function_piece(function)
            };
            if !piece.name.is_empty() || !piece.arguments.is_empty() {
                self.call(piece, whole, parts);
            }
        }
        for (key, value) in object(message.get("audio")).into_iter().flatten() {
            match (self.audio.get_mut(key), value) {
                (_, Value::Null) => {}
                (Some(Value::String(have)), Value::String(more)) if key == "data" || key == "transcript" => {
                    have.push_str(more);
                }
                _ => drop(self.audio.insert(key.clone(), value.clone())),
            }
        }
        self.unknowns(Place::Message, message, MESSAGE);
    }

    /// One piece of a content: a text, a typed part, or a JSON value where a text was to come.
    fn part(&mut self, part: &Value, parts: &mut Parts) {
        let object = match part {
            Value::Object(object) => object,
            Value::String(text) => return self.text(text.into(), parts),
            _ => return,
        };
        match text(object.get("type")) {
            "text" | "output_text" => self.text(text(object.get("text")).into(), parts),
            "thinking" => {
                let thought = match object.get("thinking") {
                    Some(Value::Array(list)) => Cow::Owned(
                        list.iter()
                            .map(|one| one.as_str().unwrap_or_else(|| text(one.get("text"))))
                            .collect(),
                    ),
                    other => Cow::Borrowed(text(other)),
                };
                self.reasoning(thought, parts);
                if let Some(signature) = some_text(object.get("signature")) {
                    self.close_text(parts);
                    if parts.open() != Some(Open::Reasoning) {
                        parts.begin_reasoning(None);
                    }
                    parts.close_with(Ending {
                        signature: Some(signature),
                        ..Ending::default()
                    });
                }
            }
            "refusal" => parts.refusal(text(object.get("refusal"))),
            "image_url" => self.image(object, parts),
            "" => match object.get("text") {
                Some(Value::String(text)) => self.text(text.into(), parts),
                _ if object.is_empty() => {}
                // JSON was asked for, and came as JSON.
                _ => self.text(part.to_string().into(), parts),
            },
            kind => {
                self.close_text(parts);
                parts.provider(&self.provider, kind, part.clone(), None);
            }
        }
    }

    fn text(&mut self, text: Cow<'_, str>, parts: &mut Parts) {
        if !text.is_empty() {
            parts.text(text);
        }
    }

    fn reasoning(&mut self, thought: Cow<'_, str>, parts: &mut Parts) {
        if !thought.is_empty() {
            self.close_text(parts);
            parts.reasoning(thought);
        }
    }

    /// Ends the text, if it is open, with its annotations.
    fn close_text(&mut self, parts: &mut Parts) {
        if parts.open() == Some(Open::Text) {
            let annotations = std::mem::take(&mut self.annotations);
            parts.close_with(Ending {
                annotations: Some(annotations),
                ..Ending::default()
            });
        }
    }

    fn image(&mut self, part: &Object, parts: &mut Parts) {
        let url = match part.get("image_url") {
            Some(Value::Object(image)) => text(image.get("url")),
            other => text(other),
        };
        if let Some((mime, base64)) = split_data_url(url) {
            self.close_text(parts);
            parts.media(mime.to_owned(), base64.to_owned(), None);
        } else if !url.is_empty() {
            let images = self.data.entry("images").or_insert_with(|| json!([]));
            if let Value::Array(images) = images {
                images.push(url.into());
            }
        }
    }

    fn call(&mut self, piece: Piece<'_>, whole: bool, parts: &mut Parts) {
        let (at, begins) = self.calls.take(piece, whole);
        if begins {
            self.close_text(parts);
        }
        self.calls.say(at, begins, self.meta.id.as_deref(), parts);
    }

    /// Joins the pieces of one entry of `reasoning_details`: so they go back in one message.
    fn detail(&mut self, piece: &Object) {
        let same = |last: &&mut Object| {
            piece.get("index").is_some_and(|index| !index.is_null())
                && last.get("index") == piece.get("index")
                && last.get("type") == piece.get("type")
        };
        let Some(last) = self.details.last_mut().filter(same) else {
            self.details.push(piece.clone());
            return;
        };
        for (key, value) in piece {
            match (last.get_mut(key), value) {
                (_, Value::Null) => {}
                (Some(Value::String(have)), Value::String(more))
                    if matches!(key.as_str(), "text" | "summary" | "data") =>
                {
                    have.push_str(more);
                }
                _ => drop(last.insert(key.clone(), value.clone())),
            }
        }
    }

    fn end_audio(&mut self, parts: &mut Parts) {
        if self.audio.get("data").is_some_and(says_something)
            && let Some(Value::String(base64)) = self.audio.shift_remove("data")
        {
            let format = self.audio_format.as_deref().unwrap_or("wav");
            parts.media(format!("audio/{format}"), base64, None);
        }
    }
}

fn piece(call: &Object) -> Piece<'_> {
    let custom = object(call.get("custom")).filter(|_| text(call.get("type")) == "custom");
    let function = custom.or_else(|| object(call.get("function")));
    Piece {
        index: count(call.get("index")),
        id: text(call.get("id")).into(),
        custom: custom.is_some(),
        extra_content: object(call.get("extra_content")),
        ..function.map(function_piece).unwrap_or_default()
    }
}

fn function_piece(function: &Object) -> Piece<'_> {
    let arguments = match function.get("arguments").or_else(|| function.get("input")) {
        Some(Value::String(text)) => text.into(),
        // Some servers send the arguments as the object that they are.
        Some(value @ (Value::Object(_) | Value::Array(_))) => value.to_string().into(),
        _ => Cow::Borrowed(""),
    };
    Piece {
        name: text(function.get("name")).into(),
        arguments,
        ..Piece::default()
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

fn into_text(word: Option<Word<'_>>) -> Cow<'_, str> {
    word.map_or(Cow::Borrowed(""), |Word(text)| text)
}

#[cfg(test)]
mod tests;
