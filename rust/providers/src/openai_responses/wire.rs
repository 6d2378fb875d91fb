//! What the stream sends, as borrowed structs: the events that come by the hundred are read without building a value.

use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// What a delta extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Refusal,
    Summary,
    Thought,
    Arguments,
}

impl Kind {
    pub(crate) fn of(event: &str) -> Option<Self> {
        Some(match event {
            "response.output_text.delta" => Kind::Text,
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                Kind::Arguments
            }
            "response.reasoning_summary_text.delta" => Kind::Summary,
            "response.reasoning_text.delta" => Kind::Thought,
            "response.refusal.delta" => Kind::Refusal,
            _ => return None,
        })
    }
}

/// The name of an event that came without the SSE field `event`: where servers write `type` first, it is found
/// without reading the document. "" if it is not there: then the document is read as a whole.
pub(crate) fn sniff(data: &str) -> &str {
    data.strip_prefix("{\"type\":")
        .and_then(|rest| rest.trim_start().strip_prefix('"'))
        .and_then(|rest| rest.split_once('"'))
        .map_or("", |(name, _)| name)
}

/// More of a text, of reasoning, of arguments.
#[derive(Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) item_id: Cow<'a, str>,
    pub(crate) output_index: Option<u64>,
    pub(crate) content_index: Option<u64>,
    pub(crate) summary_index: Option<u64>,
    #[serde(rename = "delta", borrow)]
    pub(crate) more: Cow<'a, str>,
}

/// `response.created` and the like: the whole request comes back in it, of which only the head is read.
#[derive(Deserialize)]
pub(crate) struct Begin<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
    pub(crate) response: Head,
}

/// What is known of a response from its first event on. Values, for a field of another kind is no failure.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Head {
    pub(crate) id: Value,
    pub(crate) model: Value,
    pub(crate) created_at: Value,
    pub(crate) service_tier: Value,
}

/// `response.completed` and the like.
#[derive(Deserialize)]
pub(crate) struct Last<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(crate) kind: Cow<'a, str>,
    pub(crate) response: Response,
}

/// A whole response, but for what only repeats the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Response {
    pub(crate) id: Value,
    pub(crate) model: Value,
    pub(crate) created_at: Value,
    pub(crate) service_tier: Value,
    pub(crate) output: Value,
    pub(crate) usage: Value,
    pub(crate) status: Value,
    pub(crate) error: Value,
    pub(crate) incomplete_details: Value,
    pub(crate) metadata: Value,
    pub(crate) conversation: Value,
    pub(crate) background: Value,
    pub(crate) safety_identifier: Value,
    pub(crate) prompt_cache_key: Value,
    pub(crate) moderation: Value,
    pub(crate) content_filters: Value,
}

/// Whether an event tells nothing that the whole item, or the whole response, does not tell again.
pub(crate) fn told_again(event: &str) -> bool {
    let Some(name) = event.strip_prefix("response.") else {
        return false;
    };
    matches!(
        name,
        "content_part.added"
            | "output_text.done"
            | "refusal.done"
            | "function_call_arguments.done"
            | "custom_tool_call_input.done"
            | "reasoning_summary_part.added"
            | "reasoning_summary_part.done"
            | "reasoning_summary_text.done"
            | "reasoning_text.done"
    ) || [
        "web_search_call.",
        "file_search_call.",
        "code_interpreter_call.",
        "code_interpreter_call_code.",
        "image_generation_call.",
        "mcp_call.",
        "mcp_call_arguments.",
        "mcp_list_tools.",
    ]
    .iter()
    .any(|tool| name.starts_with(tool))
}
