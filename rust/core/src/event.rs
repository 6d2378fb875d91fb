//! What a stream hands out (design section 2, Events).

use crate::reply::{Engine, FinishReason, Reply, Usage};
use crate::{Error, Object};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Writes the enum twice: as users see it, which serde writes with its `type` inside, and as serde reads it fastest,
/// with the type outside. What serde derives to read a type inside buffers every value first.
macro_rules! events {
    ($(#[$meta:meta])* pub enum Event { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum Event { $($body)* }

        #[derive(Deserialize)]
        #[serde(remote = "Event", rename_all = "snake_case")]
        #[allow(dead_code, reason = "serde reads it and makes an Event of it at once")]
        enum Outside { $($body)* }
    };
}

events! {
    /// One typed fact of a stream. `index` counts the parts of the message, tool calls included.
    /// The last event is exactly one of `done`, `error` and `cancelled`.
    #[allow(
        missing_docs,
        reason = "the fields are the contract's words; each variant says what it means"
    )]
    pub enum Event {
        /// The provider has begun to answer.
        Start {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            request_id: Option<String>,
            model: String,
            provider: String,
            engine: Engine,
        },
        /// A text part begins.
        TextStart { index: u32 },
        /// More of the text.
        TextDelta { index: u32, text: String },
        /// The text part is whole.
        TextEnd {
            index: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            annotations: Option<Vec<Value>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<String>,
        },
        /// More of the refusal.
        RefusalDelta { text: String },
        /// A reasoning part begins.
        ReasoningStart {
            index: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<String>,
        },
        /// More of the reasoning.
        ReasoningDelta { index: u32, text: String },
        /// The reasoning part is whole.
        ReasoningEnd {
            index: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            encrypted: Option<String>,
        },
        /// The model begins to ask for a tool.
        ToolCallStart {
            index: u32,
            id: String,
            name: String,
            /// "custom" for a custom tool; absent for a function.
            #[serde(skip_serializing_if = "Option::is_none")]
            kind: Option<String>,
        },
        /// More of the arguments, as the text received.
        ToolCallDelta { index: u32, arguments: String },
        /// The call is whole.
        ToolCallEnd {
            index: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            extra: Option<Object>,
        },
        /// A picture or sound that the model made begins.
        MediaStart { index: u32, mime: String },
        /// More of it.
        MediaDelta { index: u32, base64: String },
        /// It is whole.
        MediaEnd {
            index: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<String>,
        },
        /// What only this provider understands; kept in place in the message.
        ProviderPart {
            index: u32,
            provider: String,
            kind: String,
            data: Value,
            #[serde(skip_serializing_if = "Option::is_none")]
            signature: Option<String>,
        },
        /// Another model goes on; the parts named in `discarded` do not count any more.
        Fallback {
            from: String,
            to: String,
            error: Error,
            #[serde(default)]
            discarded: Vec<u32>,
        },
        /// What the call has consumed so far; the last one counts.
        Usage { usage: Usage },
        /// The whole answer.
        Done { reply: Box<Reply> },
        /// The call failed; `reply` holds what had come.
        Error { error: Error, reply: Box<Reply> },
        /// The caller cancelled; `reply` holds what had come, `closed_ms` how long the socket took to close.
        Cancelled {
            reply: Box<Reply>,
            closed_ms: Option<u64>,
        },
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyEvent;
        impl<'de> Visitor<'de> for AnyEvent {
            type Value = Event;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event: an object with a \"type\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
                match map.next_key::<Word<'de>>()? {
                    // So every door of ours writes it: the rest is read straight into its fields.
                    Some(Word(key)) if key == "type" => {
                        let Word(kind) = map.next_value()?;
                        Outside::deserialize(Typed {
                            kind,
                            rest: MapAccessDeserializer::new(map),
                        })
                    }
                    Some(Word(key)) => {
                        let mut object = Object::new();
                        object.insert(key.into_owned(), map.next_value()?);
                        object.extend(Object::deserialize(MapAccessDeserializer::new(map))?);
                        let Some(Value::String(kind)) = object.shift_remove("type") else {
                            return Err(de::Error::missing_field("type"));
                        };
                        let rest = Value::Object(object);
                        Outside::deserialize(Typed {
                            kind: Cow::Owned(kind),
                            rest,
                        })
                        .map_err(de::Error::custom)
                    }
                    None => Err(de::Error::missing_field("type")),
                }
            }
        }
        deserializer.deserialize_map(AnyEvent)
    }
}

/// A text that is borrowed where that can be; a plain `Cow` is always copied.
#[derive(Deserialize)]
#[serde(transparent)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// A type and its fields, as serde wants an enum whose type stands outside.
struct Typed<'de, D> {
    kind: Cow<'de, str>,
    rest: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Typed<'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for Typed<'de, D> {
    type Error = D::Error;
    type Variant = Fields<D>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Fields<D>), D::Error> {
        let kind = seed.deserialize(self.kind.into_deserializer())?;
        Ok((kind, Fields(self.rest)))
    }
}

/// The fields of an event; every event has some, if only its index.
struct Fields<D>(D);

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for Fields<D> {
    type Error = D::Error;

    fn unit_variant(self) -> Result<(), D::Error> {
        de::IgnoredAny::deserialize(self.0).map(drop)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, D::Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct("Event", fields, visitor)
    }
}

