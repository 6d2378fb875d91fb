//! Reading what providers send: fields that come as null, as another kind, or not at all are no failures.

use crate::fault::Fault;
use omni_core::{Object, mend_surrogates};
use serde_json::Value;

/// Larger counts are no counts, and not every reader of JSON keeps them.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// A JSON document of a provider. Lone surrogates become U+FFFD; NaN and infinities, which some servers write into
/// log probabilities, become null.
///
/// # Errors
/// `Fault::Protocol` that says what kind of thing came instead.
pub(crate) fn parse(text: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(text).or_else(|_| {
        let mended = mend_surrogates(text);
        serde_json::from_slice(&mended)
            .or_else(|_| serde_json::from_slice(&without_nan(&mended)))
            .map_err(|_| not_json(text))
    })
}

/// That what came is not JSON, and what it looks like.
pub(crate) fn not_json(text: &[u8]) -> Fault {
    let what = match text.trim_ascii_start().first() {
        Some(b'<') => "the provider answered with HTML",
        None => "the provider's answer is empty",
        Some(_) => "the provider answered with text that is not JSON",
    };
    Fault::protocol(what)
}

/// The same text with `null` for NaN and infinities that stand outside strings.
fn without_nan(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut inside = false;
    while let Some(&byte) = rest.first() {
        if inside {
            let taken = if byte == b'\\' { rest.len().min(2) } else { 1 };
            inside = byte != b'"';
            out.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        }
        let word = [&b"NaN"[..], b"-Infinity", b"Infinity"]
            .into_iter()
            .find(|word| rest.starts_with(word));
        if let Some(word) = word {
            out.extend_from_slice(b"null");
            rest = &rest[word.len()..];
        } else {
            inside = byte == b'"';
            out.push(byte);
            rest = &rest[1..];
        }
    }
    out
}

/// A text; "" for anything else.
pub(crate) fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// A text that says something.
pub(crate) fn some_text(value: Option<&Value>) -> Option<String> {
    Some(text(value))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// An object.
pub(crate) fn object(value: Option<&Value>) -> Option<&Object> {
    value.and_then(Value::as_object)
}

/// The objects in a list; what is not an object, or no list, is left out.
pub(crate) fn objects(value: Option<&Value>) -> impl Iterator<Item = &Object> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
}

/// A count or a time of a provider: a whole number that is not negative; `None` for anything else.
pub(crate) fn count(value: Option<&Value>) -> Option<u64> {
    let number = value?;
    if let Some(whole) = number.as_u64() {
        return (whole <= 1 << 53).then_some(whole);
    }
    let float = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the check before it"
    )]
    (0.0..=LARGEST).contains(&float).then_some(float as u64)
}

/// A price of a provider; `None` for what is none.
pub(crate) fn cost(value: Option<&Value>) -> Option<f64> {
    value?.as_f64().filter(|number| (0.0..=LARGEST).contains(number))
}

/// The sum of those that are known; `None` if none is.
pub(crate) fn sum(counts: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}

/// Whether a value says anything: not null, "", [] or {}.
pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// `(mime, base64)` of a `data:` URL, `None` for any other.
pub(crate) fn split_data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime = head.strip_suffix(";base64")?;
    let mime = mime.split(';').next().unwrap_or_default();
    Some((
        if mime.is_empty() {
            "application/octet-stream"
        } else {
            mime
        },
        data,
    ))
}

/// The arguments as the object that some providers want; other text becomes `{"_raw": text}` (design section 2).
pub(crate) fn arguments_object(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Object::new());
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => value,
        _ => serde_json::json!({ "_raw": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_that_are_none_become_null_outside_strings_only() {
        let read = parse(br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN"}"#).unwrap();
        assert_eq!(read, json!({"a": null, "b": [null, null], "c": "NaN \" NaN"}));
    }

    #[test]
    fn what_is_no_json_is_named_without_being_quoted() {
        for (text, word) in [("<html>", "HTML"), ("hello", "not JSON"), (" ", "empty")] {
            let Err(Fault::Protocol(message)) = parse(text.as_bytes()) else {
                panic!("{text}")
            };
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(count(Some(&json!(3))), Some(3));
        assert_eq!(count(Some(&json!(3.0))), Some(3));
        for none in [json!(-1), json!("3"), json!(null), json!(true), json!(1e300)] {
            assert_eq!(count(Some(&none)), None, "{none}");
        }
        assert_eq!(count(None), None);
    }

    #[test]
    fn data_urls_split() {
        assert_eq!(
            split_data_url("data:image/png;base64,AAAA"),
            Some(("image/png", "AAAA"))
        );
        assert_eq!(
            split_data_url("data:;base64,AA"),
            Some(("application/octet-stream", "AA"))
        );
        assert_eq!(split_data_url("https://x/y.png"), None);
        assert_eq!(split_data_url("data:text/plain,hello"), None);
    }
}
