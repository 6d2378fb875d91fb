//! Requests → wire, written straight from what the request holds.

mod content;
mod message;

use super::dialect::{Dialect, Metadata, Prefix};
use crate::merge::deep;
use crate::protocol::{Context, Encoded, Protocol, Target};
use content::FileUrl;
use message::Messages;
use omni_core::{Code, Content, Error, Message, Object, Part, Request, Result, Role, Tool, ToolChoice};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

const CHAT: Protocol = Protocol::OpenaiChat;

/// Of a request: fields whose wire name may differ or be missing, and whether the request has them.
type Has = fn(&Request) -> bool;

const NAMED: &[(&str, Has)] = &[
    ("temperature", |request| request.temperature.is_some()),
    ("top_p", |request| request.top_p.is_some()),
    ("top_k", |request| request.top_k.is_some()),
    ("max_tokens", |request| request.max_tokens.is_some()),
    ("stop", |request| request.stop.is_some()),
    ("seed", |request| request.seed.is_some()),
    ("logprobs", |request| request.logprobs.is_some()),
    ("top_logprobs", |request| request.top_logprobs.is_some()),
    ("frequency_penalty", |request| request.frequency_penalty.is_some()),
    ("presence_penalty", |request| request.presence_penalty.is_some()),
    ("response_format", |request| request.response_format.is_some()),
    ("modalities", |request| request.modalities.is_some()),
    ("service_tier", |request| request.service_tier.is_some()),
    ("user", |request| request.user.is_some()),
    ("tools", |request| request.tools.is_some()),
    ("tool_choice", |request| request.tool_choice.is_some()),
    ("parallel_tool_calls", |request| {
        request.parallel_tool_calls.is_some()
    }),
];

/// Why this protocol cannot carry `request`.
pub(crate) fn declines(request: &Request, target: &Target) -> Option<String> {
    lacks(dialect(request, target), request, target)
}

/// What `dialect` has no words for.
fn lacks(dialect: &Dialect, request: &Request, target: &Target) -> Option<String> {
    let provider = &target.provider;
    let missing = NAMED.iter().find(|(field, has)| {
        has(request) && dialect.name(field).is_none() && !Dialect::HINTS.contains(field)
    });
    if let Some((field, _)) = missing {
        return Some(format!(
            "{field}: {provider} has no such field on its chat completions wire"
        ));
    }
    if matches!(&request.tool_choice, Some(ToolChoice::Mode(mode)) if mode == "required")
        && dialect.required.is_empty()
    {
        return Some(format!(
            "tool_choice: {provider} cannot be told that a tool must be used"
        ));
    }
    if request.n.is_some_and(|n| n != 1) {
        return Some("n: only one answer a call is supported".to_owned());
    }
    if let Some(effort) = &request.reasoning_effort
        && rule(dialect, effort).is_none()
    {
        return Some(format!("reasoning_effort: {provider} has no place for this word"));
    }
    if request.reasoning_budget_tokens.is_some() && dialect.budget.is_none() {
        return Some(format!(
            "reasoning_budget_tokens: {provider} takes no number of tokens; use reasoning_effort"
        ));
    }
    for (at, message) in request.messages.iter().enumerate() {
        if message.prefix == Some(true) && dialect.prefix == Prefix::None {
            return Some(format!("messages[{at}].prefix: {provider} has no such mark"));
        }
        if let Some(nth) = FileUrl::find(message, dialect) {
            return Some(format!(
                "messages[{at}].content[{nth}].file: {provider} takes files as data or by their id, not by web address"
            ));
        }
    }
    None
}

/// `request` on the wire.
pub(crate) fn encode(request: &Request, target: &Target, stream: bool) -> Result<Encoded> {
    let dialect = dialect(request, target);
    if let Some(why) = lacks(dialect, request, target) {
        return Err(Error::new(Code::Unsupported, why).for_model(&request.model));
    }
    let body = Body {
        request,
        target,
        dialect,
        stream,
    };
    // No encoding hides these from servers that tidy paths up.
    if matches!(target.model.as_str(), "" | "." | "..") && body.dialect.path.contains("{model}") {
        let why = format!("model: {:?} is no name that can stand in a path", target.model);
        return Err(Error::invalid(why).for_model(&request.model));
    }
    let options = Options::of(request, target, body.dialect);
    let bytes = if options.any() {
        serde_json::to_value(&body).and_then(|mut value| {
            options.lay_over(&mut value);
            serde_json::to_vec(&value)
        })
    } else {
        let mut bytes = Vec::with_capacity(body.size());
        serde_json::to_writer(&mut bytes, &body).map(|()| bytes)
    };
    Ok(Encoded {
        path: path(request, target, body.dialect, &options),
        headers: Vec::new(),
        body: bytes
            .map_err(|error| Error::invalid(format!("the request cannot be written as JSON: {error}")))?,
        context: Context {
            provider: target.provider.clone(),
            audio_format: options.audio_format(),
            format_tool: None,
        },
    })
}

fn dialect<'t>(request: &Request, target: &'t Target) -> &'t Dialect {
    target.dialect.openai_chat.at(request.api_base.as_deref())
}

