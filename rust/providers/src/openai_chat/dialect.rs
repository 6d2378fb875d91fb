//! What one provider does differently from this protocol as its inventor documents it, as data.

use omni_core::Object;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The deviations of one provider; the default has none: it is OpenAI's own API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own, and none implies another"
)]
pub struct Dialect {
    /// The path after the base URL. `{model}` and `{api_version}` in it are filled in.
    pub path: String,
    /// Other paths, by how a base URL that the call itself names ends.
    pub path_at: BTreeMap<String, String>,
    /// What `{api_version}` in the path is, unless `provider_options` of the provider name one.
    pub api_version: String,
    /// The provider's own domain, where there are others who speak its protocol under its name.
    pub home: String,
    /// How servers outside that domain speak which a call reaches by its own `api_base`.
    pub elsewhere: Option<Box<Dialect>>,
    /// Other providers whose options and tools are meant for this one, too.
    pub kin: Vec<String>,
    /// The wire's names of request fields that it calls otherwise; "" for those that it does not have. Of these a
    /// hint (see [`HINTS`](Self::HINTS)) is left out, and a request with any other is declined.
    pub names: BTreeMap<String, String>,
    /// By `reasoning_effort`, what is merged into the body; "*" is for all other words, and the text "$" in it stands
    /// for the word itself.
    pub effort: BTreeMap<String, Object>,
    /// What is merged into the body for `reasoning_budget_tokens`, with "$" for the number; declined if absent.
    pub budget: Option<Object>,
    /// Whether `developer` is a role of its own; else it becomes `system`.
    pub developer: bool,
    /// Whether messages that are no tool results take `name`.
    pub names_speakers: bool,
    /// Whether contents that are all text must be one string.
    pub flat_text: bool,
    /// Whether assistant messages take back pictures and sound.
    pub assistant_media: bool,
    /// Whether `cache_control` is understood on parts and tools.
    pub cache_control: bool,
    /// How files are written.
    pub files: Files,
    /// How `prefix` is written.
    pub prefix: Prefix,
    /// Where reasoning goes back.
    pub reasoning: Reasoning,
    /// Whether `reasoning_details` are taken back.
    pub reasoning_details: bool,
    /// Whether sound that the model made goes back as `audio` with its id.
    pub audio_ids: bool,
    /// How long the ids of calls are, where they must be letters and digits and so many; ids of another provider are
    /// replaced, the same by the same.
    pub call_id_length: Option<usize>,
    /// Whether signatures of calls go back as `extra_content.google.thought_signature`.
    pub google_signatures: bool,
    /// What `tool_choice: "required"` is called; a request with it is declined if there is no word for it.
    pub required: String,
    /// Whether a streamed answer must be asked for its usage.
    pub stream_options: bool,
    /// When `metadata` is taken.
    pub metadata: Metadata,
}

/// How files are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// A part `file` that holds its data or the id of an upload; no web addresses.
    #[default]
    File,
    /// A part `file` that also takes web addresses.
    FileOrUrl,
    /// A part `document_url` for data and addresses; `file` for the ids of uploads.
    DocumentUrl,
}

/// How a last assistant message is marked that the model is to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefix {
    /// There is no such thing.
    #[default]
    None,
    /// It needs no mark.
    Implied,
    /// `prefix: true` in the message.
    #[serde(rename = "prefix")]
    Flag,
    /// `partial: true` in the message.
    Partial,
    /// `continue_final_message` in the body.
    Body,
}

/// Where an assistant message takes its reasoning back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// Nowhere.
    #[default]
    None,
    /// In a field `reasoning_content`.
    #[serde(rename = "reasoning_content")]
    Long,
    /// In a field `reasoning`.
    #[serde(rename = "reasoning")]
    Short,
    /// In parts `thinking` of the content.
    Thinking,
}

/// When `metadata` is taken; it is left out otherwise, as it changes no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// Only beside `store: true`, which the caller must give in `provider_options`.
    #[default]
    WhenStored,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            path: "/chat/completions".to_owned(),
            path_at: BTreeMap::new(),
            api_version: String::new(),
            home: String::new(),
            elsewhere: None,
            kin: Vec::new(),
            names: [("max_tokens", "max_completion_tokens"), ("top_k", "")]
                .map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()))
                .into(),
            effort: [(
                "*".to_owned(),
                Object::from_iter([("reasoning_effort".to_owned(), "$".into())]),
            )]
            .into(),
            budget: None,
            developer: true,
            names_speakers: true,
            flat_text: false,
            assistant_media: false,
            cache_control: false,
            files: Files::File,
            prefix: Prefix::None,
            reasoning: Reasoning::None,
            reasoning_details: false,
            audio_ids: true,
            call_id_length: None,
            google_signatures: false,
            required: "required".to_owned(),
            stream_options: true,
            metadata: Metadata::WhenStored,
        }
    }
}

impl Dialect {
    /// Fields that may be left out where a provider has none such: the answer is still the one asked for.
    pub const HINTS: &'static [&'static str] = &[
        "user",
        "seed",
        "service_tier",
        "parallel_tool_calls",
        "frequency_penalty",
        "presence_penalty",
    ];

    /// The wire's name of a request field; `None` if it has no such field.
    pub(super) fn name<'d>(&'d self, field: &'d str) -> Option<&'d str> {
        match self.names.get(field) {
            Some(name) => Some(name.as_str()).filter(|name| !name.is_empty()),
            None => Some(field),
        }
    }

    /// The dialect at the address that the call itself names.
    pub(super) fn at(&self, api_base: Option<&str>) -> &Self {
        match (&self.elsewhere, api_base) {
            (Some(elsewhere), Some(base)) if !self.is_home(base) => elsewhere,
            _ => self,
        }
    }

    fn is_home(&self, base: &str) -> bool {
        // Most addresses are decided by this one search.
        if !base.contains(self.home.as_str()) {
            return false;
        }
        let host = base.split_once("://").map_or(base, |(_, rest)| rest);
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        host.strip_suffix(self.home.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}
