//! What a stream hands out (design section 2, Events).

use crate::reply::{Engine, FinishReason, Reply, Usage};
use crate::{Error, Object};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// One typed fact of a stream. `index` counts the parts of the message, tool calls included.
/// The last event is exactly one of `done`, `error` and `cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
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

/// An event as its text may come: the union of all fields, each read straight into its type. What serde derives for
/// a tagged enum buffers every value first, which costs four times as much for a delta.
#[derive(Deserialize)]
struct Flat<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    index: Option<u32>,
    text: Option<String>,
    id: Option<String>,
    request_id: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    engine: Option<Engine>,
    annotations: Option<Vec<Value>>,
    signature: Option<String>,
    encrypted: Option<String>,
    name: Option<String>,
    #[serde(rename = "kind")]
    of: Option<String>,
    arguments: Option<String>,
    extra: Option<Object>,
    mime: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    data: Value,
    from: Option<String>,
    to: Option<String>,
    discarded: Option<Vec<u32>>,
    usage: Option<Usage>,
    error: Option<Error>,
    reply: Option<Box<Reply>>,
    closed_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn need<T, E: de::Error>(value: Option<T>, key: &'static str) -> Result<T, E> {
            value.ok_or_else(|| E::missing_field(key))
        }
        let flat = Flat::deserialize(deserializer)?;
        let index = || need(flat.index, "index");
        Ok(match flat.kind.as_ref() {
            "start" => Event::Start {
                id: flat.id,
                request_id: flat.request_id,
                model: need(flat.model, "model")?,
                provider: need(flat.provider, "provider")?,
                engine: need(flat.engine, "engine")?,
            },
            "text_start" => Event::TextStart { index: index()? },
            "text_delta" => Event::TextDelta {
                index: index()?,
                text: need(flat.text, "text")?,
            },
            "text_end" => Event::TextEnd {
                index: index()?,
                annotations: flat.annotations,
                signature: flat.signature,
            },
            "refusal_delta" => Event::RefusalDelta {
                text: need(flat.text, "text")?,
            },
            "reasoning_start" => Event::ReasoningStart {
                index: index()?,
                id: flat.id,
            },
            "reasoning_delta" => Event::ReasoningDelta {
                index: index()?,
                text: need(flat.text, "text")?,
            },
            "reasoning_end" => Event::ReasoningEnd {
                index: index()?,
                signature: flat.signature,
                encrypted: flat.encrypted,
            },
            "tool_call_start" => Event::ToolCallStart {
                index: index()?,
                id: need(flat.id, "id")?,
                name: need(flat.name, "name")?,
                kind: flat.of,
            },
            "tool_call_delta" => Event::ToolCallDelta {
                index: index()?,
                arguments: need(flat.arguments, "arguments")?,
            },
            "tool_call_end" => Event::ToolCallEnd {
                index: index()?,
                signature: flat.signature,
                extra: flat.extra,
            },
            "media_start" => Event::MediaStart {
                index: index()?,
                mime: need(flat.mime, "mime")?,
            },
            "media_delta" => Event::MediaDelta {
                index: index()?,
                base64: need(flat.base64, "base64")?,
            },
            "media_end" => Event::MediaEnd {
                index: index()?,
                signature: flat.signature,
            },
            "provider_part" => Event::ProviderPart {
                index: index()?,
                provider: need(flat.provider, "provider")?,
                kind: need(flat.of, "kind")?,
                data: flat.data,
                signature: flat.signature,
            },
            "fallback" => Event::Fallback {
                from: need(flat.from, "from")?,
                to: need(flat.to, "to")?,
                error: need(flat.error, "error")?,
                discarded: flat.discarded.unwrap_or_default(),
            },
            "usage" => Event::Usage {
                usage: need(flat.usage, "usage")?,
            },
            "done" => Event::Done {
                reply: need(flat.reply, "reply")?,
            },
            "error" => Event::Error {
                error: need(flat.error, "error")?,
                reply: need(flat.reply, "reply")?,
            },
            "cancelled" => Event::Cancelled {
                reply: need(flat.reply, "reply")?,
                closed_ms: flat.closed_ms,
            },
            _ => return Err(de::Error::unknown_variant(&flat.kind, Event::TYPES)),
        })
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
mod tests {
    use super::*;
    use crate::Fold;
    use serde_json::json;

