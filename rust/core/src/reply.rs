//! The answer to one call.

use crate::message::{Message, Part};
use crate::tool::ToolCall;
use crate::{Error, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// A limit of tokens was reached.
    Length,
    /// It wants tools run.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
    /// The provider paused a long turn: append the message and call again.
    Pause,
    /// Something else: see `finish_reason_raw`.
    Other,
}

impl FinishReason {
    /// Every finish reason, in the order of the contract.
    pub const ALL: &'static [FinishReason] = &[
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::ToolCalls,
        FinishReason::ContentFilter,
        FinishReason::Pause,
        FinishReason::Other,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::ContentFilter => "content_filter",
            FinishReason::Pause => "pause",
            FinishReason::Other => "other",
        }
    }
}

/// Which engine answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Our Rust protocols.
    Native,
    /// LiteLLM.
    Litellm,
}

/// Tokens written to the provider's prompt cache, by how long it keeps them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheCreation {
    /// For five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: Option<u64>,
    /// For one hour.
    #[serde(rename = "1h")]
    pub one_hour: Option<u64>,
}

/// What a call consumed. Unknown is null, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Cache reads and writes included.
    pub input_tokens: Option<u64>,
    /// Reasoning included.
    pub output_tokens: Option<u64>,
    /// The sum as the provider gives it.
    pub total_tokens: Option<u64>,
    /// Read from the provider's prompt cache.
    pub cached_input_tokens: Option<u64>,
    /// Written to the provider's prompt cache.
    pub cache_creation_input_tokens: Option<CacheCreation>,
    /// Of the output, what was reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Calls of server-side tools: a number, or an object by tool.
    pub server_tool_calls: Option<Value>,
    /// Cost in US dollars.
    pub cost_usd: Option<f64>,
    /// The provider's own usage object.
    pub raw: Option<Value>,
}

/// One try of one model, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The model id asked.
    pub model: String,
    /// The engine that asked.
    pub engine: Option<Engine>,
    /// Why it failed; null for the one that answered.
    #[serde(default)]
    pub error: Option<Error>,
    /// Milliseconds that it took.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// The answer to one call. Every key is always there; unknown is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The joined text, "" if none.
    pub content: String,
    /// Calls that the model wants run.
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    /// The reasoning parts.
    #[serde(default)]
    pub reasoning: Vec<Part>,
    /// The refusal's text.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Why the model stopped; null in a partial reply.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
    /// The provider's own word for it.
    #[serde(default)]
    pub finish_reason_raw: Option<String>,
    /// What the call consumed.
    #[serde(default)]
    pub usage: Usage,
    /// The provider's id of the answer.
    #[serde(default)]
    pub id: Option<String>,
    /// The provider's id of the request.
    #[serde(default)]
    pub request_id: Option<String>,
    /// Unix seconds.
    #[serde(default)]
    pub created: Option<u64>,
    /// The model that answered, as the provider names it.
    #[serde(default)]
    pub model: Option<String>,
    /// Who answered.
    #[serde(default)]
    pub provider: Option<String>,
    /// The engine that asked.
    #[serde(default)]
    pub engine: Option<Engine>,
    /// The provider's service tier.
    #[serde(default)]
    pub service_tier: Option<String>,
    /// Log probabilities in the OpenAI shape.
    #[serde(default)]
    pub logprobs: Option<Value>,
    /// Every try, the answering one last.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// What only this provider gives: grounding, citations, container …
    #[serde(default)]
    pub provider_data: Option<Object>,
    /// The assistant message, ready to be appended.
    pub message: Message,
}
