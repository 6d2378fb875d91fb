//! What a call costs, from its usage and the model's prices.
//!
//! The rules are `LiteLLM`'s, so that both engines say the same; `tests/replay/costs.py` compares the two on every
//! recorded answer. What a provider says that a call cost counts before anything that could be worked out.

use super::model::Model;
use super::price::{Meter, Prices, Rates, Tier};
use omni_core::Usage;
use serde_json::Value;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a call costs in dollars; `None` if no price is known, or nothing was counted.
///
/// Prices of providers that charge less at some hours are those of this moment. See also
/// [`Catalogue::cost`](super::Catalogue::cost), which knows the prices of other models that a call asked.
pub fn cost(model: &Model, usage: &Usage, service_tier: Option<&str>) -> Option<f64> {
    cost_at(model, usage, service_tier, now())
}

/// [`cost`] at another moment, in seconds after 1970.
pub fn cost_at(model: &Model, usage: &Usage, service_tier: Option<&str>, seconds: u64) -> Option<f64> {
    let raw = Raw::of(usage);
    told(&raw).or_else(|| worked_out(model, usage, &raw, service_tier, seconds, |_| None))
}

/// What prices depend on in the provider's own usage object. Found in one pass: it has a few fields, and each search
/// for one by its name would hash that name.
#[derive(Default)]
pub(super) struct Raw<'a> {
    cost: Option<&'a Value>,
    ticks: Option<&'a Value>,
    iterations: Option<&'a Value>,
    citations: Option<&'a Value>,
    /// `OpenAI`'s: of what was asked and of what was answered, by the words of either of its wires.
    asked: [Option<&'a Value>; 2],
    given: [Option<&'a Value>; 2],
    /// Gemini's.
    prompt: Option<&'a Value>,
    candidates: Option<&'a Value>,
    cache: Option<&'a Value>,
}

impl<'a> Raw<'a> {
    pub(super) fn of(usage: &'a Usage) -> Self {
        let mut found = Self::default();
        for (name, value) in usage
            .raw
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let place = match name.as_str() {
                "cost" => &mut found.cost,
                "cost_in_usd_ticks" => &mut found.ticks,
                "iterations" => &mut found.iterations,
                "citation_tokens" => &mut found.citations,
                "prompt_tokens_details" => &mut found.asked[0],
                "input_tokens_details" => &mut found.asked[1],
                "completion_tokens_details" => &mut found.given[0],
                "output_tokens_details" => &mut found.given[1],
                "promptTokensDetails" => &mut found.prompt,
                "candidatesTokensDetails" => &mut found.candidates,
                "cacheTokensDetails" => &mut found.cache,
                _ => continue,
            };
            *place = Some(value);
        }
        found
    }
}

/// Seconds after 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// From counts and prices. `other` knows models that the provider asked within the call, by their names there.
pub(super) fn worked_out(
    model: &Model,
    usage: &Usage,
    raw: &Raw<'_>,
    service_tier: Option<&str>,
    seconds: u64,
    other: impl Fn(&str) -> Option<Arc<Model>>,
) -> Option<f64> {
    if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
        return None;
    }
    if model.prices.all().is_empty() && model.prices.rare.is_none() {
        return None;
    }
    let lowered = service_tier.map(str::to_ascii_lowercase);
    let tier = Tier::named(lowered.as_deref());
    let price = |model: &Model, counts: &Counts| {
        // xAI's higher price begins at the threshold itself, all others' above it.
        let inclusive = model.served_by() == "xai";
        let rates = Rated::of(&model.prices, counts.input, tier, seconds, inclusive);
        counts.dollars(&model.prices, &rates, tier)
    };
    let iterations = raw.iterations.and_then(Value::as_array);
    let tokens = match iterations.filter(|iterations| !iterations.is_empty()) {
        // Anthropic: the whole counts only what became the answer; a compaction and an advisor are paid for too.
        Some(iterations) => iterations
            .iter()
            .map(|iteration| {
                let asked = iteration.get("model").and_then(Value::as_str).and_then(&other);
                price(
                    asked.as_deref().unwrap_or(model),
                    &Counts::of_iteration(iteration),
                )
            })
            .sum(),
        None => price(model, &Counts::of(usage, raw)),
    };
    let prices = &model.prices;
    let request = prices.base(Meter::Request).unwrap_or(0.0);
    Some(tokens * factor(prices, usage) + searches(model, usage) + request + citations(prices, raw))
}

