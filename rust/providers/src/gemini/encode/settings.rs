//! Tools and settings → wire.

use super::models::{Model, Thinking};
use super::wire::{Declaration, Offer, With};
use crate::protocol::{Protocol, Target};
use crate::value::text;
use omni_core::{Object, Request, Stop, Tool, ToolChoice};
use serde_json::{Value, json};

/// The functions and provider tools that a request may offer to Gemini.
pub(super) fn tools<'a>(request: &'a Request, target: &'a Target) -> Vec<Offer<'a>> {
    let none = matches!(&request.tool_choice, Some(ToolChoice::Mode(mode)) if mode == "none");
    let mut offers = Vec::new();
    let mut functions = Vec::new();
    for tool in request.tools.iter().flatten() {
        match tool {
            Tool::Function { function, other } => functions.push(declaration(function, other, target)),
            // The wire can forbid functions alone: a tool that the provider runs is forbidden by not being offered.
            Tool::Provider { provider, data, .. } if !none && target.owns(Protocol::Gemini, provider) => {
                offers.push(Offer::Whole(data));
            }
            Tool::Provider { .. } | Tool::Custom { .. } => {}
        }
    }
    if !functions.is_empty() {
        // All in one tool: several are several kinds of tool to the API.
        let declarations = functions;
        offers.insert(0, Offer::Functions { declarations });
    }
    offers
}

fn declaration<'a>(function: &'a Object, other: &'a Object, target: &'a Target) -> With<'a, Declaration<'a>> {
    let given = function.get("parameters").filter(|schema| schema.is_object());
    let googles = given.is_some_and(in_googles_words);
    let extra = other.get("extra").and_then(Value::as_object);
    With {
        wire: Declaration {
            name: text(function.get("name")),
            description: text(function.get("description")),
            parameters: given.filter(|_| googles),
            // Any JSON schema goes here; `parameters` refuses `$ref`, `additionalProperties` and much else.
            schema: given.filter(|_| !googles),
        },
        extras: target
            .extras(Protocol::Gemini, extra)
            .filter(|extra| extra.is_object())
            .collect(),
    }
}

/// Whether a schema is in Google's own language, whose types are in capitals, and no JSON schema.
fn in_googles_words(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let kind = text(object.get("type"));
            if !kind.is_empty() {
                return kind.bytes().all(|byte| byte.is_ascii_uppercase());
            }
            object
                .values()
                .filter(|value| value.is_object())
                .any(in_googles_words)
        }
        _ => false,
    }
}

/// Whether the request offers functions.
pub(super) fn has_functions(request: &Request) -> bool {
    let tools = request.tools.iter().flatten();
    tools
        .into_iter()
        .any(|tool| matches!(tool, Tool::Function { .. }))
}

/// `functionCallingConfig`: the mode and the names that are allowed; a sentence for what the wire cannot say.
pub(super) fn tool_choice(request: &Request) -> Result<Option<Value>, String> {
    let Some(choice) = &request.tool_choice else {
        return Ok(None);
    };
    let functions = has_functions(request);
    let insists = || {
        if functions {
            Ok(())
        } else {
            Err("tool_choice: Gemini can be made to call functions alone, and none is offered".to_owned())
        }
    };
    let (mode, names) = match choice {
        ToolChoice::Mode(mode) => match mode.as_str() {
            "required" => {
                insists()?;
                ("ANY", Vec::new())
            }
            "none" => ("NONE", Vec::new()),
            _ => ("AUTO", Vec::new()),
        },
        ToolChoice::Named(object) => {
            insists()?;
            match text(object.get("type")) {
                "function" => ("ANY", vec![name(object)]),
                "allowed_tools" => {
                    let allowed = object
                        .get("allowed_tools")
                        .and_then(Value::as_object)
                        .unwrap_or(object);
                    let list = allowed.get("tools").and_then(Value::as_array);
                    let names = list.into_iter().flatten().filter_map(Value::as_object).map(name);
                    // With AUTO no names may stand; VALIDATED is AUTO among those that are named.
                    let mode = if text(allowed.get("mode")) == "required" {
                        "ANY"
                    } else {
                        "VALIDATED"
                    };
                    (mode, names.collect())
                }
                _ => {
                    return Err(
                        "tool_choice.type: Gemini knows \"function\" and \"allowed_tools\"".to_owned(),
                    );
                }
            }
        }
    };
    if !functions {
        return Ok(None); // the API refuses a mode for functions where there are none
    }
    if names.is_empty() {
        return Ok(Some(json!({ "mode": mode })));
    }
    Ok(Some(json!({ "mode": mode, "allowedFunctionNames": names })))
}

fn name(object: &Object) -> &str {
    let inner = object
        .get("function")
        .and_then(Value::as_object)
        .unwrap_or(object);
    text(inner.get("name"))
}

