//! `usageMetadata` in the contract's words.

use crate::value::{count, parse, sum};
use omni_core::{Object, Usage};
use serde_json::Value;

/// The object that `text` holds; `None` where no usage came.
pub(super) fn document(text: &str) -> Option<Object> {
    match parse(text.as_bytes()) {
        Ok(Value::Object(usage)) => Some(usage),
        _ => None,
    }
}

/// A `usageMetadata` object. Gemini leaves out the counts that are 0.
pub(super) fn read(usage: Object) -> Usage {
    let of = |key: &str| count(usage.get(key));
    let zero = (!usage.is_empty()).then_some(0);
    Usage {
        input_tokens: sum([of("promptTokenCount"), of("toolUsePromptTokenCount")]).or(zero),
        output_tokens: sum([of("candidatesTokenCount"), of("thoughtsTokenCount")]).or(zero),
        total_tokens: of("totalTokenCount"),
        cached_input_tokens: of("cachedContentTokenCount"),
        reasoning_tokens: of("thoughtsTokenCount"),
        raw: Some(Value::Object(usage)),
        ..Usage::default()
    }
}
