//! What a model costs.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Input tokens.
    Input,
    /// Output tokens.
    Output,
    /// Tokens read from the prompt cache.
    CacheRead,
    /// Tokens written to the prompt cache, for five minutes where there is a choice.
    CacheWrite,
    /// Tokens written to the prompt cache for an hour.
    CacheWriteHour,
    /// Output tokens that are reasoning.
    Reasoning,
    /// Input tokens that are sound.
    AudioInput,
    /// Output tokens that are sound.
    AudioOutput,
    /// Sound read from the prompt cache, in tokens.
    AudioCacheRead,
    /// Input tokens that are images.
    ImageInput,
    /// Output tokens that are images.
    ImageOutput,
    /// Calls.
    Request,
    /// Tokens of citations.
    Citation,
    /// Searches with little context.
    SearchLow,
    /// Searches with the usual context.
    SearchMedium,
    /// Searches with much context.
    SearchHigh,
}

impl Meter {
    /// Every meter: its spelling in the snapshot, and its name in `omni.toml`.
    pub const ALL: &'static [(Meter, &'static str, &'static str)] = &[
        (Meter::Input, "i", "input"),
        (Meter::Output, "o", "output"),
        (Meter::CacheRead, "r", "cache_read"),
        (Meter::CacheWrite, "w", "cache_write"),
        (Meter::CacheWriteHour, "h", "cache_write_1h"),
        (Meter::Reasoning, "g", "reasoning"),
        (Meter::AudioInput, "ia", "audio_input"),
        (Meter::AudioOutput, "oa", "audio_output"),
        (Meter::AudioCacheRead, "ra", "audio_cache_read"),
        (Meter::ImageInput, "ii", "image_input"),
        (Meter::ImageOutput, "oi", "image_output"),
        (Meter::Request, "q", "request"),
        (Meter::Citation, "n", "citation"),
        (Meter::SearchLow, "sl", "search_low"),
        (Meter::SearchMedium, "sm", "search"),
        (Meter::SearchHigh, "sh", "search_high"),
    ];

    fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, spelled, _)| *spelled == text)?;
        Some(found.0)
    }
}

/// At which pace, and so at which price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The usual one.
    #[default]
    Standard,
    /// Faster.
    Priority,
    /// When there is room.
    Flex,
    /// Within a day.
    Batch,
    /// Between priority and standard.
    Balanced,
    /// The fastest.
    Ultrafast,
    /// For decisions.
    Decisions,
}

impl Tier {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Tier::Standard,
            "p" => Tier::Priority,
            "f" => Tier::Flex,
            "b" => Tier::Batch,
            "l" => Tier::Balanced,
            "u" => Tier::Ultrafast,
            "d" => Tier::Decisions,
            _ => return None,
        })
    }

    /// The tier that a provider calls so in `service_tier`; one that is not known costs as the usual one.
    pub fn named(service_tier: Option<&str>) -> Self {
        match service_tier {
            Some("priority" | "fast") => Tier::Priority,
            Some("flex") => Tier::Flex,
            Some("batch") => Tier::Batch,
            Some("balanced") => Tier::Balanced,
            Some("ultrafast") => Tier::Ultrafast,
            _ => Tier::Standard,
        }
    }
}

/// One price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Of what.
    pub meter: Meter,
    /// From how many thousand input tokens on; 0 for any number.
    pub above: u32,
    /// At which pace.
    pub tier: Tier,
    /// Dollars for one.
    pub dollars: f64,
}

/// The prices of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    list: Vec<Price>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What few models have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Rare {
    /// Prices by ranges of input tokens: above, up to, and what counts there for the whole call.
    pub(super) tiers: Vec<(u64, u64, Rates)>,
    pub(super) off_peak: Option<OffPeak>,
    /// By what all tokens are multiplied: in a region, at a speed.
    pub(super) factors: BTreeMap<String, f64>,
    /// Each search is paid for, not each prompt that searches.
    pub(super) per_query: bool,
}

/// Base prices by their spelling in the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct Rates(BTreeMap<String, f64>);

impl Rates {
    pub(super) fn get(&self, meter: Meter) -> Option<f64> {
        let (_, spelled, _) = Meter::ALL.iter().find(|(known, ..)| *known == meter)?;
        self.0.get(*spelled).copied()
    }
}

/// Other prices in some hours.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct OffPeak {
    pub(super) rates: Rates,
    /// From and to in minutes of the day in UTC, and the days as bits, Monday the lowest.
    hours: Vec<(u64, u64, u8)>,
    /// Minutes from UTC to the calendar by which the days are named.
    clock: u64,
}

impl OffPeak {
    /// Whether these prices count at this many seconds after 1970.
    pub(super) fn is_on(&self, seconds: u64) -> bool {
        let minute = seconds / 60 % (24 * 60);
        // The first of January 1970 was a Thursday.
        let day = ((seconds / 60 + self.clock) / (24 * 60) + 3) % 7;
        self.hours.iter().any(|(from, to, days)| {
            let within = if from < to {
                (*from..*to).contains(&minute)
            } else {
                minute >= *from || minute < *to
            };
            within && days >> day & 1 == 1
        })
    }
}

impl Prices {
    /// As the snapshot spells them: `meter[>thousands][@tier]=dollars`, with spaces between.
    pub(super) fn parse(text: &str, rare: &str) -> Self {
        let list = text.split(' ').filter_map(|one| {
            let (what, dollars) = one.split_once('=')?;
            let (what, tier) = what.split_once('@').unwrap_or((what, ""));
            let (meter, above) = what.split_once('>').unwrap_or((what, "0"));
            Some(Price {
                meter: Meter::parse(meter)?,
                above: above.parse().ok()?,
                tier: Tier::parse(tier)?,
                dollars: dollars.parse().ok()?,
            })
        });
        Self {
            list: list.collect(),
            rare: (!rare.is_empty())
                .then(|| serde_json::from_str(rare).ok())
                .flatten(),
        }
    }

    /// Of a definition of the user's.
    pub(super) const fn of(list: Vec<Price>) -> Self {
        Self { list, rare: None }
    }

    /// Dollars for one at any number of input tokens and the usual pace.
    pub fn base(&self, meter: Meter) -> Option<f64> {
        self.at(meter, 0, Tier::Standard)
    }

    /// Dollars for one from `above` thousand input tokens on, at this pace.
    pub fn at(&self, meter: Meter, above: u32, tier: Tier) -> Option<f64> {
        let is = |price: &&Price| price.meter == meter && price.above == above && price.tier == tier;
        self.list.iter().find(is).map(|price| price.dollars)
    }

    /// Every price.
    pub fn all(&self) -> &[Price] {
        &self.list
    }
}
