//! Messages, their parts and tool calls as frozen classes.
#![allow(
    clippy::doc_markdown,
    reason = "these are Python's docstrings: words of the contract stand in quotes"
)]

use crate::frozen::{Describe, frozen, glimpse};
use omni_core::{Content, Object, Part as P};
use pyo3::prelude::*;
use serde_json::Value;

frozen! {
    /// One entry of a conversation. `reply.message` is one: append it and call again.
    Message(omni_core::Message) = "message" {
        /// Who speaks: "system", "developer", "user", "assistant" or "tool".
        role role: |value| value.role,
        /// What is said: a string, a list of `Part`, or None.
        content content: |value| value.content,
        /// The speaker's name.
        name name: |value| value.name,
        /// Calls that the assistant asked for.
        tool_calls tool_calls: |value| value.tool_calls,
        /// In a tool message: the call that it answers.
        tool_call_id tool_call_id: |value| value.tool_call_id,
        /// In a tool message: whether the tool failed.
        is_error is_error: |value| value.is_error,
        /// The assistant's refusal.
        refusal refusal: |value| value.refusal,
        /// In the last assistant message: the model goes on from this text.
        prefix prefix: |value| value.prefix,
        /// A mark for the provider's prompt cache.
        cache_control cache_control: |value| value.cache_control,
        /// Per provider, what is merged into its wire object.
        extra extra: |value| value.extra,
        /// Keys that the contract does not name, kept as they came.
        model_extra other: |value| value.other,
    }
}

impl Describe for omni_core::Message {
    fn describe(&self) -> String {
        let content = match &self.content {
            None => "None".to_owned(),
            // The length only: this may be a prompt.
            Some(Content::Text(text)) => format!("<{} characters>", text.chars().count()),
            Some(Content::Parts(parts)) => format!("<{} parts>", parts.len()),
        };
        let calls = self
            .tool_calls
            .as_ref()
            .map_or(String::new(), |calls| format!(", tool_calls=<{}>", calls.len()));
        format!(
            "Message(role={}, content={content}{calls})",
            glimpse(self.role.name())
        )
    }
}

frozen! {
    /// A model's request to run a tool.
    ToolCall(omni_core::ToolCall) = "tool call" {
        /// The id that the tool result names.
        id id: |value| value.id,
        /// Which of the two that follow is set: "function" or "custom".
        r#type kind: |value| value.kind,
        /// Set when `type` is "function".
        function function: |value| value.function,
        /// Set when `type` is "custom".
        custom custom: |value| value.custom,
        /// The provider's opaque proof, sent back byte for byte.
        signature signature: |value| value.signature,
        /// Per provider, what is merged into its wire object.
        extra extra: |value| value.extra,
        /// Keys that the contract does not name, kept as they came.
        model_extra other: |value| value.other,
    }
}

impl Describe for omni_core::ToolCall {
    fn describe(&self) -> String {
        let (field, argument) = if self.custom.is_some() {
            ("custom", "input")
        } else {
            ("function", "arguments")
        };
        let name = glimpse(self.name());
        format!(
            "ToolCall(id={}, {field}={name}, {argument}={})",
            glimpse(&self.id),
            glimpse(self.text())
        )
    }
}

frozen! {
    /// The function that a model wants called.
    Function(omni_core::Function) = "function of a tool call" {
        /// The tool's name.
        name name: |value| value.name,
        /// The arguments as the text received, whether or not it is valid JSON.
        arguments arguments: |value| value.arguments,
        /// Keys that the contract does not name, kept as they came.
        model_extra other: |value| value.other,
    }
}

impl Describe for omni_core::Function {
    fn describe(&self) -> String {
        format!(
            "Function(name={}, arguments={})",
            glimpse(&self.name),
            glimpse(&self.arguments)
        )
    }
}

frozen! {
    /// The custom tool that a model wants called.
    Custom(omni_core::Custom) = "custom tool call" {
        /// The tool's name.
        name name: |value| value.name,
        /// The free text input.
        input input: |value| value.input,
        /// Keys that the contract does not name, kept as they came.
        model_extra other: |value| value.other,
    }
}

impl Describe for omni_core::Custom {
    fn describe(&self) -> String {
        format!(
            "Custom(name={}, input={})",
            glimpse(&self.name),
            glimpse(&self.input)
        )
    }
}

/// Every part's keys that it does not name; for a part of an unknown type that is all of it.
fn rest(part: &P) -> &Object {
    match part {
        P::Text { other, .. }
        | P::ImageUrl { other, .. }
        | P::InputAudio { other, .. }
        | P::File { other, .. }
        | P::Reasoning { other, .. }
        | P::Provider { other, .. }
        | P::ToolCall { other, .. }
        | P::Unknown(other) => other,
    }
}

