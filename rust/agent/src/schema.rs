//! The JSON Schemas of what goes in and out of an agent, from the Rust types: `rust/agent/schema/*.json`, and all that
//! is generated from them (Python, TypeScript, the reference page).

use crate::config::AgentConfig;
use crate::protocol::{AgentEvent, EVENT_VERSION, Op};
use omni_core::{Code, Engine, FinishReason, Object};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// Fields that hold a document of the contract, whose schema is `omni_bridge/schema.json`: (where, field, type).
const CONTRACT: [(&str, &str, &str); 5] = [
    ("message.saved", "message", "Message"),
    ("tool.execution.proposed", "call", "ToolCall"),
    ("tool.execution.completed", "early", "Message"),
    ("usage.updated", "call", "Usage"),
    ("StreamEnd", "usage", "Usage"),
];

/// The schema of events and ops. Each event says in `x-durable` whether it is stored.
pub fn event_schema() -> Value {
    let (event, mut definitions) = schema_of::<AgentEvent>(SchemaSettings::draft2020_12().for_serialize());
    let (op, more) = schema_of::<Op>(SchemaSettings::draft2020_12());
    definitions.extend(more);
    definitions.insert("AgentEvent".to_owned(), event);
    definitions.insert("Op".to_owned(), op);
    for (name, definition) in &mut definitions {
        mend(name, definition);
    }
    mark_durable(&mut definitions);
    definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events and ops of an agent",
        "description": "Written from rust/agent/src/protocol.rs. Validate a document against $defs/AgentEvent or \
                        $defs/Op; fields with x-contract hold a document of omni_bridge/schema.json.",
        "version": EVENT_VERSION,
        "anyOf": [{"$ref": "#/$defs/AgentEvent"}, {"$ref": "#/$defs/Op"}],
        "$defs": definitions,
    })
}

/// The schema of an agent's configuration.
pub fn config_schema() -> Value {
    let (config, mut definitions) = schema_of::<AgentConfig>(SchemaSettings::draft2020_12());
    definitions.insert("AgentConfig".to_owned(), config);
    for (name, definition) in &mut definitions {
        mend(name, definition);
    }
    // Only the model has no default, and what has a default is shown with it.
    if let Some(config) = definitions.get_mut("AgentConfig") {
        config["required"] = json!(["model"]);
        if let Some(model) = config
            .pointer_mut("/properties/model")
            .and_then(Value::as_object_mut)
        {
            model.shift_remove("default");
        }
        // The other name under which servers are read.
        let servers = config.pointer("/properties/mcp_servers").cloned();
        if let (Some(servers), Some(fields)) = (servers, config["properties"].as_object_mut()) {
            fields.insert("mcpServers".to_owned(), servers);
        }
    }
    definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of an agent",
        "description": "Written from rust/agent/src/config.rs.",
        "$ref": "#/$defs/AgentConfig",
        "$defs": definitions,
    })
}

/// Every `event_type`, in the order of the protocol.
pub fn event_types() -> Vec<String> {
    let schema = event_schema();
    let variants = schema
        .pointer("/$defs/AgentEvent/oneOf")
        .and_then(Value::as_array);
    let name = |variant: &Value| {
        let name = variant.pointer("/properties/event_type/const")?.as_str()?;
        Some(name.to_owned())
    };
    variants.into_iter().flatten().filter_map(name).collect()
}

fn schema_of<T: JsonSchema>(settings: SchemaSettings) -> (Value, Object) {
    let mut generator = settings.into_generator();
    let mut schema = generator.root_schema_for::<T>().to_value();
    let mut definitions = Object::new();
    if let Some(object) = schema.as_object_mut() {
        if let Some(Value::Object(own)) = object.shift_remove("$defs") {
            definitions = own;
        }
        object.shift_remove("$schema");
        object.shift_remove("title");
    }
    (schema, definitions)
}

