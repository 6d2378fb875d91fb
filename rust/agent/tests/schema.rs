//! The committed schemas are what the types give, and what is generated from them names every event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_agent::schema::{config_schema, event_schema, event_types};
use omni_agent::{AgentConfig, AgentEvent, Decision, Op, Payload, Scope};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MEND: &str =
    "cargo run -p omni-agent --example agent_schema -- --write && python tools/gen_agent_types.py --write";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn committed(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {MEND}", path.display()))
}

#[test]
fn the_committed_schemas_are_what_the_types_give() {
    for (name, schema) in [("events", event_schema()), ("config", config_schema())] {
        let path = format!("rust/agent/schema/{name}.json");
        let (old, new) = (committed(&path), format!("{schema:#}\n"));
        let first = old.lines().zip(new.lines()).find(|(old, new)| old != new);
        assert!(
            old == new,
            "{path} is stale (committed, types: {first:?}); mend it with: {MEND}"
        );
    }
}

#[test]
fn every_event_is_in_every_output() {
    let types = event_types();
    assert_eq!(
        types.len(),
        34,
        "the protocol of version 1; a new event changes this number"
    );
    for path in [
        "rust/agent/schema/events.json",
        "rust/agent/schema/events.ts",
        "python/omni_bridge/agent_types.py",
    ] {
        let text = committed(path);
        for name in &types {
            assert!(
                text.contains(&format!("\"{name}\"")),
                "{path} lacks {name}; {MEND}"
            );
        }
    }
    let page = committed("docs/reference/agent-events.md");
    for name in &types {
        assert!(
            page.contains(&format!("`{name}`")),
            "the page lacks {name}; {MEND}"
        );
    }
}

#[test]
fn every_event_says_whether_it_is_stored_as_the_type_says() {
    let schema = event_schema();
    let variants = schema
        .pointer("/$defs/AgentEvent/oneOf")
        .unwrap()
        .as_array()
        .unwrap();
    let ephemeral: Vec<&str> = variants
        .iter()
        .filter(|variant| !variant["x-durable"].as_bool().unwrap())
        .map(|variant| variant["properties"]["event_type"]["const"].as_str().unwrap())
        .collect();
    let expected = [
        "assistant.stream.chunk",
        "assistant.stream.fallback",
        "agent.thinking.started",
        "agent.thinking.delta",
        "tool.execution.progress",
        "session.deleted",
    ];
    assert_eq!(ephemeral, expected);
}

/// Checks so much of a schema as ours use.
fn fits(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {value} against {schema}"));
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let at = path.trim_start_matches('#');
        return fits(root.pointer(at).ok_or(format!("no {path}"))?, value, root);
    }
    if schema.get("const").is_some_and(|want| want != value) {
        return wrong("const");
    }
    if schema
        .get("enum")
        .is_some_and(|words| !words.as_array().unwrap().contains(value))
    {
        return wrong("enum");
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(options) = schema.get(key).and_then(Value::as_array) {
            let fitting = options
                .iter()
                .filter(|option| fits(option, value, root).is_ok())
                .count();
            if fitting == 0 || (key == "oneOf" && fitting != 1) {
                return wrong(key);
            }
        }
    }
    let of = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a new type: {other}"),
    };
    let right = match schema.get("type") {
        Some(Value::String(kind)) => of(kind),
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| of(kind.as_str().unwrap())),
        _ => true,
    };
    if !right {
        return wrong("type");
    }
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if value.get(name.as_str().unwrap()).is_none() {
            return wrong("required");
        }
    }
    if let (Some(fields), Some(object)) = (schema.get("properties"), value.as_object()) {
        for (name, value) in object {
            match fields.get(name) {
                Some(field) => fits(field, value, root)?,
                None if schema.get("additionalProperties") == Some(&json!(false)) => {
                    return wrong("additionalProperties");
                }
                None => {}
            }
        }
    }
    Ok(())
}

fn events() -> Vec<AgentEvent> {
    let error = json!({"code": "rate_limit", "message": "slow down"});
    let usage = json!({"input_tokens": 1, "output_tokens": 2, "cost_usd": 0.5});
    let end =
        json!({"finish_reason": "stop", "engine": "native", "usage": {"input_tokens": 3}, "duration_ms": 4});
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let payloads = [
        ("agent.turn.started", json!({"model": "a/b", "message_id": "m1"})),
        (
            "agent.turn.completed",
            json!({"message_id": "m2", "rounds": 1, "finish_reason": "stop", "usage": usage, "duration_ms": 5}),
        ),
        (
            "agent.turn.failed",
            json!({"error": error, "usage": usage, "duration_ms": 5}),
        ),
        (
            "assistant.stream.chunk",
            json!({"index": 0, "kind": "tool_call", "offset": 0, "text": "", "tool": "f"}),
        ),
        ("assistant.stream.completed", end.clone()),
        ("assistant.stream.cancelled", end),
        (
            "tool.execution.proposed",
            json!({"call": call, "needs_approval": true}),
        ),
        (
            "usage.updated",
            json!({"call": {"output_tokens": 1}, "session": usage}),
        ),
        (
            "message.saved",
            json!({"message_id": "m1", "parent_id": null, "message": {"role": "user", "content": "x"}}),
        ),
        ("session.deleted", json!({})),
        (
            "log",
            json!({"level": "warning", "message": "x", "server": "time"}),
        ),
    ];
    payloads
        .into_iter()
        .map(|(event_type, payload)| {
            let event = json!({"v": 1, "seq": 3, "timestamp_ms": 9, "session_id": "s", "event_type": event_type,
                "payload": payload});
            serde_json::from_value(event).unwrap()
        })
        .collect()
}

#[test]
fn what_is_written_fits_the_schema_and_what_does_not_is_refused() {
    let schema = event_schema();
    for event in events() {
        let document = serde_json::to_value(&event).unwrap();
        fits(&schema["$defs"]["AgentEvent"], &document, &schema).unwrap();
    }
    let approve = Op::Approve {
        call_id: "t1.1.1".to_owned(),
        decision: Decision::Approve {
            scope: Scope::Session,
        },
    };
    let document = serde_json::to_value(&approve).unwrap();
    fits(&schema["$defs"]["Op"], &document, &schema).unwrap();

    let mut wrong = serde_json::to_value(&events()[0]).unwrap();
    wrong["event_type"] = json!("agent.turn.begun");
    assert!(fits(&schema["$defs"]["AgentEvent"], &wrong, &schema).is_err());
    let mut short = serde_json::to_value(&events()[0]).unwrap();
    short["payload"] = json!({"model": "a/b"});
    assert!(fits(&schema["$defs"]["AgentEvent"], &short, &schema).is_err());
    assert!(matches!(events()[9].payload, Payload::SessionDeleted {}));
}

#[test]
fn a_configuration_fits_its_schema() {
    let schema = config_schema();
    let mut config = AgentConfig::new("openai/x");
    let document = serde_json::to_value(&config).unwrap();
    fits(&schema, &document, &schema).unwrap();
    let servers =
        json!({"model": "openai/x", "mcpServers": {"time": {"command": "mcp-server-time", "novel": 1}}});
    fits(&schema, &servers, &schema).unwrap();
    config.session_store = Some(omni_agent::StoreConfig::Path("x.db".into()));
    let document = serde_json::to_value(&config).unwrap();
    fits(&schema, &document, &schema).unwrap();
    assert!(fits(&schema, &json!({"model": "a/b", "max_tool_round": 3}), &schema).is_err());
    assert!(
        fits(&schema, &json!({}), &schema).is_err(),
        "the model has no default"
    );
}
