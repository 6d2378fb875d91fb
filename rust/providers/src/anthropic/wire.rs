//! Blocks of a request, borrowed from it and written straight into the body.

use crate::merge;
use omni_core::{Object, mend_surrogates};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A block and its mark for the prompt cache.
pub(super) struct Block<'a> {
    pub(super) body: Body<'a>,
    pub(super) cache: Option<&'a Value>,
}

pub(super) enum Body<'a> {
    Text {
        text: Cow<'a, str>,
        citations: Vec<&'a Value>,
    },
    Thinking {
        text: &'a str,
        signature: &'a str,
    },
    Redacted {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Input<'a>,
    },
    ToolResult {
        id: Cow<'a, str>,
        content: Said<'a>,
        is_error: Option<bool>,
    },
    /// An image or a document.
    Media {
        kind: &'static str,
        source: Source<'a>,
        title: Option<&'a str>,
    },
    /// A file for the provider's own tools.
    Upload {
        file_id: &'a str,
    },
    /// The wire object of a part that came from this provider.
    Whole(&'a Value),
    /// With `extra` merged in.
    Merged(Value),
}

/// What a tool said.
pub(super) enum Said<'a> {
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

pub(super) enum Source<'a> {
    Base64 {
        media_type: &'a str,
        data: &'a str,
    },
    Url(&'a str),
    File(&'a str),
    /// Plain text.
    Text(String),
}

/// The arguments of a call as the object that the wire wants.
pub(super) enum Input<'a> {
    /// As they are.
    Raw(&'a RawValue),
    Value(Value),
}

impl<'a> Input<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        if text.trim().is_empty() {
            return Input::Value(Value::Object(Object::new()));
        }
        let object = text.trim_start().starts_with('{');
        let mended = mend_surrogates(text.as_bytes());
        match mended {
            Cow::Borrowed(_) if object => {
                if let Ok(raw) = serde_json::from_str(text) {
                    return Input::Raw(raw);
                }
            }
            Cow::Owned(mended) if object => {
                if let Ok(value) = serde_json::from_slice(&mended) {
                    return Input::Value(value);
                }
            }
            _ => {}
        }
        Input::Value(serde_json::json!({ "_raw": text }))
    }
}

impl<'a> Block<'a> {
    pub(super) fn new(body: Body<'a>) -> Self {
        Self { body, cache: None }
    }

    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::new(Body::Text {
            text: text.into(),
            citations: Vec::new(),
        })
    }

    /// With a mark for the prompt cache, where there is one.
    pub(super) fn cached(mut self, cache: Option<&'a Value>) -> Self {
        self.cache = cache.filter(|cache| !cache.is_null());
        self
    }

    /// With what the caller means for this provider alone.
    pub(super) fn merged(self, extras: impl Iterator<Item = &'a Value>) -> Self {
        let mut extras = extras.filter(|extra| extra.is_object()).peekable();
        if extras.peek().is_none() {
            return self;
        }
        // Fails for arguments alone that are nested deeper than a value may be: they go as they are.
        let Ok(mut whole) = serde_json::to_value(&self) else {
            return self;
        };
        for extra in extras {
            merge::deep(&mut whole, extra);
        }
        Self::new(Body::Merged(whole))
    }

    /// Whether a mark for the prompt cache may stand on it.
    pub(super) fn takes_cache(&self) -> bool {
        !matches!(self.body, Body::Thinking { .. } | Body::Redacted { .. })
    }

    /// A field of a block that is an object of this provider.
    pub(super) fn wire(&self) -> Option<&Object> {
        match &self.body {
            Body::Whole(value) => value.as_object(),
            Body::Merged(value) => value.as_object(),
            _ => None,
        }
    }
}

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.body {
            Body::Text { text, citations } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                if !citations.is_empty() {
                    map.serialize_entry("citations", citations)?;
                }
            }
            Body::Thinking { text, signature } => {
                map.serialize_entry("type", "thinking")?;
                map.serialize_entry("thinking", text)?;
                map.serialize_entry("signature", signature)?;
            }
            Body::Redacted { data } => {
                map.serialize_entry("type", "redacted_thinking")?;
                map.serialize_entry("data", data)?;
            }
            Body::ToolUse { id, name, input } => {
                map.serialize_entry("type", "tool_use")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("name", name)?;
                match input {
                    Input::Raw(raw) => map.serialize_entry("input", raw)?,
                    Input::Value(value) => map.serialize_entry("input", value)?,
                }
            }
            Body::ToolResult {
                id,
                content,
                is_error,
            } => {
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", id)?;
                match content {
                    Said::Text(text) => map.serialize_entry("content", text)?,
                    Said::Blocks(blocks) => map.serialize_entry("content", blocks)?,
                }
                if let Some(is_error) = is_error {
                    map.serialize_entry("is_error", is_error)?;
                }
            }
            Body::Media { kind, source, title } => {
                map.serialize_entry("type", kind)?;
                map.serialize_entry("source", source)?;
                if let Some(title) = title {
                    map.serialize_entry("title", title)?;
                }
            }
            Body::Upload { file_id } => {
                map.serialize_entry("type", "container_upload")?;
                map.serialize_entry("file_id", file_id)?;
            }
            Body::Whole(Value::Object(object)) | Body::Merged(Value::Object(object)) => {
                for (key, value) in object {
                    map.serialize_entry(key, value)?;
                }
                if object.contains_key("cache_control") {
                    return map.end();
                }
            }
            Body::Whole(_) | Body::Merged(_) => {}
        }
        if let Some(cache) = self.cache {
            map.serialize_entry("cache_control", cache)?;
        }
        map.end()
    }
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Source::Base64 { media_type, data } => {
                map.serialize_entry("type", "base64")?;
                map.serialize_entry("media_type", media_type)?;
                map.serialize_entry("data", data)?;
            }
            Source::Url(url) => {
                map.serialize_entry("type", "url")?;
                map.serialize_entry("url", url)?;
            }
            Source::File(file_id) => {
                map.serialize_entry("type", "file")?;
                map.serialize_entry("file_id", file_id)?;
            }
            Source::Text(text) => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("media_type", "text/plain")?;
                map.serialize_entry("data", text)?;
            }
        }
        map.end()
    }
}
