//! From a model id to who is asked, how, and under which name. Pure.

use super::Own;
use super::model::{Mode, Model};
use super::provider::{Provider, glob};
use super::snapshot::{Called, Snapshot};
use omni_core::{Code, Error, ModelId, near_match};
use omni_providers::Protocol;
use std::fmt;
use std::sync::Arc;

/// Who is asked for a model, how, and under which name.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// In which protocol it is asked.
    pub protocol: Protocol,
    /// Its name on the wire.
    pub model: String,
    /// What is known of it; `None` for a model that the catalogue does not have, which may work all the same.
    pub info: Option<Arc<Model>>,
}

/// Why a model id leads to nobody whom the native engine could ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// `LiteLLM` knows whom to ask; we do not speak with them.
    Foreign {
        /// Who it is.
        provider: String,
        /// Why, as a clause.
        why: String,
    },
    /// There is no such provider.
    UnknownProvider {
        /// What stood before the slash.
        provider: String,
        /// The id that was probably meant.
        near: Option<String>,
    },
    /// The id names no provider, and no list has it.
    UnknownModel {
        /// The id.
        model: String,
        /// The id that was probably meant.
        near: Option<String>,
    },
}

impl Unresolved {
    /// The id that was probably meant.
    pub fn near(&self) -> Option<&str> {
        match self {
            Unresolved::Foreign { .. } => None,
            Unresolved::UnknownProvider { near, .. } | Unresolved::UnknownModel { near, .. } => {
                near.as_deref()
            }
        }
    }

    /// Whether `LiteLLM` knows whom to ask.
    pub const fn is_foreign(&self) -> bool {
        matches!(self, Unresolved::Foreign { .. })
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unresolved::Foreign { provider, why } => {
                return write!(f, "the native engine does not ask {provider}: {why}");
            }
            Unresolved::UnknownProvider { provider, .. } => write!(f, "there is no provider {provider:?}")?,
            Unresolved::UnknownModel { model, .. } => {
                write!(
                    f,
                    "{model:?} names no provider, and no list of models has it; write provider/model"
                )?;
            }
        }
        match self.near() {
            Some(near) => write!(f, "; did you mean {near:?}?"),
            None => write!(f, "; `omni models` lists what is known"),
        }
    }
}

impl std::error::Error for Unresolved {}

impl From<Unresolved> for Error {
    fn from(unresolved: Unresolved) -> Self {
        let code = match unresolved {
            Unresolved::Foreign { .. } => Code::Unsupported,
            Unresolved::UnknownProvider { .. } | Unresolved::UnknownModel { .. } => Code::InvalidRequest,
        };
        Error::new(code, unresolved.to_string())
    }
}

/// An alias stands for an id, which is no alias again.
fn unalias<'a>(own: &'a Own, id: &'a str) -> &'a str {
    own.aliases.get(id).map_or(id, String::as_str)
}

pub(super) fn resolve(snapshot: &Snapshot, own: &Own, id: &str) -> Result<Resolved, Unresolved> {
    let id = unalias(own, id);
    let parsed = ModelId::parse(id);
    if let Some(name) = parsed.provider {
        if let Some(provider) = own.providers.get(name) {
            return at(snapshot, own, provider, name, parsed.model);
        }
        match snapshot.provider(name) {
            Called::Native(provider) => return at(snapshot, own, &provider, name, parsed.model),
            Called::Foreign => return Err(foreign(name, "it speaks none of our protocols")),
            Called::Nobody => {}
        }
    }
    bare(snapshot, own, id, parsed)
}

/// An id without a provider: whose it is says the list of models.
fn bare(snapshot: &Snapshot, own: &Own, id: &str, parsed: ModelId<'_>) -> Result<Resolved, Unresolved> {
    let listed = fine_tuned(id)
        .and_then(|tuned| snapshot.model(tuned))
        .or_else(|| snapshot.model(id));
    if let Some(model) = listed.filter(|model| !model.provider.is_empty()) {
        return match snapshot.provider(&model.provider) {
            Called::Native(provider) => at(snapshot, own, &provider, &provider.name, id),
            _ => Err(foreign(&model.provider, "it speaks none of our protocols")),
        };
    }
    if let Some(name) = parsed.provider {
        let names = snapshot
            .provider_names()
            .chain(own.providers.keys().map(String::as_str));
        return Err(Unresolved::UnknownProvider {
            provider: name.chars().take(64).collect(),
            near: known_as(name)
                .or_else(|| near_match(name, names))
                .map(|near| format!("{near}/{}", parsed.model)),
        });
    }
    // No list has it: a miss may look at every provider.
    let guess = snapshot.provider_names().find_map(|name| {
        let provider = snapshot.provider(name).native()?;
        provider
            .bare
            .iter()
            .any(|pattern| glob(pattern, id))
            .then_some(provider)
    });
    if let Some(provider) = guess {
        return at(snapshot, own, &provider, &provider.name, id);
    }
    let named = snapshot.model_keys().filter(|key| !key.contains('/'));
    let aliases = own.aliases.keys().map(String::as_str);
    Err(Unresolved::UnknownModel {
        model: id.chars().take(128).collect(),
        near: near_match(id, named.chain(aliases)).map(str::to_owned),
    })
}