/// `thinkingConfig`; a sentence for what the model cannot be asked.
pub(super) fn thinking(request: &Request, model: &Model) -> Result<Option<Value>, String> {
    let no = |field: &str| {
        Err(format!(
            "{field}: this model does not think, or its name does not tell how"
        ))
    };
    let never = matches!(model.thinking, Thinking::Never | Thinking::Unknown);
    // The number says more than the word, and the API takes only one of them.
    if let Some(budget) = request.reasoning_budget_tokens {
        return match model.thinking {
            Thinking::Never if budget == 0 => Ok(None),
            Thinking::Never => no("reasoning_budget_tokens"),
            _ => Ok(Some(
                json!({ "thinkingBudget": budget, "includeThoughts": budget != 0 }),
            )),
        };
    }
    let Some(effort) = request.reasoning_effort.as_deref() else {
        return Ok(None);
    };
    let step = match effort {
        "none" | "disable" | "minimal" | "low" | "medium" | "high" => effort,
        "xhigh" | "max" => "high", // the most there is
        _ => {
            return Err(
                "reasoning_effort: Gemini knows \"none\", \"minimal\", \"low\", \"medium\" and \"high\""
                    .to_owned(),
            );
        }
    };
    let off = matches!(step, "none" | "disable");
    if never {
        return if off { Ok(None) } else { no("reasoning_effort") };
    }
    Ok(Some(match model.thinking {
        Thinking::Level { minimal } => {
            let level = if off || step == "minimal" { minimal } else { step };
            json!({ "thinkingLevel": level, "includeThoughts": !off })
        }
        Thinking::Budget { minimal, none } => {
            let budget = match step {
                "minimal" => minimal,
                "low" => 1024,
                "medium" => 2048,
                "high" => 4096,
                _ => none,
            };
            json!({ "thinkingBudget": budget, "includeThoughts": !off })
        }
        Thinking::Never | Thinking::Unknown => return no("reasoning_effort"),
    }))
}

/// The mime type and the schema that `response_format` asks for; a sentence for a type that is unknown.
fn format(request: &Request, config: &mut Object) -> Result<(), String> {
    let Some(format) = &request.response_format else {
        return Ok(());
    };
    match text(format.get("type")) {
        "text" => return Ok(()),
        "json_object" | "json_schema" => {}
        _ => {
            return Err(
                "response_format.type: expected \"text\", \"json_object\" or \"json_schema\"".to_owned(),
            );
        }
    }
    config.insert("responseMimeType".to_owned(), json!("application/json"));
    let wrapped = format.get("json_schema").and_then(|inner| inner.get("schema"));
    let schema = wrapped
        .or_else(|| format.get("response_schema"))
        .filter(|schema| schema.is_object());
    if let Some(schema) = schema {
        let key = if in_googles_words(schema) {
            "responseSchema"
        } else {
            "responseJsonSchema"
        };
        config.insert(key.to_owned(), schema.clone());
    }
    Ok(())
}

/// `generationConfig`; a sentence for what the model cannot be asked.
pub(super) fn generation(request: &Request, model: &Model) -> Result<Object, String> {
    let mut config = Object::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    put("temperature", request.temperature.map(Value::from));
    put("topP", request.top_p.map(Value::from));
    put("topK", request.top_k.map(Value::from));
    put("maxOutputTokens", request.max_tokens.map(Value::from));
    put(
        "stopSequences",
        request.stop.as_ref().map(|stop| match stop {
            Stop::One(one) => json!([one]),
            Stop::Any(all) => json!(all),
        }),
    );
    put("seed", request.seed.map(Value::from));
    if model.penalties {
        put("frequencyPenalty", request.frequency_penalty.map(Value::from));
        put("presencePenalty", request.presence_penalty.map(Value::from));
    }
    put("responseLogprobs", request.logprobs.map(Value::from));
    put("logprobs", request.top_logprobs.map(Value::from));
    put(
        "responseModalities",
        request.modalities.as_ref().map(|all| {
            let upper = all.iter().map(|one| one.to_ascii_uppercase());
            upper.collect::<Vec<_>>().into()
        }),
    );
    put("mediaResolution", resolution(request).map(Value::from));
    put("thinkingConfig", thinking(request, model)?);
    format(request, &mut config)?;
    Ok(config)
}

/// The resolution of media: it holds for the whole request, so the finest that a part asks for.
fn resolution(request: &Request) -> Option<&'static str> {
    let parts = request
        .messages
        .iter()
        .filter_map(|message| match &message.content {
            Some(omni_core::Content::Parts(parts)) => Some(parts),
            _ => None,
        });
    let finest = parts
        .flatten()
        .filter_map(|part| match part {
            omni_core::Part::ImageUrl { image_url, .. } => image_url.get("detail"),
            omni_core::Part::File { file, .. } => file.get("detail"),
            _ => None,
        })
        .filter_map(|detail| match detail.as_str()? {
            "low" => Some(0_usize),
            "medium" => Some(1),
            "high" | "ultra_high" => Some(2),
            _ => None,
        })
        .max()?;
    [
        "MEDIA_RESOLUTION_LOW",
        "MEDIA_RESOLUTION_MEDIUM",
        "MEDIA_RESOLUTION_HIGH",
    ]
    .get(finest)
    .copied()
}

/// The service tier in Google's words; `None` where it is the provider's to choose.
pub(super) fn service_tier(request: &Request, target: &Target) -> Option<String> {
    let tier = request.service_tier.as_deref()?.to_ascii_lowercase();
    if target.dialect.gemini.no_service_tier {
        return None;
    }
    match tier.as_str() {
        "auto" => None,
        "default" => Some("standard".to_owned()),
        _ => Some(tier),
    }
}