/// What the provider itself says.
pub(super) fn told(raw: &Raw<'_>) -> Option<f64> {
    let said = raw.cost.map(|cost| cost.get("total_cost").unwrap_or(cost));
    let dollars = said
        .and_then(Value::as_f64)
        .or_else(|| Some(raw.ticks?.as_f64()? / 1e10))?;
    (dollars.is_finite() && dollars >= 0.0).then_some(dollars)
}

/// Tokens by kind, each counted once.
#[derive(Debug, Default)]
struct Counts {
    /// All of the input.
    input: u64,
    cached: u64,
    cached_audio: u64,
    written: u64,
    written_hour: u64,
    audio: u64,
    image: u64,
    output: u64,
    reasoning: u64,
    audio_out: u64,
    image_out: u64,
}

impl Counts {
    fn of(usage: &Usage, raw: &Raw<'_>) -> Self {
        let written = usage.cache_creation_input_tokens.clone().unwrap_or_default();
        let cached_audio = AUDIO.among(&[], raw.cache);
        Self {
            input: usage.input_tokens.unwrap_or(0),
            cached: usage.cached_input_tokens.unwrap_or(0),
            cached_audio,
            written: written.five_minutes.unwrap_or_else(|| match written.one_hour {
                Some(_) => 0,
                None => count_in(&raw.asked, "cache_write_tokens").unwrap_or(0),
            }),
            written_hour: written.one_hour.unwrap_or(0),
            // Gemini counts what was cached among what was asked.
            audio: AUDIO.among(&raw.asked, raw.prompt).saturating_sub(cached_audio),
            image: IMAGE.among(&raw.asked, raw.prompt),
            output: usage.output_tokens.unwrap_or(0),
            reasoning: usage.reasoning_tokens.unwrap_or(0),
            audio_out: AUDIO.among(&raw.given, raw.candidates),
            image_out: IMAGE.among(&raw.given, raw.candidates),
        }
    }

