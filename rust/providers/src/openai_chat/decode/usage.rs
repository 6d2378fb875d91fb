//! A usage object in the contract's words.

use crate::value::{cost, count, object, sum};
use omni_core::{CacheCreation, Object, Usage};
use serde_json::{Value, json};

/// xAI counts money in these parts of a dollar.
const TICKS: f64 = 1e10;

/// Reads what any of the providers gives; what none gives is unknown.
pub(super) fn read(raw: Value) -> Usage {
    let empty = Object::new();
    let usage = raw.as_object().unwrap_or(&empty);
    let incoming = object(usage.get("prompt_tokens_details")).unwrap_or(&empty);
    let outgoing = object(usage.get("completion_tokens_details")).unwrap_or(&empty);
    let prompt = count(usage.get("prompt_tokens"));
    let mut completion = count(usage.get("completion_tokens"));
    let total = count(usage.get("total_tokens"));
    let reasoning = count(outgoing.get("reasoning_tokens")).or_else(|| count(usage.get("reasoning_tokens")));
    if let (Some(thought @ 1..), Some(input), Some(output), Some(total)) =
        (reasoning, prompt, completion, total)
        && total == input.saturating_add(output).saturating_add(thought)
    {
        // xAI counts reasoning beside the completion; the contract counts it in.
        completion = Some(output + thought);
    }
    let cached = count(incoming.get("cached_tokens"))
        .or_else(|| count(usage.get("prompt_cache_hit_tokens")))
        .or_else(|| count(usage.get("cached_tokens")))
        .or_else(|| count(usage.get("num_cached_tokens")));
    let money = match usage.get("cost") {
        Some(Value::Object(parts)) => cost(parts.get("total_cost")),
        other => cost(other),
    };
    Usage {
        input_tokens: prompt,
        output_tokens: completion,
        total_tokens: total.or_else(|| sum([prompt, completion])),
        cached_input_tokens: cached,
        cache_creation_input_tokens: cache_creation(usage, incoming),
        reasoning_tokens: reasoning,
        server_tool_calls: server_tool_calls(usage),
        cost_usd: money.or_else(|| cost(usage.get("cost_in_usd_ticks")).map(|ticks| ticks / TICKS)),
        raw: Some(raw),
    }
}

/// Who does not say for how long tokens are cached means Anthropic's five minutes.
fn cache_creation(usage: &Object, incoming: &Object) -> Option<CacheCreation> {
    let apart = object(incoming.get("cache_creation"));
    let of = |key: &str| apart.and_then(|apart| count(apart.get(key)));
    let (short, long) = (of("ephemeral_5m_input_tokens"), of("ephemeral_1h_input_tokens"));
    let short = match (short, long) {
        (None, None) => count(incoming.get("cache_write_tokens"))
            .or_else(|| count(incoming.get("cache_creation_input_tokens")))
            .or_else(|| count(usage.get("cache_creation_input_tokens"))),
        _ => short,
    };
    (short.is_some() || long.is_some()).then_some(CacheCreation {
        five_minutes: short,
        one_hour: long,
    })
}

fn server_tool_calls(usage: &Object) -> Option<Value> {
    match object(usage.get("server_tool_use")) {
        Some(by_tool) if !by_tool.is_empty() => Some(Value::Object(by_tool.clone())),
        _ => count(usage.get("num_search_queries")).map(|number| json!(number)),
    }
}
