//! JSON schemas as structured output takes them.

use omni_core::Object;
use serde_json::{Value, json};

/// Keywords that the provider's grammar cannot hold, with the words that say them in the description instead.
const SAID: &[(&str, &str)] = &[
    ("minItems", "at least this many items"),
    ("maxItems", "at most this many items"),
    ("uniqueItems", "all items differ"),
    ("contains", "an item matches"),
    ("minContains", "at least this many items match"),
    ("maxContains", "at most this many items match"),
    ("prefixItems", "the first items match in order"),
    ("minimum", "at least"),
    ("maximum", "at most"),
    ("exclusiveMinimum", "more than"),
    ("exclusiveMaximum", "less than"),
    ("multipleOf", "a multiple of"),
    ("minLength", "at least this many characters"),
    ("maxLength", "at most this many characters"),
    ("minProperties", "at least this many properties"),
    ("maxProperties", "at most this many properties"),
    ("patternProperties", "properties whose names match are"),
    ("propertyNames", "names of properties are"),
    ("dependentRequired", "required together"),
    ("dependentSchemas", "what follows from a property"),
    ("unevaluatedProperties", "other properties"),
    ("if", "if"),
    ("then", "then"),
    ("else", "else"),
    ("not", "never"),
];

/// Keywords whose values are schemas by name, and those whose values are lists of schemas.
const NAMED: &[&str] = &["properties", "$defs", "definitions"];
const LISTS: &[&str] = &["anyOf", "allOf"];

/// `schema` with what the provider refuses said in the descriptions; objects are closed, as it demands.
pub(super) fn taken(schema: &Value) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let mut out = Object::new();
    let mut notes = Vec::new();
    for (key, value) in schema {
        let few = key == "minItems" && matches!(value.as_u64(), Some(0 | 1));
        if let Some((_, said)) = SAID.iter().find(|(word, _)| word == key).filter(|_| !few) {
            if value != &Value::Bool(false) {
                notes.push(format!("{said}: {value}"));
            }
        } else if NAMED.contains(&key.as_str()) {
            let inner = value.as_object().into_iter().flatten();
            let inner: Object = inner.map(|(name, one)| (name.clone(), taken(one))).collect();
            out.insert(key.clone(), Value::Object(inner));
        } else if LISTS.contains(&key.as_str()) || key == "oneOf" {
            let key = if key == "oneOf" { "anyOf" } else { key };
            let inner = value.as_array().into_iter().flatten().map(taken);
            match out.get_mut(key) {
                Some(Value::Array(have)) => have.extend(inner),
                _ => drop(out.insert(key.to_owned(), Value::Array(inner.collect()))),
            }
        } else if key == "items" {
            out.insert(key.clone(), taken(value));
        } else {
            out.insert(key.clone(), value.clone());
        }
    }
    if !notes.is_empty() {
        let note = format!("({})", notes.join("; "));
        let description = match out.get("description").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => format!("{text} {note}"),
            _ => note,
        };
        out.insert("description".to_owned(), Value::String(description));
    }
    let object = match out.get("type") {
        Some(Value::Array(kinds)) => kinds.contains(&json!("object")),
        Some(kind) => kind == "object",
        None => out.contains_key("properties"),
    };
    if object {
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_provider_refuses_is_said_in_words() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many."},
            "maximum": {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "list": {"type": "array", "minItems": 1, "uniqueItems": false, "items": {"$ref": "#/$defs/one"}}
        }, "required": ["n"], "additionalProperties": true, "$defs": {"one": {"type": ["object", "null"]}}});
        let wanted = json!({"type": "object", "properties": {
            "n": {"type": "integer", "description": "How many. (at least: 1)"},
            "maximum": {"anyOf": [{"type": "string", "description": "(at most this many characters: 3)"}, {"type": "null"}]},
            "list": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/one"}}
        }, "required": ["n"], "additionalProperties": false,
            "$defs": {"one": {"type": ["object", "null"], "additionalProperties": false}}});
        assert_eq!(taken(&schema), wanted);
    }
}
