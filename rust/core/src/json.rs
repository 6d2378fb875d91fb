//! JSON at the doors: the one place that says what becomes of lone surrogates.

use crate::{Error, Result};
use std::borrow::Cow;

/// A JSON object whose keys keep their order.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// Reads JSON text that may carry lone surrogate escapes (`\ud800`) or invalid UTF-8; both become U+FFFD,
/// as the contract says for every door. Text that is right is read as it is, without a copy.
pub fn from_slice_lenient<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(first) => match mend_surrogates(text) {
            Cow::Borrowed(_) => Err(first),
            Cow::Owned(mended) => serde_json::from_slice(&mended),
        },
    }
}

/// Replaces each escape of a lone surrogate by `\ufffd`, and invalid UTF-8 by U+FFFD; borrows when there is nothing to mend.
pub fn mend_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    let text = match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(mended) => Cow::Owned(mended.into_bytes()),
    };
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|b| *b == b'\\') {
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
            out.get_or_insert_with(|| text[..here].to_vec()).extend_from_slice(b"\\ufffd");
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
    let escape = text.get(at..at + 6)?;
    if !escape.starts_with(b"\\u") {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
}

/// The message for JSON text that cannot be read; the text itself is never quoted.
pub(crate) fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    Error::invalid(format!("{what} is not what the contract says: {error}"))
}
