use super::*;
use crate::Code;
use proptest::prelude::*;
use serde_json::json;

/// A request with every field set.
fn full() -> Value {
    json!({
        "model": "a/b", "messages": [{"role": "user", "content": "my secret"}],
        "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto", "parallel_tool_calls": true,
        "temperature": 0.1, "top_p": 1.0, "top_k": 3, "max_tokens": u64::MAX, "stop": ["my secret"], "seed": i64::MIN,
        "n": 1, "logprobs": true, "top_logprobs": 2, "frequency_penalty": -0.5, "presence_penalty": 0.5,
        "response_format": {"type": "json_object"}, "modalities": ["text"], "service_tier": "flex", "user": "my secret",
        "reasoning_effort": "low", "reasoning_budget_tokens": 0, "timeout": {"connect": 1.5, "total": 10.0},
        "fallbacks": ["c/d", {"model": "e/f", "api_key": "my secret"}], "fallback_mid_stream": true,
        "retry": {"max_retries": 2, "max_wait": 0.0}, "budget": {"tokens": 5, "usd": 0.5},
        "api_base": "https://my secret@host", "api_key": "my secret", "headers": {"Authorization": "my secret"},
        "provider_options": {"openai": {"key": "my secret"}}, "metadata": {"x": "my secret"},
        "labels": {"x": "my secret"}, "engine": "litellm",
    })
}

fn with(field: &str, value: Value) -> Result<Request> {
    let mut document = json!({"model": "a/b", "messages": [{"role": "user", "content": "x"}]});
    document[field] = value;
    Request::from_value(&document)
}

#[test]
fn every_field_comes_back() {
    let document = full();
    let fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, Request::FIELDS);
    let request = Request::from_value(&document).unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), document);
    assert_eq!(
        Request::from_json(document.to_string().as_bytes()).unwrap(),
        request
    );
}

#[test]
fn null_is_absent() {
    let Value::Object(mut document) = full() else {
        panic!("an object")
    };
    for (_, value) in document.iter_mut().skip(2) {
        *value = Value::Null;
    }
    let request = Request::from_value(&Value::Object(document)).unwrap();
    assert_eq!(request, Request::new("a/b", request.messages.clone()));
}

#[test]
fn debug_shows_neither_key_nor_prompt() {
    let shown = format!("{:?}", Request::from_value(&full()).unwrap());
    assert!(!shown.contains("secret"), "{shown}");
    assert!(
        shown.contains("api_key: (hidden)") && shown.contains("temperature: 0.1"),
        "{shown}"
    );
    assert!(SHOWN.iter().all(|field| Request::FIELDS.contains(field)));
}

#[test]
fn only_one_answer_is_supported() {
    let error = with("n", json!(2)).unwrap_err();
    assert_eq!(
        (error.code, error.model.as_deref()),
        (Code::Unsupported, Some("a/b"))
    );
}

#[test]
fn what_makes_no_sense_is_told_with_its_path() {
    for (field, value, path) in [
        ("model", json!(" "), "model:"),
        ("messages", json!([]), "messages:"),
        ("timeout", json!(0), "timeout:"),
        ("timeout", json!({"idle": -1}), "timeout.idle:"),
        ("retry", json!({"max_wait": -0.5}), "retry.max_wait:"),
        ("budget", json!({"usd": -0.5}), "budget.usd:"),
        ("budget", json!({"tokens": -1}), "budget.tokens:"),
        ("budget", json!({"euro": 1}), "budget.euro:"),
        ("fallback_mid_stream", json!("yes"), "fallback_mid_stream:"),
        ("tool_choice", json!("whatever"), "tool_choice:"),
        (
            "tools",
            json!([{"type": "function", "function": {}}]),
            "tools[0].function.name:",
        ),
        ("tools", json!([{"type": "web_search"}]), "tools[0].type:"),
        ("headers", json!({"X-A": 1}), "headers.X-A:"),
        (
            "provider_options",
            json!({"store": true}),
            "provider_options.store:",
        ),
        ("fallbacks", json!(["c/d", 3]), "fallbacks[1]:"),
        ("fallbacks", json!([{}]), "fallbacks[0]:"),
        (
            "fallbacks",
            json!([{"model": "c/d", "temprature": 1}]),
            "fallbacks[0].temprature:",
        ),
        (
            "messages",
            json!([{"role": "assistant", "tool_calls": [{"id": "1"}]}]),
            "messages[0].tool_calls[0].function:",
        ),
        (
            "messages",
            json!([{"role": "assistant", "tool_calls": [{"id": "1", "type": "x"}]}]),
            "messages[0].tool_calls[0].type:",
        ),
    ] {
        let error = with(field, value).unwrap_err();
        assert!(
            error.code == Code::InvalidRequest && error.message.starts_with(path),
            "{path} {error}"
        );
    }
}

