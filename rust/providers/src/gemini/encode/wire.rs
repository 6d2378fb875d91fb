//! The body as it is written: borrowed from the request, so that no text is copied before it stands on the wire.

use crate::merge;
use omni_core::{Object, mend_surrogates};
use serde::ser::{Error as _, SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A wire object and what the caller's `extra` lays over it.
pub(super) struct With<'a, T> {
    pub(super) wire: T,
    pub(super) extras: Vec<&'a Value>,
}

impl<T> With<'_, T> {
    pub(super) fn nothing(wire: T) -> Self {
        Self {
            wire,
            extras: Vec::new(),
        }
    }
}

impl<T: Serialize> Serialize for With<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.extras.is_empty() {
            return self.wire.serialize(serializer);
        }
        let mut value = serde_json::to_value(&self.wire).map_err(S::Error::custom)?;
        for extra in &self.extras {
            merge::deep(&mut value, extra);
        }
        value.serialize(serializer)
    }
}

/// One turn.
pub(super) struct Content<'a> {
    pub(super) role: &'static str,
    pub(super) parts: Vec<With<'a, Piece<'a>>>,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Content", 2)?;
        out.serialize_field("role", self.role)?;
        out.serialize_field("parts", &self.parts)?;
        out.end()
    }
}

/// One part of a turn.
pub(super) enum Piece<'a> {
    Text {
        text: &'a str,
        thought: bool,
        signature: Option<&'a str>,
    },
    Call {
        name: &'a str,
        id: Option<&'a str>,
        args: Json<'a>,
        signature: Option<&'a str>,
    },
    Result(With<'a, Response<'a>>),
    Media {
        media: Media<'a>,
        signature: Option<&'a str>,
    },
    /// What Gemini gave and gets back whole.
    Whole {
        data: &'a Object,
        signature: Option<&'a str>,
    },
}

impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        let signature = match self {
            Piece::Text {
                text,
                thought,
                signature,
            } => {
                out.serialize_entry("text", text)?;
                if *thought {
                    out.serialize_entry("thought", &true)?;
                }
                signature
            }
            Piece::Call {
                name,
                id,
                args,
                signature,
            } => {
                out.serialize_entry("functionCall", &Call { name, id: *id, args })?;
                signature
            }
            Piece::Result(response) => {
                out.serialize_entry("functionResponse", response)?;
                &None
            }
            Piece::Media { media, signature } => {
                media.entry(&mut out)?;
                signature
            }
            Piece::Whole { data, signature } => {
                for (key, value) in *data {
                    out.serialize_entry(key, value)?;
                }
                if data.contains_key("thoughtSignature") {
                    &None
                } else {
                    signature
                }
            }
        };
        if let Some(signature) = signature {
            out.serialize_entry("thoughtSignature", signature)?;
        }
        out.end()
    }
}

#[derive(Serialize)]
struct Call<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    args: &'a Json<'a>,
}

/// What a tool said.
#[derive(Serialize)]
pub(super) struct Response<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(rename = "response")]
    pub(super) said: Said<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<With<'a, Piece<'a>>>,
}

/// The object that a response must be.
pub(super) enum Said<'a> {
    Object(Json<'a>),
    Text { key: &'static str, text: Cow<'a, str> },
    Under { key: &'static str, object: Json<'a> },
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Said::Object(object) => object.serialize(serializer),
            Said::Text { key, text } => one(serializer, key, text),
            Said::Under { key, object } => one(serializer, key, object),
        }
    }
}

fn one<S: Serializer>(serializer: S, key: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_map(Some(1))?;
    out.serialize_entry(key, value)?;
    out.end()
}

/// A JSON object that stands in the request as text, byte for byte where it is one.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Json<'a> {
    Borrowed(&'a RawValue),
    Owned(Box<RawValue>),
    Made(Value),
}

impl<'a> Json<'a> {
    /// `text` if it is a JSON object. Escapes of lone surrogates become U+FFFD: no reader takes them.
    pub(super) fn object(text: &'a str) -> Option<Self> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        match mend_surrogates(text.as_bytes()) {
            Cow::Borrowed(_) => serde_json::from_str(text).ok().map(Json::Borrowed),
            Cow::Owned(mended) => serde_json::from_slice(&mended).ok().map(Json::Owned),
        }
    }

    pub(super) fn owned(text: &str) -> Option<Json<'static>> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        serde_json::from_slice(&mend_surrogates(text.as_bytes()))
            .ok()
            .map(Json::Owned)
    }

    /// Whether the object has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        let text = match self {
            Json::Borrowed(raw) => raw.get(),
            Json::Owned(raw) => raw.get(),
            Json::Made(value) => return value.get(key).is_some(),
        };
        serde_json::from_str::<Object>(text).is_ok_and(|object| object.contains_key(key))
    }
}

/// A picture, a sound or a file.
#[derive(Debug, PartialEq)]
pub(super) enum Media<'a> {
    Inline {
        mime: Cow<'a, str>,
        data: &'a str,
    },
    File {
        mime: Option<Cow<'a, str>>,
        uri: Cow<'a, str>,
    },
}

impl Media<'_> {
    fn entry<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        match self {
            Media::Inline { mime, data } => out.serialize_entry("inlineData", &Inline { mime, data }),
            Media::File { mime, uri } => out.serialize_entry(
                "fileData",
                &File {
                    mime: mime.as_deref(),
                    uri,
                },
            ),
        }
    }
}

#[derive(Serialize)]
struct Inline<'a> {
    #[serde(rename = "mimeType")]
    mime: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "mimeType", skip_serializing_if = "Option::is_none")]
    mime: Option<&'a str>,
    #[serde(rename = "fileUri")]
    uri: &'a str,
}

/// A function as it is declared.
#[derive(Serialize)]
pub(super) struct Declaration<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'a str,
    /// In Google's own schema language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<&'a Value>,
    #[serde(rename = "parametersJsonSchema", skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<&'a Value>,
}

/// One entry of `tools`.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Offer<'a> {
    Functions {
        #[serde(rename = "functionDeclarations")]
        declarations: Vec<With<'a, Declaration<'a>>>,
    },
    Whole(&'a Value),
}

/// The whole body.
pub(super) struct Body<'a> {
    pub(super) contents: Vec<With<'a, Content<'a>>>,
    pub(super) system: Vec<With<'a, Piece<'a>>>,
    pub(super) tools: Vec<Offer<'a>>,
    /// Everything else.
    pub(super) rest: Object,
}

impl Body<'_> {
    /// The keys that are not in `rest`.
    pub(super) const BORROWED: &'static [&'static str] = &["contents", "systemInstruction", "tools"];
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Instruction<'a, 'b> {
            parts: &'b [With<'a, Piece<'a>>],
        }
        let mut out = serializer.serialize_map(None)?;
        if !self.system.is_empty() {
            out.serialize_entry("systemInstruction", &Instruction { parts: &self.system })?;
        }
        out.serialize_entry("contents", &self.contents)?;
        if !self.tools.is_empty() {
            out.serialize_entry("tools", &self.tools)?;
        }
        for (key, value) in &self.rest {
            out.serialize_entry(key, value)?;
        }
        out.end()
    }
}
