//! Requests → wire.

use crate::protocol::{Context, Encoded, Target};
use crate::value::text;
use omni_core::{Code, Content, Error, Object, Request, Result, Role, Tool};
use serde_json::{Value, json};
use wire::Body;

mod contents;
mod media;
mod models;
mod options;
mod settings;
mod wire;

/// Why this protocol cannot carry `request`. What only a hint says is left out instead: `user`, `parallel_tool_calls`,
/// penalties that the model refuses, marks for a prompt cache (Gemini caches by itself).
pub(crate) fn declines(request: &Request, target: &Target) -> Option<String> {
    let model = models::of(&target.model);
    if let Some(why) = custom_tool(request, target) {
        return Some(why);
    }
    if let Err(why) = settings::generation(request, &model) {
        return Some(why);
    }
    if let Err(why) = settings::tool_choice(request) {
        return Some(why);
    }
    for (at, message) in request.messages.iter().enumerate() {
        if matches!(message.role, Role::User | Role::Tool)
            && let Some(Content::Parts(parts)) = &message.content
        {
            for (nth, part) in parts.iter().enumerate() {
                if let Some(Err(why)) = media::of(part, &model, target.dialect.gemini.fetches_files) {
                    return Some(contents::path(at, nth, &why));
                }
            }
        }
    }
    None
}

/// `request` on the wire.
pub(crate) fn encode(request: &Request, target: &Target, stream: bool) -> Result<Encoded> {
    let unsupported = |why: String| Error::new(Code::Unsupported, why).for_model(&request.model);
    if let Some(why) = custom_tool(request, target) {
        return Err(unsupported(why));
    }
    let model = models::of(&target.model);
    let written = contents::Writer::new(target, model)
        .write(&request.messages)
        .map_err(|error| error.for_model(&request.model))?;
    let mut rest = Object::new();
    if let Some(config) = settings::tool_choice(request).map_err(unsupported)? {
        rest.insert(
            "toolConfig".to_owned(),
            json!({ "functionCallingConfig": config }),
        );
    }
    let config = settings::generation(request, &model).map_err(unsupported)?;
    if !config.is_empty() {
        rest.insert("generationConfig".to_owned(), Value::Object(config));
    }
    if let Some(tier) = settings::service_tier(request, target) {
        rest.insert("serviceTier".to_owned(), Value::String(tier));
    }
    let body = Body {
        contents: written.contents,
        system: written.system,
        tools: settings::tools(request, target),
        rest,
    };
    let context = Context {
        provider: target.provider.clone(),
        ..Context::default()
    };
    Ok(Encoded {
        path: path(&target.model, stream),
        headers: Vec::new(),
        body: options::lay(body, request, target).map_err(|_| {
            Error::new(Code::Internal, "the request could not be written as JSON").for_model(&request.model)
        })?,
        context,
    })
}

/// A tool whose input is free text, which nobody would see missing.
fn custom_tool(request: &Request, target: &Target) -> Option<String> {
    let mut tools = request.tools.iter().flatten().enumerate();
    tools.find_map(|(at, tool)| match tool {
        Tool::Custom { custom, .. } => Some(format!(
            "tools[{at}]: {} has no custom tools: offer \"{}\" as a function",
            target.provider,
            text(custom.get("name"))
        )),
        _ => None,
    })
}

/// Where a call of `model` goes. Names that say what they name (`tunedModels/…`) stand as they are.
fn path(model: &str, stream: bool) -> String {
    let (folder, name) = match model.split_once('/') {
        Some((folder @ ("models" | "tunedModels"), name)) => (folder, name),
        _ => ("models", model),
    };
    let mut path = format!("/{folder}/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.extend(
                [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
            );
        }
    }
    path.push_str(if stream {
        ":streamGenerateContent?alt=sse"
    } else {
        ":generateContent"
    });
    path
}

#[cfg(test)]
mod tests;
