//! Prints every closed set of the contract as JSON: what `tests/test_drift.py` compares with Python, the schema and C.
//!
//! `cargo run -p omni-core --example contract`

use omni_core::{
    CONTRACT, Code, Engine, EngineChoice, Event, FinishReason, Part, Request, Role, Tool, ToolChoice,
};
use serde_json::{Value, json};

fn main() {
    let errors: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({"code": code.name(), "number": code.number(), "http_status": code.http_status(), "retryable": code.retryable()})
        })
        .collect();
    let names = |names: Vec<&str>| json!(names);
    let contract = json!({
        "contract": CONTRACT,
        "roles": names(Role::ALL.iter().map(|it| it.name()).collect()),
        "finish_reasons": names(FinishReason::ALL.iter().map(|it| it.name()).collect()),
        "errors": errors,
        "event_types": Event::TYPES,
        "request_fields": Request::FIELDS,
        "engines": names(Engine::ALL.iter().map(|it| it.name()).collect()),
        "engine_choices": names(EngineChoice::ALL.iter().map(|it| it.name()).collect()),
        "part_types": Part::TYPES,
        "tool_types": Tool::TYPES,
        "tool_choices": ToolChoice::MODES,
    });
    println!("{contract:#}");
}
