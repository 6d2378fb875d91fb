//! Tools, the choice among them, and the tool that stands for `response_format`.

use super::format::Format;
use super::model::{Ability, Thinking};
use super::schema;
use crate::merge;
use crate::protocol::{Protocol, Target};
use crate::value::{object, text};
use omni_core::{Object, Request, Tool, ToolChoice};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A tool on the wire.
pub(super) enum WireTool<'a> {
    Function {
        function: &'a Object,
        schema: Cow<'a, Value>,
        strict: bool,
        cache: Option<&'a Value>,
    },
    /// The provider's own.
    Whole(&'a Value),
    Merged(Value),
}

impl WireTool<'_> {
    /// A field of the wire object that the caller wrote for this provider.
    pub(super) fn wire(&self) -> Option<&Object> {
        match self {
            WireTool::Function { .. } => None,
            WireTool::Whole(value) => value.as_object(),
            WireTool::Merged(value) => value.as_object(),
        }
    }
}

impl Serialize for WireTool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            WireTool::Whole(value) => value.serialize(serializer),
            WireTool::Merged(value) => value.serialize(serializer),
            WireTool::Function {
                function,
                schema,
                strict,
                cache,
            } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("name", text(function.get("name")))?;
                let description = text(function.get("description"));
                if !description.is_empty() {
                    map.serialize_entry("description", description)?;
                }
                map.serialize_entry("input_schema", schema)?;
                if *strict {
                    map.serialize_entry("strict", &true)?;
                }
                if let Some(cache) = cache {
                    map.serialize_entry("cache_control", cache)?;
                }
                map.end()
            }
        }
    }
}

/// The tools of `request`; those of other providers are left out.
pub(super) fn tools<'a>(request: &'a Request, target: &'a Target, ability: Ability) -> Vec<WireTool<'a>> {
    let one = |tool: &'a Tool| match tool {
        Tool::Function { function, other } => {
            let strict = ability.schema && function.get("strict") == Some(&Value::Bool(true));
            let schema = input_schema(function.get("parameters"), strict);
            let cache = other.get("cache_control").or(function.get("cache_control"));
            let wire = WireTool::Function {
                function,
                schema,
                strict,
                cache,
            };
            Some(merged(wire, target, other))
        }
        Tool::Provider {
            provider,
            data,
            other,
        } if target.owns(Protocol::Anthropic, provider) => {
            let wire = match (other.get("cache_control"), data) {
                (Some(cache), Value::Object(data)) if !data.contains_key("cache_control") => {
                    let mut data = data.clone();
                    data.insert("cache_control".to_owned(), cache.clone());
                    WireTool::Merged(Value::Object(data))
                }
                _ => WireTool::Whole(data),
            };
            Some(merged(wire, target, other))
        }
        Tool::Provider { .. } | Tool::Custom { .. } => None,
    };
    request.tools.iter().flatten().filter_map(one).collect()
}

fn merged<'a>(tool: WireTool<'a>, target: &'a Target, other: &'a Object) -> WireTool<'a> {
    let extras = target.extras(Protocol::Anthropic, object(other.get("extra")));
    let mut extras = extras.filter(|extra| extra.is_object()).peekable();
    if extras.peek().is_none() {
        return tool;
    }
    let Ok(mut whole) = serde_json::to_value(&tool) else {
        return tool;
    };
    for extra in extras {
        merge::deep(&mut whole, extra);
    }
    WireTool::Merged(whole)
}

/// The schema of a function's arguments: always of an object, as the wire wants it.
fn input_schema(parameters: Option<&Value>, strict: bool) -> Cow<'_, Value> {
    match parameters {
        Some(value @ Value::Object(_)) if strict => Cow::Owned(schema::taken(value)),
        Some(value @ Value::Object(schema)) if schema.contains_key("type") => Cow::Borrowed(value),
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), json!("object"));
            if !schema.contains_key("properties") {
                schema.insert("properties".to_owned(), json!({}));
            }
            Cow::Owned(Value::Object(schema))
        }
        _ => Cow::Owned(json!({ "type": "object", "properties": {} })),
    }
}

