//! What one provider does differently from the protocols that it speaks, as data.

use crate::{anthropic, gemini, openai_chat, openai_responses};
use serde::{Deserialize, Serialize};

/// The deviations of one provider, by protocol. The default is each protocol as its inventor documents it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Of its chat completions.
    pub openai_chat: openai_chat::Dialect,
    /// Of its responses.
    pub openai_responses: openai_responses::Dialect,
    /// Of its messages.
    pub anthropic: anthropic::Dialect,
    /// Of its `generateContent`.
    pub gemini: gemini::Dialect,
}
