//! What is known of providers and models (a stand-in while the real one is written).

use omni_providers::{Dialect, Protocol};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Auth {
    Bearer,
    Header(String),
    None,
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub name: String,
    pub protocol: Protocol,
    pub base_url: String,
    pub base_env: Vec<String>,
    pub key_env: Vec<String>,
    pub auth: Auth,
    pub hosts: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub dialect: Arc<Dialect>,
    pub local: bool,
    pub custom: bool,
    pub other_credentials: bool,
}

#[derive(Clone, Debug)]
pub struct Resolved {
    pub provider: Arc<Provider>,
    pub protocol: Protocol,
    pub model: String,
}

#[derive(Clone, Debug)]
pub enum Unresolved {
    Foreign(String),
    Unknown(String),
}

#[derive(Clone, Debug, Default)]
pub struct Catalogue;

impl Catalogue {
    pub fn builtin() -> Self {
        Self
    }
    pub fn resolve(&self, id: &str) -> Result<Resolved, Unresolved> {
        let (name, model) = id
            .split_once('/')
            .ok_or_else(|| Unresolved::Unknown("no provider".into()))?;
        let (protocol, base, key, base_env, auth) = match name {
            "openai" => (
                Protocol::OpenaiChat,
                "https://api.openai.com/v1",
                "OPENAI_API_KEY",
                vec!["OPENAI_BASE_URL", "OPENAI_API_BASE"],
                Auth::Bearer,
            ),
            "groq" | "mistral" | "deepseek" | "openrouter" | "xai" | "perplexity" | "cerebras" | "zai" => (
                Protocol::OpenaiChat,
                "https://api.groq.com/openai/v1",
                "GROQ_API_KEY",
                vec![],
                Auth::Bearer,
            ),
            "anthropic" => (
                Protocol::Anthropic,
                "https://api.anthropic.com",
                "ANTHROPIC_API_KEY",
                vec!["ANTHROPIC_API_BASE"],
                Auth::Header("x-api-key".into()),
            ),
            "gemini" => (
                Protocol::Gemini,
                "https://generativelanguage.googleapis.com/v1beta",
                "GEMINI_API_KEY",
                vec!["GEMINI_API_BASE"],
                Auth::Header("x-goog-api-key".into()),
            ),
            _ => {
                return Err(Unresolved::Foreign(format!(
                    "{name} speaks none of its protocols"
                )));
            }
        };
        let (protocol, model) = match model.strip_prefix("responses/") {
            Some(model) => (Protocol::OpenaiResponses, model),
            None => (protocol, model),
        };
        Ok(Resolved {
            provider: Arc::new(Provider {
                name: name.into(),
                protocol,
                base_url: base.into(),
                base_env: base_env.into_iter().map(str::to_owned).collect(),
                key_env: vec![key.into()],
                auth,
                hosts: vec![],
                headers: vec![],
                dialect: Arc::new(Dialect::default()),
                local: false,
                custom: false,
                other_credentials: false,
            }),
            protocol,
            model: model.to_owned(),
        })
    }
}
