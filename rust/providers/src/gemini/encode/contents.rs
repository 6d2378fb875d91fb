//! Messages → `contents` and `systemInstruction`.

use super::media;
use super::models::Model;
use super::wire::{Content, Json, Media, Piece, Response, Said, With};
use crate::gemini::OWN_ID;
use crate::protocol::{Protocol, Target};
use crate::value::arguments_object;
use omni_core::{self as core, Code, Error, Message, Object, Part, Result, Role, ToolCall};
use std::borrow::Cow;
use std::collections::HashMap;

/// What Google gives for calls that no Gemini made: Gemini 3 refuses a step whose first call is unsigned.
const UNSIGNED: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// What is written of a conversation.
#[derive(Default)]
pub(super) struct Written<'a> {
    pub(super) contents: Vec<With<'a, Content<'a>>>,
    pub(super) system: Vec<With<'a, Piece<'a>>>,
}

pub(super) struct Writer<'a> {
    target: &'a Target,
    model: Model,
    /// Whether calls and their results carry the ids that they have.
    ids: bool,
    /// The tools of the calls so far, by the ids of the calls.
    names: HashMap<&'a str, &'a str>,
    out: Written<'a>,
}

/// The text of a tool's result, and what else it holds.
type Parted<'a> = (Cow<'a, str>, Vec<With<'a, Piece<'a>>>);

impl<'a> Writer<'a> {
    pub(super) fn new(target: &'a Target, model: Model) -> Self {
        Self {
            target,
            model,
            ids: model.third || !target.dialect.gemini.call_ids_from_3,
            names: HashMap::new(),
            out: Written::default(),
        }
    }

