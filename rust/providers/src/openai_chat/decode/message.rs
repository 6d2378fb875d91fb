//! What stands in a delta or a message.

use super::calls::Piece;
use super::typed::Place;
use super::{Decoder, MESSAGE};
use crate::parts::{Ending, Open, Parts};
use crate::value::{count, object, objects, says_something, some_text, split_data_url, text};
use omni_core::Object;
use serde_json::{Value, json};
use std::borrow::Cow;

impl Decoder {
    pub(super) fn message(&mut self, message: &Object, whole: bool, parts: &mut Parts) {
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
            Value::String(text) => return say(text.into(), parts),
            _ => return,
        };
        match text(object.get("type")) {
            "text" | "output_text" => say(text(object.get("text")).into(), parts),
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
                    self.signed = true;
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
                Some(Value::String(text)) => say(text.into(), parts),
                _ if object.is_empty() => {}
                // JSON was asked for, and came as JSON.
                _ => say(part.to_string().into(), parts),
            },
            kind => {
                self.close_text(parts);
                parts.provider(&self.provider, kind, part.clone(), None);
            }
        }
    }

    pub(super) fn reasoning(&mut self, thought: Cow<'_, str>, parts: &mut Parts) {
        if !thought.is_empty() {
            self.close_text(parts);
            parts.reasoning(thought);
        }
    }

    /// Ends the text, if it is open, with its annotations.
    pub(super) fn close_text(&mut self, parts: &mut Parts) {
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

    pub(super) fn call(&mut self, piece: Piece<'_>, whole: bool, parts: &mut Parts) {
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

    pub(super) fn end_audio(&mut self, parts: &mut Parts) {
        if self.audio.get("data").is_some_and(says_something)
            && let Some(Value::String(base64)) = self.audio.shift_remove("data")
        {
            let format = self.audio_format.as_deref().unwrap_or("wav");
            parts.media(format!("audio/{format}"), base64, None);
        }
    }
}

/// Text that says something.
pub(super) fn say(text: Cow<'_, str>, parts: &mut Parts) {
    if !text.is_empty() {
        parts.text(text);
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
