use super::*;
use omni_providers::Protocol;

mod growth;
mod own;
mod reasoning_tools;

fn resolved(id: &str) -> (String, Protocol, String) {
    let found = Catalogue::builtin()
        .resolve(id)
        .unwrap_or_else(|error| panic!("{id}: {error}"));
    (found.provider.name.clone(), found.protocol, found.model)
}

fn unresolved(id: &str) -> Unresolved {
    Catalogue::builtin().resolve(id).unwrap_err()
}

#[test]
fn ids_resolve_as_litellm_spells_them() {
    use Protocol::{Anthropic, Gemini, OpenaiChat, OpenaiResponses};
    for (id, provider, protocol, model) in [
        ("openai/gpt-5", "openai", OpenaiChat, "gpt-5"),
        ("gpt-5", "openai", OpenaiChat, "gpt-5"),
        ("openai/responses/gpt-5", "openai", OpenaiResponses, "gpt-5"),
        ("openai/gpt-5-pro", "openai", OpenaiResponses, "gpt-5-pro"),
        ("openai/not-listed-yet", "openai", OpenaiChat, "not-listed-yet"),
        (
            "ft:gpt-4o-2024-08-06:acme::1",
            "openai",
            OpenaiChat,
            "ft:gpt-4o-2024-08-06:acme::1",
        ),
        ("claude-sonnet-4-5", "anthropic", Anthropic, "claude-sonnet-4-5"),
        ("claude-newfamily-7", "anthropic", Anthropic, "claude-newfamily-7"),
        ("gemini/gemini-2.5-pro", "gemini", Gemini, "gemini-2.5-pro"),
        ("vertex_ai/gemini-2.5-pro", "vertex_ai", Gemini, "gemini-2.5-pro"),
        ("gemini-2.5-pro", "vertex_ai", Gemini, "gemini-2.5-pro"),
        ("azure/my-deployment", "azure", OpenaiChat, "my-deployment"),
        ("azure/responses/mine", "azure", OpenaiResponses, "mine"),
        (
            "openrouter/openai/gpt-5",
            "openrouter",
            OpenaiChat,
            "openai/gpt-5",
        ),
        ("ollama_chat/llama3", "ollama", OpenaiChat, "llama3"),
        (
            "fireworks_ai/kimi-k2",
            "fireworks_ai",
            OpenaiChat,
            "accounts/fireworks/models/kimi-k2",
        ),
        (
            "fireworks_ai/accounts/me/models/x",
            "fireworks_ai",
            OpenaiChat,
            "accounts/me/models/x",
        ),
    ] {
        assert_eq!(
            resolved(id),
            (provider.to_owned(), protocol, model.to_owned()),
            "{id}"
        );
    }
}

#[test]
fn what_only_litellm_can_ask_is_left_to_it() {
    for id in [
        "bedrock/anthropic.claude-sonnet-4-20250514-v1:0",
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "vertex_ai/claude-sonnet-4-5",
        "cohere/command-r",
        "groq/responses/whatever",
        "openai/gpt-3.5-turbo-instruct",
        "huggingface/together/deepseek-ai/DeepSeek-R1",
        "github_copilot/gpt-5",
    ] {
        assert!(unresolved(id).is_foreign(), "{id}: {:?}", unresolved(id));
    }
}

#[test]
fn a_slip_gives_what_was_meant() {
    assert_eq!(unresolved("opnai/gpt-5").near(), Some("openai/gpt-5"));
    // No spelling is near to these: they are the provider's name elsewhere.
    assert_eq!(unresolved("llama.cpp/qwen").near(), Some("llamafile/qwen"));
    assert_eq!(unresolved("zhipu/glm-5").near(), Some("zai/glm-5"));
    assert_eq!(unresolved("gpt-4o-mni").near(), Some("gpt-4o-mini"));
    let message = unresolved("opnai/gpt-5").to_string();
    assert!(
        message.contains("no provider \"opnai\"") && message.contains("openai/gpt-5"),
        "{message}"
    );
    for id in [
        "",
        "/",
        "x/",
        "/x",
        "qqqqqqqqqqqqqq",
        "zzzzzzz/zzzzz",
        "a/b/c/\u{0}",
    ] {
        assert!(!unresolved(id).is_foreign(), "{id}");
    }
}

