//! Every closed set of the Rust types against `schema.json`, which `types.py` writes (its half is `tests/test_drift.py`).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, and its helpers are not marked as one"
)]

use omni_core::{
    CONTRACT, Code, Engine, EngineChoice, Event, FinishReason, Part, Request, Role, Tool, ToolChoice,
};
use serde_json::{Value, json};

fn schema() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../python/omni_bridge/schema.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The words that a schema allows: its own `enum` or `const`, or that of the alternative that is not null.
fn words(schema: &Value) -> Vec<&str> {
    if let Some(alternatives) = schema["anyOf"].as_array() {
        return alternatives.iter().flat_map(words).collect();
    }
    match (&schema["enum"], &schema["const"]) {
        (Value::Array(words), _) => words.iter().filter_map(Value::as_str).collect(),
        (_, Value::String(word)) => vec![word],
        _ => vec![],
    }
}

/// The `type` of each alternative of a union, in its order.
fn types<'a>(schema: &'a Value, union: &str) -> Vec<&'a str> {
    let alternatives = schema["$defs"][union]["oneOf"].as_array().unwrap();
    let named = alternatives
        .iter()
        .map(|it| it["$ref"].as_str().unwrap().trim_start_matches("#/$defs/"));
    named
        .flat_map(|name| words(&schema["$defs"][name]["properties"]["type"]))
        .collect()
}

fn same<T: AsRef<str>>(what: &str, rust: &[T], schema: &[&str]) {
    let rust: Vec<&str> = rust.iter().map(AsRef::as_ref).collect();
    assert_eq!(
        rust, schema,
        "{what}: Rust (left) and schema.json (right) differ; \
         mend python/omni_bridge/types.py or rust/core/src, then: python tools/gen_schema.py --write"
    );
}

#[test]
fn the_version_is_one() {
    assert_eq!(schema()["contract"], CONTRACT);
}

#[test]
fn the_closed_sets_are_those_of_the_schema() {
    let schema = schema();
    let field = |model: &str, field: &str| words(&schema["$defs"][model]["properties"][field]);
    let names: Vec<_> = Role::ALL.iter().map(|it| it.name()).collect();
    same("roles", &names, &field("Message", "role"));
    let names: Vec<_> = FinishReason::ALL.iter().map(|it| it.name()).collect();
    same("finish reasons", &names, &field("Reply", "finish_reason"));
    let names: Vec<_> = Engine::ALL.iter().map(|it| it.name()).collect();
    same("engines", &names, &field("Reply", "engine"));
    same("engines of start", &names, &field("StartEvent", "engine"));
    let names: Vec<_> = EngineChoice::ALL.iter().map(|it| it.name()).collect();
    same("engine choices", &names, &field("Request", "engine"));
    same(
        "tool choices",
        ToolChoice::MODES,
        &field("Request", "tool_choice"),
    );
    same("event types", Event::TYPES, &types(&schema, "Event"));
    same("part types", Part::TYPES, &types(&schema, "Part"));
    same("tool types", Tool::TYPES, &types(&schema, "Tool"));
    let names: Vec<_> = Code::ALL.iter().map(|it| it.name()).collect();
    same("error codes", &names, &field("Error", "code"));
}

#[test]
fn the_fields_are_those_of_the_schema() {
    let schema = schema();
    let keys = |model: &str| {
        schema["$defs"][model]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    same("request fields", Request::FIELDS, &keys("Request"));
    let bare = omni_core::Fold::new().partial(Vec::new());
    let reply = serde_json::to_value(&bare).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    same("reply keys", &names(&reply), &keys("Reply"));
    same("usage keys", &names(&reply["usage"]), &keys("Usage"));
    let error = serde_json::to_value(omni_core::Error::internal("x")).unwrap();
    same("error keys", &names(&error), &keys("Error"));
}

#[test]
fn the_traits_of_each_error_are_those_of_the_schema() {
    let schema = schema();
    let mut listed = schema["errors"].clone();
    for error in listed.as_array_mut().unwrap() {
        error.as_object_mut().unwrap().remove("python");
    }
    let rust: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({"code": code.name(), "number": code.number(), "http_status": code.http_status(), "retryable": code.retryable()})
        })
        .collect();
    assert_eq!(
        json!(rust),
        listed,
        "Rust (left) and errors.py by way of schema.json (right) differ"
    );
}
