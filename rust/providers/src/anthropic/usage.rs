//! Anthropic's words for usage and for why a model stopped, in those of the contract.

use crate::value::{count, object, sum};
use omni_core::{CacheCreation, FinishReason, Object, Usage};
use serde_json::Value;

/// Why the model stopped; any other word is `other`.
pub(super) const FINISH: &[(&str, FinishReason)] = &[
    ("end_turn", FinishReason::Stop),
    ("stop_sequence", FinishReason::Stop),
    ("max_tokens", FinishReason::Length),
    ("model_context_window_exceeded", FinishReason::Length),
    ("tool_use", FinishReason::ToolCalls),
    ("pause_turn", FinishReason::Pause),
    ("compaction", FinishReason::Pause),
    ("refusal", FinishReason::ContentFilter),
];

/// A usage object: cache reads and writes are input.
pub(super) fn read_usage(usage: &Object) -> Usage {
    let of = |key: &str| count(usage.get(key));
    let read = of("cache_read_input_tokens");
    let written = of("cache_creation_input_tokens");
    let input_tokens = sum([of("input_tokens"), written, read]);
    let output_tokens = of("output_tokens");
    let creation = object(usage.get("cache_creation")).filter(|creation| !creation.is_empty());
    let cache_creation_input_tokens = match (creation, written) {
        (Some(creation), _) => Some(CacheCreation {
            five_minutes: count(creation.get("ephemeral_5m_input_tokens")),
            one_hour: count(creation.get("ephemeral_1h_input_tokens")),
        }),
        // Five minutes is what a write lasts where nothing else is said.
        (None, Some(written)) => Some(CacheCreation {
            five_minutes: Some(written),
            one_hour: None,
        }),
        (None, None) => None,
    };
    let details = object(usage.get("output_tokens_details"));
    let tools = object(usage.get("server_tool_use")).filter(|tools| !tools.is_empty());
    Usage {
        input_tokens,
        output_tokens,
        total_tokens: input_tokens
            .zip(output_tokens)
            .map(|(incoming, outgoing)| incoming.saturating_add(outgoing)),
        cached_input_tokens: read,
        cache_creation_input_tokens,
        reasoning_tokens: details.and_then(|details| count(details.get("thinking_tokens"))),
        server_tool_calls: tools.map(|tools| Value::Object(tools.clone())),
        cost_usd: None,
        raw: Some(Value::Object(usage.clone())),
    }
}