impl Event {
    /// Every `type`, in the order of the contract.
    pub const TYPES: &'static [&'static str] = &[
        "start",
        "text_start",
        "text_delta",
        "text_end",
        "refusal_delta",
        "reasoning_start",
        "reasoning_delta",
        "reasoning_end",
        "tool_call_start",
        "tool_call_delta",
        "tool_call_end",
        "media_start",
        "media_delta",
        "media_end",
        "provider_part",
        "fallback",
        "usage",
        "done",
        "error",
        "cancelled",
    ];

    /// The `type` of this event.
    pub const fn kind(&self) -> &'static str {
        match self {
            Event::Start { .. } => "start",
            Event::TextStart { .. } => "text_start",
            Event::TextDelta { .. } => "text_delta",
            Event::TextEnd { .. } => "text_end",
            Event::RefusalDelta { .. } => "refusal_delta",
            Event::ReasoningStart { .. } => "reasoning_start",
            Event::ReasoningDelta { .. } => "reasoning_delta",
            Event::ReasoningEnd { .. } => "reasoning_end",
            Event::ToolCallStart { .. } => "tool_call_start",
            Event::ToolCallDelta { .. } => "tool_call_delta",
            Event::ToolCallEnd { .. } => "tool_call_end",
            Event::MediaStart { .. } => "media_start",
            Event::MediaDelta { .. } => "media_delta",
            Event::MediaEnd { .. } => "media_end",
            Event::ProviderPart { .. } => "provider_part",
            Event::Fallback { .. } => "fallback",
            Event::Usage { .. } => "usage",
            Event::Done { .. } => "done",
            Event::Error { .. } => "error",
            Event::Cancelled { .. } => "cancelled",
        }
    }

    /// The part that this event belongs to; `None` for what belongs to none.
    pub const fn index(&self) -> Option<u32> {
        match self {
            Event::TextStart { index }
            | Event::TextDelta { index, .. }
            | Event::TextEnd { index, .. }
            | Event::ReasoningStart { index, .. }
            | Event::ReasoningDelta { index, .. }
            | Event::ReasoningEnd { index, .. }
            | Event::ToolCallStart { index, .. }
            | Event::ToolCallDelta { index, .. }
            | Event::ToolCallEnd { index, .. }
            | Event::MediaStart { index, .. }
            | Event::MediaDelta { index, .. }
            | Event::MediaEnd { index, .. }
            | Event::ProviderPart { index, .. } => Some(*index),
            Event::Start { .. }
            | Event::RefusalDelta { .. }
            | Event::Fallback { .. }
            | Event::Usage { .. }
            | Event::Done { .. }
            | Event::Error { .. }
            | Event::Cancelled { .. } => None,
        }
    }

    /// Moves the part that this event belongs to `by` places on.
    pub fn shift_index(&mut self, by: u32) {
        match self {
            Event::TextStart { index }
            | Event::TextDelta { index, .. }
            | Event::TextEnd { index, .. }
            | Event::ReasoningStart { index, .. }
            | Event::ReasoningDelta { index, .. }
            | Event::ReasoningEnd { index, .. }
            | Event::ToolCallStart { index, .. }
            | Event::ToolCallDelta { index, .. }
            | Event::ToolCallEnd { index, .. }
            | Event::MediaStart { index, .. }
            | Event::MediaDelta { index, .. }
            | Event::MediaEnd { index, .. }
            | Event::ProviderPart { index, .. } => *index = index.saturating_add(by),
            Event::Start { .. }
            | Event::RefusalDelta { .. }
            | Event::Fallback { .. }
            | Event::Usage { .. }
            | Event::Done { .. }
            | Event::Error { .. }
            | Event::Cancelled { .. } => {}
        }
    }

    /// Whether this event adds to the answer; others only close what stands, or tell about it.
    pub const fn adds(&self) -> bool {
        matches!(
            self,
            Event::TextStart { .. }
                | Event::TextDelta { .. }
                | Event::RefusalDelta { .. }
                | Event::ReasoningStart { .. }
                | Event::ReasoningDelta { .. }
                | Event::ToolCallStart { .. }
                | Event::ToolCallDelta { .. }
                | Event::MediaStart { .. }
                | Event::MediaDelta { .. }
                | Event::ProviderPart { .. }
        )
    }

    /// Whether nothing can follow this event.
    pub const fn is_last(&self) -> bool {
        matches!(
            self,
            Event::Done { .. } | Event::Error { .. } | Event::Cancelled { .. }
        )
    }
}

/// What an engine knows at the end of an answer and no event carries; the fold makes `done` of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finish {
    /// Why the model stopped.
    pub finish_reason: Option<FinishReason>,
    /// The provider's own word for it.
    pub finish_reason_raw: Option<String>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Unix seconds.
    pub created: Option<u64>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider's service tier.
    pub service_tier: Option<String>,
    /// Log probabilities in the OpenAI shape.
    pub logprobs: Option<Value>,
    /// What only this provider gives.
    pub provider_data: Option<Object>,
    /// Unknown keys of the provider's assistant message, kept in `reply.message`.
    pub message_extra: Option<Object>,
}

#[cfg(test)]
mod tests;
