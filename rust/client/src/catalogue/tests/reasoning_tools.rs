//! Which models take function tools in the responses protocol only.

use super::*;
use omni_core::Request;
use serde_json::{Value, json};

const OPENAI: &str = "https://api.openai.com/v1";
const OTHER: &str = "http://127.0.0.1:8000/v1";

fn function() -> Value {
    json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}})
}

/// The protocol in which a call with these tools and this effort is asked.
fn asked(id: &str, tools: &[Value], effort: Option<&str>, base_url: &str) -> Protocol {
    let found = Catalogue::builtin().resolve(id).unwrap();
    let mut document = json!({"model": id, "messages": [{"role": "user", "content": "hi"}]});
    if !tools.is_empty() {
        document["tools"] = tools.into();
    }
    document["reasoning_effort"] = effort.into();
    let request: Request = serde_json::from_value(document).unwrap();
    found
        .provider
        .protocol_for(&request, &found.model, found.protocol, base_url)
}

#[test]
fn function_tools_of_a_model_that_reasons_go_to_responses() {
    use Protocol::{OpenaiChat, OpenaiResponses};
    for (id, effort, base, protocol) in [
        ("openai/gpt-5.4", None, OPENAI, OpenaiResponses),
        ("gpt-5.4", Some("high"), OPENAI, OpenaiResponses),
        ("openai/gpt-5.4-mini", None, OPENAI, OpenaiResponses),
        ("openai/gpt-5.10", None, OPENAI, OpenaiResponses),
        ("openai/gpt-6-luna", None, OPENAI, OpenaiResponses),
        ("openai/gpt-6.2-not-listed-yet", None, OPENAI, OpenaiResponses),
        // Where it does not reason, chat completions take them.
        ("openai/gpt-5.4", Some("none"), OPENAI, OpenaiChat),
        // It reasons whatever is asked.
        ("openai/gpt-6-astra", Some("none"), OPENAI, OpenaiResponses),
        // Older ones, other series, names that only begin alike.
        ("openai/gpt-5", None, OPENAI, OpenaiChat),
        ("openai/gpt-5.3", Some("high"), OPENAI, OpenaiChat),
        ("openai/gpt-5.4x", None, OPENAI, OpenaiChat),
        ("openai/gpt-7", None, OPENAI, OpenaiChat),
        ("openai/gpt-5.4-search-api", None, OPENAI, OpenaiChat),
        ("openai/o3", Some("high"), OPENAI, OpenaiChat),
        // OpenAI's hosts, and what is not theirs.
        (
            "openai/gpt-5.4",
            None,
            "https://eu.api.openai.com/v1",
            OpenaiResponses,
        ),
        (
            "openai/gpt-5.4",
            None,
            "https://x.privatelink.api.openai.com/v1",
            OpenaiResponses,
        ),
        (
            "openai/gpt-5.4",
            None,
            "https://evilapi.openai.com/v1",
            OpenaiChat,
        ),
        ("openai/gpt-5.4", None, OTHER, OpenaiChat),
        ("openai/gpt-5.4", Some("low"), OTHER, OpenaiResponses),
        // Azure has the rule wherever it stands; those who only speak the protocol do not.
        ("azure/gpt-5.4", None, OTHER, OpenaiResponses),
        ("azure/my-deployment", None, OTHER, OpenaiChat),
        // Azure takes "none" of models that are known to do without, and of no other.
        ("azure/gpt-5.4", Some("none"), OTHER, OpenaiChat),
        ("azure/gpt-5.4-of-mine", Some("none"), OTHER, OpenaiResponses),
        ("openrouter/openai/gpt-5.4", None, OPENAI, OpenaiChat),
    ] {
        assert_eq!(
            asked(id, &[function()], effort, base),
            protocol,
            "{id} {effort:?} {base}"
        );
    }
}

#[test]
fn other_tools_and_none_stay_with_chat_completions() {
    let custom = json!({"type": "custom", "custom": {"name": "look"}});
    for tools in [vec![], vec![custom.clone()]] {
        let protocol = asked("openai/gpt-5.4", &tools, Some("high"), OPENAI);
        assert_eq!(protocol, Protocol::OpenaiChat, "{tools:?}");
    }
    let both = asked("openai/gpt-5.4", &[custom, function()], None, OPENAI);
    assert_eq!(both, Protocol::OpenaiResponses);
}

#[test]
fn what_was_asked_for_stays() {
    let protocol = asked("openai/responses/gpt-5", &[function()], None, OPENAI);
    assert_eq!(protocol, Protocol::OpenaiResponses);
}