    /// One of each, with every field set.
    fn one_of_each() -> Vec<Event> {
        let text = || "t".to_owned();
        let reply = || Box::new(Fold::new().partial(Vec::new()));
        vec![
            Event::Start {
                id: Some(text()),
                request_id: Some(text()),
                model: text(),
                provider: text(),
                engine: Engine::Native,
            },
            Event::TextStart { index: 0 },
            Event::TextDelta {
                index: 0,
                text: text(),
            },
            Event::TextEnd {
                index: 0,
                annotations: Some(vec![json!({"x": null})]),
                signature: Some(text()),
            },
            Event::RefusalDelta { text: text() },
            Event::ReasoningStart {
                index: 0,
                id: Some(text()),
            },
            Event::ReasoningDelta {
                index: 0,
                text: text(),
            },
            Event::ReasoningEnd {
                index: 0,
                signature: Some(text()),
                encrypted: Some(text()),
            },
            Event::ToolCallStart {
                index: 0,
                id: text(),
                name: text(),
                kind: Some("custom".into()),
            },
            Event::ToolCallDelta {
                index: 0,
                arguments: text(),
            },
            Event::ToolCallEnd {
                index: 0,
                signature: Some(text()),
                extra: Some(Object::new()),
            },
            Event::MediaStart {
                index: 0,
                mime: text(),
            },
            Event::MediaDelta {
                index: 0,
                base64: text(),
            },
            Event::MediaEnd {
                index: 0,
                signature: Some(text()),
            },
            Event::ProviderPart {
                index: 0,
                provider: text(),
                kind: text(),
                data: json!([1]),
                signature: Some(text()),
            },
            Event::Fallback {
                from: text(),
                to: text(),
                error: Error::internal("x"),
                discarded: vec![0],
            },
            Event::Usage {
                usage: Usage {
                    input_tokens: Some(0),
                    ..Usage::default()
                },
            },
            Event::Done { reply: reply() },
            Event::Error {
                error: Error::internal("x"),
                reply: reply(),
            },
            Event::Cancelled {
                reply: reply(),
                closed_ms: Some(3),
            },
        ]
    }

    #[test]
    fn every_event_comes_back_from_text_and_from_a_value() {
        let all = one_of_each();
        assert_eq!(all.iter().map(Event::kind).collect::<Vec<_>>(), Event::TYPES);
        for event in all {
            let text = serde_json::to_string(&event).unwrap();
            assert!(
                text.starts_with(&format!("{{\"type\":\"{}\"", event.kind())),
                "{text}"
            );
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::from_value::<Event>(value.clone()).unwrap(), event);
            assert_eq!(event.index(), value.get("index").map(|_| 0));
        }
    }

    #[test]
    fn a_required_key_is_required() {
        for event in one_of_each() {
            let Value::Object(whole) = serde_json::to_value(&event).unwrap() else {
                panic!("an object")
            };
            for key in whole.keys() {
                let mut less = whole.clone();
                less.shift_remove(key);
                match serde_json::from_value::<Event>(Value::Object(less)) {
                    Ok(read) => assert_eq!(read.kind(), event.kind()),
                    Err(error) => assert!(error.to_string().contains(key.as_str()), "{error}"),
                }
            }
        }
        assert!(serde_json::from_value::<Event>(json!({"type": "text_delta", "text": "x"})).is_err());
        assert!(serde_json::from_value::<Event>(json!({"type": "novel"})).is_err());
    }

    #[test]
    fn only_the_last_three_are_last() {
        let last: Vec<_> = one_of_each()
            .iter()
            .filter(|event| event.is_last())
            .map(Event::kind)
            .collect();
        assert_eq!(last, ["done", "error", "cancelled"]);
    }
}
