//! The answer to one call as frozen classes.
#![allow(
    clippy::doc_markdown,
    reason = "these are Python's docstrings: words of the contract stand in quotes"
)]

use crate::frozen::{Describe, frozen, glimpse, or_none};
use pyo3::prelude::*;
use std::sync::Arc;

/// A reply as its object, without copying it.
pub(crate) fn python(py: Python<'_>, reply: omni_core::Reply) -> PyResult<Bound<'_, PyAny>> {
    Ok(Bound::new(py, ChatReply(Arc::new(reply)))?.into_any())
}

frozen! {
    /// The answer to one call. Every attribute is always there; what is unknown is None.
    ///
    /// `reply.message` is the assistant message, ready to be appended to `messages`.
    ChatReply(omni_core::Reply) = "reply" {
        /// The joined text, "" if none.
        content content: |reply| reply.content,
        /// Calls that the model wants run.
        tool_calls tool_calls: |reply| reply.tool_calls,
        /// The reasoning parts.
        reasoning reasoning: |reply| reply.reasoning,
        /// The refusal's text.
        refusal refusal: |reply| reply.refusal,
        /// Why the model stopped: "stop", "length", "tool_calls", "content_filter", "pause" or "other"; None in a
        /// partial reply.
        finish_reason finish_reason: |reply| reply.finish_reason,
        /// The provider's own word for it.
        finish_reason_raw finish_reason_raw: |reply| reply.finish_reason_raw,
        /// What the call consumed.
        usage usage: |reply| reply.usage,
        /// The provider's id of the answer.
        id id: |reply| reply.id,
        /// The provider's id of the request, for its support.
        request_id request_id: |reply| reply.request_id,
        /// Unix seconds.
        created created: |reply| reply.created,
        /// The model that answered, as the provider names it.
        model model: |reply| reply.model,
        /// Who answered.
        provider provider: |reply| reply.provider,
        /// The engine that asked: "native" or "litellm".
        engine engine: |reply| reply.engine,
        /// The provider's service tier.
        service_tier service_tier: |reply| reply.service_tier,
        /// Log probabilities in the OpenAI shape.
        logprobs logprobs: |reply| reply.logprobs,
        /// Every try, the answering one last.
        attempts attempts: |reply| reply.attempts,
        /// What only this provider gives: grounding, citations, container …
        provider_data provider_data: |reply| reply.provider_data,
        /// The assistant message, ready to be appended.
        message message: |reply| reply.message,
    }
}

impl Describe for omni_core::Reply {
    fn describe(&self) -> String {
        let finish = or_none(self.finish_reason.map(|reason| glimpse(reason.name())));
        let calls = match self.tool_calls.len() {
            0 => String::new(),
            calls => format!(", tool_calls=<{calls}>"),
        };
        let model = or_none(self.model.as_deref().map(glimpse));
        format!(
            "ChatReply(content={}{calls}, finish_reason={finish}, model={model})",
            glimpse(&self.content)
        )
    }
}

frozen! {
    /// What a call consumed. Unknown is None, never 0.
    Usage(omni_core::Usage) = "usage" {
        /// Tokens in; cache reads and writes included.
        input_tokens input_tokens: |usage| usage.input_tokens,
        /// Tokens out; reasoning included.
        output_tokens output_tokens: |usage| usage.output_tokens,
        /// The sum as the provider gives it.
        total_tokens total_tokens: |usage| usage.total_tokens,
        /// Tokens read from the provider's prompt cache.
        cached_input_tokens cached_input_tokens: |usage| usage.cached_input_tokens,
        /// Tokens written to the provider's prompt cache.
        cache_creation_input_tokens cache_creation_input_tokens: |usage| usage.cache_creation_input_tokens,
        /// Of the output, the tokens that were reasoning.
        reasoning_tokens reasoning_tokens: |usage| usage.reasoning_tokens,
        /// Calls of server-side tools: a number, or an object by tool.
        server_tool_calls server_tool_calls: |usage| usage.server_tool_calls,
        /// Cost in US dollars.
        cost_usd cost_usd: |usage| usage.cost_usd,
        /// The provider's own usage object.
        raw raw: |usage| usage.raw,
    }
}

impl Describe for omni_core::Usage {
    fn describe(&self) -> String {
        format!(
            "Usage(input_tokens={}, output_tokens={}, total_tokens={})",
            or_none(self.input_tokens),
            or_none(self.output_tokens),
            or_none(self.total_tokens)
        )
    }
}

frozen! {
    /// Tokens written to the provider's prompt cache, by how long they stay there.
    CacheCreation(omni_core::CacheCreation) = "cache_creation_input_tokens" {
        /// For five minutes (key "5m").
        five_minutes five_minutes: |tokens| tokens.five_minutes,
        /// For one hour (key "1h").
        one_hour one_hour: |tokens| tokens.one_hour,
    }
}

impl Describe for omni_core::CacheCreation {
    fn describe(&self) -> String {
        format!(
            "CacheCreation(five_minutes={}, one_hour={})",
            or_none(self.five_minutes),
            or_none(self.one_hour)
        )
    }
}

frozen! {
    /// One try of one model.
    Attempt(omni_core::Attempt) = "attempt" {
        /// The model id asked.
        model model: |attempt| attempt.model,
        /// The engine that asked.
        engine engine: |attempt| attempt.engine,
        /// Why it failed, as an exception (not raised); None for the one that answered.
        error error: |attempt| attempt.error,
        /// Milliseconds that it took.
        duration_ms duration_ms: |attempt| attempt.duration_ms,
    }
}

impl Describe for omni_core::Attempt {
    fn describe(&self) -> String {
        let error = or_none(self.error.as_ref().map(|error| glimpse(error.code.name())));
        format!("Attempt(model={}, error={error})", glimpse(&self.model))
    }
}

/// Adds the classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ChatReply>()?;
    module.add_class::<Usage>()?;
    module.add_class::<CacheCreation>()?;
    module.add_class::<Attempt>()
}
