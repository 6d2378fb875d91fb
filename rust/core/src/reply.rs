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

impl Engine {
    /// Every engine, in the order of the contract.
    pub const ALL: &'static [Engine] = &[Engine::Native, Engine::Litellm];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Native => "native",
            Engine::Litellm => "litellm",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineChoice, Role};
    use serde_json::json;

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn every_key_is_always_there_and_unknown_is_null() {
        let bare = json!({"content": "", "message": {"role": "assistant", "content": ""}});
        let reply: Reply = serde_json::from_value(bare).unwrap();
        let document = serde_json::to_value(&reply).unwrap();
        assert_eq!(
            keys(&document),
            [
                "content",
                "tool_calls",
                "reasoning",
                "refusal",
                "finish_reason",
                "finish_reason_raw",
                "usage",
                "id",
                "request_id",
                "created",
                "model",
                "provider",
                "engine",
                "service_tier",
                "logprobs",
                "attempts",
                "provider_data",
                "message"
            ]
        );
        assert_eq!(
            document["usage"],
            json!({"input_tokens": null, "output_tokens": null, "total_tokens": null, "cached_input_tokens": null,
                   "cache_creation_input_tokens": null, "reasoning_tokens": null, "server_tool_calls": null,
                   "cost_usd": null, "raw": null})
        );
        assert_eq!(serde_json::from_value::<Reply>(document).unwrap(), reply);
    }

    #[test]
    fn nought_and_unknown_differ() {
        let usage: Usage =
            serde_json::from_value(json!({"input_tokens": 0, "cache_creation_input_tokens": {"5m": 0}}))
                .unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(0), None));
        let document = serde_json::to_value(&usage).unwrap();
        assert_eq!(
            document["cache_creation_input_tokens"],
            json!({"5m": 0, "1h": null})
        );
    }

    #[test]
    fn names_are_those_of_the_json() {
        let same = |document: Value, name: &str| assert_eq!(document, name);
        for it in FinishReason::ALL {
            same(json!(it), it.name());
        }
        for it in Engine::ALL {
            same(json!(it), it.name());
        }
        for it in EngineChoice::ALL {
            same(json!(it), it.name());
        }
        for it in Role::ALL {
            same(json!(it), it.name());
        }
    }

    #[test]
    fn an_attempt_always_says_what_is_known() {
        let attempt: Attempt = serde_json::from_value(json!({"model": "a/b"})).unwrap();
        assert_eq!(
            serde_json::to_value(attempt).unwrap(),
            json!({"model": "a/b", "engine": null, "error": null, "duration_ms": null})
        );
    }
}