    /// One of several calls of a model that Anthropic made within the call.
    fn of_iteration(iteration: &Value) -> Self {
        let of = |name: &str| iteration.get(name).and_then(Value::as_u64);
        let by_age = |name: &str| iteration.get("cache_creation")?.get(name)?.as_u64();
        let hour = by_age("ephemeral_1h_input_tokens").unwrap_or(0);
        let written = of("cache_creation_input_tokens").unwrap_or(0).max(hour);
        let cached = of("cache_read_input_tokens").unwrap_or(0);
        Self {
            input: of("input_tokens")
                .unwrap_or(0)
                .saturating_add(cached)
                .saturating_add(written),
            cached,
            written: written - hour,
            written_hour: hour,
            output: of("output_tokens").unwrap_or(0),
            ..Self::default()
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no call has 2^53 tokens")]
    fn dollars(&self, prices: &Prices, rates: &Rated, tier: Tier) -> f64 {
        let own = |meter| prices.at(meter, 0, tier).or_else(|| prices.base(meter));
        // What was cached is of any kind: a kind pays for what the cache did not cover.
        let fresh = self
            .input
            .saturating_sub(self.cached + self.written + self.written_hour);
        let audio = self.audio.min(fresh);
        let image = self.image.min(fresh - audio);
        let cached_audio = self.cached_audio.min(self.cached);
        let asked = (fresh - audio - image) as f64 * rates.input
            + (self.cached - cached_audio) as f64 * rates.read
            + cached_audio as f64 * own(Meter::AudioCacheRead).unwrap_or(rates.read)
            + audio as f64 * own(Meter::AudioInput).unwrap_or(rates.input)
            + image as f64 * own(Meter::ImageInput).unwrap_or(rates.input)
            + self.written as f64 * rates.write
            + self.written_hour as f64 * rates.write_hour;
        let base = |meter| prices.base(meter).unwrap_or(rates.output);
        let text = self
            .output
            .saturating_sub(self.reasoning + self.audio_out + self.image_out);
        let given = text as f64 * rates.output
            + self.audio_out as f64 * base(Meter::AudioOutput)
            + self.reasoning as f64 * rates.reasoning
            + self.image_out as f64 * base(Meter::ImageOutput);
        asked + given
    }
}

/// A kind of token that has a price of its own.
struct Kind {
    /// As `OpenAI` names its count.
    count: &'static str,
    /// As Gemini names it.
    modality: &'static str,
}

const AUDIO: Kind = Kind {
    count: "audio_tokens",
    modality: "AUDIO",
};
const IMAGE: Kind = Kind {
    count: "image_tokens",
    modality: "IMAGE",
};

impl Kind {
    /// Tokens of this kind, as `OpenAI` counts them (in one of `objects`) or as Gemini does (in a list of kinds).
    fn among(&self, objects: &[Option<&Value>], list: Option<&Value>) -> u64 {
        count_in(objects, self.count).unwrap_or_else(|| {
            let entries = list.and_then(Value::as_array).into_iter().flatten();
            let of_kind =
                entries.filter(|entry| entry.get("modality").and_then(Value::as_str) == Some(self.modality));
            of_kind
                .filter_map(|entry| entry.get("tokenCount")?.as_u64())
                .sum()
        })
    }
}

/// A count in one of some objects.
fn count_in(objects: &[Option<&Value>], name: &str) -> Option<u64> {
    objects.iter().find_map(|object| (*object)?.get(name)?.as_u64())
}

/// Dollars for a token, for this call.
struct Rated {
    input: f64,
    output: f64,
    read: f64,
    write: f64,
    write_hour: f64,
    reasoning: f64,
}

impl Rated {
    fn of(prices: &Prices, input: u64, tier: Tier, seconds: u64, inclusive: bool) -> Self {
        let rare = prices.rare.as_deref();
        let off_peak = rare
            .and_then(|rare| rare.off_peak.as_ref())
            .filter(|off| off.is_on(seconds));
        let mut rates = match rare.and_then(|rare| range(&rare.tiers, input)) {
            Some(range) => Self::in_range(prices, range),
            None => Self::in_tier(prices, input, tier, inclusive, off_peak.map(|off| &off.rates)),
        };
        if let Some(off) = off_peak {
            let at = |meter, usual| off.rates.get(meter).unwrap_or(usual);
            let hour_is_own = prices.base(Meter::CacheWriteHour).is_some();
            rates.reasoning = at(Meter::Reasoning, rates.reasoning);
            rates.input = at(Meter::Input, rates.input);
            rates.output = at(Meter::Output, rates.output);
            rates.read = at(Meter::CacheRead, rates.read);
            rates.write = at(Meter::CacheWrite, rates.write);
            if !hour_is_own {
                rates.write_hour = rates.write;
            }
            if off.rates.get(Meter::Reasoning).is_none() && prices.base(Meter::Reasoning).is_none() {
                rates.reasoning = rates.output;
            }
        }
        rates
    }

    /// All tokens cost what the range says that the input falls into.
    fn in_range(prices: &Prices, range: &Rates) -> Self {
        let input = range.get(Meter::Input).unwrap_or(0.0);
        let output = range.get(Meter::Output);
        let write = range.get(Meter::CacheWrite).unwrap_or(input);
        let usual = |meter| prices.base(meter);
        let reasoning = match output {
            Some(output) => range.get(Meter::Reasoning).unwrap_or(output),
            None => usual(Meter::Reasoning)
                .or_else(|| usual(Meter::Output))
                .unwrap_or(0.0),
        };
        Self {
            input,
            output: output.or_else(|| usual(Meter::Output)).unwrap_or(0.0),
            read: range.get(Meter::CacheRead).unwrap_or(input),
            write,
            write_hour: range.get(Meter::CacheWriteHour).unwrap_or(write),
            reasoning,
        }
    }

    /// Prices at a pace, with those above each threshold that the input exceeds.
    fn in_tier(prices: &Prices, input: u64, tier: Tier, inclusive: bool, off_peak: Option<&Rates>) -> Self {
        let at = |meter, above| {
            prices
                .at(meter, above, tier)
                .or_else(|| prices.at(meter, above, Tier::Standard))
        };
        let mut base: [Option<f64>; 5] = TIERED.map(|meter| at(meter, 0));
        // LiteLLM knows no price of an hour's cache at another pace.
        base[4] = prices.base(Meter::CacheWriteHour);
        if base[1].is_none_or(|price| price == 0.0) {
            base[1] = prices.base(Meter::ImageOutput).or(base[1]);
        }
        let mut thresholds: Vec<u32> = prices
            .all()
            .iter()
            .filter(|price| price.above > 0 && TIERED.contains(&price.meter))
            .filter(|price| price.tier == Tier::Standard || price.tier == tier)
            .map(|price| price.above)
            .collect();
        thresholds.sort_unstable();
        thresholds.dedup();
        for above in thresholds {
            let tokens = u64::from(above) * 1_000;
            if input > tokens || (inclusive && input == tokens) {
                for (price, meter) in base.iter_mut().zip(TIERED) {
                    *price = at(meter, above).or(*price);
                }
            }
        }
        let [input, output, read, write, write_hour] = base;
        let (input, output) = (input.unwrap_or(0.0), output.unwrap_or(0.0));
        // A provider that names no price of its cache charges its tokens as any others.
        let uncached = off_peak
            .and_then(|rates| rates.get(Meter::Input))
            .unwrap_or(input);
        let write = write.unwrap_or(uncached);
        let of_tier = |meter| {
            (tier != Tier::Standard)
                .then(|| prices.at(meter, 0, tier))
                .flatten()
        };
        let reasoning = match (of_tier(Meter::Reasoning), of_tier(Meter::Output)) {
            (Some(price), _) => price,
            (None, Some(_)) => output,
            (None, None) => prices.base(Meter::Reasoning).unwrap_or(output),
        };
        Self {
            input,
            output,
            read: read.unwrap_or(uncached),
            write,
            write_hour: write_hour.unwrap_or(write),
            reasoning,
        }
    }
}

/// What has prices above thresholds.
const TIERED: [Meter; 5] = [
    Meter::Input,
    Meter::Output,
    Meter::CacheRead,
    Meter::CacheWrite,
    Meter::CacheWriteHour,
];

/// The range that `input` falls into; the last one if it is above all.
fn range(tiers: &[(u64, u64, Rates)], input: u64) -> Option<&Rates> {
    if input == 0 {
        return None;
    }
    let within = tiers
        .iter()
        .find(|(above, up_to, _)| *above < input && input <= *up_to);
    within.or_else(|| tiers.last()).map(|(.., rates)| rates)
}

/// By what all tokens are multiplied: for the region where the call was answered, and for its speed.
fn factor(prices: &Prices, usage: &Usage) -> f64 {
    let (Some(rare), Some(raw)) = (prices.rare.as_deref(), usage.raw.as_ref()) else {
        return 1.0;
    };
    let named = |field: &str| {
        let name = raw.get(field)?.as_str()?.to_ascii_lowercase();
        rare.factors.get(&name).copied()
    };
    let fast = named("speed").unwrap_or(1.0);
    fast * named("inference_geo").unwrap_or(1.0)
}

/// What the provider's own searches cost.
#[expect(clippy::cast_precision_loss, reason = "no call makes 2^53 searches")]
fn searches(model: &Model, usage: &Usage) -> f64 {
    let counted = match &usage.server_tool_calls {
        Some(Value::Object(tools)) => [
            "web_search_requests",
            "web_search",
            "web_search_call",
            "web_search_calls",
        ]
        .iter()
        .find_map(|name| tools.get(*name)?.as_u64()),
        _ => None,
    };
    let Some(count) = counted.filter(|count| *count > 0) else {
        return 0.0;
    };
    let google = matches!(model.served_by(), "gemini" | "vertex_ai") && !model.key.contains("claude");
    let meter = if model.served_by() == "perplexity" {
        Meter::SearchLow
    } else {
        Meter::SearchMedium
    };
    let price = model.prices.base(meter).unwrap_or(0.0);
    let per_query = model.prices.rare.as_deref().is_some_and(|rare| rare.per_query);
    price * if google && !per_query { 1.0 } else { count as f64 }
}

/// What the citations of an answer cost, where they are counted.
#[expect(clippy::cast_precision_loss, reason = "no call has 2^53 tokens")]
fn citations(prices: &Prices, raw: &Raw<'_>) -> f64 {
    let count = raw.citations.and_then(Value::as_u64);
    prices.base(Meter::Citation).unwrap_or(0.0) * count.unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use serde_json::json;

    fn usd(id: &str, usage: &Value, tier: Option<&str>) -> Option<f64> {
        let model = Catalogue::builtin()
            .model(id)
            .unwrap_or_else(|| panic!("{id} is not in the catalogue"));
        // A Tuesday, at noon in UTC.
        cost_at(
            &model,
            &serde_json::from_value(usage.clone()).unwrap(),
            tier,
            1_700_568_000,
        )
    }

    fn near(id: &str, usage: &Value, tier: Option<&str>, dollars: f64) {
        let found = usd(id, usage, tier).unwrap();
        assert!((found - dollars).abs() < 1e-12, "{id}: {found} for {dollars}");
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let usage = json!({"input_tokens": 1000, "output_tokens": 100, "cached_input_tokens": 200,
            "cache_creation_input_tokens": {"5m": 100, "1h": 300}});
        let dollars = 400.0 * 3e-6 + 200.0 * 3e-7 + 100.0 * 3.75e-6 + 300.0 * 6e-6 + 100.0 * 15e-6;
        near("anthropic/claude-sonnet-4-5", &usage, None, dollars);
    }

    #[test]
    fn above_a_threshold_the_whole_call_costs_more() {
        let usage = |input| json!({"input_tokens": input, "output_tokens": 10});
        near(
            "gemini/gemini-2.5-pro",
            &usage(200_000),
            None,
            200_000.0 * 1.25e-6 + 10.0 * 1e-5,
        );
        near(
            "gemini/gemini-2.5-pro",
            &usage(200_001),
            None,
            200_001.0 * 2.5e-6 + 10.0 * 1.5e-5,
        );
        near(
            "gemini/gemini-2.5-pro",
            &usage(200_001),
            Some("priority"),
            200_001.0 * 4.5e-6 + 10.0 * 2.7e-5,
        );
    }

    #[test]
    fn a_tier_that_has_no_price_costs_as_the_usual_one() {
        let usage = json!({"input_tokens": 10, "output_tokens": 10});
        near("gpt-5", &usage, Some("flex"), 10.0 * 6.25e-7 + 10.0 * 5e-6);
        near("gpt-5", &usage, Some("default"), 10.0 * 1.25e-6 + 10.0 * 1e-5);
    }

    #[test]
    fn searches_are_paid_for() {
        let usage =
            json!({"input_tokens": 0, "output_tokens": 0, "server_tool_calls": {"web_search_requests": 3}});
        near("anthropic/claude-sonnet-4-5", &usage, None, 0.03);
    }

    #[test]
    fn what_the_provider_asked_other_models_is_paid_at_their_prices() {
        let usage = json!({"input_tokens": 10, "output_tokens": 2, "raw": {"iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 2},
            {"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 5},
            {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 1000, "output_tokens": 0},
        ]}});
        let usage: Usage = serde_json::from_value(usage).unwrap();
        let found = Catalogue::builtin()
            .cost("anthropic/claude-sonnet-4-5", &usage, None)
            .unwrap();
        let dollars = 110.0 * 3e-6 + 22.0 * 15e-6 + 5.0 * 3e-7 + 1000.0 * 5e-6;
        assert!((found - dollars).abs() < 1e-12, "{found} for {dollars}");
    }

    #[test]
    fn what_the_provider_says_counts() {
        near(
            "gpt-5",
            &json!({"input_tokens": 5, "raw": {"cost": 0.25}}),
            None,
            0.25,
        );
        near(
            "gpt-5",
            &json!({"input_tokens": 5, "raw": {"cost": {"total_cost": 0.5}}}),
            None,
            0.5,
        );
        let nonsense = json!({"input_tokens": 1_000_000, "output_tokens": 0, "raw": {"cost": -1}});
        near("gpt-5", &nonsense, None, 1.25);
    }

    #[test]
    fn nothing_is_known_without_usage_or_prices() {
        assert_eq!(usd("gpt-5", &json!({}), None), None);
        let unknown = Catalogue::builtin().cost(
            "openai/nobody-knows-it",
            &serde_json::from_value(json!({"input_tokens": 5})).unwrap(),
            None,
        );
        assert_eq!(unknown, None);
        let unpriced = Model::default();
        let usage = serde_json::from_value(json!({"input_tokens": 5})).unwrap();
        assert_eq!(cost(&unpriced, &usage, None), None);
    }

    #[test]
    fn counts_that_do_not_add_up_cost_no_less_than_nothing() {
        let usage = json!({"input_tokens": 5, "output_tokens": 1, "cached_input_tokens": 50, "reasoning_tokens": 9,
            "raw": {"prompt_tokens_details": {"audio_tokens": 1000}}});
        assert!(usd("gpt-5", &usage, None).is_some_and(|dollars| dollars > 0.0));
    }

    #[test]
    fn hours_and_days_change_prices() {
        let prices = Prices::parse(
            "i=2 o=2",
            r#"{"off_peak":{"clock":480,"hours":[[600,900,31],[0,0,96]],"rates":{"i":1}}}"#,
        );
        let model = Model {
            prices,
            ..Model::default()
        };
        let usage = serde_json::from_value(json!({"input_tokens": 1, "output_tokens": 0})).unwrap();
        let at = |day: u64, minute: u64| cost_at(&model, &usage, None, day * 86_400 + minute * 60);
        // Day 0 is a Thursday; Saturday begins eight hours earlier by this clock.
        assert_eq!(
            (at(0, 599), at(0, 600), at(0, 900)),
            (Some(2.0), Some(1.0), Some(2.0))
        );
        assert_eq!((at(1, 16 * 60 - 1), at(1, 16 * 60)), (Some(2.0), Some(1.0)));
        assert_eq!((at(3, 16 * 60 - 1), at(3, 16 * 60)), (Some(1.0), Some(2.0)));
    }
}