/// Of those, what has no attribute of its own.
fn unnamed(part: &P) -> Object {
    let named = ["type", "signature", "cache_control", "extra"];
    rest(part)
        .iter()
        .filter(|(key, _)| !named.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn kind(part: &P) -> &str {
    match part {
        P::Text { .. } => "text",
        P::ImageUrl { .. } => "image_url",
        P::InputAudio { .. } => "input_audio",
        P::File { .. } => "file",
        P::Reasoning { .. } => "reasoning",
        P::Provider { .. } => "provider",
        P::ToolCall { .. } => "tool_call",
        P::Unknown(object) => object.get("type").and_then(Value::as_str).unwrap_or_default(),
    }
}

fn signature(part: &P) -> Option<&str> {
    match part {
        P::Text { signature, .. } | P::Reasoning { signature, .. } | P::Provider { signature, .. } => {
            signature.as_deref()
        }
        other => rest(other).get("signature").and_then(Value::as_str),
    }
}

frozen! {
    /// One typed piece of a message. What a part of this `type` does not have is None.
    Part(omni_core::Part) = "part of a message" {
        /// Its kind: "text", "image_url", "input_audio", "file", "reasoning", "provider", "tool_call", or an unknown
        /// one.
        r#type part_type: |part| kind(part),
        /// The text of a text or reasoning part.
        text part_text: |part| match part { P::Text { text, .. } | P::Reasoning { text, .. } => Some(text), _ => None },
        /// Citations and links of a text part, as the provider gives them.
        annotations annotations: |part| match part { P::Text { annotations, .. } => annotations.as_ref(), _ => None },
        /// The provider's opaque proof, sent back byte for byte.
        signature part_signature: |part| signature(part),
        /// The provider's encrypted form of a reasoning part.
        encrypted encrypted: |part| match part { P::Reasoning { encrypted, .. } => encrypted.as_ref(), _ => None },
        /// The id of a reasoning part, or of the call that a tool_call part marks.
        id id: |part| match part { P::Reasoning { id, .. } => id.as_ref(), P::ToolCall { id, .. } => Some(id), _ => None },
        /// `{url, detail?, format?}` of an image.
        image_url image_url: |part| match part { P::ImageUrl { image_url, .. } => Some(image_url), _ => None },
        /// `{data, format}` of sound.
        input_audio input_audio: |part| match part { P::InputAudio { input_audio, .. } => Some(input_audio), _ => None },
        /// `{file_id?, file_data?, filename?, format?}` of a file.
        file file: |part| match part { P::File { file, .. } => Some(file), _ => None },
        /// Whose a provider part is.
        provider provider: |part| match part { P::Provider { provider, .. } => Some(provider), _ => None },
        /// The type of a provider part on that provider's wire.
        kind provider_kind: |part| match part { P::Provider { kind, .. } => Some(kind), _ => None },
        /// The wire object of a provider part.
        data data: |part| match part { P::Provider { data, .. } => Some(data), _ => None },
        /// A mark for the provider's prompt cache.
        cache_control part_cache_control: |part| rest(part).get("cache_control"),
        /// Per provider, what is merged into the wire object of this part.
        extra part_extra: |part| rest(part).get("extra"),
        /// Keys that the contract does not name, kept as they came.
        model_extra model_extra: |part| unnamed(part),
    }
}

impl Describe for omni_core::Part {
    fn describe(&self) -> String {
        // Lengths only: a part may be a prompt, a file or a signature.
        match self {
            P::Text { text, .. } | P::Reasoning { text, .. } => {
                format!(
                    "Part(type={}, text=<{} characters>)",
                    glimpse(kind(self)),
                    text.chars().count()
                )
            }
            P::Provider { provider, kind, .. } => {
                format!(
                    "Part(type='provider', provider={}, kind={})",
                    glimpse(provider),
                    glimpse(kind)
                )
            }
            other => format!("Part(type={})", glimpse(kind(other))),
        }
    }
}

/// Appends a message, a part or a call of ours to `out` as JSON; None for every other object.
pub(crate) fn write(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Option<PyResult<()>> {
    let text = if let Ok(message) = object.cast::<Message>() {
        crate::frozen::bytes(&*message.get().0)
    } else if let Ok(part) = object.cast::<Part>() {
        crate::frozen::bytes(&*part.get().0)
    } else if let Ok(call) = object.cast::<ToolCall>() {
        crate::frozen::bytes(&*call.get().0)
    } else {
        return None;
    };
    Some(text.map(|text| out.extend_from_slice(&text)))
}

/// Adds the classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Message>()?;
    module.add_class::<Part>()?;
    module.add_class::<ToolCall>()?;
    module.add_class::<Function>()?;
    module.add_class::<Custom>()
}