/// The choice among the tools, `None` for the wire's default. `thinks` says that the model is asked to reason: it
/// cannot be forced then.
pub(super) fn choice(request: &Request, format: &Format, any: bool, thinks: bool) -> Option<Value> {
    if !any {
        return None;
    }
    let mut choice = match (format, &request.tool_choice) {
        // A choice of the caller's that names a tool stands before the form of the answer.
        (Format::Tool { .. }, Some(ToolChoice::Named(named))) => named_choice(named)?,
        (Format::Tool { .. }, _) if thinks => json!({ "type": "auto" }),
        (Format::Tool { name, .. }, _) if request.tools.as_ref().is_none_or(Vec::is_empty) => {
            json!({ "type": "tool", "name": name })
        }
        (Format::Tool { name, .. }, Some(ToolChoice::Mode(mode))) if mode == "none" => {
            json!({ "type": "tool", "name": name })
        }
        // Either one of the caller's tools or the answer.
        (Format::Tool { .. }, _) => json!({ "type": "any" }),
        (_, Some(ToolChoice::Mode(mode))) => match mode.as_str() {
            "required" => json!({ "type": "any" }),
            mode => json!({ "type": mode }),
        },
        (_, Some(ToolChoice::Named(named))) => named_choice(named)?,
        (_, None) => Value::Null,
    };
    if request.parallel_tool_calls == Some(false) {
        if choice.is_null() {
            choice = json!({ "type": "auto" });
        }
        if text(choice.get("type")) != "none"
            && let Value::Object(choice) = &mut choice
        {
            choice.insert("disable_parallel_tool_use".to_owned(), Value::Bool(true));
        }
    }
    (!choice.is_null()).then_some(choice)
}

/// OpenAI's object that names a tool, or the wire's own.
fn named_choice(named: &Object) -> Option<Value> {
    match text(named.get("type")) {
        "function" => {
            let name = text(named.get("function").and_then(|function| function.get("name")));
            (!name.is_empty()).then(|| json!({ "type": "tool", "name": name }))
        }
        "auto" | "any" | "none" | "tool" => Some(Value::Object(named.clone())),
        "required" => Some(json!({ "type": "any" })),
        _ => None,
    }
}

/// Why the tools of a request cannot be said here.
pub(super) fn declines(request: &Request) -> Option<String> {
    for (at, tool) in request.tools.iter().flatten().enumerate() {
        match tool {
            Tool::Custom { .. } => {
                return Some(format!(
                    "tools[{at}].custom: this protocol has no custom tools; offer it as a function"
                ));
            }
            Tool::Function { function, .. } if !is_name(text(function.get("name"))) => {
                return Some(format!("tools[{at}].function.name: {NAMES}"));
            }
            Tool::Function { .. } | Tool::Provider { .. } => {}
        }
    }
    for (at, message) in request.messages.iter().enumerate() {
        for (nth, call) in message.tool_calls.iter().flatten().enumerate() {
            if !is_name(call.name()) {
                return Some(format!("messages[{at}].tool_calls[{nth}]: {NAMES}"));
            }
        }
    }
    match &request.tool_choice {
        Some(ToolChoice::Named(named)) if named_choice(named).is_none() => Some(
            "tool_choice: this protocol can name one function, or take \"auto\", \"none\" or \"required\""
                .to_owned(),
        ),
        _ => None,
    }
}

const NAMES: &str = "this protocol takes names of 1 to 128 letters, digits, _ and -";

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=128).contains(&name.len()) && name.bytes().all(fits)
}

/// Whether the model is asked to reason.
pub(super) fn thinks(thinking: Option<&Value>, ability: Ability) -> bool {
    match thinking {
        None => ability.thinking == Thinking::Always,
        Some(thinking) => text(thinking.get("type")) != "disabled",
    }
}
