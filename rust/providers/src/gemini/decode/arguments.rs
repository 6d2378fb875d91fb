//! Arguments of a call that come in pieces (`streamFunctionCallArguments`): each says where in them it belongs.

use super::truthy;
use crate::parts::Parts;
use crate::value::{objects, text};
use omni_core::Object;
use serde_json::Value;

/// Places of lists that a call's pieces may leap over, all together: an index is the provider's word, and a few bytes
/// of it must not fill the memory.
const MOST: usize = 4096;
/// How deep a path may lead: as deep as JSON is read. What is nested deeper could not even be dropped.
const DEEPEST: usize = 128;

/// A call that has begun and is not whole.
pub(super) struct Unfinished {
    index: u32,
    arguments: Value,
    signature: Option<String>,
    /// How many places of lists may still be leapt over.
    room: usize,
}

impl Unfinished {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            arguments: Value::Object(Object::new()),
            signature: None,
            room: MOST,
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
            if let Some(place) = place(&mut self.arguments, text(piece.get("jsonPath")), &mut self.room) {
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
fn place<'a>(mut value: &'a mut Value, path: &str, room: &mut usize) -> Option<&'a mut Value> {
    let mut rest = path.strip_prefix('$')?;
    let mut depth = 0;
    while !rest.is_empty() {
        depth += 1;
        if depth > DEEPEST {
            return None;
        }
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
            value = item(value, number.parse().ok()?, room)?;
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

fn item<'a>(value: &'a mut Value, at: usize, room: &mut usize) -> Option<&'a mut Value> {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    let list = value.as_array_mut()?;
    if at >= list.len() {
        *room = room.checked_sub(at - list.len())?;
        list.resize(at + 1, Value::Null);
    }
    list.get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(pieces: &[(String, &str)]) -> Unfinished {
        let mut call = Unfinished::new(0);
        for (path, text) in pieces {
            let piece =
                json!({"partialArgs": [{"jsonPath": path, "stringValue": text}], "willContinue": true});
            call.take(piece.as_object().unwrap(), None);
        }
        call
    }

    /// How many values there are.
    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(list) => list.iter().map(values).sum(),
            Value::Object(fields) => fields.values().map(values).sum(),
            _ => 0,
        }
    }

    #[test]
    fn a_path_without_end_is_left_out() {
        let call = told(&[
            (format!("${}", ".a".repeat(200_000)), "x"),
            (format!("${}", "[0]".repeat(200_000)), "x"),
            ("$.b".to_owned(), "y"),
        ]);
        assert_eq!(call.arguments["b"], "y");
        assert!(values(&call.arguments) < 1000);
    }

    #[test]
    fn a_few_bytes_of_indexes_do_not_fill_the_memory() {
        let leaps = (0..100).map(|at| (format!("$.a[{at}]{}", "[4000]".repeat(50)), "x"));
        let call = told(&leaps.collect::<Vec<_>>());
        assert!(values(&call.arguments) < 20_000, "{}", values(&call.arguments));
        let list = (0..5000).map(|at| (format!("$.a[{at}]"), "x"));
        let call = told(&list.collect::<Vec<_>>());
        assert_eq!(call.arguments["a"].as_array().unwrap().len(), 5000);
    }
}
