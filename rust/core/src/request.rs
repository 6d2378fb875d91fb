//! What is asked: one request, the same through every door.

use crate::json::{self, Object};
use crate::message::Message;
use crate::tool::{Tool, ToolChoice};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// Seconds for each wait; absent means no limit of ours.
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

macro_rules! request {
    ($($(#[$doc:meta])* $field:ident: $type:ty;)*) => {
        /// One call of a model. Absent and null are the same.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Models to try in turn when one fails before its first event: ids, or objects with fields to change.
    fallbacks: Vec<Value>;
    /// How often to try again.
    retry: Retry;
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
    /// `invalid_request` with the path of what is wrong, and a near match for an unknown top-level field.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        let request = json::from_slice_lenient::<Self>(text).map_err(|error| explain(text, &error))?;
        request.check()?;
        Ok(request)
    }

    /// Checks what types alone do not say.
    pub fn check(&self) -> Result<()> {
        if self.model.trim().is_empty() {
            return Err(Error::invalid(
                "model: give the model as \"provider/model\", for example \"openai/gpt-5\"",
            ));
        }
        if self.messages.is_empty() {
            return Err(Error::invalid(
                "messages: at least one message is needed, for example [{\"role\": \"user\", \"content\": \"Hello\"}]",
            ));
        }
        if self.n.is_some_and(|n| n != 1) {
            return Err(Error::new(
                crate::Code::Unsupported,
                "n: only 1 answer a call is supported; make several calls",
            )
            .for_model(&self.model));
        }
        Ok(())
    }
}

/// The slow path of a bad request: finds what to say about it.
fn explain(text: &[u8], error: &serde_json::Error) -> Error {
    let Ok(Value::Object(object)) = json::from_slice_lenient::<Value>(text) else {
        return json::unreadable("the request", error);
    };
    for key in object.keys() {
        if !Request::FIELDS.contains(&key.as_str()) {
            let near = Request::FIELDS
                .iter()
                .map(|field| (strsim::damerau_levenshtein(field, key), *field))
                .min()
                .filter(|(distance, field)| *distance <= 1 + field.len() / 4);
            return Error::invalid(match near {
                Some((_, field)) => format!("{key}: no such field; did you mean \"{field}\"?"),
                None => format!(
                    "{key}: no such field; what is meant for one provider goes into \"provider_options\""
                ),
            });
        }
    }
    json::unreadable("the request", error)
}
