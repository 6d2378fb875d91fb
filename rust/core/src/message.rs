//! Messages: the OpenAI chat shape with three parts of ours.

use crate::json::Object;
use crate::tool::ToolCall;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions, as newer OpenAI models name them.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

impl Role {
    /// Every role, in the order of the contract.
    pub const ALL: &'static [Role] = &[
        Role::System,
        Role::Developer,
        Role::User,
        Role::Assistant,
        Role::Tool,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// What a message says: a string, or parts.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Typed pieces, in order.
    Parts(Vec<Part>),
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(String::new())
    }
}

impl Content {
    /// The joined text of the text parts.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => {
                let mut texts = parts.iter().filter_map(|part| match part {
                    Part::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                });
                match (texts.next(), texts.next()) {
                    (None, _) => Cow::Borrowed(""),
                    (Some(only), None) => Cow::Borrowed(only),
                    (Some(first), Some(second)) => {
                        let mut whole = format!("{first}{second}");
                        texts.for_each(|text| whole.push_str(text));
                        Cow::Owned(whole)
                    }
                }
            }
        }
    }
}

/// Shows the shape and never the text: a prompt stands in no log.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Text(text) => write!(f, "text({} bytes)", text.len()),
            Content::Parts(parts) => parts.fmt(f),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Content::Text(text) => serializer.serialize_str(text),
            Content::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of parts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::with_capacity(seq.size_hint().unwrap_or(1).min(64));
                while let Some(part) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One typed piece of a message. Keys that a part does not name are kept in `other`
/// (`cache_control`, `extra`, what a provider adds).
#[derive(Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Citations and links, as the provider gives them.
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<Vec<Value>>,
        /// The provider's opaque proof, to be sent back byte for byte.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// An image, by web address or as a data URL.
    ImageUrl {
        /// `{url, detail?, format?}`.
        image_url: Value,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// Sound.
    InputAudio {
        /// `{data, format}`, data in base64.
        input_audio: Value,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// A file.
    File {
        /// `{file_id? , file_data?, filename?, format?}`.
        file: Value,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// What the model thought, with what its provider needs to take it back.
    Reasoning {
        /// The readable text, "" if only the encrypted form is given.
        #[serde(default)]
        text: String,
        /// The provider's encrypted form.
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted: Option<String>,
        /// The provider's id of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The provider's opaque proof, to be sent back byte for byte.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// What only one provider understands and must get back whole and in place.
    Provider {
        /// Whose it is.
        provider: String,
        /// Its type on that provider's wire.
        kind: String,
        /// The wire object.
        data: Value,
        /// The provider's opaque proof.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// A mark for where among the parts a tool call stood.
    ToolCall {
        /// The id of the call in `tool_calls`.
        id: String,
        /// Everything else.
        #[serde(flatten)]
        other: Object,
    },
    /// A part of a type that the contract does not know: kept whole. Only the OpenAI chat protocol sends it.
    #[serde(untagged)]
    Unknown(Object),
}

impl Part {
    /// Every `type` that the contract knows, in its order.
    pub const TYPES: &'static [&'static str] = &[
        "text",
        "image_url",
        "input_audio",
        "file",
        "reasoning",
        "provider",
        "tool_call",
    ];

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Part::Text {
            text: text.into(),
            annotations: None,
            signature: None,
            other: Object::new(),
        }
    }

    /// The `type` of this part.
    pub fn kind(&self) -> &str {
        match self {
            Part::Text { .. } => "text",
            Part::ImageUrl { .. } => "image_url",
            Part::InputAudio { .. } => "input_audio",
            Part::File { .. } => "file",
            Part::Reasoning { .. } => "reasoning",
            Part::Provider { .. } => "provider",
            Part::ToolCall { .. } => "tool_call",
            Part::Unknown(object) => object.get("type").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// The provider's opaque proof that stands on this part, whatever its type is.
    pub fn signature(&self) -> Option<&str> {
        match self {
            Part::Text { signature, .. }
            | Part::Reasoning { signature, .. }
            | Part::Provider { signature, .. } => signature.as_deref(),
            Part::ImageUrl { other, .. }
            | Part::InputAudio { other, .. }
            | Part::File { other, .. }
            | Part::ToolCall { other, .. }
            | Part::Unknown(other) => other.get("signature").and_then(Value::as_str),
        }
    }
}

/// Shows the shape and never the text: a prompt stands in no log.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Text { text, .. } | Part::Reasoning { text, .. } => {
                write!(f, "{}({} bytes)", self.kind(), text.len())
            }
            Part::Provider { provider, kind, .. } => write!(f, "provider({provider}, {kind})"),
            _ => f.write_str(self.kind()),
        }
    }
}

