//! The usage object in the contract's words.

use crate::value::{cost, count};
use omni_core::{CacheCreation, Object, Usage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// xAI's unit of price: so many to a US dollar.
const TICKS: f64 = 1e10;

/// `usage` of a response; `tools` are the items of server-side tools that came, by their type.
pub(crate) fn read(usage: &Value, tools: &BTreeMap<String, u64>) -> Option<Usage> {
    let given = usage.as_object()?;
    let of = |details: &str, key: &str| count(given.get(details).and_then(|details| details.get(key)));
    Some(Usage {
        input_tokens: count(given.get("input_tokens")),
        output_tokens: count(given.get("output_tokens")),
        total_tokens: count(given.get("total_tokens")),
        cached_input_tokens: of("input_tokens_details", "cached_tokens"),
        // The wire does not say for how long; the contract's first place is for what is kept the shortest.
        cache_creation_input_tokens: of("input_tokens_details", "cache_write_tokens").map(|written| {
            CacheCreation {
                five_minutes: Some(written),
                one_hour: None,
            }
        }),
        reasoning_tokens: of("output_tokens_details", "reasoning_tokens"),
        server_tool_calls: count(given.get("num_server_side_tools_used"))
            .map(Value::from)
            .or_else(|| (!tools.is_empty()).then(|| json!(tools))),
        cost_usd: price(given),
        raw: Some(usage.clone()),
    })
}

fn price(given: &Object) -> Option<f64> {
    cost(given.get("cost")).or_else(|| cost(given.get("cost_in_usd_ticks")).map(|ticks| ticks / TICKS))
}
