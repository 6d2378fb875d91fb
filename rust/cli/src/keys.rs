//! Which provider a person without a preference means, and whose key a variable holds.

use omni_bridge::credentials::Environment;

/// Names of keys, as LiteLLM reads them, each with a small model of that provider that can call tools.
const BY_KEY: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "openai/gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
    ("GEMINI_API_KEY", "gemini/gemini-2.5-flash"),
    ("MISTRAL_API_KEY", "mistral/mistral-small-latest"),
    ("DEEPSEEK_API_KEY", "deepseek/deepseek-chat"),
    ("GROQ_API_KEY", "groq/llama-3.3-70b-versatile"),
    ("OPENROUTER_API_KEY", "openrouter/openai/gpt-5-mini"),
    ("XAI_API_KEY", "xai/grok-4-fast"),
];

/// The model of the first provider whose key is set, and the key's name.
pub(crate) fn default_model(set: impl Fn(&str) -> bool) -> Option<(&'static str, &'static str)> {
    BY_KEY
        .iter()
        .find(|(key, _)| set(key))
        .map(|(key, model)| (*model, *key))
}

/// Whether the environment has `name`, not empty.
pub(crate) fn in_environment(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The providers that may have a key here, each with the names of its variables: those with a small model, then whoever
/// has a variable that ends with `_API_KEY`.
pub(crate) fn known(environment: &Environment) -> Vec<(String, Vec<String>)> {
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    for (key, model) in BY_KEY {
        let provider = model.split_once('/').map_or(*model, |(provider, _)| provider);
        known.push((provider.to_owned(), vec![(*key).to_owned()]));
    }
    for key in environment.credential_names() {
        if let Some(provider) = key.strip_suffix("_API_KEY")
            && !BY_KEY.iter().any(|(known, _)| *known == key)
        {
            known.push((provider.to_lowercase(), vec![key.to_owned()]));
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_provider_with_a_key_is_asked() {
        assert_eq!(default_model(|_| false), None);
        assert_eq!(
            default_model(|key| key == "GEMINI_API_KEY"),
            Some(("gemini/gemini-2.5-flash", "GEMINI_API_KEY"))
        );
        assert_eq!(
            default_model(|_| true).map(|(model, _)| model),
            Some("openai/gpt-5-mini")
        );
    }
}
