//! The dialects that we know, by provider: `data/dialects.json`.
//!
//! An entry may name another that it is `like`; what it says itself is merged into that one's. "*" is how servers
//! speak of which nobody knows more than that they take OpenAI's chat completions.

use crate::dialect::Dialect;
use crate::merge::deep;
use omni_core::Object;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The entry of providers that have none.
const ANY: &str = "*";

static KNOWN: LazyLock<HashMap<String, Arc<Dialect>>> =
    LazyLock::new(|| read(include_str!("../data/dialects.json")).unwrap_or_default());

/// What `provider` (LiteLLM's name) does differently; for a provider that we do not know, what is the most usual.
#[must_use]
pub fn dialect_of(provider: &str) -> Arc<Dialect> {
    let known = KNOWN.get(provider).or_else(|| KNOWN.get(ANY));
    known.map(Arc::clone).unwrap_or_default()
}

/// The providers whose deviations are known.
pub fn known_dialects() -> impl Iterator<Item = &'static str> {
    KNOWN.keys().map(String::as_str).filter(|name| *name != ANY)
}

fn read(text: &str) -> Result<HashMap<String, Arc<Dialect>>, serde_json::Error> {
    let entries: Object = serde_json::from_str(text)?;
    entries
        .keys()
        .map(|name| {
            let dialect: Dialect = serde_json::from_value(whole(&entries, name, 0))?;
            Ok((name.clone(), Arc::new(dialect)))
        })
        .collect()
}

/// An entry with what it is like.
fn whole(entries: &Object, name: &str, depth: usize) -> Value {
    let mut own = entries.get(name).cloned().unwrap_or_default();
    let like = own.as_object_mut().and_then(|own| own.shift_remove("like"));
    let Some(Value::String(like)) = like.filter(|_| depth < entries.len()) else {
        return own;
    };
    let mut value = whole(entries, &like, depth + 1);
    deep(&mut value, &own);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_whole() {
        let known = read(include_str!("../data/dialects.json")).unwrap();
        assert!(known.len() > 40);
        for name in [
            "openai",
            "azure",
            "deepseek",
            "mistral",
            "openrouter",
            "ollama",
            "hosted_vllm",
            ANY,
        ] {
            assert!(known.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_entry_is_like_one_that_is_there() {
        let entries: Object = serde_json::from_str(include_str!("../data/dialects.json")).unwrap();
        for (name, entry) in &entries {
            if let Some(like) = entry.get("like") {
                assert!(
                    entries.contains_key(like.as_str().unwrap()),
                    "{name} is like nobody"
                );
            }
        }
    }

    #[test]
    fn an_entry_says_only_what_differs_from_what_it_is_like() {
        let (mistral, codestral) = (dialect_of("mistral"), dialect_of("codestral"));
        assert_eq!(mistral, codestral);
        let text = r#"{"a": {"openai_chat": {"developer": false, "names": {"seed": "x"}}},
                       "b": {"like": "a", "openai_chat": {"names": {"user": ""}}}}"#;
        let known = read(text).unwrap();
        assert!(!known["b"].openai_chat.developer);
        assert_eq!(known["b"].openai_chat.names.len(), 2);
    }

    #[test]
    fn a_misspelt_field_is_an_error_and_a_circle_ends() {
        assert!(read(r#"{"a": {"openai_chat": {"developers": true}}}"#).is_err());
        assert!(read(r#"{"a": {"like": "b"}, "b": {"like": "a"}}"#).is_ok());
    }

    #[test]
    fn an_unknown_provider_speaks_as_most_do() {
        assert_eq!(dialect_of("nobody-knows-it"), dialect_of(ANY));
        assert_ne!(dialect_of("openai"), dialect_of(ANY));
    }
}
