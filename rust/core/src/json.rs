//! JSON at the doors: the one place that says what becomes of lone surrogates, and how a misfit is reported.
//!
//! Numbers: whole numbers of 64 bits (signed or unsigned) and every 64-bit float come back as they were. A whole
//! number beyond that becomes the nearest float, as in JavaScript. `serde_json`'s `arbitrary_precision` would keep
//! it, but it turns every number inside flattened and untagged types into a map, which breaks `timeout`, `usage`
//! and all events; and one beyond the range of a float (1e400) is refused in either case by most readers.

use crate::{Error, Result};
use std::borrow::Cow;

/// A JSON object whose keys keep their order.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// Reads JSON text that may carry lone surrogate escapes (`\ud800`) or invalid UTF-8; both become U+FFFD,
/// as the contract says for every door. Text that is right is read as it is, without a copy.
///
/// # Errors
/// `serde_json`'s own, which may quote the text: show [`unreadable`]'s message instead.
pub fn from_slice_lenient<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(first) => match mend_surrogates(text) {
            Cow::Borrowed(_) => Err(first),
            Cow::Owned(mended) => serde_json::from_slice(&mended),
        },
    }
}

/// Replaces each escape of a lone surrogate by `\ufffd`, and invalid UTF-8 by U+FFFD; borrows when there is nothing
/// to mend. What is not JSON stays as wrong as it was.
pub fn mend_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    let text = match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(mended) => Cow::Owned(mended.into_bytes()),
    };
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        let here = at + found;
        if let Some(out) = &mut out {
            out.extend_from_slice(&text[at..here]);
        }
        let unit = unit_at(&text, here);
        let (taken, lone) = match unit {
            Some(0xD800..=0xDBFF) => match unit_at(&text, here + 6) {
                Some(0xDC00..=0xDFFF) => (12, false),
                _ => (6, true),
            },
            Some(0xDC00..=0xDFFF) => (6, true),
            Some(_) => (6, false),
            None => (2, false),
        };
        let end = (here + taken).min(text.len());
        if lone {
            out.get_or_insert_with(|| text[..here].to_vec())
                .extend_from_slice(b"\\ufffd");
        } else if let Some(out) = &mut out {
            out.extend_from_slice(&text[here..end]);
        }
        at = end;
    }
    match out {
        Some(mut out) => {
            out.extend_from_slice(&text[at..]);
            Cow::Owned(out)
        }
        None => text,
    }
}

/// The UTF-16 unit that a `\uXXXX` escape at `at` names.
fn unit_at(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at.checked_add(6)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    // from_str_radix alone would take "+123" too.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// An `invalid_request` for JSON text that cannot be read as `what`. The text itself is never quoted: what serde
/// says of a value of a wrong kind repeats the value, so only the place is taken from it.
pub fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    use serde_json::error::Category;
    let (line, column) = (error.line(), error.column());
    Error::invalid(match error.classify() {
        Category::Eof => format!("{what} is cut off: the JSON text ends at line {line} column {column}"),
        Category::Syntax => format!("{what} is not JSON: {error}"),
        Category::Io => format!("{what} could not be read"),
        Category::Data => {
            let said = error.to_string();
            let safe = if said.starts_with("missing field `") || said.starts_with("duplicate field `") {
                said.split(" at line ").next().unwrap_or_default()
            } else {
                "a value is of the wrong kind"
            };
            // Positions are unknown (0) where the text was read into a value first.
            if line == 0 {
                format!("{what} is not what the contract says: {safe}")
            } else {
                format!("{what} is not what the contract says: {safe} (line {line} column {column})")
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn mended(text: &str) -> String {
        String::from_utf8(mend_surrogates(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character_and_a_pair_stays() {
        assert_eq!(mended(r#""a\ud800b""#), r#""a\ufffdb""#);
        assert_eq!(mended(r#""a\udc00""#), r#""a\ufffd""#);
        assert_eq!(mended(r#""\ud83d\ude00""#), r#""\ud83d\ude00""#);
        assert_eq!(mended(r#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        assert_eq!(mended(r#""\uD800\u0041""#), r#""\ufffd\u0041""#);
        assert_eq!(mended(r#""\ud800"#), r#""\ufffd"#);
    }

    #[test]
    fn an_escaped_backslash_before_u_is_not_an_escape() {
        let text = r#""\\ud800""#;
        assert!(matches!(mend_surrogates(text.as_bytes()), Cow::Borrowed(_)));
        assert_eq!(
            from_slice_lenient::<Value>(text.as_bytes()).unwrap(),
            json!("\\ud800")
        );
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(
            from_slice_lenient::<Value>(b"\"a\xffb\"").unwrap(),
            json!("a\u{fffd}b")
        );
        assert_eq!(
            from_slice_lenient::<Value>(b"\"\xf0\x9f\x98\"").unwrap(),
            json!("\u{fffd}")
        );
    }

    #[test]
    fn numbers_come_back_as_the_module_says() {
        for same in [
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1e308",
            "5e-324",
            "-0.0",
            "1.0",
        ] {
            let value: Value = serde_json::from_str(same).unwrap();
            let again: Value = serde_json::from_str(&value.to_string()).unwrap();
            assert_eq!(value, again);
            assert_eq!(
                value.is_f64(),
                same.contains(['.', 'e']),
                "{same} changed its kind"
            );
        }
        let beyond: Value = serde_json::from_str("18446744073709551617").unwrap();
        assert_eq!(beyond.as_f64(), Some(18_446_744_073_709_551_616.0));
        assert!(from_slice_lenient::<Value>(b"1e400").is_err());
    }

    #[test]
    fn a_report_names_the_place_and_never_the_text() {
        let error = from_slice_lenient::<u64>(b"\"my secret\"").unwrap_err();
        let message = unreadable("the thing", &error).message;
        assert!(
            message.contains("line 1") && !message.contains("secret"),
            "{message}"
        );
        let error = from_slice_lenient::<Value>(b"{\"a\": ").unwrap_err();
        assert!(unreadable("the thing", &error).message.contains("cut off"));
    }

    proptest! {
        #[test]
        fn mending_is_idempotent_and_leaves_right_text_alone(text in ".*") {
            let json = serde_json::to_vec(&text).unwrap();
            prop_assert!(matches!(mend_surrogates(&json), Cow::Borrowed(_)));
            prop_assert_eq!(from_slice_lenient::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_string_of_utf16_units_is_read_as_utf16_would_be_read_leniently(units in prop::collection::vec(any::<u16>(), 0..40)) {
            let escapes = units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
            let read: String = from_slice_lenient(format!("\"{escapes}\"").as_bytes()).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn any_bytes_are_mended_without_a_panic(bytes in prop::collection::vec(prop::sample::select(b"\\u\"dD8cCf0{}\xff ".to_vec()), 0..60)) {
            let once = mend_surrogates(&bytes).into_owned();
            prop_assert_eq!(mend_surrogates(&once).into_owned(), once);
        }
    }
}