/// The name that a provider has here, for names that it has elsewhere and that no spelling is near to.
pub(super) fn known_as(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "llamacpp" | "llama.cpp" | "llama_cpp" | "llama-cpp" => "llamafile",
        "zhipu" | "zhipuai" | "bigmodel" | "glm" => "zai",
        "google" | "googleai" | "google_ai_studio" => "gemini",
        "claude" => "anthropic",
        "kimi" => "moonshot",
        "grok" => "xai",
        "hf" => "huggingface",
        "nvidia" | "nim" => "nvidia_nim",
        "qwen" | "alibaba" => "dashscope",
        _ => return None,
    })
}

/// `model` at a provider that was asked for as `name`.
fn at(
    snapshot: &Snapshot,
    own: &Own,
    provider: &Arc<Provider>,
    name: &str,
    model: &str,
) -> Result<Resolved, Unresolved> {
    let (asked, model) = match model.strip_prefix("responses/") {
        Some(rest) => (Some(Protocol::OpenaiResponses), rest),
        None => (None, model),
    };
    if !provider.takes(model) {
        return Err(foreign(name, "this model of it is asked in another way"));
    }
    let info = of_provider(snapshot, own, provider, name, model);
    let wanted = match (asked, info.as_ref().map(|info| info.mode)) {
        (_, Some(Mode::Completion)) => {
            return Err(foreign(name, "this model answers text completions, not chats"));
        }
        (None, Some(Mode::Responses)) => Some(Protocol::OpenaiResponses),
        (asked, _) => asked,
    };
    let protocol = wanted.unwrap_or(provider.protocol);
    if !provider.speaks(protocol) {
        return Err(foreign(name, "it is not known to speak the responses protocol"));
    }
    Ok(Resolved {
        provider: Arc::clone(provider),
        protocol,
        model: provider.on_wire(model),
        info,
    })
}

/// What is known of a model by its id, whoever can ask it.
pub(super) fn model(snapshot: &Snapshot, own: &Own, id: &str) -> Option<Arc<Model>> {
    let id = unalias(own, id);
    if let Ok(found) = resolve(snapshot, own, id) {
        return found.info;
    }
    let exact = own
        .models
        .get(id)
        .cloned()
        .or_else(|| snapshot.model(id).map(Arc::new));
    exact.or_else(|| {
        let parsed = ModelId::parse(id);
        let found = snapshot.model(parsed.model)?;
        (Some(found.provider.as_str()) == parsed.provider).then(|| Arc::new(found))
    })
}

/// What is known of a provider's model. The list has some models under their provider's name and some without.
fn of_provider(
    snapshot: &Snapshot,
    own: &Own,
    provider: &Provider,
    name: &str,
    model: &str,
) -> Option<Arc<Model>> {
    let full = format!("{name}/{model}");
    if let Some(found) = own.models.get(&full) {
        return Some(Arc::clone(found));
    }
    if provider.custom {
        return None;
    }
    let under = |key: &str| snapshot.model(key);
    // LiteLLM has a provider of its own for models that complete texts.
    let served = |by: &str| by.strip_prefix("text-completion-").unwrap_or(by) == provider.name;
    let alone = |key: &str| snapshot.model(key).filter(|found| served(found.served_by()));
    under(&full)
        .or_else(|| alone(model))
        .or_else(|| (name != provider.name).then(|| under(&format!("{}/{model}", provider.name)))?)
        .or_else(|| under(&format!("{name}/{}", provider.on_wire(model))))
        .or_else(|| alone(fine_tuned(model)?))
        .map(Arc::new)
}

/// `ft:gpt-4o-2024-08-06` of `ft:gpt-4o-2024-08-06:org::id`.
fn fine_tuned(model: &str) -> Option<&str> {
    let rest = model.strip_prefix("ft:")?;
    let end = rest.find(':').unwrap_or(rest.len());
    model.get(.."ft:".len() + end)
}

fn foreign(provider: &str, why: &str) -> Unresolved {
    Unresolved::Foreign {
        provider: provider.to_owned(),
        why: why.to_owned(),
    }
}
