//! What the caller means for this provider alone, laid over what we wrote.

use super::wire::Body;
use crate::merge;
use crate::protocol::{Protocol, Target};
use omni_core::{Object, Request};
use serde_json::Value;

/// The objects in which a field may be spelt in two ways; elsewhere keys are the user's own.
const SPELT_TWICE: &[&str] = &[
    "generationConfig",
    "thinkingConfig",
    "toolConfig",
    "functionCallingConfig",
];

/// The body as bytes, with `provider_options` in it.
pub(super) fn lay(mut body: Body<'_>, request: &Request, target: &Target) -> serde_json::Result<Vec<u8>> {
    let mut options = target
        .extras(Protocol::Gemini, request.provider_options.as_ref())
        .filter_map(Value::as_object)
        .peekable();
    if options.peek().is_none() {
        return serde_json::to_vec(&body);
    }
    let options: Vec<&Object> = options.collect();
    let borrowed = options
        .iter()
        .flat_map(|options| options.keys())
        .any(|key| Body::BORROWED.contains(&camel(key).as_str()));
    if !borrowed {
        for options in options {
            over(&mut body.rest, options);
        }
        return serde_json::to_vec(&body);
    }
    let mut whole = serde_json::to_value(&body)?;
    if let Value::Object(whole) = &mut whole {
        for options in options {
            over(whole, options);
        }
    }
    serde_json::to_vec(&whole)
}

/// Lays `options` over `into`. The API takes `max_output_tokens` for `maxOutputTokens` but refuses both at once, so
/// what we wrote under the one gives way to the other.
fn over(into: &mut Object, options: &Object) {
    for (key, value) in options {
        let ours = camel(key);
        let key = if into.contains_key(&ours) { &ours } else { key };
        match into.get_mut(key) {
            Some(Value::Object(have)) if SPELT_TWICE.contains(&key.as_str()) && value.is_object() => {
                if let Value::Object(value) = value {
                    over(have, value);
                }
            }
            Some(have) if have.is_object() && value.is_object() => merge::deep(have, value),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

/// `a_snake_name` as `aSnakeName`.
fn camel(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut up = false;
    for letter in key.chars() {
        if letter == '_' && !out.is_empty() {
            up = true;
        } else if std::mem::take(&mut up) {
            out.push(letter.to_ascii_uppercase());
        } else {
            out.push(letter);
        }
    }
    out
}