/// Says what the types of the contract are, which know nothing of schemas, and mends what doc comments do to texts.
fn mend(place: &str, schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| mend(place, item)),
        Value::Object(object) => {
            // An event is a place of its own.
            let event = object.get("properties").and_then(|fields| {
                fields
                    .pointer("/event_type/const")
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            });
            let place = event.as_deref().unwrap_or(place);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = unwrapped(text);
            }
            if let Some(Value::Object(fields)) = object.get_mut("properties") {
                for (name, field) in fields {
                    say(place, name, field);
                }
            }
            object.values_mut().for_each(|value| mend(place, value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn say(place: &str, name: &str, field: &mut Value) {
    let known = CONTRACT
        .iter()
        .find(|(of, field, _)| *of == place && *field == name);
    let words: Option<Vec<Value>> = match (place, name) {
        (_, "finish_reason") => Some(FinishReason::ALL.iter().map(|word| json!(word.name())).collect()),
        ("StreamEnd", "engine") => Some(Engine::ALL.iter().map(|word| json!(word.name())).collect()),
        ("ErrorDocument", "code") => Some(Code::ALL.iter().map(|word| json!(word.name())).collect()),
        _ => None,
    };
    // A field without a word about it is the schema `true`.
    if field == &json!(true) {
        *field = json!({});
    }
    let Some(field) = field.as_object_mut() else {
        return;
    };
    if let Some((.., contract)) = known {
        field.insert("type".to_owned(), json!("object"));
        field.insert("x-contract".to_owned(), json!(contract));
        field.shift_remove("default");
    }
    if let Some(mut words) = words {
        if field.get("type").is_some_and(Value::is_array) {
            words.push(Value::Null);
        }
        field.insert("enum".to_owned(), Value::Array(words));
    }
}

/// One line a paragraph, as where a comment is wrapped means nothing; without its Rust examples.
fn unwrapped(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .filter(|paragraph| !paragraph.starts_with("```"));
    let paragraphs = paragraphs.map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Asks the type itself about the smallest event of each kind.
fn mark_durable(definitions: &mut Object) {
    let known = definitions.clone();
    let envelope = known.get("AgentEvent").cloned().unwrap_or_default();
    let variants = definitions
        .get_mut("AgentEvent")
        .and_then(|event| event.get_mut("oneOf"))
        .and_then(Value::as_array_mut);
    for variant in variants.into_iter().flatten() {
        let (mut event, own) = (smallest(&envelope, &known), smallest(variant, &known));
        if let (Some(event), Some(own)) = (event.as_object_mut(), own.as_object()) {
            event.extend(own.clone());
        }
        if let Ok(event) = serde_json::from_value::<AgentEvent>(event) {
            variant["x-durable"] = json!(event.payload.durable());
        }
    }
}

/// The smallest document that a schema of ours takes.
fn smallest(schema: &Value, definitions: &Object) -> Value {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema.pointer("/enum/0") {
        return first.clone();
    }
    if let Some(name) = text("$ref").and_then(|path| path.strip_prefix("#/$defs/")) {
        return definitions
            .get(name)
            .map_or(Value::Null, |schema| smallest(schema, definitions));
    }
    match text("x-contract") {
        Some("Message") => return json!({"role": "user", "content": ""}),
        Some("ToolCall") => return json!({"id": ""}),
        _ => {}
    }
    match text("type") {
        Some("object") => {
            let required = schema.get("required").and_then(Value::as_array);
            let fields = required.into_iter().flatten().filter_map(|name| {
                let name = name.as_str()?;
                let field = schema.get("properties")?.get(name)?;
                Some((name.to_owned(), smallest(field, definitions)))
            });
            Value::Object(fields.collect())
        }
        Some("string") => json!(""),
        Some("integer" | "number") => json!(0),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        _ => schema
            .pointer("/oneOf/0")
            .map_or(Value::Null, |first| smallest(first, definitions)),
    }
}
