//! A usage object in the contract's words.

use crate::value::{cost, count, says_something, sum};
use omni_core::{CacheCreation, Object, Usage};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;

/// xAI counts money in these parts of a dollar.
const TICKS: f64 = 1e10;

/// What any of the providers gives. It is filled by one walk over the object, as each look-up hashes its key.
#[derive(Default)]
struct Found {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    reasoning: Option<u64>,
    reasoning_beside: Option<u64>,
    /// Of the names for the same thing the first counts that is there.
    cached: [Option<u64>; 4],
    written: [Option<u64>; 3],
    written_short: Option<u64>,
    written_long: Option<u64>,
    money: Option<f64>,
    ticks: Option<f64>,
    server_tools: Option<Value>,
    searches: Option<u64>,
}

/// Reads what any of the providers gives; what none gives is unknown.
pub(super) fn read(raw: Value) -> Usage {
    let mut found = Found::default();
    for (key, value) in raw.as_object().into_iter().flatten() {
        found.take(key, value);
    }
    let Found {
        prompt,
        mut completion,
        total,
        ..
    } = found;
    let reasoning = found.reasoning.or(found.reasoning_beside);
    if let (Some(thought @ 1..), Some(input), Some(output), Some(total)) =
        (reasoning, prompt, completion, total)
        && total == input.saturating_add(output).saturating_add(thought)
    {
        // xAI counts reasoning beside the completion; the contract counts it in.
        completion = Some(output + thought);
    }
    Usage {
        input_tokens: prompt,
        output_tokens: completion,
        total_tokens: total.or_else(|| sum([prompt, completion])),
        cached_input_tokens: first(found.cached),
        cache_creation_input_tokens: found.cache_creation(),
        reasoning_tokens: reasoning,
        server_tool_calls: found
            .server_tools
            .or_else(|| found.searches.map(|number| json!(number))),
        cost_usd: found.money.or_else(|| found.ticks.map(|ticks| ticks / TICKS)),
        raw: Some(raw),
    }
}

impl Found {
    fn take(&mut self, key: &str, value: &Value) {
        let number = || count(Some(value));
        match (key, value) {
            ("prompt_tokens", _) => self.prompt = number(),
            ("completion_tokens", _) => self.completion = number(),
            ("total_tokens", _) => self.total = number(),
            ("reasoning_tokens", _) => self.reasoning_beside = number(),
            ("prompt_cache_hit_tokens", _) => self.cached[1] = number(),
            ("cached_tokens", _) => self.cached[2] = number(),
            ("num_cached_tokens", _) => self.cached[3] = number(),
            ("cache_creation_input_tokens", _) => self.written[2] = number(),
            ("cost", Value::Object(parts)) => self.money = cost(parts.get("total_cost")),
            ("cost", _) => self.money = cost(Some(value)),
            ("cost_in_usd_ticks", _) => self.ticks = cost(Some(value)),
            ("num_search_queries", _) => self.searches = number(),
            ("server_tool_use", Value::Object(_)) if says_something(value) => {
                self.server_tools = Some(value.clone());
            }
            ("prompt_tokens_details", Value::Object(details)) => self.take_incoming(details),
            ("completion_tokens_details", Value::Object(details)) => {
                self.reasoning = count(details.get("reasoning_tokens"));
            }
            _ => {}
        }
    }

    fn take_incoming(&mut self, details: &Object) {
        for (key, value) in details {
            match (key.as_str(), value) {
                ("cached_tokens", _) => self.cached[0] = count(Some(value)),
                ("cache_write_tokens", _) => self.written[0] = count(Some(value)),
                ("cache_creation_input_tokens", _) => self.written[1] = count(Some(value)),
                ("cache_creation", Value::Object(apart)) => {
                    self.written_short = count(apart.get("ephemeral_5m_input_tokens"));
                    self.written_long = count(apart.get("ephemeral_1h_input_tokens"));
                }
                _ => {}
            }
        }
    }

    /// Who does not say for how long tokens are cached means Anthropic's five minutes.
    fn cache_creation(&self) -> Option<CacheCreation> {
        let (short, long) = match (self.written_short, self.written_long) {
            (None, None) => (first(self.written), None),
            apart => apart,
        };
        (short.is_some() || long.is_some()).then_some(CacheCreation {
            five_minutes: short,
            one_hour: long,
        })
    }
}

fn first<const N: usize>(numbers: [Option<u64>; N]) -> Option<u64> {
    numbers.into_iter().flatten().next()
}

/// A usage object as it is read: a value whose objects have room for what usage objects hold. Growing them step by
/// step takes as long as reading them.
#[derive(Debug)]
pub(super) struct Raw(pub(super) Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Raw)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Raw(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::with_capacity(7);
        while let Some((key, Raw(value))) = map.next_entry()? {
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