    pub(super) fn write(mut self, messages: &'a [Message]) -> Result<Written<'a>> {
        // The turn that is going on: what came after the user last spoke.
        let turn = messages.iter().rposition(|message| message.role == Role::User);
        let mut at = 0;
        while let Some(message) = messages.get(at) {
            match message.role {
                Role::System | Role::Developer => self.instruct(message),
                Role::User => self.user(at, message)?,
                Role::Assistant => self.assistant(message, turn.is_none_or(|turn| turn < at)),
                Role::Tool => {
                    let results = messages[at..]
                        .iter()
                        .take_while(|one| one.role == Role::Tool)
                        .count();
                    self.results(at, &messages[at..at + results])?;
                    at += results;
                    continue;
                }
            }
            at += 1;
        }
        let contents = &mut self.out.contents;
        // The wire wants a user to speak first, if only by saying nothing.
        if contents.first().is_none_or(|first| first.wire.role != "user") {
            contents.insert(
                0,
                With::nothing(Content {
                    role: "user",
                    parts: vec![empty()],
                }),
            );
        }
        Ok(self.out)
    }

    fn extras(&self, extra: Option<&'a Object>) -> Vec<&'a serde_json::Value> {
        self.target
            .extras(Protocol::Gemini, extra)
            .filter(|extra| extra.is_object())
            .collect()
    }

    fn with<T>(&self, wire: T, other: &'a Object) -> With<'a, T> {
        let extras = match other.get("extra") {
            Some(serde_json::Value::Object(extra)) => self.extras(Some(extra)),
            _ => Vec::new(),
        };
        With { wire, extras }
    }

    fn push(&mut self, role: &'static str, message: &'a Message, parts: Vec<With<'a, Piece<'a>>>) {
        let extras = self.extras(message.extra.as_ref());
        let wire = Content { role, parts };
        self.out.contents.push(With { wire, extras });
    }

    /// Instructions count for the whole conversation wherever they stand.
    fn instruct(&mut self, message: &'a Message) {
        let mut parts = Vec::new();
        match &message.content {
            Some(core::Content::Text(said)) => parts.extend(plain(said)),
            Some(core::Content::Parts(list)) => {
                for part in list {
                    match part {
                        Part::Text {
                            text: said, other, ..
                        } => {
                            parts.extend(plain(said).map(|piece| self.with(piece.wire, other)));
                        }
                        Part::Provider { .. } => parts.extend(self.provider(part)),
                        _ => {}
                    }
                }
            }
            None => {}
        }
        let extras = self.extras(message.extra.as_ref());
        if let Some(first) = parts.first_mut() {
            first.extras.extend(extras);
        }
        self.out.system.append(&mut parts);
    }

    fn user(&mut self, at: usize, message: &'a Message) -> Result<()> {
        let mut parts = Vec::new();
        match &message.content {
            Some(core::Content::Text(said)) => parts.extend(plain(said)),
            Some(core::Content::Parts(list)) => {
                for (nth, part) in list.iter().enumerate() {
                    match part {
                        Part::Text {
                            text: said,
                            signature,
                            other,
                            ..
                        } => {
                            if !said.is_empty() || signature.is_some() {
                                let wire = Piece::Text {
                                    text: said,
                                    thought: false,
                                    signature: signature.as_deref(),
                                };
                                parts.push(self.with(wire, other));
                            }
                        }
                        Part::Provider { .. } => parts.extend(self.provider(part)),
                        _ => {
                            if let Some(found) = self.media(part) {
                                let media = found.map_err(|why| unable(at, nth, &why))?;
                                parts.push(self.medium(media, part));
                            }
                        }
                    }
                }
            }
            None => {}
        }
        if parts.is_empty() {
            parts.push(empty());
        }
        self.push("user", message, parts);
        Ok(())
    }

    fn media(&self, part: &'a Part) -> Option<std::result::Result<Media<'a>, String>> {
        media::of(part, &self.model, self.target.dialect.gemini.fetches_files)
    }

    fn medium(&self, media: Media<'a>, part: &'a Part) -> With<'a, Piece<'a>> {
        let wire = Piece::Media {
            media,
            signature: part.signature(),
        };
        match part {
            Part::ImageUrl { other, .. } | Part::InputAudio { other, .. } | Part::File { other, .. } => {
                self.with(wire, other)
            }
            _ => With::nothing(wire),
        }
    }

    /// A part of Gemini's own; one of another provider is left out.
    fn provider(&self, part: &'a Part) -> Option<With<'a, Piece<'a>>> {
        let Part::Provider {
            provider,
            data,
            signature,
            other,
            ..
        } = part
        else {
            return None;
        };
        let data = data.as_object()?;
        let signature = signature.as_deref();
        self.target
            .owns(Protocol::Gemini, provider)
            .then(|| self.with(Piece::Whole { data, signature }, other))
    }

    fn assistant(&mut self, message: &'a Message, going_on: bool) {
        let calls = message.tool_calls.as_deref().unwrap_or_default();
        let list = match &message.content {
            Some(core::Content::Parts(list)) => list.as_slice(),
            _ => &[],
        };
        // Without a mark a signed thought is Anthropic's, whose signature Gemini refuses.
        let own = self.target.wrote(Protocol::Gemini, message) == Some(true);
        let mut sign = going_on && self.model.third;
        let mut parts = Vec::new();
        let mut sent = vec![false; calls.len()];
        if let Some(core::Content::Text(said)) = &message.content {
            parts.extend(plain(said));
        }
        for part in list {
            match part {
                Part::Text {
                    text: said,
                    signature,
                    other,
                    ..
                } => {
                    if !said.is_empty() || signature.is_some() {
                        let wire = Piece::Text {
                            text: said,
                            thought: false,
                            signature: signature.as_deref(),
                        };
                        parts.push(self.with(wire, other));
                    }
                }
                Part::Reasoning {
                    text: said,
                    encrypted: None,
                    id: None,
                    signature,
                    other,
                } if signature.is_none() || own => {
                    let wire = Piece::Text {
                        text: said,
                        thought: true,
                        signature: signature.as_deref(),
                    };
                    parts.push(self.with(wire, other));
                }
                Part::Provider { .. } => parts.extend(self.provider(part)),
                Part::ToolCall { id, .. } => {
                    let found = calls
                        .iter()
                        .zip(&sent)
                        .position(|(call, sent)| !sent && call.id == *id);
                    if let Some(nth) = found {
                        sent[nth] = true;
                        parts.push(self.call(&calls[nth], &mut sign));
                    }
                }
                // Media of another provider that this one cannot take is left out, as all that only it understands.
                _ => {
                    if let Some(Ok(media)) = self.media(part) {
                        parts.push(self.medium(media, part));
                    }
                }
            }
        }
        // Calls without a mark come last.
        for (call, sent) in calls.iter().zip(sent) {
            if !sent {
                parts.push(self.call(call, &mut sign));
            }
        }
        if parts.is_empty() {
            parts.push(With::nothing(Piece::Text {
                text: message.refusal.as_deref().unwrap_or_default(),
                thought: false,
                signature: None,
            }));
        }
        self.push("model", message, parts);
    }

    fn call(&mut self, call: &'a ToolCall, sign: &mut bool) -> With<'a, Piece<'a>> {
        let said = call.text();
        let args = Json::object(said).unwrap_or_else(|| Json::Made(arguments_object(said)));
        let first = std::mem::take(sign);
        self.names.insert(&call.id, call.name());
        With {
            wire: Piece::Call {
                name: call.name(),
                id: self.id(&call.id),
                args,
                signature: call.signature.as_deref().or(first.then_some(UNSIGNED)),
            },
            extras: self.extras(call.extra.as_ref()),
        }
    }

    /// The id as Gemini shall see it: one that we made is none.
    fn id(&self, id: &'a str) -> Option<&'a str> {
        Some(id).filter(|id| self.ids && !id.is_empty() && !id.starts_with(OWN_ID))
    }

    /// Results that come one after the other: one turn, as Gemini wants as many of them as there were calls.
    fn results(&mut self, at: usize, messages: &'a [Message]) -> Result<()> {
        let mut parts = Vec::with_capacity(messages.len());
        let mut beside = Vec::new();
        for (nth, message) in messages.iter().enumerate() {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            let called = self.names.get(id).copied();
            let Some(name) = called.or(message.name.as_deref()).filter(|name| !name.is_empty()) else {
                let at = at + nth;
                return Err(Error::invalid(format!(
                    "messages[{at}].tool_call_id: no assistant message before it has this call, and Gemini matches \
                     results by the tool's name: put the reply's message before the result, or give \"name\""
                )));
            };
            let (said, media) = self.result(at + nth, message)?;
            // A result to a call that was never sent has no id that Gemini knows.
            let id = called.and_then(|_| self.id(id));
            let (inside, outside) = if self.model.third {
                (media, Vec::new())
            } else {
                (Vec::new(), media)
            };
            let response = Response {
                name,
                id,
                said: response(said, message.is_error == Some(true)),
                parts: inside,
            };
            parts.push(With::nothing(Piece::Result(With {
                wire: response,
                extras: self.extras(message.extra.as_ref()),
            })));
            beside.extend(outside);
        }
        let role = "user";
        self.out.contents.push(With::nothing(Content { role, parts }));
        // Before Gemini 3 a response holds no media: they follow in a turn of their own.
        if !beside.is_empty() {
            let parts = beside;
            self.out.contents.push(With::nothing(Content { role, parts }));
        }
        Ok(())
    }

    fn result(&self, at: usize, message: &'a Message) -> Result<Parted<'a>> {
        let mut media = Vec::new();
        if let Some(core::Content::Parts(list)) = &message.content {
            for (nth, part) in list.iter().enumerate() {
                if let Some(found) = self.media(part) {
                    let found = found.map_err(|why| unable(at, nth, &why))?;
                    media.push(self.medium(found, part));
                } else {
                    media.extend(self.provider(part));
                }
            }
        }
        Ok((message.text(), media))
    }
}

/// A result as the object that the wire wants. An object stays what it is, byte for byte; other text stands where
/// the API looks for what a function gave: in "output", and in "error" if the tool failed.
fn response(said: Cow<'_, str>, is_error: bool) -> Said<'_> {
    let key = if is_error { "error" } else { "output" };
    let object = match said {
        Cow::Borrowed(text) => Json::object(text),
        Cow::Owned(ref text) => Json::owned(text),
    };
    match object {
        Some(object) if is_error && !object.has("error") => Said::Under { key, object },
        Some(object) => Said::Object(object),
        None => Said::Text { key, text: said },
    }
}

fn plain(said: &str) -> Option<With<'_, Piece<'_>>> {
    let wire = Piece::Text {
        text: said,
        thought: false,
        signature: None,
    };
    (!said.is_empty()).then(|| With::nothing(wire))
}

fn empty<'a>() -> With<'a, Piece<'a>> {
    With::nothing(Piece::Text {
        text: "",
        thought: false,
        signature: None,
    })
}

fn unable(at: usize, nth: usize, why: &str) -> Error {
    Error::new(Code::Unsupported, path(at, nth, why))
}

/// A sentence about a part, with its path.
pub(super) fn path(at: usize, nth: usize, why: &str) -> String {
    format!("messages[{at}].content[{nth}].{why}")
}
