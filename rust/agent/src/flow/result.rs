//! What the model is told of a tool call: a bounded result, or an error that it can read.

use crate::tool::ToolOutput;
use omni_core::{Content, Message, Object, Part};

/// A result as it goes into the tool message.
pub(super) struct Bounded {
    pub(super) content: Content,
    /// Bytes before the cut.
    pub(super) bytes: u64,
    pub(super) truncated: bool,
}

/// The first `most` bytes of `text`, less what would split a character.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Cuts a result to `most` bytes and says so in it.
pub(super) fn bound(output: ToolOutput, most: usize) -> Bounded {
    let empty = match &output.content {
        Content::Text(text) => text.is_empty(),
        Content::Parts(parts) => parts.is_empty(),
    };
    let content = match (empty, output.structured) {
        (false, _) => output.content,
        (true, Some(structured)) => Content::Text(structured.to_string()),
        (true, None) => Content::Text("(the tool gave no output)".to_owned()),
    };
    let bytes = match &content {
        Content::Text(text) => text.len(),
        Content::Parts(parts) => parts.iter().map(weight).sum(),
    };
    let truncated = bytes > most;
    let content = if truncated {
        shorten(content, bytes, most)
    } else {
        content
    };
    Bounded {
        content,
        bytes: bytes as u64,
        truncated,
    }
}

fn shorten(content: Content, bytes: usize, most: usize) -> Content {
    let note = format!(
        "[cut: the result has {bytes} bytes, and only the first {most} may be shown; ask for a smaller part of it]"
    );
    match content {
        Content::Text(text) => Content::Text(format!("{}\n{note}", cut(&text, most))),
        Content::Parts(parts) => {
            let mut left = most;
            let mut kept = Vec::new();
            for mut part in parts {
                let takes = weight(&part);
                if takes <= left {
                    left -= takes;
                } else if let Part::Text { text, .. } = &mut part {
                    *text = cut(text, left).to_owned();
                    left = 0;
                    if text.is_empty() {
                        continue;
                    }
                } else {
                    // Half an image is no image; a text after it may still fit.
                    kept.push(Part::text(format!("[left out: a part of {takes} bytes]")));
                    continue;
                }
                kept.push(part);
            }
            kept.push(Part::text(note));
            Content::Parts(kept)
        }
    }
}

/// Bytes of a part.
fn weight(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } => text.len(),
        other => serde_json::to_vec(other).map_or(0, |json| json.len()),
    }
}

/// The tool message of a result.
pub(super) fn message(tool_call_id: &str, content: Content, is_error: bool) -> Message {
    let mut message = Message::tool(tool_call_id, "");
    message.content = Some(content);
    message.is_error = is_error.then_some(true);
    message
}

/// The tool message of a call that gave no result.
pub(crate) fn error(tool_call_id: &str, says: &str) -> Message {
    message(tool_call_id, Content::Text(format!("Error: {says}")), true)
}

/// The tool message of a call whose process ended before it did.
pub(super) fn lost(tool_call_id: &str) -> Message {
    let says =
        "the program that ran this call ended before its result was kept; the call may have had its effect";
    error(tool_call_id, says)
}

/// Reads a call's arguments: a JSON object, or what the model is told is wrong with them. No text at all is the
/// empty object: several models write that for a function without parameters.
pub(super) fn arguments(text: &str, was_cut: bool) -> Result<Object, String> {
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    let wrong = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(object)) => return Ok(object),
        Ok(other) => format!("they are {}", kind(&other)),
        Err(_) if was_cut => "the answer reached its limit of tokens within them".to_owned(),
        Err(error) => format!("they cannot be read: {error}"),
    };
    Err(format!(
        "the arguments of this call are not a JSON object: {wrong}. Make the call again with one JSON object that fits the tool's schema."
    ))
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "true or false",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// A call's name and arguments as one text: equal for equal calls, whatever the order of keys and the white space.
pub(super) fn signature(name: &str, text: &str) -> String {
    let arguments = serde_json::from_str::<serde_json::Value>(text)
        .map_or_else(|_| text.trim().to_owned(), |value| sorted(value).to_string());
    format!("{name}\u{0}{arguments}")
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(mut object) => {
            object.sort_keys();
            object
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect()
        }
        serde_json::Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}
