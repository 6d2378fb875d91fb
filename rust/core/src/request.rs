//! What is asked: one request, the same through every door.

use crate::explain;
use crate::json::{self, Object};
use crate::message::Message;
use crate::tool::{Tool, ToolChoice};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Which engine is to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// Native where it can, else LiteLLM.
    #[default]
    Auto,
    /// Native only.
    Native,
    /// LiteLLM only.
    Litellm,
}

/// Limits in seconds: one number for all of the call, or one for each wait.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Timeout {
    /// Seconds in all.
    Total(f64),
    /// Seconds for each wait.
    Each(Timeouts),
}

/// Seconds for each wait; absent means the limit that the client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until the connection stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<f64>,
    /// Until the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_event: Option<f64>,
    /// Between two events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<f64>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

/// How often and how long to try again, before the first event only.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Retry {
    /// So many tries after the first.
    Count(u32),
    /// Bounded in count and time.
    Policy(RetryPolicy),
}

/// A bound in count and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Tries after the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Seconds of waiting at the most, over all tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<f64>,
}

/// What a call may spend over all its tries. Both, if both are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Tokens, input and output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

impl Budget {
    /// Refuses what is no amount of dollars.
    pub fn check(&self) -> Result<()> {
        match self.usd {
            Some(usd) if !usd.is_finite() || usd < 0.0 => Err(Error::invalid(format!(
                "budget.usd: expected an amount of dollars from 0, got {usd}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The fields that Debug shows: numbers and words of the contract.
const SHOWN: &[&str] = &[
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "modalities",
    "service_tier",
    "reasoning_effort",
    "reasoning_budget_tokens",
    "timeout",
    "fallback_mid_stream",
    "retry",
    "budget",
    "engine",
];

macro_rules! request {
    ($($(#[$doc:meta])* $field:ident: $type:ty;)*) => {
        /// One call of a model. Absent and null are the same.
        #[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Request {
            /// The model id, `provider/model` in LiteLLM's spelling.
            pub model: String,
            /// The conversation.
            pub messages: Vec<Message>,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl Request {
            /// Every top-level field, in the order of the contract.
            pub const FIELDS: &'static [&'static str] = &["model", "messages", $(stringify!($field)),*];
        }

        /// Shows what cannot hold a key or a prompt; of everything else only that it is there.
        impl fmt::Debug for Request {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct("Request");
                shown.field("model", &self.model).field("messages", &self.messages);
                $(if let Some(value) = &self.$field {
                    let name = stringify!($field);
                    if SHOWN.contains(&name) {
                        shown.field(name, value);
                    } else {
                        shown.field(name, &format_args!("(hidden)"));
                    }
                })*
                shown.finish()
            }
        }
    };
}

request! {
    /// Tools offered to the model.
    tools: Vec<Tool>;
    /// Which of them it must use.
    tool_choice: ToolChoice;
    /// Whether it may ask for several calls in one answer.
    parallel_tool_calls: bool;
    /// Sampling temperature.
    temperature: f64;
    /// Nucleus sampling.
    top_p: f64;
    /// Sampling among the k likeliest tokens.
    top_k: u64;
    /// Bound on the output's tokens, reasoning included.
    max_tokens: u64;
    /// Texts at which the model stops: a string or a list.
    stop: Stop;
    /// For repeatable sampling, where the provider has it.
    seed: i64;
    /// Answers wanted; only 1 is supported.
    n: u32;
    /// Whether log probabilities are wanted.
    logprobs: bool;
    /// How many alternatives for each token.
    top_logprobs: u32;
    /// Penalty on repetition by count.
    frequency_penalty: f64;
    /// Penalty on repetition at all.
    presence_penalty: f64;
    /// `{"type": "json_object"}`, `{"type": "json_schema", …}` or `{"type": "text"}`.
    response_format: Object;
    /// "text", "audio", "image".
    modalities: Vec<String>;
    /// The provider's service tier.
    service_tier: String;
    /// The end user, as an opaque id.
    user: String;
    /// "none", "minimal", "low", "medium", "high", … as the provider names it.
    reasoning_effort: String;
    /// Tokens that may be spent on reasoning.
    reasoning_budget_tokens: u64;
    /// Seconds in all, or `{connect, first_event, idle, total}`.
    timeout: Timeout;
    /// What to try in turn when a model fails before its first event: model ids, or objects with the fields to change.
    fallbacks: Vec<Value>;
    /// Whether a fallback may also take over in the middle of an answer; the `fallback` event then says what does not
    /// count any more.
    fallback_mid_stream: bool;
    /// How often to try again.
    retry: Retry;
    /// What the call may spend over all its tries.
    budget: Budget;
    /// Another base URL for the provider.
    api_base: String;
    /// The key for this call.
    api_key: String;
    /// HTTP headers for the provider.
    headers: Object;
    /// Per provider, what is deep-merged into its wire body.
    provider_options: Object;
    /// What the provider stores with the call.
    metadata: Object;
    /// What our own telemetry carries; never sent to a provider.
    labels: Object;
    /// Which engine is to answer.
    engine: EngineChoice;
}

/// Texts at which the model stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// One text.
    One(String),
    /// Any of several.
    Any(Vec<String>),
}

impl EngineChoice {
    /// Every choice, in the order of the contract.
    pub const ALL: &'static [EngineChoice] =
        &[EngineChoice::Auto, EngineChoice::Native, EngineChoice::Litellm];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            EngineChoice::Auto => "auto",
            EngineChoice::Native => "native",
            EngineChoice::Litellm => "litellm",
        }
    }
}

impl Request {
    /// A request of `model` with `messages` and nothing else.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            messages,
            ..Self::default()
        }
    }

    /// Reads a request from JSON text and checks it.
    ///
    /// # Errors
    /// `invalid_request` with the path of what is wrong, and a near match for an unknown top-level field;
    /// `unsupported` for what the contract knows and no engine does. No error quotes the request.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        let request = json::from_slice_lenient::<Self>(text).map_err(|error| {
            let told = json::from_slice_lenient::<Value>(text)
                .ok()
                .and_then(|document| explain::request(&document));
            told.map_or_else(|| json::unreadable("the request", &error), Error::invalid)
        })?;
        request.check()?;
        Ok(request)
    }

    /// Takes a request from a JSON value and checks it.
    ///
    /// # Errors
    /// As [`Request::from_json`].
    pub fn from_value(document: &Value) -> Result<Self> {
        let request = Self::deserialize(document).map_err(|error| {
            explain::request(document).map_or_else(|| json::unreadable("the request", &error), Error::invalid)
        })?;
        request.check()?;
        Ok(request)
    }

    /// Checks what types alone do not say.
    pub fn check(&self) -> Result<()> {
        let model = self.model.trim();
        if model.is_empty() || model.ends_with('/') {
            return Err(Error::invalid(
                "model: give the model as \"provider/model\", for example \"openai/gpt-5\"",
            ));
        }
        let check = || {
            self.check_messages()?;
            self.check_tools()?;
            self.check_limits()?;
            self.check_objects()
        };
        check().map_err(|error: Error| error.for_model(&self.model))
    }

    fn check_messages(&self) -> Result<()> {
        if self.messages.is_empty() {
            return Err(Error::invalid(
                "messages: at least one message is needed, for example [{\"role\": \"user\", \"content\": \"Hello\"}]",
            ));
        }
        for (at, message) in self.messages.iter().enumerate() {
            for (nth, call) in message.tool_calls.iter().flatten().enumerate() {
                let missing = match call.kind.as_str() {
                    "function" if call.function.is_some() => continue,
                    "custom" if call.custom.is_some() => continue,
                    "function" => "function: missing, though the call's type is \"function\"",
                    "custom" => "custom: missing, though the call's type is \"custom\"",
                    _ => {
                        "type: expected \"function\" or \"custom\"; a call that the provider ran itself is a part of type \"provider\""
                    }
                };
                return Err(Error::invalid(format!(
                    "messages[{at}].tool_calls[{nth}].{missing}"
                )));
            }
        }
        Ok(())
    }

    fn check_tools(&self) -> Result<()> {
        for (at, tool) in self.tools.iter().flatten().enumerate() {
            let (key, object) = match tool {
                Tool::Function { function, .. } => ("function", function),
                Tool::Custom { custom, .. } => ("custom", custom),
                Tool::Provider { .. } => continue,
            };
            if object
                .get("name")
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                return Err(Error::invalid(format!(
                    "tools[{at}].{key}.name: a tool needs a name, a string"
                )));
            }
        }
        match &self.tool_choice {
            Some(ToolChoice::Mode(mode)) if !ToolChoice::MODES.contains(&mode.as_str()) => {
                Err(Error::invalid(
                    "tool_choice: expected \"auto\", \"none\", \"required\" or an object that names a tool, got another word",
                ))
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<()> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(Error::new(
                crate::Code::Unsupported,
                "n: only 1 answer a call is supported; make several calls",
            ));
        }
        let seconds = |path: &str, value: Option<f64>, least: &str, bad: fn(f64) -> bool| match value {
            Some(value) if !value.is_finite() || bad(value) => Err(Error::invalid(format!(
                "{path}: expected a number of seconds {least}, got {value}"
            ))),
            _ => Ok(()),
        };
        let above = |path: &str, value| seconds(path, value, "above 0", |value| value <= 0.0);
        match self.timeout {
            None => {}
            Some(Timeout::Total(total)) => above("timeout", Some(total))?,
            Some(Timeout::Each(each)) => {
                above("timeout.connect", each.connect)?;
                above("timeout.first_event", each.first_event)?;
                above("timeout.idle", each.idle)?;
                above("timeout.total", each.total)?;
            }
        }
        if let Some(Retry::Policy(policy)) = self.retry {
            seconds("retry.max_wait", policy.max_wait, "from 0", |value| value < 0.0)?;
        }
        self.budget.map_or(Ok(()), |budget| budget.check())
    }

    fn check_objects(&self) -> Result<()> {
        for (name, value) in self.headers.iter().flatten() {
            if !value.is_string() {
                return Err(Error::invalid(format!("headers.{name}: expected a string")));
            }
        }
        for (provider, value) in self.provider_options.iter().flatten() {
            if !value.is_object() {
                return Err(Error::invalid(format!(
                    "provider_options.{provider}: expected an object: options stand under their provider's name, \
                     for example {{\"openai\": {{\"store\": true}}}}"
                )));
            }
        }
        for (at, fallback) in self.fallbacks.iter().flatten().enumerate() {
            // What each field is to be, the client checks when it applies the fallback to the request.
            match fallback {
                Value::String(model) if !model.trim().is_empty() => {}
                Value::Object(fields) if !fields.is_empty() => {
                    if let Some(told) = fields.keys().find_map(|key| explain::unknown_field(key)) {
                        return Err(Error::invalid(format!("fallbacks[{at}].{told}")));
                    }
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "fallbacks[{at}]: expected a model id or an object with the fields to change, \
                         for example {{\"model\": \"openai/gpt-5-mini\", \"temperature\": 0}}"
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
