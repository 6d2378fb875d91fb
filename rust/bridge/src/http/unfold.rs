//! The events that a reply would have come in: the fold, backwards.

use omni_core::{Content, Engine, Event, Message, Part, Reply, ToolCall};

/// The events of `reply`, one delta a part, without the last one.
pub(super) fn events(reply: &Reply) -> Vec<Event> {
    let mut out = Out {
        events: Vec::new(),
        index: 0,
    };
    out.events.push(Event::Start {
        id: reply.id.clone(),
        request_id: reply.request_id.clone(),
        model: reply.model.clone().unwrap_or_default(),
        provider: reply.provider.clone().unwrap_or_default(),
        engine: reply.engine.unwrap_or(Engine::Litellm),
    });
    out.message(&reply.message);
    if let Some(text) = &reply.refusal {
        out.events.push(Event::RefusalDelta { text: text.clone() });
    }
    out.events.push(Event::Usage {
        usage: reply.usage.clone(),
    });
    out.events
}

struct Out {
    events: Vec<Event>,
    index: u32,
}

impl Out {
    fn message(&mut self, message: &Message) {
        let calls = message.tool_calls.as_deref().unwrap_or_default();
        let mut marked = Vec::new();
        match &message.content {
            Some(Content::Text(text)) if !text.is_empty() => self.part(&Part::text(text.as_str())),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    match part {
                        Part::ToolCall { id, .. } => {
                            marked.push(id.as_str());
                            if let Some(call) = calls.iter().find(|call| call.id == *id) {
                                self.call(call);
                            }
                        }
                        part => self.part(part),
                    }
                }
            }
            Some(Content::Text(_)) | None => {}
        }
        for call in calls.iter().filter(|call| !marked.contains(&call.id.as_str())) {
            self.call(call);
        }
    }

    fn part(&mut self, part: &Part) {
        let index = self.index;
        let signature = part.signature().map(str::to_owned);
        match part {
            Part::Text {
                text, annotations, ..
            } => {
                self.events.push(Event::TextStart { index });
                self.events.push(Event::TextDelta {
                    index,
                    text: text.clone(),
                });
                self.events.push(Event::TextEnd {
                    index,
                    annotations: annotations.clone(),
                    signature,
                });
            }
            Part::Reasoning {
                text, encrypted, id, ..
            } => {
                self.events.push(Event::ReasoningStart {
                    index,
                    id: id.clone(),
                });
                if !text.is_empty() {
                    self.events.push(Event::ReasoningDelta {
                        index,
                        text: text.clone(),
                    });
                }
                self.events.push(Event::ReasoningEnd {
                    index,
                    signature,
                    encrypted: encrypted.clone(),
                });
            }
            Part::Provider {
                provider, kind, data, ..
            } => {
                let (provider, kind, data) = (provider.clone(), kind.clone(), data.clone());
                self.events.push(Event::ProviderPart {
                    index,
                    provider,
                    kind,
                    data,
                    signature,
                });
            }
            Part::ImageUrl { image_url, .. } => {
                let Some(media) = image_url["url"].as_str().and_then(data_url) else {
                    return;
                };
                self.media(index, media, signature);
            }
            Part::InputAudio { input_audio, .. } => {
                let format = input_audio["format"].as_str().unwrap_or("mpeg");
                let data = input_audio["data"].as_str().unwrap_or_default().to_owned();
                self.media(index, (format!("audio/{format}"), data), signature);
            }
            Part::File { file, .. } => {
                let Some(media) = file["file_data"].as_str().and_then(data_url) else {
                    return;
                };
                self.media(index, media, signature);
            }
            // A mark is told as its call; what the contract does not know has no event: it stands in the reply.
            Part::ToolCall { .. } | Part::Unknown(_) => return,
        }
        self.index += 1;
    }

    fn media(&mut self, index: u32, (mime, base64): (String, String), signature: Option<String>) {
        self.events.push(Event::MediaStart { index, mime });
        self.events.push(Event::MediaDelta { index, base64 });
        self.events.push(Event::MediaEnd { index, signature });
    }

    fn call(&mut self, call: &ToolCall) {
        let index = self.index;
        self.index += 1;
        let (name, text, kind) = match (&call.function, &call.custom) {
            (Some(function), _) => (&function.name, &function.arguments, None),
            (None, Some(custom)) => (&custom.name, &custom.input, Some("custom".to_owned())),
            (None, None) => return,
        };
        self.events.push(Event::ToolCallStart {
            index,
            id: call.id.clone(),
            name: name.clone(),
            kind,
        });
        if !text.is_empty() {
            self.events.push(Event::ToolCallDelta {
                index,
                arguments: text.clone(),
            });
        }
        self.events.push(Event::ToolCallEnd {
            index,
            signature: call.signature.clone(),
            extra: call.extra.clone(),
        });
    }
}

/// A data URL in base64 as its type and its data.
fn data_url(url: &str) -> Option<(String, String)> {
    let (mime, base64) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((mime.to_owned(), base64.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_core::{Finish, FinishReason, Fold};
    use serde_json::json;

    #[test]
    fn folding_the_events_of_a_reply_gives_its_message() {
        let call =
            |id| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{not json"}});
        let custom =
            json!({"id": "c", "type": "custom", "custom": {"name": "g", "input": "free"}, "signature": "s"});
        let text = |text| json!({"type": "text", "text": text, "signature": "t"});
        let messages = [
            json!({"role": "assistant", "content": "plain"}),
            json!({"role": "assistant", "content": ""}),
            json!({"role": "assistant", "content": "", "tool_calls": [call("a"), custom]}),
            json!({"role": "assistant", "content": "", "refusal": "no"}),
            json!({"role": "assistant", "content": [
                {"type": "reasoning", "text": "hm", "encrypted": "e", "id": "r", "signature": "s"},
                text("before"),
                {"type": "tool_call", "id": "a"},
                {"type": "provider", "provider": "p", "kind": "k", "data": {"x": [1]}, "signature": "s"},
                {"type": "tool_call", "id": "b"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "signature": "s"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                text("after"),
            ], "tool_calls": [call("a"), call("b")]}),
        ];
        for message in messages {
            let message: Message = serde_json::from_value(message).unwrap();
            let calls = message.tool_calls.clone().unwrap_or_default();
            let reply = json!({"content": "", "tool_calls": calls, "refusal": message.refusal, "message": message,
                               "model": "m", "provider": "p", "engine": "litellm", "usage": {"input_tokens": 3}});
            let reply: Reply = serde_json::from_value(reply).unwrap();
            let mut fold = Fold::new();
            for event in events(&reply) {
                fold.push(&event);
            }
            let finish = Finish {
                finish_reason: Some(FinishReason::Stop),
                ..Finish::default()
            };
            let folded = fold.finish(finish, Vec::new());
            assert_eq!(folded.message, message);
            assert_eq!((folded.usage, folded.tool_calls), (reply.usage, reply.tool_calls));
        }
    }
}
