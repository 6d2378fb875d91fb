//! What a caller means for one provider alone, merged into what we wrote.

use serde_json::Value;

/// Lays `from` over `into`: objects are merged key by key and all the way down, everything else replaces what was
/// there.
pub(crate) fn deep(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(have @ Value::Object(_)) if value.is_object() => deep(have, value),
                    _ => drop(into.insert(key.clone(), value.clone())),
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_merge_and_the_rest_replaces() {
        let mut body = json!({"a": {"b": 1, "c": [1]}, "d": 1, "e": 2});
        deep(
            &mut body,
            &json!({"a": {"c": [2, 3], "x": 1}, "d": {"y": 1}, "e": null}),
        );
        assert_eq!(
            body,
            json!({"a": {"b": 1, "c": [2, 3], "x": 1}, "d": {"y": 1}, "e": null})
        );
    }
}