/// What `provider_options` hold for the target alone: what is meant for others is ignored, so that a fallback is safe.
struct Options<'a> {
    /// The kin's before the provider's own.
    entries: Vec<&'a Object>,
    /// `api_version` is a part of the path.
    versioned: bool,
}

impl<'a> Options<'a> {
    fn of(request: &'a Request, target: &Target, dialect: &Dialect) -> Self {
        let mut entries = Vec::new();
        if let Some(options) = &request.provider_options {
            let kin = dialect.kin.iter().filter(|name| **name != target.provider);
            let names = kin.chain(std::iter::once(&target.provider));
            entries = names.filter_map(|name| options.get(name)?.as_object()).collect();
        }
        Self {
            entries,
            versioned: dialect.path.contains("{api_version}"),
        }
    }

    fn any(&self) -> bool {
        self.entries.iter().any(|entry| !entry.is_empty())
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.entries.iter().rev().find_map(|entry| entry.get(key))
    }

    fn lay_over(&self, body: &mut Value) {
        for entry in &self.entries {
            for (key, value) in *entry {
                if !(self.versioned && key == "api_version") {
                    deep(
                        body,
                        &Value::Object(Object::from_iter([(key.clone(), value.clone())])),
                    );
                }
            }
        }
    }

    fn audio_format(&self) -> Option<String> {
        Some(self.get("audio")?.get("format")?.as_str()?.to_owned())
    }
}

fn path(request: &Request, target: &Target, dialect: &Dialect, options: &Options<'_>) -> String {
    let base = request
        .api_base
        .as_deref()
        .unwrap_or_default()
        .trim_end_matches('/');
    let other = dialect
        .path_at
        .iter()
        .find(|(end, _)| base.ends_with(end.as_str()));
    let path = other.map_or(&dialect.path, |(_, path)| path);
    if !path.contains('{') {
        return path.clone();
    }
    let version = options.get("api_version").and_then(Value::as_str);
    path.replace("{model}", &escaped(&target.model))
        .replace("{api_version}", &escaped(version.unwrap_or(&dialect.api_version)))
}

/// `text` as one segment of a path.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(digit.into(), 16).unwrap_or_default();
                    out.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
    out
}

/// What a word of reasoning effort puts into the body.
fn rule<'d>(dialect: &'d Dialect, effort: &str) -> Option<&'d Object> {
    dialect.effort.get(effort).or_else(|| dialect.effort.get("*"))
}

/// `template` with `value` for each "$".
fn filled(template: &Value, value: &Value) -> Value {
    match template {
        Value::String(mark) if mark == "$" => value.clone(),
        Value::Object(object) => object
            .iter()
            .map(|(key, inner)| (key.clone(), filled(inner, value)))
            .collect(),
        other => other.clone(),
    }
}

/// What a message, part, tool or call holds for the target beside its own fields.
fn has_extra(target: &Target, extra: Option<&Object>) -> bool {
    extra.is_some_and(|extra| !extra.is_empty()) && target.extras(CHAT, extra).next().is_some()
}

/// Writes `plain` with its extras merged in.
fn with_extra<S: Serializer>(
    plain: &impl Serialize,
    target: &Target,
    extra: Option<&Object>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(plain).map_err(S::Error::custom)?;
    for more in target.extras(CHAT, extra) {
        deep(&mut value, more);
    }
    value.serialize(serializer)
}

struct Body<'a> {
    request: &'a Request,
    target: &'a Target,
    dialect: &'a Dialect,
    stream: bool,
}

