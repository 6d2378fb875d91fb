//! Contents: a string, or parts.

use super::super::dialect::{Dialect, Files};
use super::{CHAT, has_extra, with_extra};
use crate::protocol::Target;
use omni_core::{Content, Message, Object, Part};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Types of items of OpenAI's responses: they may stand in a conversation that went on there, and no message of this
/// wire takes them.
const ITEMS: &[&str] = &[
    "_call",
    "_call_output",
    "_list_tools",
    "_approval_request",
    "compaction",
    "reasoning",
];

/// A file by web address, where the wire takes none.
pub(super) struct FileUrl;

impl FileUrl {
    /// The place of the first such part.
    pub(super) fn find(message: &Message, dialect: &Dialect) -> Option<usize> {
        let Some(Content::Parts(parts)) = &message.content else {
            return None;
        };
        parts.iter().position(|part| match part {
            Part::File { file, .. } => dialect.files == Files::File && is_web(file_id(file)),
            _ => false,
        })
    }
}

fn file_id(file: &Value) -> &str {
    file.get("file_id").and_then(Value::as_str).unwrap_or_default()
}

fn is_web(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// A content that is no assistant's.
pub(super) struct Said<'a> {
    pub(super) content: Option<&'a Content>,
    pub(super) target: &'a Target,
    pub(super) dialect: &'a Dialect,
    /// A mark of the whole message for the prompt cache; its last part carries it.
    pub(super) mark: Option<&'a Value>,
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = match (self.content, self.mark) {
            (None, _) => return serializer.serialize_str(""),
            (Some(Content::Text(text)), None) => return serializer.serialize_str(text),
            (Some(Content::Text(text)), Some(mark)) => {
                let mut seq = serializer.serialize_seq(Some(1))?;
                seq.serialize_element(&MarkedText { text, mark })?;
                return seq.end();
            }
            (Some(Content::Parts(parts)), _) => parts,
        };
        if self.dialect.flat_text && parts.iter().all(|part| matches!(part, Part::Text { .. })) {
            return serializer.serialize_str(&self.content.map(Content::text).unwrap_or_default());
        }
        let sent = || parts.iter().filter(|part| is_sent(part, self.target));
        if sent().next().is_none() {
            return serializer.serialize_str(""); // nothing of it is for this provider, and nobody takes an empty list
        }
        let last = self.mark.and_then(|_| sent().next_back());
        let mut seq = serializer.serialize_seq(None)?;
        for part in sent() {
            seq.serialize_element(&OnePart {
                part,
                target: self.target,
                dialect: self.dialect,
                mark: self
                    .mark
                    .filter(|_| last.is_some_and(|last| std::ptr::eq(last, part))),
                merged: false,
            })?;
        }
        seq.end()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "text")]
pub(super) struct MarkedText<'a> {
    pub(super) text: &'a str,
    #[serde(rename = "cache_control")]
    pub(super) mark: &'a Value,
}

/// Whether a part has a place on this wire; reasoning and calls of an assistant have theirs outside the content.
pub(super) fn is_sent(part: &Part, target: &Target) -> bool {
    match part {
        Part::Reasoning { .. } | Part::ToolCall { .. } => false,
        Part::Provider { provider, kind, .. } => {
            target.owns(CHAT, provider) && !ITEMS.iter().any(|item| kind.ends_with(item))
        }
        _ => true,
    }
}

/// One part as the wire has it.
pub(super) struct OnePart<'a> {
    pub(super) part: &'a Part,
    pub(super) target: &'a Target,
    pub(super) dialect: &'a Dialect,
    pub(super) mark: Option<&'a Value>,
    /// Whether the caller merges the extras.
    pub(super) merged: bool,
}

impl OnePart<'_> {
    /// What stands beside the fields of the part's type, but for what is ours.
    fn others<M: SerializeMap>(&self, map: &mut M, other: &Object) -> Result<(), M::Error> {
        let mut marked = false;
        for (key, value) in other {
            match key.as_str() {
                "extra" | "signature" => {}
                "cache_control" if !self.dialect.cache_control => {}
                key => {
                    marked |= key == "cache_control";
                    map.serialize_entry(key, value)?;
                }
            }
        }
        match self.mark {
            Some(mark) if !marked => map.serialize_entry("cache_control", mark),
            _ => Ok(()),
        }
    }

    fn file<M: SerializeMap>(&self, map: &mut M, file: &Value) -> Result<(), M::Error> {
        if self.dialect.files == Files::DocumentUrl {
            let data = file.get("file_data").and_then(Value::as_str);
            let url = data.or_else(|| Some(file_id(file)).filter(|id| is_web(id)));
            if let Some(url) = url {
                map.serialize_entry("type", "document_url")?;
                map.serialize_entry("document_url", url)?;
                return match file.get("filename") {
                    Some(name @ Value::String(_)) => map.serialize_entry("document_name", name),
                    _ => Ok(()),
                };
            }
            if let Some(id) = file.get("file_id") {
                map.serialize_entry("type", "file")?;
                return map.serialize_entry("file_id", id);
            }
        }
        map.serialize_entry("type", "file")?;
        map.serialize_entry("file", &File(file))
    }
}

impl Serialize for OnePart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let other = match self.part {
            Part::Text { other, .. }
            | Part::ImageUrl { other, .. }
            | Part::InputAudio { other, .. }
            | Part::File { other, .. } => other,
            Part::Provider { data, .. } => return data.serialize(serializer),
            // A type that we do not know is the provider's, and goes as it came.
            part => return part.serialize(serializer),
        };
        let extra = other.get("extra").and_then(Value::as_object);
        if !self.merged && has_extra(self.target, extra) {
            let plain = OnePart {
                merged: true,
                ..*self
            };
            return with_extra(&plain, self.target, extra, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match self.part {
            Part::Text { text, .. } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
            }
            Part::ImageUrl { image_url, .. } => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", &Image(image_url))?;
            }
            Part::InputAudio { input_audio, .. } => {
                map.serialize_entry("type", "input_audio")?;
                map.serialize_entry("input_audio", input_audio)?;
            }
            Part::File { file, .. } => self.file(&mut map, file)?,
            _ => {}
        }
        self.others(&mut map, other)?;
        map.end()
    }
}

/// `{url, detail}`; a string stands for its URL, and `format` is for other protocols.
struct Image<'a>(&'a Value);

impl Serialize for Image<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(url) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("url", url)?;
                map.end()
            }
            other => File(other).serialize(serializer),
        }
    }
}

/// An object without `format`, which is for other protocols.
struct File<'a>(&'a Value);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                serializer.collect_map(object.iter().filter(|(key, _)| *key != "format"))
            }
            other => other.serialize(serializer),
        }
    }
}
