//! What one generation of models takes and another does not, as data.

/// How a model's thinking is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Thinking {
    /// It does not think.
    Never,
    /// By a number of tokens: what "minimal" and "none" come to.
    Budget { minimal: u32, none: u32 },
    /// By a word; "minimal" is what the fast models alone know.
    Level { minimal: &'static str },
    /// A model of a name that tells nothing, such as a tuned one.
    Unknown,
}

/// One generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) thinking: Thinking,
    /// It takes penalties on repetition.
    pub(super) penalties: bool,
    /// The API fetches files at web addresses for it.
    pub(super) fetches: bool,
    /// Gemini 3 and later: media may stand inside a function's response, the first call of a step must be signed, and
    /// calls have ids everywhere.
    pub(super) third: bool,
}

const fn second(thinking: Thinking, fetches: bool) -> Model {
    Model {
        thinking,
        penalties: true,
        fetches,
        third: false,
    }
}

const fn third(minimal: &'static str) -> Model {
    Model {
        thinking: Thinking::Level { minimal },
        penalties: false,
        fetches: true,
        third: true,
    }
}

const fn budget(minimal: u32, none: u32) -> Model {
    second(Thinking::Budget { minimal, none }, true)
}

/// By how the model's name begins; the first that fits counts. The budgets are LiteLLM's, but that 2.5 Pro, which
/// cannot stop thinking, is asked for the least it takes where LiteLLM asks for the 0 that it refuses.
const BEGINNINGS: &[(&str, Model)] = &[
    ("gemini-2.5-flash-image", second(Thinking::Never, true)),
    ("gemini-2.5-flash-preview-tts", second(Thinking::Never, true)),
    ("gemini-2.5-pro-preview-tts", second(Thinking::Never, true)),
    ("gemini-2.5-flash-lite", budget(512, 0)),
    ("gemini-2.5-flash", budget(1, 0)),
    ("gemini-2.5-pro", budget(128, 128)),
    ("gemini-2.5", budget(128, 0)),
    ("gemini-1", second(Thinking::Never, false)),
    ("gemini-2", second(Thinking::Never, false)),
    ("gemini-exp", second(Thinking::Never, false)),
    ("gemma-", second(Thinking::Never, false)),
    ("gemini-", third("low")),
];

/// What is known of the model named `name`.
pub(super) fn of(name: &str) -> Model {
    let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let found = BEGINNINGS
        .iter()
        .find(|(beginning, _)| name.starts_with(beginning))
        .map(|(_, model)| *model);
    match found {
        Some(model) if model.third && name.contains("flash") => third("minimal"),
        Some(model) => model,
        None => second(Thinking::Unknown, true),
    }
}
