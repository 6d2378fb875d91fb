//! The rest of a part, from the message that was saved: for readers that were stopped so long that the bus has let
//! the part's text go. A text that has not the part's length is not its text, and is not told.

use super::part::{Call, Kind};
use crate::protocol::{AgentEvent, ChunkKind, Payload};
use omni_core::{Content, Message, Part};

/// The texts of a message in the order of its parts, each with its kind.
fn texts(message: &Message) -> Vec<(Kind, &str)> {
    let calls = || {
        let calls = message.tool_calls.iter().flatten();
        calls.map(|call| (&*call.id, call.text()))
    };
    let arguments = Kind::Answer(ChunkKind::ToolCall);
    let mut found = Vec::new();
    let mut marked = false;
    match &message.content {
        Some(Content::Text(text)) if !text.is_empty() => found.push((Kind::Answer(ChunkKind::Text), &**text)),
        Some(Content::Parts(parts)) => {
            for part in parts {
                match part {
                    Part::Text { text, .. } => found.push((Kind::Answer(ChunkKind::Text), text)),
                    Part::Reasoning { text, .. } => found.push((Kind::Thinking, text)),
                    Part::ToolCall { id, .. } => {
                        marked = true;
                        let call = calls().find(|(of, _)| of == id);
                        found.extend(call.map(|(_, text)| (arguments, text)));
                    }
                    Part::ImageUrl { .. }
                    | Part::InputAudio { .. }
                    | Part::File { .. }
                    | Part::Provider { .. }
                    | Part::Unknown(_) => {}
                }
            }
        }
        Some(Content::Text(_)) | None => {}
    }
    if !marked {
        found.extend(calls().map(|(_, text)| (arguments, text)));
    }
    if let Some(refusal) = &message.refusal {
        found.push((Kind::Answer(ChunkKind::Refusal), refusal));
    }
    found
}

/// The texts of a call's parts, in the order of `call.parts`: for each the next of its kind, if it has its length.
pub(super) fn recover(message: &Message, call: &Call) -> Vec<Option<String>> {
    let mut offer: Vec<Option<(Kind, &str)>> = texts(message).into_iter().map(Some).collect();
    let mut found = vec![None; call.parts.len()];
    let mut parts: Vec<_> = call.parts.iter().zip(&mut found).collect();
    parts.retain(|(part, _)| !part.discarded);
    parts.sort_by_key(|(part, _)| part.index);
    for (part, found) in parts {
        // A part that says nothing may have been left out of the message.
        if part.length == 0 {
            *found = Some(String::new());
            continue;
        }
        let fits = |text: &Option<(Kind, &str)>| {
            text.is_some_and(|(kind, text)| kind == part.kind && text.len() == part.length)
        };
        let text = offer.iter_mut().find(|text| fits(text)).and_then(Option::take);
        *found = text.map(|(_, text)| text.to_owned());
    }
    found
}

/// The message that `event` saves, if it is the one.
pub(super) fn message_of<'a>(event: &'a AgentEvent, wanted: &str) -> Option<&'a Message> {
    match &event.payload {
        Payload::MessageSaved {
            message_id, message, ..
        } if message_id == wanted => Some(message),
        _ => None,
    }
}

/// Bytes that a durable event holds, nearly: what the limit of the ring counts.
pub(super) fn weight(event: &AgentEvent) -> usize {
    const ENVELOPE: usize = 256;
    let payload = match &event.payload {
        Payload::MessageSaved { message, .. }
        | Payload::ToolCompleted {
            early: Some(message), ..
        } => weight_of(message),
        Payload::ToolProposed { call, .. } => call.text().len(),
        Payload::CompactionCompleted { summary, .. } => summary.as_ref().map_or(0, String::len),
        Payload::ServerConnected { tools, .. } | Payload::ServerToolsChanged { tools, .. } => {
            tools.iter().map(String::len).sum()
        }
        _ => 0,
    };
    ENVELOPE + payload
}

fn weight_of(message: &Message) -> usize {
    let content = match &message.content {
        Some(Content::Parts(parts)) => parts
            .iter()
            .map(|part| serde_json::to_vec(part).map_or(0, |json| json.len()))
            .sum(),
        Some(Content::Text(text)) => text.len(),
        None => 0,
    };
    let calls = message.tool_calls.iter().flatten();
    content + calls.map(|call| call.text().len()).sum::<usize>()
}
