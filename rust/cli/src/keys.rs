//! Which provider a person without a preference means, and whose key a variable holds.

use omni_bridge::catalogue::Catalogue;
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

/// The providers that may have a key here, each with the names of its variables: those with a small model, then those
/// of the catalogue, then whoever has a variable that ends with `_API_KEY`.
pub(crate) fn known(catalogue: &Catalogue, environment: &Environment) -> Vec<(String, Vec<String>)> {
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    let first = BY_KEY.iter().filter_map(|(_, model)| model.split('/').next());
    let rest = catalogue.providers();
    for name in first.chain(rest.iter().map(|provider| provider.name.as_str())) {
        let provider = catalogue.provider(name);
        if let Some(provider) = provider.filter(|provider| !provider.key_env.is_empty())
            && !known.iter().any(|(known, _)| known == name)
        {
            known.push((name.to_owned(), provider.key_env.clone()));
        }
    }
    for key in environment.credential_names() {
        if let Some(provider) = key.strip_suffix("_API_KEY")
            && !known
                .iter()
                .any(|(_, names)| names.iter().any(|name| name == key))
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
    fn every_provider_of_the_catalogue_with_a_key_name_is_known() {
        let catalogue = Catalogue::builtin();
        let environment =
            Environment::new([("COHERE_API_KEY", "canary-1"), ("TOGETHERAI_API_KEY", "canary-2")]);
        let known = known(&catalogue, &environment);
        let of = |name: &str| known.iter().filter(|(known, _)| known == name).count();
        for provider in catalogue.providers() {
            let want = usize::from(!provider.key_env.is_empty());
            assert_eq!(of(&provider.name), want, "{}", provider.name);
        }
        // LiteLLM alone asks it; its variable says whose it is.
        assert_eq!(of("cohere"), 1);
        assert_eq!(of("togetherai"), 0, "a name of together_ai's is nobody else's");
        assert_eq!(known[0].0, "openai");
    }

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