#[test]
fn every_key_of_the_snapshot_is_found_and_sorted() {
    let catalogue = Catalogue::builtin();
    let snapshot = &catalogue.shared.snapshot;
    let keys: Vec<&str> = snapshot.model_keys().collect();
    assert!(keys.len() > 2_000 && keys.is_sorted(), "{} keys", keys.len());
    for key in keys {
        assert_eq!(snapshot.model(key).unwrap().key, key);
    }
    let names: Vec<&str> = snapshot.provider_names().collect();
    assert!(names.len() > 100 && names.is_sorted());
    for name in names {
        assert!(
            !matches!(snapshot.provider(name), super::snapshot::Called::Nobody),
            "the line of {name} cannot be read"
        );
    }
}

#[test]
fn a_model_says_what_it_can_and_costs() {
    let model = Catalogue::builtin().model("anthropic/claude-sonnet-4-5").unwrap();
    assert_eq!(model.max_input_tokens, Some(200_000));
    assert_eq!(model.abilities.get(Ability::Tools), Some(true));
    assert_eq!(model.abilities.get(Ability::AudioOutput), None);
    assert_eq!(model.prices.base(Meter::CacheWrite), Some(3.75e-6));
    assert_eq!(model.prices.at(Meter::Input, 0, Tier::Batch), Some(1.5e-6));
    assert_eq!(model.id(), "anthropic/claude-sonnet-4-5");
    assert_eq!(model.info().supports_vision, Some(true));
}

#[test]
fn a_base_url_comes_from_the_call_the_environment_or_the_provider() {
    let catalogue = Catalogue::builtin();
    let base = |name: &str, given: Option<&str>, set: &[(&str, &str)]| {
        let env = |name: &str| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let provider = catalogue.provider(name).unwrap();
        provider.base(given, env)
    };
    assert_eq!(base("openai", None, &[]).unwrap(), "https://api.openai.com/v1");
    let mine = [("OPENAI_API_BASE", "http://proxy/v1/")];
    assert_eq!(base("openai", None, &mine).unwrap(), "http://proxy/v1");
    assert_eq!(
        base("openai", Some("http://other"), &mine).unwrap(),
        "http://other"
    );
    let azure = "https://me.openai.azure.com";
    assert_eq!(
        base("azure", Some(azure), &[]).unwrap(),
        format!("{azure}/openai/v1")
    );
    let whole = format!("{azure}/openai/v1");
    assert_eq!(base("azure", Some(&whole), &[]).unwrap(), whole);
    assert!(base("azure", None, &[]).unwrap_err().contains("AZURE_API_BASE"));
    let place = |location| [("VERTEXAI_PROJECT", "p"), ("VERTEXAI_LOCATION", location)];
    let rest = "publishers/google";
    assert_eq!(
        base("vertex_ai", None, &place("us-east1")).unwrap(),
        format!("https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1/{rest}")
    );
    assert_eq!(
        base("vertex_ai", None, &place("global")).unwrap(),
        format!("https://aiplatform.googleapis.com/v1/projects/p/locations/global/{rest}")
    );
    assert!(
        base("vertex_ai", None, &[])
            .unwrap_err()
            .contains("VERTEXAI_LOCATION")
    );
    assert!(base("vertex_ai", None, &place("evil.host/")).is_err());
}

#[test]
fn the_environment_fills_headers() {
    let openai = Catalogue::builtin().provider("openai").unwrap();
    let env = |name: &str| (name == "OPENAI_ORG_ID").then(|| "org-1".to_owned());
    let headers: Vec<(String, String)> = openai
        .headers_in(env)
        .map(|(name, value)| (name.to_owned(), value.into_owned()))
        .collect();
    assert_eq!(headers, [("openai-organization".to_owned(), "org-1".to_owned())]);
}

#[test]
fn ids_that_are_made_up_do_not_fill_the_memory() {
    let catalogue = Catalogue::builtin();
    for at in 0..3 * MAX_KNOWN {
        catalogue.resolve(&format!("openai/made-up-{at}")).unwrap();
    }
    assert!(read(&catalogue.shared.known).len() <= MAX_KNOWN);
}