#[test]
fn an_id_that_names_no_model_is_told_with_how_to_write_one() {
    for id in ["", " ", "openai/", "openrouter/meta/ "] {
        let error = with("model", json!(id)).unwrap_err();
        assert!(
            error.message.starts_with("model: give the model as"),
            "{id}: {error}"
        );
    }
}

#[test]
fn text_that_is_no_request_is_told_and_not_quoted() {
    for text in [
        "",
        "secret",
        "[\"secret\"",
        "{\"secret",
        "{\"model\": \"a/b\", \"model\": \"secret\", \"messages\": []}",
        "\"secret\"",
    ] {
        let error = Request::from_json(text.as_bytes()).unwrap_err();
        assert!(
            error.code == Code::InvalidRequest && !error.message.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn lone_surrogates_become_the_replacement_character() {
    let text = br#"{"model": "a/b", "messages": [{"role": "user", "content": "a\ud83d b\udc00\u0000"}]}"#;
    assert_eq!(
        Request::from_json(text).unwrap().messages[0].text(),
        "a\u{fffd} b\u{fffd}\0"
    );
}

/// Any JSON value, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// What may stand under a key that the contract does not know.
fn unknown_keys() -> impl Strategy<Value = Object> {
    prop::collection::vec(("x_[a-z]{1,4}", any_json()), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn part() -> impl Strategy<Value = Value> {
    let known = prop_oneof![
        (".{0,8}", any_json())
            .prop_map(|(text, data)| json!({"type": "text", "text": text, "annotations": [data]})),
        any_json().prop_map(|data| json!({"type": "image_url", "image_url": data})),
        any_json().prop_map(|data| json!({"type": "hologram", "data": data})),
        (".{0,8}", ".{0,8}")
            .prop_map(|(text, proof)| json!({"type": "reasoning", "text": text, "signature": proof})),
        any_json().prop_map(|data| json!({"type": "provider", "provider": "p", "kind": "k", "data": data})),
    ];
    (known, unknown_keys()).prop_map(|(mut part, more)| {
        part.as_object_mut().unwrap().extend(more);
        part
    })
}

fn message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(part(), 0..4).prop_map(Value::from)
    ];
    (prop::sample::select(Role::ALL), content, unknown_keys(), ".{0,12}").prop_map(|(role, content, more, arguments)| {
        let mut message = json!({"role": role.name(), "content": content});
        if role == Role::Assistant {
            message["tool_calls"] =
                json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]);
        }
        message.as_object_mut().unwrap().extend(more);
        message
    })
}

use crate::message::Role;

proptest! {
    #[test]
    fn a_request_comes_back_equal_as_a_json_value(
        messages in prop::collection::vec(message(), 1..4),
        temperature in prop::option::of(any::<f64>().prop_filter("finite", |float| float.is_finite())),
        seed in any::<i64>(),
        metadata in unknown_keys(),
    ) {
        let mut document = json!({"model": "a/b", "messages": messages, "seed": seed, "metadata": metadata});
        if let Some(temperature) = temperature {
            document["temperature"] = json!(temperature);
        }
        let request = Request::from_value(&document).unwrap();
        prop_assert_eq!(&serde_json::to_value(&request).unwrap(), &document);
        let text = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<Value>(&text).unwrap(), &document);
        prop_assert_eq!(Request::from_json(&text).unwrap(), request);
    }

    #[test]
    fn any_value_in_any_field_is_read_or_told_but_never_a_panic(field in prop::sample::select(Request::FIELDS), value in any_json()) {
        if let Err(error) = with(field, value) {
            prop_assert!(matches!(error.code, Code::InvalidRequest | Code::Unsupported));
            prop_assert!(error.message.starts_with(field), "{}", error.message);
        }
    }
}
