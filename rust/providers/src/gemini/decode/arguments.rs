//! Arguments of a call that come in pieces (`streamFunctionCallArguments`): each says where in them it belongs.

use super::truthy;
use crate::parts::Parts;
use crate::value::{objects, text};
use omni_core::Object;
use serde_json::Value;

/// A list is made at most this much longer by one piece: an index is the provider's word.
const MOST: usize = 4096;

/// A call that has begun and is not whole.
pub(super) struct Unfinished {
    index: u32,
    arguments: Value,
    signature: Option<String>,
}

impl Unfinished {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            arguments: Value::Object(Object::new()),
            signature: None,
        }
    }

    /// Takes the next `functionCall` object of the call; says whether it was the last one.
    pub(super) fn take(&mut self, call: &Object, signature: Option<String>) -> bool {
        self.signature = self.signature.take().or(signature);
        if let Some(Value::Object(args)) = call.get("args")
            && let Value::Object(have) = &mut self.arguments
        {
            have.extend(args.clone());
        }
        for piece in objects(call.get("partialArgs")) {
            if let Some(place) = place(&mut self.arguments, text(piece.get("jsonPath"))) {
                put(place, piece);
            }
        }
        !call.get("willContinue").is_some_and(truthy)
    }

    /// The call as events: what came of it, once, for its arguments are one JSON object.
    pub(super) fn end(self, parts: &mut Parts) {
        parts.call_delta(self.index, self.arguments.to_string());
        parts.call_end(self.index, self.signature, None);
    }
}

/// Puts the value of a piece; a text goes on where one stands.
fn put(place: &mut Value, piece: &Object) {
    if let Some(Value::String(more)) = piece.get("stringValue") {
        match place {
            Value::String(have) => have.push_str(more),
            _ => *place = Value::String(more.clone()),
        }
    } else if let Some(value) = piece.get("numberValue").or_else(|| piece.get("boolValue")) {
        *place = value.clone();
    } else if piece.contains_key("nullValue") {
        *place = Value::Null;
    }
}

/// The place that a path such as `$.rooms[0].name` or `$['a b']` names, made where it is not there.
fn place<'a>(mut value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut rest = path.strip_prefix('$')?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            value = member(value, &after[..end])?;
            rest = &after[end..];
            continue;
        }
        let after = rest.strip_prefix('[')?;
        if let Some(quote) = after.chars().next().filter(|mark| matches!(mark, '\'' | '"')) {
            let (name, after) = after[1..].split_once(quote)?;
            value = member(value, name)?;
            rest = after.strip_prefix(']')?;
        } else {
            let (number, after) = after.split_once(']')?;
            value = item(value, number.parse().ok()?)?;
            rest = after;
        }
    }
    Some(value)
}

fn member<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if value.is_null() {
        *value = Value::Object(Object::new());
    }
    Some(value.as_object_mut()?.entry(name).or_insert(Value::Null))
}

fn item(value: &mut Value, at: usize) -> Option<&mut Value> {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    let list = value.as_array_mut()?;
    if at >= list.len() {
        if at - list.len() > MOST {
            return None;
        }
        list.resize(at + 1, Value::Null);
    }
    list.get_mut(at)
}
