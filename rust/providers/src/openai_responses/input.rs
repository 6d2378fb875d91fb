//! The messages of a request as items.

use super::content::{Inputs, Outputs, is_input, is_item, merged};
use crate::protocol::{Protocol, Target};
use crate::value::text;
use omni_core::{Content, Error, Message, Object, Part, Result, Role, ToolCall};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

/// One item, borrowed from the request.
pub(crate) struct Item<'a> {
    target: &'a Target,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// A message that is not a list of parts.
    Plain {
        role: Role,
        text: &'a str,
        extra: Option<&'a Object>,
    },
    /// A message of another than the assistant.
    Said {
        role: Role,
        parts: Vec<&'a Part>,
        extra: Option<&'a Object>,
    },
    /// Texts of the assistant.
    Answered {
        texts: Vec<&'a Part>,
        extra: Option<&'a Object>,
    },
    Refused(&'a str),
    Reasoned {
        id: &'a str,
        summary: Vec<&'a str>,
        encrypted: Option<&'a str>,
    },
    Call(&'a ToolCall),
    Output {
        message: &'a Message,
        custom: bool,
    },
    Whole(&'a Value),
}

/// `messages` as items, in their order. `stored` says whether the server may know an item by its id alone.
///
/// # Errors
/// `invalid_request` for a tool message that answers no call.
pub(crate) fn items<'a>(messages: &'a [Message], target: &'a Target, stored: bool) -> Result<Vec<Item<'a>>> {
    let mut kinds = Vec::with_capacity(messages.len());
    let mut custom: HashSet<&str> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            Role::Assistant => {
                let calls = message.tool_calls.iter().flatten();
                custom.extend(calls.filter(|call| call.custom.is_some()).map(|call| &*call.id));
                let begin = kinds.len();
                answered(message, target, &mut kinds);
                // What the server cannot know is an error there: what only has an id, and what is another's.
                let foreign = target.wrote(Protocol::OpenaiResponses, message) == Some(false);
                let unknown = |kind: &Kind<'_>| match kind {
                    Kind::Reasoned { encrypted, .. } => foreign || (encrypted.is_none() && !stored),
                    _ => false,
                };
                if kinds[begin..].iter().any(unknown) {
                    let mut at = 0..;
                    kinds.retain(|kind| at.next().is_some_and(|at: usize| at < begin) || !unknown(kind));
                }
            }
            Role::Tool => {
                let Some(id) = &message.tool_call_id else {
                    return Err(Error::invalid(format!(
                        "messages[{at}].tool_call_id: a tool message needs the id of the call that it answers"
                    )));
                };
                let custom = custom.contains(id.as_str());
                kinds.push(Kind::Output { message, custom });
            }
            Role::System | Role::Developer | Role::User => said(message, target, &mut kinds),
        }
    }
    Ok(kinds.into_iter().map(|kind| Item { target, kind }).collect())
}

/// A message of another than the assistant. What of the provider's own is an item of itself is put between.
fn said<'a>(message: &'a Message, target: &Target, kinds: &mut Vec<Kind<'a>>) {
    let (role, extra) = (message.role, message.extra.as_ref());
    let parts = match &message.content {
        Some(Content::Parts(parts)) => parts,
        Some(Content::Text(text)) => return kinds.push(Kind::Plain { role, text, extra }),
        None => {
            return kinds.push(Kind::Plain {
                role,
                text: "",
                extra,
            });
        }
    };
    let before = kinds.len();
    let mut open: Vec<&Part> = Vec::new();
    for part in parts {
        match part {
            Part::Provider { provider, data, .. }
                if is_item(data) && target.owns(Protocol::OpenaiResponses, provider) =>
            {
                if !open.is_empty() {
                    let parts = std::mem::take(&mut open);
                    kinds.push(Kind::Said { role, parts, extra });
                }
                kinds.push(Kind::Whole(data));
            }
            part if is_input(part, target) => open.push(part),
            _ => {}
        }
    }
    if !open.is_empty() {
        let parts = open;
        kinds.push(Kind::Said { role, parts, extra });
    } else if kinds.len() == before {
        kinds.push(Kind::Plain {
            role,
            text: "",
            extra,
        });
    }
}

/// An assistant message: reasoning parts of one id are one item again, calls stand where they stood.
fn answered<'a>(message: &'a Message, target: &Target, kinds: &mut Vec<Kind<'a>>) {
    let extra = message.extra.as_ref();
    let mut calls: Vec<Option<&ToolCall>> = message.tool_calls.iter().flatten().map(Some).collect();
    match &message.content {
        None => {}
        Some(Content::Text(text)) if text.is_empty() => {}
        Some(Content::Text(text)) => {
            let role = Role::Assistant;
            kinds.push(Kind::Plain { role, text, extra });
        }
        Some(Content::Parts(parts)) => {
            let begin = kinds.len();
            for part in parts {
                answered_part(part, &mut calls, extra, target, kinds, begin);
            }
        }
    }
    // Calls without a mark come last.
    kinds.extend(calls.into_iter().flatten().map(Kind::Call));
    if let Some(refusal) = message.refusal.as_ref().filter(|refusal| !refusal.is_empty()) {
        kinds.push(Kind::Refused(refusal));
    }
}

