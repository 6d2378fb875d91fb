//! What the native protocols make of a conversation: whether their providers would take it.

use omni_core::{Message, Request};
use omni_providers::{Protocol, Target, dialect_of};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const WIRES: [(Protocol, &str, &str); 5] = [
    (Protocol::OpenaiChat, "openai", "gpt-4o"),
    (Protocol::OpenaiChat, "mistral", "mistral-large"),
    (Protocol::OpenaiResponses, "openai", "gpt-5-mini"),
    (Protocol::Anthropic, "anthropic", "claude-haiku-4-5"),
    (Protocol::Gemini, "gemini", "gemini-2.5-flash"),
];

/// Every provider refuses a call without its result, a result without its call, and an answer that says nothing.
pub(crate) fn every_provider_takes(request: &Request) {
    for wire in WIRES {
        taken(wire, request).unwrap_or_else(|why| panic!("{}: {why}", wire.1));
    }
}

fn taken((protocol, provider, model): (Protocol, &str, &str), request: &Request) -> Result<(), String> {
    let target = Target {
        provider: provider.to_owned(),
        model: model.to_owned(),
        dialect: dialect_of(provider),
    };
    let encoded = protocol
        .encode(request, &target, true)
        .map_err(|error| error.message)?;
    let body: Value = serde_json::from_slice(&encoded.body).map_err(|error| error.to_string())?;
    let steps = match protocol {
        Protocol::OpenaiChat => list(&body, "/messages").map(chat).collect(),
        Protocol::OpenaiResponses => list(&body, "/input").map(item).collect(),
        Protocol::Anthropic => list(&body, "/messages").map(blocks).collect(),
        Protocol::Gemini => list(&body, "/contents").map(parts).collect(),
    };
    paired(steps).map_err(|why| format!("{why}: {body:#}"))
}

#[test]
fn what_a_provider_refuses_is_found_on_each_wire() {
    let mut asked = Message::assistant("");
    let call = json!({"id": "c1", "type": "function", "function": {"name": "quick", "arguments": "{}"}});
    asked.tool_calls = Some(vec![serde_json::from_value(call).unwrap()]);
    let lost = vec![Message::user("Hi"), asked, Message::user("And?")];
    for wire in WIRES {
        assert!(
            taken(wire, &Request::new("a/b", lost.clone())).is_err(),
            "{}",
            wire.1
        );
    }
}

/// What one message, item or content asks of tools, answers for them, or says.
#[derive(Debug, Default)]
struct Step {
    calls: Vec<String>,
    results: Vec<String>,
    /// It is the model's, and holds nothing.
    empty: bool,
}

fn paired(steps: Vec<Step>) -> Result<(), String> {
    let mut open = BTreeSet::new();
    for step in steps {
        if step.empty {
            return Err("an answer that says nothing".into());
        }
        for result in &step.results {
            if !open.remove(result) {
                return Err(format!("a result without its call: {result}"));
            }
        }
        // Calls that stand apart may follow each other; anything else must not come before their results.
        let said = step.calls.is_empty() && step.results.is_empty();
        if said && !open.is_empty() {
            return Err(format!("calls without their results: {open:?}"));
        }
        open.extend(step.calls);
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("calls without their results at the end: {open:?}"))
    }
}

fn list<'a>(value: &'a Value, at: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(at).and_then(Value::as_array).into_iter().flatten()
}

fn id(value: &Value, at: &str) -> Option<String> {
    value.pointer(at)?.as_str().map(str::to_owned)
}

fn chat(message: &Value) -> Step {
    let calls: Vec<_> = list(message, "/tool_calls")
        .filter_map(|call| id(call, "/id"))
        .collect();
    let silent = message
        .get("content")
        .is_none_or(|content| content.is_null() || content == "");
    Step {
        empty: message["role"] == "assistant" && calls.is_empty() && silent,
        calls,
        results: id(message, "/tool_call_id").into_iter().collect(),
    }
}

fn item(item: &Value) -> Step {
    let named = |kind: &str| (item["type"] == kind).then(|| id(item, "/call_id")).flatten();
    Step {
        calls: named("function_call").into_iter().collect(),
        results: named("function_call_output").into_iter().collect(),
        empty: false,
    }
}

fn blocks(message: &Value) -> Step {
    let blocks = || list(message, "/content");
    Step {
        calls: blocks()
            .filter(|block| block["type"] == "tool_use")
            .filter_map(|block| id(block, "/id"))
            .collect(),
        results: blocks().filter_map(|block| id(block, "/tool_use_id")).collect(),
        empty: message["content"] == "" || message["content"].as_array().is_some_and(Vec::is_empty),
    }
}

fn parts(content: &Value) -> Step {
    let named = |kind: &'static str| {
        list(content, "/parts")
            .filter_map(move |part| part.get(kind))
            .map(|one| {
                // Without ids they belong together by their order, here by their names.
                id(one, "/id").or_else(|| id(one, "/name")).unwrap_or_default()
            })
    };
    Step {
        calls: named("functionCall").collect(),
        results: named("functionResponse").collect(),
        empty: list(content, "/parts").next().is_none(),
    }
}
