//! The items of an answer: what is known of one while it streams, and what a whole one says.

use crate::parts::Parts;
use crate::value::{object, objects, says_something, some_text, text};
use omni_core::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A piece of an item that is told by deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// Of a message: a text or a refusal.
    Content(u64),
    /// Of a reasoning item: a summary.
    Summary(u64),
    /// Of a reasoning item: the reasoning itself.
    Thought(u64),
}

/// How much of a piece was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Bytes.
    pub(crate) sent: usize,
    /// Its part began.
    pub(crate) begun: bool,
    /// Its annotations were told.
    pub(crate) annotated: bool,
    /// Its log probabilities were read.
    pub(crate) scored: bool,
    /// Annotations that came alone.
    pub(crate) annotations: Vec<Value>,
}

/// What is known of an item.
#[derive(Debug, Default)]
pub(crate) struct Item {
    pub(crate) id: Option<String>,
    /// Its call, while that is open.
    pub(crate) call: Option<u32>,
    /// Bytes of the call's arguments that were told.
    pub(crate) sent: usize,
    pub(crate) pieces: BTreeMap<Piece, Told>,
    /// The place of its provider part, if other parts came between.
    pub(crate) reserved: Option<u32>,
    /// A reasoning item that is kept whole.
    pub(crate) whole: bool,
    /// It was told whole.
    pub(crate) done: bool,
}

/// What of `text` has not been sent; nothing where the deltas said something else.
pub(crate) fn rest(text: &str, sent: usize) -> &str {
    text.get(sent..).unwrap_or_default()
}

/// Whether reasoning parts of the contract say all that a reasoning item does, so that it can be written again.
pub(crate) fn is_plain_reasoning(item: &Object) -> bool {
    item.iter().all(|(key, value)| match key.as_str() {
        "type" | "status" => true,
        "id" => value.as_str().is_some_and(|id| !id.is_empty()),
        "encrypted_content" => value.is_string() || value.is_null(),
        "summary" => match value {
            Value::Array(all) => all.iter().all(is_plain_summary),
            other => other.is_null(),
        },
        _ => !says_something(value),
    }) && item.contains_key("id")
}

fn is_plain_summary(summary: &Value) -> bool {
    let text = summary.get("text").and_then(Value::as_str);
    object(Some(summary)).is_some_and(|summary| summary.len() == 2)
        && text.is_some_and(|text| !text.is_empty())
        && summary.get("type").and_then(Value::as_str) == Some("summary_text")
}

/// The readable texts of a reasoning item.
pub(crate) fn thoughts(item: &Object) -> impl Iterator<Item = (Piece, &str)> {
    let summaries = (0..).zip(objects(item.get("summary")));
    let content = (0..).zip(objects(item.get("content")));
    summaries
        .map(|(number, part)| (Piece::Summary(number), text(part.get("text"))))
        .chain(content.map(|(number, part)| (Piece::Thought(number), text(part.get("text")))))
}

/// Whether an item becomes a provider part and nothing else.
pub(crate) fn is_own(kind: &str) -> bool {
    !matches!(
        kind,
        "" | "message" | "reasoning" | "function_call" | "custom_tool_call" | "image_generation_call"
    )
}

/// Begins the call of an item.
pub(crate) fn start_call(item: &Object, parts: &mut Parts) -> u32 {
    let id = some_text(item.get("call_id")).or_else(|| some_text(item.get("id")));
    let custom = text(item.get("type")) == "custom_tool_call";
    parts.call_start(id.unwrap_or_default(), text(item.get("name")).to_owned(), custom)
}

/// Ends the call of a whole item, with what was not streamed of it.
pub(crate) fn whole_call(state: &mut Item, item: &Object, provider: &str, parts: &mut Parts) {
    let call = state.call.take().unwrap_or_else(|| start_call(item, parts));
    let given = item.get("arguments").or_else(|| item.get("input"));
    match given {
        Some(object @ Value::Object(_)) if state.sent == 0 => parts.call_delta(call, object.to_string()),
        _ => parts.call_delta(call, rest(text(given), state.sent)),
    }
    let own: Object = ["id", "namespace", "caller"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), item.get(key)?.clone())))
        .filter(|(_, value)| says_something(value))
        .collect();
    let extra = (!own.is_empty()).then(|| json!({ provider: own }));
    parts.call_end(call, None, object(extra.as_ref()).cloned());
}

/// Whether items of this type are calls that the provider ran itself.
pub(crate) fn ran_on_server(kind: &str) -> bool {
    matches!(
        kind,
        "web_search_call"
            | "file_search_call"
            | "code_interpreter_call"
            | "image_generation_call"
            | "mcp_call"
    )
}

/// The picture that an item brings: its mime type and base64.
pub(crate) fn picture(item: &Object) -> Option<(String, &str)> {
    if text(item.get("type")) != "image_generation_call" {
        return None;
    }
    let format = some_text(item.get("output_format")).unwrap_or_else(|| "png".to_owned());
    let base64 = text(item.get("result"));
    (!base64.is_empty()).then(|| (format!("image/{format}"), base64))
}