/// Drops keys that the contract knows and that are null: the same as absent, as everywhere.
pub(crate) fn without_nulls(object: &mut Object, known: &[&str]) {
    for key in known {
        if object.get(*key).is_some_and(Value::is_null) {
            object.shift_remove(*key);
        }
    }
}

// What goes wrong is told by kind of value and never by the value, which is the user's.

fn take<T: de::DeserializeOwned, E: de::Error>(object: &mut Object, kind: &str, key: &str) -> Result<T, E> {
    let value = object
        .shift_remove(key)
        .ok_or_else(|| E::custom(format!("a part of type \"{kind}\" needs the key \"{key}\"")))?;
    serde_json::from_value(value).map_err(|_| misfit(kind, key))
}

fn maybe<T: de::DeserializeOwned, E: de::Error>(
    object: &mut Object,
    kind: &str,
    key: &str,
) -> Result<Option<T>, E> {
    match object.shift_remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|_| misfit(kind, key)),
    }
}

fn misfit<E: de::Error>(kind: &str, key: &str) -> E {
    E::custom(format!(
        "in a part of type \"{kind}\", \"{key}\" is of the wrong kind"
    ))
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyPart;
        impl<'de> Visitor<'de> for AnyPart {
            type Value = Part;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a part: an object with a \"type\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                part_from(Object::deserialize(MapAccessDeserializer::new(map))?)
            }
        }
        deserializer.deserialize_map(AnyPart)
    }
}

fn part_from<E: de::Error>(mut object: Object) -> Result<Part, E> {
    let kind = match object.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => return Err(E::custom("a part needs a \"type\"")),
    };
    if !Part::TYPES.contains(&kind.as_str()) {
        return Ok(Part::Unknown(object));
    }
    // `shift_remove` keeps the order of the rest: unknown keys come back as they came.
    object.shift_remove("type");
    without_nulls(&mut object, &["cache_control", "extra", "signature"]);
    let from = &mut object;
    let part = match kind.as_str() {
        "text" => Part::Text {
            text: take(from, &kind, "text")?,
            annotations: maybe(from, &kind, "annotations")?,
            signature: maybe(from, &kind, "signature")?,
            other: object,
        },
        "image_url" => Part::ImageUrl {
            image_url: take(from, &kind, "image_url")?,
            other: object,
        },
        "input_audio" => Part::InputAudio {
            input_audio: take(from, &kind, "input_audio")?,
            other: object,
        },
        "file" => Part::File {
            file: take(from, &kind, "file")?,
            other: object,
        },
        "reasoning" => Part::Reasoning {
            text: maybe(from, &kind, "text")?.unwrap_or_default(),
            encrypted: maybe(from, &kind, "encrypted")?,
            id: maybe(from, &kind, "id")?,
            signature: maybe(from, &kind, "signature")?,
            other: object,
        },
        "provider" => Part::Provider {
            provider: take(from, &kind, "provider")?,
            kind: take(from, &kind, "kind")?,
            data: take(from, &kind, "data")?,
            signature: maybe(from, &kind, "signature")?,
            other: object,
        },
        _ => Part::ToolCall {
            id: take(from, &kind, "id")?,
            other: object,
        },
    };
    Ok(part)
}

/// One entry of a conversation.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Absent and null are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The speaker's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Calls that the assistant asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// In a tool message: the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// In a tool message: whether the tool failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// The assistant's refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// In the last assistant message: the model goes on from this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<bool>,
    /// A mark for the provider's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<Value>,
    /// Per provider, what is merged into its wire object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Object>,
    /// Unknown keys.
    #[serde(flatten)]
    pub other: Object,
}

impl Message {
    /// A message of `role` that says `text`.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: Some(Content::Text(text.into())),
            name: None,
            tool_calls: None,
            tool_call_id: None,
            is_error: None,
            refusal: None,
            prefix: None,
            cache_control: None,
            extra: None,
            other: Object::new(),
        }
    }

    /// Instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// What the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// The result of the call `tool_call_id`.
    pub fn tool(tool_call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(tool_call_id.into()),
            ..Self::new(Role::Tool, text)
        }
    }

    /// The joined text of the message, "" if it has none.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.as_ref().map_or(Cow::Borrowed(""), Content::text)
    }
}

/// Shows the shape and never the text: a prompt stands in no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Message");
        shown.field("role", &self.role);
        if let Some(content) = &self.content {
            shown.field("content", content);
        }
        if let Some(calls) = &self.tool_calls {
            shown.field(
                "tool_calls",
                &calls.iter().map(ToolCall::name).collect::<Vec<_>>(),
            );
        }
        if let Some(id) = &self.tool_call_id {
            shown.field("tool_call_id", id);
        }
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
