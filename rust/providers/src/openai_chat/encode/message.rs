//! Messages.

use super::super::dialect::{Dialect, Prefix, Reasoning};
use super::content::{MarkedText, OnePart, Said, is_sent};
use super::{CHAT, has_extra, with_extra};
use crate::protocol::Target;
use omni_core::{Content, Message, Part, Request, Role, ToolCall};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// All messages of a request.
pub(super) struct Messages<'a> {
    list: &'a [Message],
    target: &'a Target,
    dialect: &'a Dialect,
}

impl<'a> Messages<'a> {
    pub(super) fn new(request: &'a Request, target: &'a Target, dialect: &'a Dialect) -> Self {
        Self {
            list: &request.messages,
            target,
            dialect,
        }
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list.iter().map(|message| One {
            message,
            target: self.target,
            dialect: self.dialect,
            merged: false,
        }))
    }
}

#[derive(Clone, Copy)]
struct One<'a> {
    message: &'a Message,
    target: &'a Target,
    dialect: &'a Dialect,
    /// Whether the caller merges the extras.
    merged: bool,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.message;
        if !self.merged && has_extra(self.target, message.extra.as_ref()) {
            let plain = One {
                merged: true,
                ..*self
            };
            return with_extra(&plain, self.target, message.extra.as_ref(), serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        let role = match message.role {
            Role::Developer if !self.dialect.developer => Role::System,
            role => role,
        };
        map.serialize_entry("role", &role)?;
        if message.role == Role::Assistant {
            self.assistant(&mut map)?;
        } else {
            let said = Said {
                content: message.content.as_ref(),
                target: self.target,
                dialect: self.dialect,
                mark: self.mark(),
            };
            map.serialize_entry("content", &said)?;
        }
        if let Some(name) = &message.name
            && (self.dialect.names_speakers || message.role == Role::Tool)
        {
            map.serialize_entry("name", name)?;
        }
        if let Some(id) = &message.tool_call_id {
            map.serialize_entry("tool_call_id", &call_id(id, self.dialect))?;
        }
        for (key, value) in &message.other {
            // What a decoder of ours kept of another provider's message is left out, not refused.
            let sent = match key.as_str() {
                "reasoning_details" => self.dialect.reasoning_details,
                "audio" => self.dialect.audio_ids,
                _ => true,
            };
            if sent {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

impl<'a> One<'a> {
    fn mark(&self) -> Option<&'a Value> {
        self.message
            .cache_control
            .as_ref()
            .filter(|_| self.dialect.cache_control)
    }

    fn assistant<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let message = self.message;
        let refusal = message.refusal.as_deref().filter(|refusal| !refusal.is_empty());
        let calls = message.tool_calls.as_deref().unwrap_or_default();
        match self.content() {
            Answer::Text(text) if text.is_empty() && (refusal.is_some() || !calls.is_empty()) => {
                map.serialize_entry("content", &())?;
            }
            Answer::Text(text) => match self.mark() {
                Some(mark) => map.serialize_entry("content", &[MarkedText { text: &text, mark }])?,
                None => map.serialize_entry("content", &text)?,
            },
            Answer::Parts(parts) => map.serialize_entry("content", &parts)?,
        }
        self.reasoning(map)?;
        if let Some(refusal) = refusal {
            map.serialize_entry("refusal", refusal)?;
        }
        if !calls.is_empty() {
            map.serialize_entry("tool_calls", &Calls { calls, of: *self })?;
        }
        match (message.prefix, self.dialect.prefix) {
            (Some(prefix), Prefix::Flag) => map.serialize_entry("prefix", &prefix),
            (Some(true), Prefix::Partial) => map.serialize_entry("partial", &true),
            _ => Ok(()),
        }
    }

    /// The text where it is no more than that, for not everybody takes parts in assistant messages.
    fn content(&self) -> Answer<'a> {
        let parts = match &self.message.content {
            None => return Answer::Text(Cow::Borrowed("")),
            Some(Content::Text(text)) => return Answer::Text(Cow::Borrowed(text)),
            Some(Content::Parts(parts)) => parts,
        };
        let plain = |part: &Part| match part {
            Part::Text { other, .. } => {
                other
                    .iter()
                    .all(|(key, _)| key == "extra" || (key == "cache_control" && !self.dialect.cache_control))
                    && !has_extra(self.target, other.get("extra").and_then(Value::as_object))
            }
            part => !self.takes(part),
        };
        if parts.iter().all(plain) {
            let text = self.message.content.as_ref().map(Content::text);
            return Answer::Text(text.unwrap_or_default());
        }
        Answer::Parts(AnswerParts { parts, of: *self })
    }

    /// Whether a part stands in the content.
    fn takes(&self, part: &Part) -> bool {
        match part {
            Part::Reasoning { text, signature, .. } => {
                self.dialect.reasoning == Reasoning::Thinking
                    && (!text.is_empty() || self.own(signature.as_ref()).is_some())
            }
            // OpenAI takes its own sound back by its id, and no other media.
            Part::InputAudio { .. } if self.dialect.audio_ids && self.message.other.contains_key("audio") => {
                false
            }
            Part::ImageUrl { .. } | Part::InputAudio { .. } | Part::File { .. } => {
                self.dialect.assistant_media
            }
            part => is_sent(part, self.target),
        }
    }

    /// The signature of reasoning, if this provider gave it.
    fn own<'s>(&self, signature: Option<&'s String>) -> Option<&'s String> {
        signature.filter(|_| self.target.wrote(CHAT, self.message) == Some(true))
    }

    fn reasoning<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let field = match self.dialect.reasoning {
            Reasoning::None | Reasoning::Thinking => return Ok(()),
            Reasoning::Long => "reasoning_content",
            Reasoning::Short => "reasoning",
        };
        let other = &self.message.other;
        let Some(Content::Parts(parts)) = &self.message.content else {
            return Ok(());
        };
        if other.contains_key(field)
            || (self.dialect.reasoning_details && other.contains_key("reasoning_details"))
        {
            return Ok(());
        }
        let texts = || {
            parts.iter().filter_map(|part| match part {
                Part::Reasoning { text, .. } if !text.is_empty() => Some(text.as_str()),
                _ => None,
            })
        };
        match (texts().next(), texts().nth(1)) {
            (None, _) => Ok(()),
            (Some(only), None) => map.serialize_entry(field, only),
            _ => map.serialize_entry(field, &texts().collect::<String>()),
        }
    }
}

