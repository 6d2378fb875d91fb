//! Requests → wire.

use super::content::{extra_of, merged};
use super::input::{Item, items};
use crate::merge;
use crate::protocol::{Context, Encoded, Protocol, Target};
use omni_core::{Code, Error, Message, Object, Request, Result, Role, Stop, Tool, ToolChoice};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Asks for reasoning in a form that can be sent back.
const ENCRYPTED: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// Why this protocol cannot carry `request`.
pub(crate) fn declines(request: &Request, target: &Target) -> Option<String> {
    let cannot = |field: &str| Some(format!("{field}: the responses protocol has no such field"));
    let some = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty.abs() > 0.0);
    let stops = match &request.stop {
        None => false,
        Some(Stop::One(_)) => true,
        Some(Stop::Any(texts)) => !texts.is_empty(),
    };
    let fields = [
        ("stop", stops),
        ("seed", request.seed.is_some()),
        ("top_k", request.top_k.is_some()),
        ("frequency_penalty", some(request.frequency_penalty)),
        ("presence_penalty", some(request.presence_penalty)),
        (
            "reasoning_budget_tokens",
            request.reasoning_budget_tokens.is_some(),
        ),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, given)| *given) {
        return cannot(field);
    }
    if let Some(other) = request.modalities.iter().flatten().find(|one| *one != "text") {
        return Some(format!(
            "modalities: the responses protocol answers in text, not in \"{other}\""
        ));
    }
    if let Some(at) = request
        .messages
        .iter()
        .position(|message| message.prefix == Some(true))
    {
        return cannot(&format!("messages[{at}].prefix"));
    }
    let refused = target
        .dialect
        .openai_responses
        .refuses
        .iter()
        .find(|field| is_given(request, field));
    refused.map(|field| format!("{field}: {} does not take it", target.provider))
}

/// Whether `request` has a field that some provider refuses.
fn is_given(request: &Request, field: &str) -> bool {
    match field {
        "temperature" => request.temperature.is_some(),
        "top_p" => request.top_p.is_some(),
        "max_tokens" => request.max_tokens.is_some(),
        "logprobs" => request.logprobs == Some(true),
        "top_logprobs" => request.top_logprobs.is_some(),
        "tool_choice" => request.tool_choice.is_some(),
        "parallel_tool_calls" => request.parallel_tool_calls.is_some(),
        "response_format" => request.response_format.is_some(),
        "reasoning_effort" => request.reasoning_effort.is_some(),
        "service_tier" => request.service_tier.is_some(),
        "user" => request.user.is_some(),
        "metadata" => request.metadata.is_some(),
        _ => false,
    }
}

/// `request` on the wire.
pub(crate) fn encode(request: &Request, target: &Target, stream: bool) -> Result<Encoded> {
    if let Some(why) = declines(request, target) {
        return Err(Error::new(Code::Unsupported, why).for_model(&request.model));
    }
    let dialect = &target.dialect.openai_responses;
    let mut fields = fields(request, target, stream);
    let mut messages = request.messages.as_slice();
    if dialect.instructions {
        let leading = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
        let said: Vec<_> = messages.iter().take_while(leading).collect();
        messages = &messages[said.len()..];
        if !said.is_empty() && !fields.contains_key("instructions") {
            let texts: Vec<_> = said.iter().map(|message| message.text()).collect();
            fields.insert("instructions".to_owned(), texts.join("\n\n").into());
        }
    }
    let stored = fields.get("store") != Some(&Value::Bool(false));
    let body = Body {
        model: &target.model,
        input: items(messages, target, stored).map_err(|error| error.for_model(&request.model))?,
        tools: tools(request, target),
        fields,
    };
    let body = serde_json::to_vec(&body).map_err(|_| {
        Error::new(Code::Internal, "the request could not be written as JSON").for_model(&request.model)
    })?;
    Ok(Encoded {
        path: format!("/responses{}", dialect.query),
        headers: Vec::new(),
        body,
        context: Context {
            provider: target.provider.clone(),
            ..Context::default()
        },
    })
}

/// The body: what is long is borrowed, the rest stands in `fields`, which win.
struct Body<'a> {
    model: &'a str,
    input: Vec<Item<'a>>,
    tools: Vec<Offered<'a>>,
    fields: Object,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.fields.contains_key("model") {
            map.serialize_entry("model", self.model)?;
        }
        if !self.fields.contains_key("input") {
            map.serialize_entry("input", &self.input)?;
        }
        if !self.tools.is_empty() && !self.fields.contains_key("tools") {
            map.serialize_entry("tools", &self.tools)?;
        }
        for (key, value) in &self.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The small fields, with the caller's own options laid over them.
