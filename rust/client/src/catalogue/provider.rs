//! Who serves models: where, in which protocol, and how the key travels.

use super::reasoning_tools::ReasoningTools;
use omni_providers::{Dialect, Protocol, dialect_of};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a key travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer <key>`.
    #[default]
    Bearer,
    /// The key alone in this header, in lower case, for example `x-api-key`.
    Header(String),
    /// Not at all.
    None,
}

impl Auth {
    /// From its spelling in files: "bearer", "none", or the name of a header.
    pub fn parse(text: &str) -> Self {
        match text {
            "bearer" => Auth::Bearer,
            "none" => Auth::None,
            header => Auth::Header(header.to_ascii_lowercase()),
        }
    }

    /// The header with `key` in it.
    pub fn header(&self, key: &str) -> Option<(&str, String)> {
        match self {
            Auth::Bearer => Some(("authorization", format!("Bearer {key}"))),
            Auth::Header(name) => Some((name, key.to_owned())),
            Auth::None => None,
        }
    }
}

/// A provider that the native engine can speak to.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its name, the first half of a model id.
    pub name: String,
    /// The protocol in which its models are asked unless the model or the id says otherwise.
    pub protocol: Protocol,
    /// Other protocols that it speaks: `provider/responses/model` asks for one.
    pub also: Vec<Protocol>,
    /// Without a slash at its end; `{NAME}` stands for that environment variable. "" where each customer has an own.
    pub base_url: String,
    /// Environment variables that set the base URL; the first that is set counts.
    pub base_env: Vec<String>,
    /// What a base URL gets that the call or the environment gave without it, for example "/v1".
    pub base_path: String,
    /// Environment variables with the key; the first that is set counts.
    pub key_env: Vec<String>,
    /// How the key travels.
    pub auth: Auth,
    /// Its own hosts, to which a key from the environment may go, as patterns (see the guard of keys).
    pub hosts: Vec<String>,
    /// Headers for every call.
    pub headers: Vec<(String, String)>,
    /// Headers that the environment fills: a header, and the variables of which the first that is set counts.
    pub env_headers: Vec<(String, Vec<String>)>,
    /// What it does differently.
    pub dialect: Arc<Dialect>,
    /// It runs on this machine and needs no key.
    pub local: bool,
    /// Defined by the user: `omni.toml` or `register_provider`. The configuration names its base URL's host.
    pub custom: bool,
    /// `LiteLLM` finds credentials for it in ways of its own: a call without a key is left to it.
    pub other_credentials: bool,
    /// Its models as globs (`*`, `?`); all if empty. Others are left to LiteLLM.
    pub models: Vec<String>,
    /// Models that are left to LiteLLM, as globs.
    pub not_models: Vec<String>,
    /// How the names of its models begin on the wire where the id leaves that out.
    pub model_prefix: String,
    /// Ids without a provider that are this one's although no list has them yet, as globs.
    pub bare: Vec<String>,
    /// With one of these variables set LiteLLM does what we do not: the provider is left to it.
    pub unless_env: Vec<String>,
    /// Models whose function tools its chat completions do not take.
    pub reasoning_tools: Option<Arc<ReasoningTools>>,
}

impl Provider {
    /// A provider of this name that speaks `protocol` at `base_url`; everything else has its default.
    pub fn new(name: impl Into<String>, protocol: Protocol, base_url: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            dialect: dialect_of(&name),
            name,
            protocol,
            also: Vec::new(),
            base_url: base_url.into(),
            base_env: Vec::new(),
            base_path: String::new(),
            key_env: Vec::new(),
            auth: default_auth(protocol),
            hosts: Vec::new(),
            headers: Vec::new(),
            env_headers: Vec::new(),
            local: false,
            custom: false,
            other_credentials: false,
            models: Vec::new(),
            not_models: Vec::new(),
            model_prefix: String::new(),
            bare: Vec::new(),
            unless_env: Vec::new(),
            reasoning_tools: None,
        }
    }

    /// Whether it speaks `protocol`.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.protocol == protocol || self.also.contains(&protocol)
    }

    /// The variable because of which this provider is left to LiteLLM, if `env` has one.
    pub fn left_to_litellm(&self, env: impl Fn(&str) -> Option<String>) -> Option<&str> {
        let set = |name: &&String| env(name).is_some_and(|value| !value.is_empty());
        self.unless_env.iter().find(set).map(String::as_str)
    }

    /// The base URL: what the call gives (`api_base`), what the environment sets, or the provider's own.
    ///
    /// # Errors
    /// A clause that names the variable that is missing.
    pub fn base(&self, given: Option<&str>, env: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let chosen = given
            .map(str::to_owned)
            .or_else(|| self.base_env.iter().find_map(|name| set(name)));
        if let Some(base) = chosen {
            return Ok(self.with_path(&base));
        }
        if self.base_url.is_empty() {
            let how = match self.base_env.first() {
                Some(name) => format!("set {name}, or api_base in the call"),
                None => "set api_base in the call".to_owned(),
            };
            return Err(format!("{} has no base URL of its own: {how}", self.name));
        }
        let mut base = String::new();
        let mut rest = self.base_url.as_str();
        while let Some((before, name, after)) = variable(rest) {
            let value = set(name)
                .ok_or_else(|| format!("the base URL of {} needs {name}, which is not set", self.name))?;
            if !value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
            {
                return Err(format!("{name} has characters that cannot stand in a base URL"));
            }
            base.push_str(before);
            base.push_str(&value);
            rest = after;
        }
        base.push_str(rest);
        // Google's location "global" has no piece of the host's name.
        Ok(base.replacen("://global-", "://", 1))
    }

    /// `base` with the provider's path, unless it has it already.
    fn with_path(&self, base: &str) -> String {
        let (address, query) = base.split_once('?').unwrap_or((base, ""));
        let mut address = address.trim_end_matches('/').to_owned();
        if let Some(first) = self.base_path.split('/').nth(1) {
            let path = address.split_once("://").map_or("", |(_, rest)| rest);
            if !path.split('/').skip(1).any(|piece| piece == first) {
                address.push_str(&self.base_path);
            }
        }
        if !query.is_empty() {
            address.push('?');
            address.push_str(query);
        }
        address
    }

    /// The headers of every call: its own, and those that the environment fills.
    pub fn headers_in(
        &self,
        env: impl Fn(&str) -> Option<String>,
    ) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str())));
        own.chain(self.env_headers.iter().filter_map(move |(name, variables)| {
            let set = |variable: &String| env(variable).filter(|value| !value.is_empty());
            Some((name.as_str(), Cow::Owned(variables.iter().find_map(set)?)))
        }))
    }

    /// Whether `model` is one of those that the native engine asks.
    pub(super) fn takes(&self, model: &str) -> bool {
        let is = |pattern: &String| glob(pattern, model);
        (self.models.is_empty() || self.models.iter().any(is)) && !self.not_models.iter().any(is)
    }

    /// `model` as the wire wants it.
    pub(super) fn on_wire(&self, model: &str) -> String {
        // A name with a path of its own says it all.
        let first = self.model_prefix.split('/').next().unwrap_or_default();
        if self.model_prefix.is_empty() || model.contains('#') || model.split('/').next() == Some(first) {
            return model.to_owned();
        }
        format!("{}{model}", self.model_prefix)
    }
}

/// How a key travels where the definition says nothing: as the protocol's inventor has it.
pub(super) fn default_auth(protocol: Protocol) -> Auth {
    match protocol {
        Protocol::OpenaiChat | Protocol::OpenaiResponses => Auth::Bearer,
        Protocol::Anthropic => Auth::Header("x-api-key".to_owned()),
        Protocol::Gemini => Auth::Header("x-goog-api-key".to_owned()),
    }
}

/// The first `{NAME}` of `text`: what is before it, the name, what is after it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// Whether `pattern` matches all of `text`; `*` stands for any text, `?` for one character.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(char) if *char == '?' || *char == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    at = back + 1;
                    in_text = from + 1;
                    star = Some((back, in_text));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|char| *char == '*')
}

/// A line of `providers.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    pub(super) same_as: Option<String>,
    protocol: Option<Protocol>,
    also: Vec<Protocol>,
    base_url: String,
    base_env: Vec<String>,
    base_path: String,
    key_env: Vec<String>,
    auth: Option<String>,
    hosts: Vec<String>,
    headers: BTreeMap<String, String>,
    env_headers: BTreeMap<String, Vec<String>>,
    local: bool,
    other_credentials: bool,
    models: Vec<String>,
    not_models: Vec<String>,
    model_prefix: String,
    bare: Vec<String>,
    unless_env: Vec<String>,
    reasoning_tools: Option<ReasoningTools>,
}

impl Entry {
    /// The provider; `None` if it speaks none of our protocols.
    pub(super) fn provider(self, name: &str) -> Option<Provider> {
        let protocol = self.protocol?;
        Some(Provider {
            also: self.also,
            base_env: self.base_env,
            base_path: self.base_path,
            key_env: self.key_env,
            auth: self
                .auth
                .map_or_else(|| default_auth(protocol), |auth| Auth::parse(&auth)),
            hosts: self.hosts,
            headers: self.headers.into_iter().collect(),
            env_headers: self.env_headers.into_iter().collect(),
            local: self.local,
            other_credentials: self.other_credentials,
            models: self.models,
            not_models: self.not_models,
            model_prefix: self.model_prefix,
            bare: self.bare,
            unless_env: self.unless_env,
            reasoning_tools: self.reasoning_tools.map(Arc::new),
            ..Provider::new(name, protocol, self.base_url)
        })
    }
}
