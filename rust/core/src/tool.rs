//! Tools that are offered, and calls that a model asks for.

use crate::json::Object;
use crate::message::without_nulls;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A tool offered to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Tool {
    /// A function whose arguments are a JSON object.
    Function {
        /// Name, description, JSON schema of the parameters, `strict`; unknown keys are kept.
        function: Object,
        /// Keys beside `function`: `cache_control`, `extra`, unknown ones.
        #[serde(flatten, deserialize_with = "others")]
        other: Object,
    },
    /// A tool whose input is free text.
    Custom {
        /// Name, description, `format`.
        custom: Object,
        /// Keys beside `custom`.
        #[serde(flatten, deserialize_with = "others")]
        other: Object,
    },
    /// A tool that the provider runs itself; the wire object is kept whole.
    Provider {
        /// Whose tool it is.
        provider: String,
        /// The provider's own wire object.
        data: Value,
        /// Keys beside these.
        #[serde(flatten, deserialize_with = "others")]
        other: Object,
    },
}

/// The keys beside the named ones; of those that the contract knows, null is the same as absent.
fn others<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    let mut object = Object::deserialize(deserializer)?;
    without_nulls(&mut object, &["cache_control", "extra"]);
    Ok(object)
}

impl Tool {
    /// Every `type`, in the order of the contract.
    pub const TYPES: &'static [&'static str] = &["function", "custom", "provider"];
}

/// Which tool the model must use: "auto", "none", "required", or the OpenAI object that names one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolChoice {
    /// "auto", "none" or "required".
    Mode(String),
    /// The OpenAI object, for example `{"type": "function", "function": {"name": "…"}}`.
    Named(Object),
}

impl ToolChoice {
    /// The words that may stand in place of an object.
    pub const MODES: &'static [&'static str] = &["auto", "none", "required"];
}

/// The function that a model wants called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// The tool's name.
    pub name: String,
    /// The arguments as the text received, whether or not it is valid JSON.
    #[serde(default)]
    pub arguments: String,
    /// Unknown keys.
    #[serde(flatten)]
    pub other: Object,
}

/// The custom tool that a model wants called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Custom {
    /// The tool's name.
    pub name: String,
    /// The free text input.
    #[serde(default)]
    pub input: String,
    /// Unknown keys.
    #[serde(flatten)]
    pub other: Object,
}

/// A model's request to run a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the tool result names.
    pub id: String,
    /// "function" or "custom".
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    /// Set when `type` is "function".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// Set when `type` is "custom".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
    /// The provider's opaque proof, to be sent back byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Per provider, what is merged into its wire object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Object>,
    /// Unknown keys.
    #[serde(flatten)]
    pub other: Object,
}

fn function_kind() -> String {
    "function".to_owned()
}

impl ToolCall {
    /// The tool's name, whichever kind it is.
    pub fn name(&self) -> &str {
        match (&self.function, &self.custom) {
            (Some(function), _) => &function.name,
            (None, Some(custom)) => &custom.name,
            (None, None) => "",
        }
    }

    /// The arguments or the input, as the text received.
    pub fn text(&self) -> &str {
        match (&self.function, &self.custom) {
            (Some(function), _) => &function.arguments,
            (None, Some(custom)) => &custom.input,
            (None, None) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tools_come_back_with_what_is_unknown_in_them() {
        for document in [
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": null},
                   "cache_control": {"type": "ephemeral"}, "extra": {"gemini": {}}}),
            json!({"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}, "novel": 1}),
            json!({"type": "provider", "provider": "anthropic", "data": {"type": "web_search_20250305"}}),
        ] {
            let tool: Tool = serde_json::from_value(document.clone()).unwrap();
            assert_eq!(serde_json::to_value(&tool).unwrap(), document);
            assert!(Tool::TYPES.contains(&document["type"].as_str().unwrap()));
        }
    }

    #[test]
    fn null_is_absent_in_what_the_contract_knows() {
        let document = json!({"type": "custom", "custom": {"name": "c", "format": null}, "cache_control": null,
                              "extra": null, "x": null});
        let tool: Tool = serde_json::from_value(document).unwrap();
        let kept = json!({"type": "custom", "custom": {"name": "c", "format": null}, "x": null});
        assert_eq!(serde_json::to_value(&tool).unwrap(), kept);
    }

    #[test]
    fn argument_text_is_kept_byte_for_byte() {
        for arguments in ["", "{", "{\"a\": 1.0, \"a\":  2}", "\u{0}\n\t\"\\", "null", "🧨"] {
            let document =
                json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}});
            let call: ToolCall = serde_json::from_value(document.clone()).unwrap();
            assert_eq!((call.name(), call.text()), ("f", arguments));
            assert_eq!(serde_json::to_value(&call).unwrap(), document);
        }
    }

    #[test]
    fn a_call_without_type_is_a_function() {
        let call: ToolCall = serde_json::from_value(json!({"id": "1", "function": {"name": "f"}})).unwrap();
        assert_eq!((call.kind.as_str(), call.text()), ("function", ""));
        let custom = json!({"id": "1", "type": "custom", "custom": {"name": "c", "input": "SELECT"}});
        let call: ToolCall = serde_json::from_value(custom).unwrap();
        assert_eq!((call.name(), call.text()), ("c", "SELECT"));
    }
}