impl Body<'_> {
    /// A guess at the bytes of the body, so that it is seldom moved as it grows.
    fn size(&self) -> usize {
        let text = |part: &Part| match part {
            Part::Text { text, .. } | Part::Reasoning { text, .. } => text.len(),
            Part::ImageUrl { image_url, .. } => {
                image_url.get("url").and_then(Value::as_str).map_or(0, str::len)
            }
            _ => 0,
        };
        let content = |message: &Message| match &message.content {
            Some(Content::Text(text)) => text.len(),
            Some(Content::Parts(parts)) => parts.iter().map(|part| text(part) + 32).sum(),
            None => 0,
        };
        let messages = self.request.messages.iter().map(|message| content(message) + 64);
        let tools = self.request.tools.as_ref().map_or(0, Vec::len);
        256 + messages.sum::<usize>() / 8 * 9 + tools * 512
    }

    /// Fields that reasoning is asked for with.
    fn thinking(&self) -> Object {
        let mut out = Value::Object(Object::new());
        if let Some(effort) = &self.request.reasoning_effort
            && let Some(template) = rule(self.dialect, effort)
        {
            deep(&mut out, &filled(&json!(template), &json!(effort)));
        }
        if let Some(tokens) = self.request.reasoning_budget_tokens
            && let Some(template) = &self.dialect.budget
        {
            deep(&mut out, &filled(&json!(template), &json!(tokens)));
        }
        match out {
            Value::Object(object) => object,
            _ => Object::new(),
        }
    }

    fn metadata(&self) -> Option<&Object> {
        let metadata = self.request.metadata.as_ref()?;
        let sent = match self.dialect.metadata {
            Metadata::Always => true,
            Metadata::Never => false,
            Metadata::WhenStored => {
                let options = Options::of(self.request, self.target, self.dialect);
                options.get("store") == Some(&Value::Bool(true))
            }
        };
        (sent && !metadata.is_empty()).then_some(metadata)
    }

    fn field<M: SerializeMap>(
        &self,
        map: &mut M,
        field: &str,
        value: Option<&(impl Serialize + ?Sized)>,
    ) -> std::result::Result<(), M::Error> {
        match (value, self.dialect.name(field)) {
            (Some(value), Some(name)) => map.serialize_entry(name, value),
            _ => Ok(()),
        }
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (request, dialect) = (self.request, self.dialect);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &self.target.model)?;
        map.serialize_entry("messages", &Messages::new(request, self.target, dialect))?;
        let tools = Tools {
            all: request.tools.as_deref().unwrap_or_default(),
            target: self.target,
            dialect,
        };
        if tools.sent().next().is_some() {
            map.serialize_entry("tools", &tools)?;
            match &request.tool_choice {
                Some(ToolChoice::Mode(mode)) if mode == "required" => {
                    self.field(&mut map, "tool_choice", Some(&dialect.required))?;
                }
                choice => self.field(&mut map, "tool_choice", choice.as_ref())?,
            }
            self.field(
                &mut map,
                "parallel_tool_calls",
                request.parallel_tool_calls.as_ref(),
            )?;
        }
        self.field(&mut map, "temperature", request.temperature.as_ref())?;
        self.field(&mut map, "top_p", request.top_p.as_ref())?;
        self.field(&mut map, "top_k", request.top_k.as_ref())?;
        self.field(&mut map, "max_tokens", request.max_tokens.as_ref())?;
        self.field(&mut map, "stop", request.stop.as_ref())?;
        self.field(&mut map, "seed", request.seed.as_ref())?;
        self.field(&mut map, "logprobs", request.logprobs.as_ref())?;
        self.field(&mut map, "top_logprobs", request.top_logprobs.as_ref())?;
        self.field(&mut map, "frequency_penalty", request.frequency_penalty.as_ref())?;
        self.field(&mut map, "presence_penalty", request.presence_penalty.as_ref())?;
        self.field(&mut map, "response_format", request.response_format.as_ref())?;
        self.field(&mut map, "modalities", request.modalities.as_ref())?;
        self.field(&mut map, "service_tier", request.service_tier.as_ref())?;
        self.field(&mut map, "user", request.user.as_ref())?;
        if let Some(metadata) = self.metadata() {
            map.serialize_entry("metadata", metadata)?;
        }
        if request.reasoning_effort.is_some() || request.reasoning_budget_tokens.is_some() {
            for (key, value) in self.thinking() {
                map.serialize_entry(&key, &value)?;
            }
        }
        if dialect.prefix == Prefix::Body && request.messages.last().is_some_and(is_prefix) {
            map.serialize_entry("continue_final_message", &true)?;
            map.serialize_entry("add_generation_prompt", &false)?;
        }
        if self.stream {
            map.serialize_entry("stream", &true)?;
            if dialect.stream_options {
                map.serialize_entry("stream_options", &IncludeUsage { include_usage: true })?;
            }
        }
        map.end()
    }
}

fn is_prefix(message: &Message) -> bool {
    message.role == Role::Assistant && message.prefix == Some(true)
}

#[derive(Serialize)]
struct IncludeUsage {
    include_usage: bool,
}

struct Tools<'a> {
    all: &'a [Tool],
    target: &'a Target,
    dialect: &'a Dialect,
}

impl<'a> Tools<'a> {
    /// All but the server-side tools of other providers.
    fn sent(&self) -> impl Iterator<Item = &'a Tool> {
        self.all.iter().filter(|tool| match tool {
            Tool::Provider { provider, .. } => {
                *provider == self.target.provider || self.dialect.kin.contains(provider)
            }
            Tool::Function { .. } | Tool::Custom { .. } => true,
        })
    }
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for tool in self.sent() {
            seq.serialize_element(&OneTool {
                tool,
                target: self.target,
                dialect: self.dialect,
                merged: false,
            })?;
        }
        seq.end()
    }
}

struct OneTool<'a> {
    tool: &'a Tool,
    target: &'a Target,
    dialect: &'a Dialect,
    /// Whether the caller merges the extras.
    merged: bool,
}

impl Serialize for OneTool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (kind, body, other) = match self.tool {
            Tool::Function { function, other } => ("function", function, other),
            Tool::Custom { custom, other } => ("custom", custom, other),
            Tool::Provider { data, .. } => return data.serialize(serializer),
        };
        let extra = other.get("extra").and_then(Value::as_object);
        if !self.merged && has_extra(self.target, extra) {
            let plain = OneTool {
                merged: true,
                ..*self
            };
            return with_extra(&plain, self.target, extra, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind)?;
        map.serialize_entry(kind, body)?;
        for (key, value) in other {
            if key != "extra" && (key != "cache_control" || self.dialect.cache_control) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
