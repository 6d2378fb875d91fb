//! What the models take, as data: the wire is the same for all of them and refuses what a model does not know.

/// How a model is made to reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not.
    No,
    /// `thinking` with a budget of tokens.
    Budget,
    /// Adaptive, or with a budget.
    Either,
    /// Adaptive only; `output_config.effort` says how much.
    Adaptive,
    /// Adaptive, and it cannot be turned off.
    Always,
}

/// What one model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ability {
    /// What `max_tokens` is when the request names none: the wire demands one, so it is all that the model can write.
    pub(super) max_tokens: u64,
    pub(super) thinking: Thinking,
    /// Whether it has structured output (`output_config.format`, strict tools).
    pub(super) schema: bool,
    /// Whether a system message may stand in the middle of the conversation.
    pub(super) mid_system: bool,
}

const fn ability(max_tokens: u64, thinking: Thinking, schema: bool, mid_system: bool) -> Ability {
    Ability {
        max_tokens,
        thinking,
        schema,
        mid_system,
    }
}

const NEWEST: (u32, u32) = (u32::MAX, 0);

/// By family ("" for any) and the least version, the first that fits. From the models' pages and LiteLLM's list.
const MODELS: &[(&str, (u32, u32), Ability)] = &[
    ("fable", (0, 0), ability(128_000, Thinking::Always, true, true)),
    ("mythos", (0, 0), ability(128_000, Thinking::Always, true, true)),
    ("opus", (5, 5), ability(128_000, Thinking::Always, true, true)),
    ("sonnet", (5, 5), ability(128_000, Thinking::Always, true, true)),
    ("", (5, 0), ability(128_000, Thinking::Adaptive, true, true)),
    ("", (4, 8), ability(128_000, Thinking::Adaptive, true, true)),
    ("", (4, 7), ability(128_000, Thinking::Adaptive, true, false)),
    ("", (4, 6), ability(128_000, Thinking::Either, true, false)),
    ("", (4, 5), ability(64_000, Thinking::Budget, true, false)),
    ("opus", (4, 0), ability(32_000, Thinking::Budget, false, false)),
    ("", (4, 0), ability(64_000, Thinking::Budget, false, false)),
    ("", (3, 7), ability(64_000, Thinking::Budget, false, false)),
    ("", (3, 5), ability(8_192, Thinking::No, false, false)),
    ("", (0, 0), ability(4_096, Thinking::No, false, false)),
];

/// Other models behind this wire: what nearly every server that speaks it takes.
const OTHERS: Ability = ability(8_192, Thinking::Budget, false, false);

/// What `model` takes. A Claude that nobody knows yet is taken for one of the newest.
pub(super) fn ability_of(model: &str) -> Ability {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let Some(at) = name.find("claude") else {
        return OTHERS;
    };
    let words: Vec<&str> = name[at..].split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let version = version_of(&words);
    let fits = |(family, least, _): &&(&str, (u32, u32), Ability)| {
        (family.is_empty() || words.contains(family)) && version >= *least
    };
    MODELS.iter().find(fits).map_or(OTHERS, |(_, _, found)| *found)
}

/// The version among the words of a name: "4", "5" of claude-opus-4-5-20251101; the newest if there is none.
fn version_of(words: &[&str]) -> (u32, u32) {
    // Longer numbers are dates.
    let number = |word: &&str| {
        let short = (1..=2).contains(&word.len());
        word.parse::<u32>().ok().filter(|_| short)
    };
    match words.iter().position(|word| number(word).is_some()) {
        None => NEWEST,
        Some(at) => (
            words.get(at).and_then(number).unwrap_or(0),
            words.get(at + 1).and_then(number).unwrap_or(0),
        ),
    }
}

/// Tokens of reasoning for an effort, for models that take a budget: LiteLLM's numbers, never below the wire's least.
const BUDGETS: &[(&str, u64)] = &[
    ("minimal", LEAST_BUDGET),
    ("low", LEAST_BUDGET),
    ("medium", 2_048),
    ("high", 4_096),
    ("xhigh", 8_192),
    ("max", 16_384),
];

/// The least budget that the wire takes.
pub(super) const LEAST_BUDGET: u64 = 1_024;

/// The budget for an effort; `None` for a word that nobody knows.
pub(super) fn budget_of(effort: &str) -> Option<u64> {
    BUDGETS
        .iter()
        .find(|(word, _)| *word == effort)
        .map(|(_, budget)| *budget)
}

/// The effort for a budget, for models that take no budget any more.
pub(super) fn effort_of(budget: u64) -> &'static str {
    match budget {
        8_192.. => "xhigh",
        4_096.. => "high",
        2_048.. => "medium",
        _ => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_model_takes() {
        for (name, max_tokens, thinking, schema, mid_system) in [
            ("claude-3-haiku-20240307", 4_096, Thinking::No, false, false),
            ("claude-3-5-sonnet-20241022", 8_192, Thinking::No, false, false),
            ("claude-3-7-sonnet-latest", 64_000, Thinking::Budget, false, false),
            ("claude-opus-4-20250514", 32_000, Thinking::Budget, false, false),
            ("claude-opus-4-1-20250805", 32_000, Thinking::Budget, false, false),
            ("claude-sonnet-4-0", 64_000, Thinking::Budget, false, false),
            (
                "anthropic/claude-haiku-4.5",
                64_000,
                Thinking::Budget,
                true,
                false,
            ),
            ("claude-opus-4-6", 128_000, Thinking::Either, true, false),
            ("claude-opus-4-7", 128_000, Thinking::Adaptive, true, false),
            ("claude-opus-4-8", 128_000, Thinking::Adaptive, true, true),
            ("claude-haiku-5-5", 128_000, Thinking::Adaptive, true, true),
            ("claude-sonnet-5", 128_000, Thinking::Adaptive, true, true),
            ("claude-opus-5-5", 128_000, Thinking::Always, true, true),
            ("claude-fable-5", 128_000, Thinking::Always, true, true),
            ("claude-novel", 128_000, Thinking::Adaptive, true, true),
            ("some-model", 8_192, Thinking::Budget, false, false),
        ] {
            assert_eq!(
                ability_of(name),
                ability(max_tokens, thinking, schema, mid_system),
                "{name}"
            );
        }
    }
}
