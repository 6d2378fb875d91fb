use super::*;
use crate::Code;
use serde_json::json;

fn told(document: &Value) -> String {
    let error = Request::from_value(document).unwrap_err();
    assert_eq!(error.code, Code::InvalidRequest);
    error.message
}

/// A request with one message that has `key`.
fn message(key: &str, value: Value) -> Value {
    let mut message = json!({"role": "user"});
    message[key] = value;
    json!({"model": "a/b", "messages": [{"role": "user", "content": "x"}, message]})
}

#[test]
fn the_shapes_know_every_field_of_the_type() {
    let known: Vec<_> = REQUEST.fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, Request::FIELDS);
}

#[test]
fn the_path_leads_to_what_is_wrong() {
    let cases = [
        (
            json!([]),
            "the request: expected an object {model, messages, tools, tool_choice, parallel_tool_calls, …}, got a list",
        ),
        (json!({"model": "a/b"}), "messages: missing"),
        (json!({"messages": [{"role": "user"}]}), "model: missing"),
        (
            json!({"model": "a/b", "messages": "hi"}),
            "messages: expected a list, got a string",
        ),
        (
            message("content", json!(7)),
            "messages[1].content: expected a string or a list of parts, got a number",
        ),
        (
            message(
                "content",
                json!([{"type": "text", "text": "x"}, {"type": "text", "text": 1}]),
            ),
            "messages[1].content[1].text: expected a string, got a number",
        ),
        (
            message("content", json!(["x"])),
            "messages[1].content[0]: expected a part: an object with a \"type\", got a string",
        ),
        (
            message("content", json!([{"text": "x"}])),
            "messages[1].content[0].type: a part needs a \"type\", one of \"text\", \"image_url\", \"input_audio\", \"file\", \"reasoning\", \"provider\", \"tool_call\"",
        ),
        (
            message("content", json!([{"type": "image_url"}])),
            "messages[1].content[0].image_url: missing",
        ),
        (
            message("role", json!("robot")),
            "messages[1].role: expected one of \"system\", \"developer\", \"user\", \"assistant\", \"tool\", got another word",
        ),
        (
            message(
                "tool_calls",
                json!([{"id": "1", "function": {"name": "f", "arguments": {}}}]),
            ),
            "messages[1].tool_calls[0].function.arguments: expected a string, got an object",
        ),
        (
            message("tool_calls", json!([{"type": "function"}])),
            "messages[1].tool_calls[0].id: missing",
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(told(&document), expected);
    }
}

#[test]
fn an_unknown_field_gets_a_near_match_or_its_name_here() {
    let with = |key: &str| {
        let mut document = message("content", json!("x"));
        document[key] = json!(1);
        told(&document)
    };
    assert_eq!(
        with("temprature"),
        "temprature: no such field; did you mean \"temperature\"?"
    );
    assert_eq!(with("Model"), "Model: no such field; did you mean \"model\"?");
    assert_eq!(
        with("max_completion_tokens"),
        "max_completion_tokens: no such field; write \"max_tokens\""
    );
    assert!(with("quux_corge_grault").ends_with("goes into \"provider_options\""));
    let mut document = message("content", json!("x"));
    document["timeout"] = json!({"conect": 1});
    assert_eq!(
        told(&document),
        "timeout.conect: no such field; did you mean \"connect\"?"
    );
    document["timeout"] = json!({"whatever": 1});
    assert_eq!(
        told(&document),
        "timeout.whatever: no such field; the fields are connect, first_event, idle, total"
    );
}

#[test]
fn whatever_serde_refuses_the_walk_finds_and_quotes_nothing() {
    let secret = "sk-secret";
    let wrong = [
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!(u64::MAX),
        json!(secret),
        json!([]),
        json!([secret]),
        json!([{ "type": secret }]),
        json!([{"role": "user", "content": [{"type": "text", "text": [secret]}]}]),
        json!([{"type": "function", "function": secret}]),
        json!([{"type": "provider", "provider": 1, "data": secret}]),
        json!({}),
        json!({"connect": secret}),
        json!({"max_retries": -1}),
        json!({"id": secret}),
        json!([null]),
    ];
    let mut refused = 0;
    let mut try_it = |field: &str, document: Value| {
        // Below the checks of sense: what only the types say.
        if serde_json::from_value::<Request>(document.clone()).is_err() {
            refused += 1;
            let told = request(&document)
                .unwrap_or_else(|| panic!("{field}: serde refuses {document}, the walk does not"));
            assert!(
                told.starts_with(field) && !told.contains(secret),
                "{field}: {told}"
            );
        }
    };
    for field in Request::FIELDS {
        for value in &wrong {
            let mut document = message("content", json!("x"));
            document[*field] = value.clone();
            try_it(field, document);
        }
    }
    for (key, _) in MESSAGE.fields {
        for value in &wrong {
            try_it(&format!("messages[1].{key}"), message(key, value.clone()));
        }
    }
    assert!(refused > 300, "{refused}");
}
