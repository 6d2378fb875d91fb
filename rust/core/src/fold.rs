//! The pure fold: events in, reply out. The one place that builds a reply.

use crate::Object;
use crate::event::{Event, Finish};
use crate::message::{Content, Message, Part, Role};
use crate::reply::{Attempt, Engine, FinishReason, Reply, Usage};
use crate::tool::{Custom, Function, ToolCall};
use serde_json::{Value, json};

/// A part as it grows.
#[derive(Clone)]
enum Slot {
    Text {
        text: String,
        annotations: Option<Vec<Value>>,
        signature: Option<String>,
    },
    Reasoning {
        id: Option<String>,
        text: String,
        signature: Option<String>,
        encrypted: Option<String>,
    },
    ToolCall(Box<ToolCall>),
    Media {
        mime: String,
        base64: String,
        signature: Option<String>,
    },
    Provider {
        provider: String,
        kind: String,
        data: Value,
        signature: Option<String>,
    },
}

/// Folds the events of one answer into its reply. Each event costs the same however long the answer is.
#[derive(Clone, Default)]
pub struct Fold {
    slots: Vec<(u32, Slot)>,
    refusal: Option<String>,
    usage: Usage,
    id: Option<String>,
    request_id: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    engine: Option<Engine>,
}

impl std::fmt::Debug for Fold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fold")
            .field("parts", &self.slots.len())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Fold {
    /// A fold that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event. Events that name a part that never began begin it, and one that names a part of another
    /// type begins a part beside it: a fold loses nothing. The three last events change nothing.
    pub fn push(&mut self, event: &Event) {
        match event {
            Event::Start {
                id,
                request_id,
                model,
                provider,
                engine,
            } => {
                self.id.clone_from(id);
                self.request_id.clone_from(request_id);
                self.model = Some(model.clone());
                self.provider = Some(provider.clone());
                self.engine = Some(*engine);
            }
            Event::TextStart { index } => drop(self.text(*index)),
            Event::TextDelta { index, text } => {
                if let Slot::Text { text: whole, .. } = self.text(*index) {
                    whole.push_str(text);
                }
            }
            Event::TextEnd {
                index,
                annotations: a,
                signature: s,
            } => {
                if let Slot::Text {
                    annotations,
                    signature,
                    ..
                } = self.text(*index)
                {
                    annotations.clone_from(a);
                    signature.clone_from(s);
                }
            }
            Event::RefusalDelta { text } => self.refusal.get_or_insert_default().push_str(text),
            Event::ReasoningStart { index, id: given } => {
                if let Slot::Reasoning { id, .. } = self.reasoning(*index) {
                    id.clone_from(given);
                }
            }
            Event::ReasoningDelta { index, text } => {
                if let Slot::Reasoning { text: whole, .. } = self.reasoning(*index) {
                    whole.push_str(text);
                }
            }
            Event::ReasoningEnd {
                index,
                signature: s,
                encrypted: e,
            } => {
                if let Slot::Reasoning {
                    signature, encrypted, ..
                } = self.reasoning(*index)
                {
                    signature.clone_from(s);
                    encrypted.clone_from(e);
                }
            }
            Event::ToolCallStart {
                index,
                id,
                name,
                kind,
            } => {
                if let Slot::ToolCall(call) = self.call(*index) {
                    call.id.clone_from(id);
                    if kind.as_deref() == Some("custom") {
                        "custom".clone_into(&mut call.kind);
                        call.custom = Some(Custom {
                            name: name.clone(),
                            ..Custom::default()
                        });
                        call.function = None;
                    } else if let Some(function) = &mut call.function {
                        function.name.clone_from(name);
                    }
                }
            }
            Event::ToolCallDelta { index, arguments } => {
                if let Slot::ToolCall(call) = self.call(*index) {
                    if let Some(custom) = &mut call.custom {
                        custom.input.push_str(arguments);
                    } else if let Some(function) = &mut call.function {
                        function.arguments.push_str(arguments);
                    }
                }
            }
            Event::ToolCallEnd {
                index,
                signature,
                extra,
            } => {
                if let Slot::ToolCall(call) = self.call(*index) {
                    call.signature.clone_from(signature);
                    call.extra.clone_from(extra);
                }
            }
            Event::MediaStart { index, mime: given } => {
                if let Slot::Media { mime, .. } = self.media(*index) {
                    mime.clone_from(given);
                }
            }
            Event::MediaDelta { index, base64: more } => {
                if let Slot::Media { base64, .. } = self.media(*index) {
                    base64.push_str(more);
                }
            }
            Event::MediaEnd { index, signature: s } => {
                if let Slot::Media { signature, .. } = self.media(*index) {
                    signature.clone_from(s);
                }
            }
            Event::ProviderPart {
                index,
                provider,
                kind,
                data,
                signature,
            } => {
                let (provider, kind, data) = (provider.clone(), kind.clone(), data.clone());
                self.slots.push((
                    *index,
                    Slot::Provider {
                        provider,
                        kind,
                        data,
                        signature: signature.clone(),
                    },
                ));
            }
            Event::Fallback { discarded, .. } => {
                // Another model goes on: of the one before only the parts count that were not discarded.
                let mut slots = std::mem::take(&mut self.slots);
                slots.retain(|(index, _)| !discarded.contains(index));
                *self = Self {
                    slots,
                    ..Self::default()
                };
            }
            Event::Usage { usage } => self.usage.clone_from(usage),
            Event::Done { .. } | Event::Error { .. } | Event::Cancelled { .. } => {}
        }
    }

    /// The indexes of the parts that have begun, in order, each once.
    pub fn indexes(&self) -> Vec<u32> {
        let mut indexes: Vec<u32> = self.slots.iter().map(|(index, _)| *index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    /// The reply of a whole answer.
    pub fn finish(self, finish: Finish, attempts: Vec<Attempt>) -> Reply {
        let mut reply = self.partial(attempts);
        let calls = !reply.tool_calls.is_empty();
        reply.finish_reason = match finish.finish_reason {
            // The contract's rule: a normal stop with calls is `tool_calls`, whatever the provider's word is.
            Some(FinishReason::Stop) if calls => Some(FinishReason::ToolCalls),
            // And a stop for calls that the provider ran itself leaves nothing for the caller to run.
            Some(FinishReason::ToolCalls) if !calls => Some(FinishReason::Stop),
            other => other,
        };
        reply.finish_reason_raw = finish.finish_reason_raw;
        reply.id = finish.id.or(reply.id);
        reply.request_id = finish.request_id.or(reply.request_id);
        reply.created = finish.created;
        reply.model = finish.model.or(reply.model);
        reply.service_tier = finish.service_tier;
        reply.logprobs = finish.logprobs;
        reply.provider_data = finish.provider_data;
        merge_extra(&mut reply.message, finish.message_extra.unwrap_or_default());
        reply
    }

    /// What has come so far, with `finish_reason` null.
    pub fn partial(mut self, attempts: Vec<Attempt>) -> Reply {
        // Stable: parts that share an index stay in the order in which they began.
        self.slots.sort_by_key(|(index, _)| *index);
        let mut content = String::new();
        let mut reasoning = Vec::new();
        let mut parts = Vec::new();
        let mut tool_calls = Vec::new();
        let calls_last = self
            .slots
            .is_sorted_by_key(|(_, slot)| matches!(slot, Slot::ToolCall(_)));
        for (_, slot) in self.slots {
            match slot {
                Slot::Text {
                    text,
                    annotations,
                    signature,
                } => {
                    content.push_str(&text);
                    // An empty text part says nothing, and some providers refuse one that comes back.
                    if !text.is_empty() || annotations.is_some() || signature.is_some() {
                        parts.push(Part::Text {
                            text,
                            annotations,
                            signature,
                            other: Object::new(),
                        });
                    }
                }
                Slot::Reasoning {
                    id,
                    text,
                    signature,
                    encrypted,
                } => {
                    let part = Part::Reasoning {
                        text,
                        encrypted,
                        id,
                        signature,
                        other: Object::new(),
                    };
                    reasoning.push(part.clone());
                    parts.push(part);
                }
                Slot::ToolCall(call) => {
                    if !calls_last {
                        parts.push(Part::ToolCall {
                            id: call.id.clone(),
                            other: Object::new(),
                        });
                    }
                    tool_calls.push(*call);
                }
                Slot::Media {
                    mime,
                    base64,
                    signature,
                } => parts.push(media_part(&mime, &base64, signature)),
                Slot::Provider {
                    provider,
                    kind,
                    data,
                    signature,
                } => {
                    parts.push(Part::Provider {
                        provider,
                        kind,
                        data,
                        signature,
                        other: Object::new(),
                    });
                }
            }
        }
        let mut message = Message::new(Role::Assistant, "");
        message.content = match parts.as_slice() {
            [] => Some(Content::Text(String::new())),
            [
                Part::Text {
                    annotations: None,
                    signature: None,
                    ..
                },
            ] => Some(Content::Text(content.clone())),
            _ => Some(Content::Parts(parts)),
        };
        message.refusal.clone_from(&self.refusal);
        message.tool_calls = (!tool_calls.is_empty()).then(|| tool_calls.clone());
        Reply {
            content,
            tool_calls,
            reasoning,
            refusal: self.refusal,
            finish_reason: None,
            finish_reason_raw: None,
            usage: self.usage,
            id: self.id,
            request_id: self.request_id,
            created: None,
            model: self.model,
            provider: self.provider,
            engine: self.engine,
            service_tier: None,
            logprobs: None,
            attempts,
            provider_data: None,
            message,
        }
    }

    fn slot(&mut self, index: u32, same: fn(&Slot) -> bool, new: fn() -> Slot) -> &mut Slot {
        // Streams talk about the newest part nearly always: looking from the end keeps this constant.
        let found = self
            .slots
            .iter()
            .rposition(|(have, slot)| *have == index && same(slot));
        let at = found.unwrap_or_else(|| {
            self.slots.push((index, new()));
            self.slots.len() - 1
        });
        &mut self.slots[at].1
    }

    fn text(&mut self, index: u32) -> &mut Slot {
        let new = || Slot::Text {
            text: String::new(),
            annotations: None,
            signature: None,
        };
        self.slot(index, |slot| matches!(slot, Slot::Text { .. }), new)
    }

    fn reasoning(&mut self, index: u32) -> &mut Slot {
        let new = || Slot::Reasoning {
            id: None,
            text: String::new(),
            signature: None,
            encrypted: None,
        };
        self.slot(index, |slot| matches!(slot, Slot::Reasoning { .. }), new)
    }

    fn media(&mut self, index: u32) -> &mut Slot {
        let new = || Slot::Media {
            mime: String::new(),
            base64: String::new(),
            signature: None,
        };
        self.slot(index, |slot| matches!(slot, Slot::Media { .. }), new)
    }

    fn call(&mut self, index: u32) -> &mut Slot {
        let new = || {
            Slot::ToolCall(Box::new(ToolCall {
                id: String::new(),
                kind: "function".to_owned(),
                function: Some(Function::default()),
                custom: None,
                signature: None,
                extra: None,
                other: Object::new(),
            }))
        };
        self.slot(index, |slot| matches!(slot, Slot::ToolCall(_)), new)
    }
}

/// Puts unknown keys of the provider's message where the contract keeps them; a key that the contract knows goes to
/// its own field if that is free, for a message must not name a key twice.
fn merge_extra(message: &mut Message, extra: Object) {
    for (key, value) in extra {
        match key.as_str() {
            "role" | "content" | "tool_calls" | "refusal" => {}
            "extra" => {
                if let Value::Object(more) = value {
                    message.extra.get_or_insert_default().extend(more);
                }
            }
            "cache_control" => message.cache_control = Some(value),
            "name" => message.name = value.as_str().map(str::to_owned),
            "prefix" => message.prefix = value.as_bool(),
            "is_error" => message.is_error = value.as_bool(),
            "tool_call_id" => message.tool_call_id = value.as_str().map(str::to_owned),
            _ => drop(message.other.insert(key, value)),
        }
    }
}

/// Media that a model made, as the part that a user message would carry it in.
fn media_part(mime: &str, base64: &str, signature: Option<String>) -> Part {
    let other = signature
        .map(|signature| ("signature".to_owned(), Value::String(signature)))
        .into_iter()
        .collect();
    if mime.starts_with("image/") {
        let url = format!("data:{mime};base64,{base64}");
        return Part::ImageUrl {
            image_url: json!({ "url": url }),
            other,
        };
    }
    if let Some(format) = mime.strip_prefix("audio/") {
        return Part::InputAudio {
            input_audio: json!({ "data": base64, "format": format }),
            other,
        };
    }
    let mime = if mime.is_empty() {
        "application/octet-stream"
    } else {
        mime
    };
    let data = format!("data:{mime};base64,{base64}");
    Part::File {
        file: json!({ "file_data": data, "format": mime }),
        other,
    }
}

#[cfg(test)]
mod tests;
