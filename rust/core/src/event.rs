//! What a stream hands out (design section 2, Events).

use crate::reply::{Engine, FinishReason, Reply, Usage};
use crate::{Error, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One typed fact of a stream. `index` counts the parts of the message, tool calls included.
/// The last event is exactly one of `done`, `error` and `cancelled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are the contract's words; each variant says what it means"
)]
pub enum Event {
    /// The provider has begun to answer.
    Start {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<Vec<Value>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// More of the refusal.
    RefusalDelta { text: String },
    /// A reasoning part begins.
    ReasoningStart {
        index: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// More of the reasoning.
    ReasoningDelta { index: u32, text: String },
    /// The reasoning part is whole.
    ReasoningEnd {
        index: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encrypted: Option<String>,
    },
    /// The model begins to ask for a tool.
    ToolCallStart {
        index: u32,
        id: String,
        name: String,
        /// "custom" for a custom tool; absent for a function.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    /// More of the arguments, as the text received.
    ToolCallDelta { index: u32, arguments: String },
    /// The call is whole.
    ToolCallEnd {
        index: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extra: Option<Object>,
    },
    /// A picture or sound that the model made begins.
    MediaStart { index: u32, mime: String },
    /// More of it.
    MediaDelta { index: u32, base64: String },
    /// It is whole.
    MediaEnd {
        index: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// What only this provider understands; kept in place in the message.
    ProviderPart {
        index: u32,
        provider: String,
        kind: String,
        data: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
