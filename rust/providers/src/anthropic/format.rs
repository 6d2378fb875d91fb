//! The form of the answer that the caller asks for.

use super::model::Ability;
use super::{FORMAT_TOOL, FORMAT_VALUES, schema};
use crate::value::{object, text};
use omni_core::{Error, Request, Result};
use serde_json::{Value, json};

/// How the form is asked for.
pub(super) enum Format {
    /// Not at all.
    Free,
    /// By structured output: the object for `output_config.format`.
    Native(Value),
    /// By a tool of ours, whose input is the answer.
    Tool { name: &'static str, tool: Value },
}

/// The form that `request` asks for.
pub(super) fn format(request: &Request, ability: Ability) -> Result<Format> {
    let Some(asked) = &request.response_format else {
        return Ok(Format::Free);
    };
    match text(asked.get("type")) {
        "json_object" => Ok(tool(
            &json!({ "type": "object", "additionalProperties": true }),
            "",
        )),
        "json_schema" => {
            let holder = object(asked.get("json_schema"));
            let schema = holder.and_then(|holder| holder.get("schema"));
            let Some(schema) = schema.filter(|schema| schema.is_object()) else {
                return Err(Error::invalid(
                    "response_format.json_schema.schema: expected a JSON schema, an object",
                ));
            };
            if ability.schema {
                let schema = schema::taken(schema);
                return Ok(Format::Native(json!({ "type": "json_schema", "schema": schema })));
            }
            let said = holder.and_then(|holder| holder.get("description"));
            Ok(tool(schema, text(said)))
        }
        _ => Ok(Format::Free),
    }
}

fn tool(schema: &Value, description: &str) -> Format {
    const ASK: &str = "Give your answer to the user by calling this tool: its input is the answer.";
    let is_object = text(schema.get("type")) == "object";
    let (name, schema) = if is_object {
        (FORMAT_TOOL, schema.clone())
    } else {
        let mut inner = schema.clone();
        // References are to the top of the schema, which is now elsewhere.
        let definitions: Vec<(String, Value)> = ["$defs", "definitions"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), inner.as_object_mut()?.shift_remove(key)?)))
            .collect();
        let mut outer =
            json!({ "type": "object", "properties": { "values": inner }, "required": ["values"] });
        if let Value::Object(outer) = &mut outer {
            outer.extend(definitions);
        }
        (FORMAT_VALUES, outer)
    };
    let description = format!("{ASK} {description}");
    let tool = json!({ "name": name, "description": description.trim_end(), "input_schema": schema });
    Format::Tool { name, tool }
}

/// Why the form cannot be asked for here.
pub(super) fn declines(request: &Request) -> Option<String> {
    let asked = request.response_format.as_ref()?;
    match text(asked.get("type")) {
        "text" | "json_object" | "json_schema" => None,
        _ => Some(
            "response_format.type: this protocol knows \"text\", \"json_object\" and \"json_schema\""
                .to_owned(),
        ),
    }
}
