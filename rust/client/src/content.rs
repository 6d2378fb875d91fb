//! What was said, as OpenTelemetry's conventions write it. Only where the client's owner asked for it.

use omni_core::{Content, Message, Part, Role, ToolCall};
use serde_json::{Value, json};

/// The messages with their parts.
pub(crate) fn messages(messages: &[Message]) -> Value {
    messages.iter().map(message).collect()
}

fn message(message: &Message) -> Value {
    let mut parts = match &message.content {
        _ if message.role == Role::Tool => vec![json!({
            "type": "tool_call_response",
            "id": message.tool_call_id,
            "response": message.content.as_ref().map(Content::text),
        })],
        None => Vec::new(),
        Some(Content::Text(text)) if text.is_empty() => Vec::new(),
        Some(Content::Text(text)) => vec![json!({"type": "text", "content": text})],
        Some(Content::Parts(parts)) => parts.iter().filter_map(part).collect(),
    };
    parts.extend(message.tool_calls.iter().flatten().map(tool_call));
    json!({"role": message.role.name(), "parts": parts})
}

fn part(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text { text, .. } => json!({"type": "text", "content": text}),
        Part::Reasoning { text, .. } => json!({"type": "reasoning", "content": text}),
        Part::Provider { provider, kind, .. } => json!({"type": kind, "provider": provider}),
        // Pictures and sounds are too large for a span: it says that they were there.
        Part::ImageUrl { .. } => json!({"type": "blob", "modality": "image"}),
        Part::InputAudio { .. } => json!({"type": "blob", "modality": "audio"}),
        Part::File { .. } => json!({"type": "file"}),
        // The calls themselves are told.
        _ => return None,
    })
}

fn tool_call(call: &ToolCall) -> Value {
    let (name, arguments) = match (&call.function, &call.custom) {
        (Some(function), _) => (&function.name, &function.arguments),
        (None, Some(custom)) => (&custom.name, &custom.input),
        (None, None) => return json!({"type": "tool_call", "id": call.id}),
    };
    let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.clone()));
    json!({"type": "tool_call", "id": call.id, "name": name, "arguments": arguments})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_the_conventions_have_them() {
        let conversation: Vec<Message> = serde_json::from_value(json!([
            {"role": "user", "content": [{"type": "text", "text": "Weather?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "get", "arguments": "{\"city\": \"Paris\"}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "rainy"},
        ]))
        .unwrap();
        assert_eq!(
            messages(&conversation),
            json!([
                {"role": "user", "parts": [{"type": "text", "content": "Weather?"},
                    {"type": "blob", "modality": "image"}]},
                {"role": "assistant", "parts": [
                    {"type": "tool_call", "id": "c", "name": "get", "arguments": {"city": "Paris"}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "rainy"}]},
            ])
        );
    }
}