enum Answer<'a> {
    Text(Cow<'a, str>),
    Parts(AnswerParts<'a>),
}

struct AnswerParts<'a> {
    parts: &'a [Part],
    of: One<'a>,
}

impl Serialize for AnswerParts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sent = || self.parts.iter().filter(|part| self.of.takes(part));
        let mark = self.of.mark();
        let last = mark.and_then(|_| sent().next_back());
        let mut seq = serializer.serialize_seq(None)?;
        for part in sent() {
            match part {
                Part::Reasoning { text, signature, .. } => {
                    let mut thinking =
                        json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]});
                    if let (Some(signature), Some(object)) =
                        (self.of.own(signature.as_ref()), thinking.as_object_mut())
                    {
                        object.insert("signature".to_owned(), signature.clone().into());
                    }
                    seq.serialize_element(&thinking)?;
                }
                part => seq.serialize_element(&OnePart {
                    part,
                    target: self.of.target,
                    dialect: self.of.dialect,
                    mark: mark.filter(|_| last.is_some_and(|last| std::ptr::eq(last, part))),
                    merged: false,
                })?,
            }
        }
        seq.end()
    }
}

struct Calls<'a> {
    calls: &'a [ToolCall],
    of: One<'a>,
}

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.calls.iter().map(|call| Call {
            from: call,
            target: self.of.target,
            dialect: self.of.dialect,
            merged: false,
        }))
    }
}

#[derive(Clone, Copy)]
struct Call<'a> {
    from: &'a ToolCall,
    target: &'a Target,
    dialect: &'a Dialect,
    merged: bool,
}

impl Serialize for Call<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let call = self.from;
        if !self.merged && has_extra(self.target, call.extra.as_ref()) {
            let plain = Call {
                merged: true,
                ..*self
            };
            return with_extra(&plain, self.target, call.extra.as_ref(), serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &call_id(&call.id, self.dialect))?;
        map.serialize_entry("type", &call.kind)?;
        if let Some(function) = &call.function {
            map.serialize_entry("function", function)?;
        }
        if let Some(custom) = &call.custom {
            map.serialize_entry("custom", custom)?;
        }
        if let Some(signature) = call.signature.as_ref().filter(|_| self.dialect.google_signatures) {
            let extra = json!({"google": {"thought_signature": signature}});
            map.serialize_entry("extra_content", &extra)?;
        }
        for (key, value) in &call.other {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The id of a call in the form that the provider wants.
fn call_id<'a>(id: &'a str, dialect: &Dialect) -> Cow<'a, str> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some(length) = dialect.call_id_length else {
        return Cow::Borrowed(id);
    };
    if id.len() == length && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    // FNV-1a: the call and its result get the same id, in this request and the next.
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let digits = (0..length).map(|_| {
        let digit = usize::try_from(hash % 62).unwrap_or_default();
        hash /= 62;
        char::from(DIGITS[digit])
    });
    Cow::Owned(digits.collect())
}