///
/// Two defaults are ours. Reasoning is asked for encrypted where the model gives it, so that an appended reply can be
/// sent again whether or not the server has stored it (zero data retention, `store: false`, another region). `store`
/// is not sent: the server's default keeps working what goes by ids alone (items of models that encrypt nothing,
/// `previous_response_id`), and who wants nothing stored says so in `provider_options`.
fn fields(request: &Request, target: &Target, stream: bool) -> Object {
    let mut fields = Object::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    put("stream", stream.then_some(Value::Bool(true)));
    put("temperature", request.temperature.map(Value::from));
    put("top_p", request.top_p.map(Value::from));
    put("max_output_tokens", request.max_tokens.map(Value::from));
    put("top_logprobs", request.top_logprobs.map(Value::from));
    put("tool_choice", request.tool_choice.as_ref().map(choice));
    put(
        "parallel_tool_calls",
        request.parallel_tool_calls.map(Value::from),
    );
    let format = request.response_format.as_ref().map(format);
    put("text", format.map(|format| json!({ "format": format })));
    let effort = request.reasoning_effort.as_ref();
    put("reasoning", effort.map(|effort| json!({ "effort": effort })));
    put("service_tier", request.service_tier.clone().map(Value::from));
    put("user", request.user.clone().map(Value::from));
    put("metadata", request.metadata.clone().map(Value::from));
    let mut whole = Value::Object(fields);
    for options in target.extras(Protocol::OpenaiResponses, request.provider_options.as_ref()) {
        merge::deep(&mut whole, options);
    }
    let Value::Object(mut fields) = whole else {
        return Object::new(); // options are objects: the request was checked
    };
    let mut include = Vec::new();
    // Who lists what to include has decided about reasoning, too; the contract's own field stands beside the list.
    if !fields.contains_key("include") && target.dialect.openai_responses.encrypts(&target.model) {
        include.push(ENCRYPTED);
    }
    if request.logprobs == Some(true) || request.top_logprobs.is_some_and(|top| top > 0) {
        include.push(LOGPROBS);
    }
    if !include.is_empty()
        && let Value::Array(list) = fields.entry("include").or_insert_with(|| json!([]))
    {
        for one in include {
            if !list.iter().any(|have| have == one) {
                list.push(one.into());
            }
        }
    }
    fields
}

/// The chat shape nests what this wire has flat.
fn flat(object: &Object, kind: &str) -> Object {
    let mut out = object.clone();
    if let Some(Value::Object(inner)) = out.shift_remove(kind) {
        out.extend(inner);
    }
    out
}

fn choice(choice: &ToolChoice) -> Value {
    let named = match choice {
        ToolChoice::Mode(mode) => return mode.as_str().into(),
        ToolChoice::Named(named) => named,
    };
    let kind = named.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut out = flat(named, kind);
    if let Some(Value::Array(tools)) = out.get_mut("tools") {
        for tool in tools {
            if let Value::Object(tool) = tool {
                let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
                *tool = flat(tool, kind);
            }
        }
    }
    Value::Object(out)
}

fn format(format: &Object) -> Value {
    let mut out = flat(format, "json_schema");
    if out.get("type").and_then(Value::as_str) == Some("json_schema") && !out.contains_key("name") {
        out.insert("name".to_owned(), "answer".into()); // the wire demands one
    }
    Value::Object(out)
}

/// A tool as it is offered.
struct Offered<'a> {
    tool: &'a Tool,
    target: &'a Target,
}

fn tools<'a>(request: &'a Request, target: &'a Target) -> Vec<Offered<'a>> {
    let takes = |tool: &&Tool| match tool {
        Tool::Function { .. } | Tool::Custom { .. } => true,
        Tool::Provider { provider, .. } => target.owns(Protocol::OpenaiResponses, provider),
    };
    let tools = request.tools.iter().flatten().filter(takes);
    tools.map(|tool| Offered { tool, target }).collect()
}

impl Serialize for Offered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (flat, other) = match self.tool {
            Tool::Function { function, other } => (Flat("function", function), other),
            Tool::Custom { custom, other } => (Flat("custom", custom), other),
            Tool::Provider { data, .. } => return data.serialize(serializer),
        };
        merged(serializer, self.target, extra_of(other), &flat)
    }
}

/// A function or a custom tool with its fields beside its type.
struct Flat<'a>(&'static str, &'a Object);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Flat(kind, fields) = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind)?;
        for (key, value) in fields
            .iter()
            .filter(|(key, value)| !value.is_null() && *key != "type")
        {
            match value {
                Value::Object(grammar) if kind == "custom" && key == "format" => {
                    map.serialize_entry(key, &self::flat(grammar, "grammar"))?;
                }
                _ => map.serialize_entry(key, value)?,
            }
        }
        if kind == "function" && fields.get("parameters").is_none_or(Value::is_null) {
            map.serialize_entry("parameters", &json!({"type": "object", "properties": {}}))?;
        }
        map.end()
    }
}
