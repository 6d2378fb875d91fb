//! Models that take function tools in another protocol than the one in which they are usually asked.

use super::provider::{Provider, glob};
use omni_core::{Request, Tool};
use omni_providers::Protocol;
use serde::Deserialize;
use url::Url;

/// Which models of a provider refuse function tools in chat completions while they reason, as `LiteLLM` knows it. They
/// reason unless the request says not to, and the responses protocol takes both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReasoningTools {
    /// How the last piece of such a model's name begins; a version follows.
    pub series: String,
    /// The first version, major and minor, that refuses them.
    pub since: (u32, u32),
    /// The first major version of which nothing is known.
    pub before: u32,
    /// Models of the series that are not meant, as globs.
    pub not_models: Vec<String>,
    /// Models that reason also where the request says not to, as globs.
    pub always: Vec<String>,
    /// Those of them that do as the request says all the same.
    pub at_will: Vec<String>,
    /// Hosts at which the rule holds for a request that does not speak of reasoning, each with all hosts below it;
    /// everywhere if empty. Elsewhere a server may have the model's name and other rules.
    pub hosts: Vec<String>,
}

impl ReasoningTools {
    /// Whether `request` to `model` at `base_url` is to be asked in the responses protocol.
    fn meets(&self, request: &Request, model: &str, base_url: &str) -> bool {
        let functions = request.tools.iter().flatten();
        if !functions
            .into_iter()
            .any(|tool| matches!(tool, Tool::Function { .. }))
        {
            return false;
        }
        let effort = request.reasoning_effort.as_deref();
        let always = || {
            self.always.iter().any(|pattern| glob(pattern, model))
                && !self.at_will.iter().any(|one| one == model)
        };
        let reasons = effort != Some("none") || always();
        reasons && self.has(model) && (effort.is_some() || self.holds_at(base_url))
    }

    /// Whether `model` is one of the series, by its name.
    fn has(&self, model: &str) -> bool {
        let name = model.rsplit('/').next().unwrap_or(model);
        name.strip_prefix(self.series.as_str())
            .and_then(version)
            .is_some_and(|version| version >= self.since && version.0 < self.before)
            && !self.not_models.iter().any(|pattern| glob(pattern, model))
    }

    fn holds_at(&self, base_url: &str) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let url = Url::parse(base_url).ok();
        url.as_ref().and_then(Url::host_str).is_some_and(|host| {
            let below = |own: &String| {
                host.strip_suffix(own.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
            };
            self.hosts.iter().any(|own| host == own || below(own))
        })
    }
}

impl Provider {
    /// In which protocol `request` is asked of `model`, where the model's own is `usual`.
    pub fn protocol_for(&self, request: &Request, model: &str, usual: Protocol, base_url: &str) -> Protocol {
        match &self.reasoning_tools {
            Some(rule) if usual == Protocol::OpenaiChat && rule.meets(request, model, base_url) => {
                Protocol::OpenaiResponses
            }
            _ => usual,
        }
    }
}

/// The version at the start of what follows a series' name: "5.4" of "5.4-mini", "6" of "6-luna".
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = number(text)?;
    let (minor, rest) = match rest.strip_prefix('.').and_then(number) {
        Some((minor, rest)) => (minor, rest),
        None => (0, rest),
    };
    (rest.is_empty() || rest.starts_with(['.', '-'])).then_some((major, minor))
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}
