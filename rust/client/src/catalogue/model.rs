//! What is known of one model.

use super::price::{Meter, Prices};
use omni_core::ModelInfo;
use serde_json::{Map, Value};

/// What a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Chats.
    #[default]
    Chat,
    /// `responses` only.
    Responses,
    /// Text completions, which no protocol of ours speaks.
    Completion,
}

/// Something that a model can or cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ability {
    /// Takes tools.
    Tools,
    /// Can be told which tool to call.
    ToolChoice,
    /// Calls several tools at once.
    ParallelTools,
    /// Takes images.
    Vision,
    /// Reasons.
    Reasoning,
    /// Answers in a given JSON schema.
    JsonSchema,
    /// Has a prompt cache.
    Caching,
    /// Takes PDF files.
    Pdf,
    /// Takes sound.
    AudioInput,
    /// Gives sound.
    AudioOutput,
    /// Takes films.
    VideoInput,
    /// Gives images.
    ImageOutput,
    /// Searches the web.
    WebSearch,
    /// Uses a computer.
    ComputerUse,
    /// Goes on with an assistant message.
    Prefill,
    /// Takes system messages.
    SystemMessages,
    /// Reads addresses that stand in the prompt.
    UrlContext,
}

impl Ability {
    /// Every ability: its letter in the snapshot, and its name in files and documents.
    pub const ALL: &'static [(Ability, char, &'static str)] = &[
        (Ability::Tools, 't', "tools"),
        (Ability::ToolChoice, 'c', "tool_choice"),
        (Ability::ParallelTools, 'p', "parallel_tools"),
        (Ability::Vision, 'v', "vision"),
        (Ability::Reasoning, 'r', "reasoning"),
        (Ability::JsonSchema, 'j', "json_schema"),
        (Ability::Caching, 'k', "caching"),
        (Ability::Pdf, 'd', "pdf"),
        (Ability::AudioInput, 'a', "audio_input"),
        (Ability::AudioOutput, 's', "audio_output"),
        (Ability::VideoInput, 'm', "video_input"),
        (Ability::ImageOutput, 'i', "image_output"),
        (Ability::WebSearch, 'w', "web_search"),
        (Ability::ComputerUse, 'u', "computer_use"),
        (Ability::Prefill, 'f', "prefill"),
        (Ability::SystemMessages, 'y', "system_messages"),
        (Ability::UrlContext, 'l', "url_context"),
    ];

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What a model can, what it cannot, and of the rest nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    yes: u32,
    no: u32,
}

impl Abilities {
    /// Whether the model can; `None` if that is not known.
    pub const fn get(self, ability: Ability) -> Option<bool> {
        if self.yes & ability.bit() != 0 {
            Some(true)
        } else if self.no & ability.bit() != 0 {
            Some(false)
        } else {
            None
        }
    }

    /// Whether the model is known to be able to.
    pub const fn has(self, ability: Ability) -> bool {
        self.yes & ability.bit() != 0
    }

    /// Says so.
    pub const fn set(&mut self, ability: Ability, can: bool) {
        let bit = ability.bit();
        self.yes &= !bit;
        self.no &= !bit;
        if can {
            self.yes |= bit;
        } else {
            self.no |= bit;
        }
    }

    /// As the snapshot spells them: a letter each, after a "-" what it cannot.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut can = true;
        for letter in text.chars() {
            if letter == '-' {
                can = false;
                continue;
            }
            // A letter of a later version means nothing here.
            if let Some((ability, ..)) = Ability::ALL.iter().find(|(_, known, _)| *known == letter) {
                found.set(*ability, can);
            }
            can = true;
        }
        found
    }
}

/// A model of the catalogue. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Its name in the catalogue, for example "gpt-5" or "gemini/gemini-2.5-pro".
    pub key: String,
    /// Who serves it; "" if the name alone does not say.
    pub provider: String,
    /// `LiteLLM`'s finer name for the provider, for example "vertex_ai-anthropic_models".
    pub label: String,
    /// What it answers.
    pub mode: Mode,
    /// Tokens that fit in.
    pub max_input_tokens: Option<u64>,
    /// Tokens that can come out.
    pub max_output_tokens: Option<u64>,
    /// What it can do.
    pub abilities: Abilities,
    /// What it costs.
    pub prices: Prices,
}

impl Model {
    /// From a line of the snapshot. What a later version added to it is left alone.
    pub(super) fn parse(line: &str) -> Self {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let (key, provider, label) = (next(), next(), next());
        let mode = match next() {
            "r" => Mode::Responses,
            "t" => Mode::Completion,
            _ => Mode::Chat,
        };
        Self {
            key: key.to_owned(),
            provider: provider.to_owned(),
            label: if label.is_empty() { provider } else { label }.to_owned(),
            mode,
            max_input_tokens: next().parse().ok(),
            max_output_tokens: next().parse().ok(),
            abilities: Abilities::parse(next()),
            prices: Prices::parse(next(), next()),
        }
    }

    /// Who serves it, also where the key alone leads to nobody.
    pub fn served_by(&self) -> &str {
        if self.provider.is_empty() {
            &self.label
        } else {
            &self.provider
        }
    }

    /// Its id: the provider, and its name there.
    pub fn id(&self) -> String {
        let provider = self.served_by();
        let own = self.key.strip_prefix(provider);
        if provider.is_empty() || own.is_some_and(|rest| rest.starts_with('/')) {
            return self.key.clone();
        }
        format!("{provider}/{}", self.key)
    }

    /// The document of the contract, with all abilities and prices beside: what `omni models --json` prints.
    pub fn document(&self) -> Value {
        let mut document = serde_json::to_value(self.info()).unwrap_or_default();
        let abilities: Map<String, Value> = Ability::ALL
            .iter()
            .filter_map(|(ability, _, name)| Some(((*name).to_owned(), self.abilities.get(*ability)?.into())))
            .collect();
        let prices: Map<String, Value> = Meter::ALL
            .iter()
            .filter_map(|(meter, _, name)| Some(((*name).to_owned(), self.prices.base(*meter)?.into())))
            .collect();
        if let Value::Object(fields) = &mut document {
            let mode = match self.mode {
                Mode::Chat => "chat",
                Mode::Responses => "responses",
                Mode::Completion => "completion",
            };
            fields.insert("mode".to_owned(), mode.into());
            fields.insert("abilities".to_owned(), abilities.into());
            fields.insert("prices".to_owned(), prices.into());
        }
        document
    }

    /// The document of the contract.
    pub fn info(&self) -> ModelInfo {
        let provider = if self.provider.is_empty() {
            &self.label
        } else {
            &self.provider
        };
        ModelInfo {
            id: self.id(),
            provider: Some(provider.clone()),
            max_input_tokens: self.max_input_tokens,
            max_output_tokens: self.max_output_tokens,
            input_cost_per_token: self.prices.base(Meter::Input),
            output_cost_per_token: self.prices.base(Meter::Output),
            supports_tools: self.abilities.get(Ability::Tools),
            supports_vision: self.abilities.get(Ability::Vision),
            supports_reasoning: self.abilities.get(Ability::Reasoning),
        }
    }
}