fn answered_part<'a>(
    part: &'a Part,
    calls: &mut [Option<&'a ToolCall>],
    extra: Option<&'a Object>,
    target: &Target,
    kinds: &mut Vec<Kind<'a>>,
    begin: usize,
) {
    match part {
        Part::Text { text, .. } if text.is_empty() => {}
        // An item of the message before is never gone on with.
        Part::Text { .. } => match kinds[begin..].last_mut() {
            Some(Kind::Answered { texts, .. }) => texts.push(part),
            _ => kinds.push(Kind::Answered {
                texts: vec![part],
                extra,
            }),
        },
        // Without an id it is another provider's, or the readable text of an item that is kept whole.
        Part::Reasoning {
            text,
            encrypted,
            id: Some(id),
            ..
        } if !id.is_empty() => {
            let text = Some(text.as_str()).filter(|text| !text.is_empty());
            let encrypted = encrypted.as_deref();
            // Parts of other items may stand between: some servers tell items at the same time.
            let same = |kind: &Kind<'_>| matches!(kind, Kind::Reasoned { id: have, .. } if have == id);
            match kinds[begin..].iter_mut().rfind(|kind| same(kind)) {
                Some(Kind::Reasoned {
                    summary,
                    encrypted: have,
                    ..
                }) => {
                    summary.extend(text);
                    *have = encrypted.or(*have);
                }
                _ => kinds.push(Kind::Reasoned {
                    id,
                    summary: text.into_iter().collect(),
                    encrypted,
                }),
            }
        }
        Part::Provider { provider, data, .. } if target.owns(Protocol::OpenaiResponses, provider) => {
            // The whole item says more than the parts that were told of it, wherever it comes.
            let of = data.get("id").and_then(Value::as_str);
            let same = |kind: &Kind<'_>| matches!(kind, Kind::Reasoned { id, .. } if Some(*id) == of);
            match kinds[begin..].iter_mut().rfind(|kind| same(kind)) {
                Some(told) if text(data.get("type")) == "reasoning" => *told = Kind::Whole(data),
                _ => kinds.push(Kind::Whole(data)),
            }
        }
        Part::ToolCall { id, .. } => {
            let call = calls
                .iter_mut()
                .find(|call| call.is_some_and(|call| call.id == *id));
            if let Some(call) = call.and_then(Option::take) {
                kinds.push(Kind::Call(call));
            }
        }
        // The wire has no place for them in an answer; what this provider made stands in its own item.
        Part::Reasoning { .. }
        | Part::Provider { .. }
        | Part::ImageUrl { .. }
        | Part::InputAudio { .. }
        | Part::File { .. }
        | Part::Unknown(_) => {}
    }
}

#[derive(Serialize)]
struct Plain<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Text(&'a str),
    Parts(Inputs<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire<'a, C> {
    Message {
        role: &'static str,
        content: C,
    },
    Reasoning {
        id: &'a str,
        summary: Vec<Summary<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    CustomToolCall {
        call_id: &'a str,
        name: &'a str,
        input: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: C,
    },
    CustomToolCallOutput {
        call_id: &'a str,
        output: C,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "refusal")]
struct Refusal<'a> {
    refusal: &'a str,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let target = self.target;
        match &self.kind {
            Kind::Plain { role, text, extra } => {
                let (role, content) = (role.name(), *text);
                merged(serializer, target, *extra, &Plain { role, content })
            }
            Kind::Said { role, parts, extra } => {
                let parts = Cow::Borrowed(parts.as_slice());
                let content = Inputs { target, parts };
                let role = role.name();
                merged(serializer, target, *extra, &Wire::Message { role, content })
            }
            Kind::Answered { texts, extra } => {
                let content = Outputs { target, texts };
                let role = Role::Assistant.name();
                merged(serializer, target, *extra, &Wire::Message { role, content })
            }
            Kind::Refused(refusal) => Wire::Message {
                role: Role::Assistant.name(),
                content: [Refusal { refusal }],
            }
            .serialize(serializer),
            Kind::Reasoned {
                id,
                summary,
                encrypted,
            } => {
                let kind = "summary_text";
                let summary = summary.iter().map(|text| Summary { kind, text }).collect();
                let wire: Wire<'_, ()> = Wire::Reasoning {
                    id,
                    summary,
                    encrypted_content: *encrypted,
                };
                wire.serialize(serializer)
            }
            Kind::Call(call) => {
                let (call_id, name, text) = (call.id.as_str(), call.name(), call.text());
                let wire: Wire<'_, ()> = if call.custom.is_some() {
                    Wire::CustomToolCall {
                        call_id,
                        name,
                        input: text,
                    }
                } else {
                    Wire::FunctionCall {
                        call_id,
                        name,
                        arguments: text,
                    }
                };
                merged(serializer, target, call.extra.as_ref(), &wire)
            }
            Kind::Output { message, custom } => {
                let call_id = message.tool_call_id.as_deref().unwrap_or_default();
                let output = output(message, target);
                let wire = if *custom {
                    Wire::CustomToolCallOutput { call_id, output }
                } else {
                    Wire::FunctionCallOutput { call_id, output }
                };
                merged(serializer, target, message.extra.as_ref(), &wire)
            }
            Kind::Whole(data) => data.serialize(serializer),
        }
    }
}

/// What a tool said.
fn output<'a>(message: &'a Message, target: &'a Target) -> Told<'a> {
    match &message.content {
        None => Told::Text(""),
        Some(Content::Text(text)) => Told::Text(text),
        Some(Content::Parts(parts)) => {
            let parts: Vec<&Part> = parts.iter().filter(|part| is_input(part, target)).collect();
            if parts.is_empty() {
                return Told::Text("");
            }
            let parts = Cow::Owned(parts);
            Told::Parts(Inputs { target, parts })
        }
    }
}
