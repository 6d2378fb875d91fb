//! One span a call, under the names of OpenTelemetry's conventions for generative AI: `chat {model}`, from the first
//! poll to the last event, all tries included. Retries and fallbacks are events in it.
//!
//! What was said stands in no field unless the client was built with `trace_content`; keys never do. Where nobody
//! listens there is no span and nothing of this is done.

use crate::content;
use omni_core::{Error, ModelId, Reply, Request};
use std::time::Duration;
use tracing::{Level, Span, field};

/// The target of all that is told here.
macro_rules! target {
    () => {
        "omni_bridge"
    };
}

/// The span of one call.
#[derive(Debug)]
pub(crate) struct Trace {
    span: Span,
    content: bool,
    answered: bool,
    ended: bool,
}

impl Trace {
    /// Opens the span of a call, if somebody listens.
    pub(crate) fn open(request: &Request, streamed: bool, content: bool) -> Option<Box<Self>> {
        if !tracing::enabled!(target: target!(), Level::INFO) {
            return None;
        }
        let id = ModelId::parse(&request.model);
        let name = format!("chat {}", id.model);
        let span = tracing::info_span!(
            target: target!(),
            "chat",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = field::Empty,
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = id.provider.map(provider_name),
            gen_ai.request.model = id.model,
            gen_ai.request.stream = streamed,
            gen_ai.request.max_tokens = request.max_tokens,
            gen_ai.request.temperature = request.temperature,
            gen_ai.request.top_p = request.top_p,
            gen_ai.request.top_k = request.top_k,
            gen_ai.request.frequency_penalty = request.frequency_penalty,
            gen_ai.request.presence_penalty = request.presence_penalty,
            gen_ai.request.seed = request.seed,
            gen_ai.request.reasoning.level = request.reasoning_effort.as_deref(),
            gen_ai.request.stop_sequences = field::Empty,
            gen_ai.output.type = output_type(request),
            gen_ai.response.id = field::Empty,
            gen_ai.response.model = field::Empty,
            gen_ai.response.finish_reasons = field::Empty,
            gen_ai.response.time_to_first_chunk = field::Empty,
            gen_ai.usage.input_tokens = field::Empty,
            gen_ai.usage.output_tokens = field::Empty,
            gen_ai.usage.cache_read.input_tokens = field::Empty,
            gen_ai.usage.cache_creation.input_tokens = field::Empty,
            gen_ai.usage.reasoning.output_tokens = field::Empty,
            gen_ai.input.messages = field::Empty,
            gen_ai.output.messages = field::Empty,
            gen_ai.tool.definitions = field::Empty,
            server.address = field::Empty,
            server.port = field::Empty,
            error.type = field::Empty,
            omni_bridge.engine = field::Empty,
            omni_bridge.attempts = field::Empty,
            omni_bridge.cost_usd = field::Empty,
            omni_bridge.labels = field::Empty,
        );
        if span.is_disabled() {
            return None;
        }
        if let Some((host, port)) = request.api_base.as_deref().and_then(server) {
            span.record("server.address", host);
            span.record("server.port", port);
        }
        // Labels are there to be told: they are our own telemetry's.
        if let Some(labels) = &request.labels
            && let Ok(labels) = serde_json::to_string(labels)
        {
            span.record("omni_bridge.labels", labels);
        }
        if content {
            // Even a stop sequence is a piece of what was written.
            if let Some(stop) = &request.stop
                && let Ok(stop) = serde_json::to_string(stop)
            {
                span.record("gen_ai.request.stop_sequences", stop);
            }
            if let Some(tools) = &request.tools
                && let Ok(tools) = serde_json::to_string(tools)
            {
                span.record("gen_ai.tool.definitions", tools);
            }
            span.record(
                "gen_ai.input.messages",
                content::messages(&request.messages).to_string(),
            );
        }
        Some(Box::new(Self {
            span,
            content,
            answered: false,
            ended: false,
        }))
    }

    /// The span, to be entered while the call is polled.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The first event of a streamed answer came so long after the call began.
    pub(crate) fn first_event(&mut self, streamed: bool, after: Duration) {
        if !std::mem::replace(&mut self.answered, true) && streamed {
            self.span
                .record("gen_ai.response.time_to_first_chunk", after.as_secs_f64());
        }
    }

    /// The call is over.
    pub(crate) fn end(mut self, reply: &Reply, error: Option<&Error>) {
        self.ended = true;
        let span = &self.span;
        if let Some(error) = error {
            span.record("error.type", error.code.name());
            span.record("otel.status_code", "ERROR");
        }
        text(span, "gen_ai.response.id", reply.id.as_deref());
        text(span, "gen_ai.response.model", reply.model.as_deref());
        if let Some(reason) = reply.finish_reason {
            span.record(
                "gen_ai.response.finish_reasons",
                format_args!("[\"{}\"]", reason.name()),
            );
        }
        let usage = &reply.usage;
        number(span, "gen_ai.usage.input_tokens", usage.input_tokens);
        number(span, "gen_ai.usage.output_tokens", usage.output_tokens);
        number(
            span,
            "gen_ai.usage.cache_read.input_tokens",
            usage.cached_input_tokens,
        );
        let written = usage.cache_creation_input_tokens.as_ref();
        let written = written.and_then(|written| match (written.five_minutes, written.one_hour) {
            (None, None) => None,
            (short, long) => Some(short.unwrap_or(0).saturating_add(long.unwrap_or(0))),
        });
        number(span, "gen_ai.usage.cache_creation.input_tokens", written);
        number(
            span,
            "gen_ai.usage.reasoning.output_tokens",
            usage.reasoning_tokens,
        );
        if let Some(usd) = usage.cost_usd {
            span.record("omni_bridge.cost_usd", usd);
        }
        text(
            span,
            "omni_bridge.engine",
            reply.engine.map(omni_core::Engine::name),
        );
        number(
            span,
            "omni_bridge.attempts",
            u64::try_from(reply.attempts.len()).ok(),
        );
        if self.content {
            let output = content::messages(std::slice::from_ref(&reply.message));
            span.record("gen_ai.output.messages", output.to_string());
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.ended {
            // Dropping a stream is how a caller cancels.
            self.span.record("error.type", "cancelled");
        }
    }
}

/// A try failed and the same model is tried again.
pub(crate) fn retry(model: &str, error: &Error, rest: Duration) {
    tracing::warn!(
        target: target!(),
        {
            gen_ai.request.model = ModelId::parse(model).model,
            error.type = error.code.name(),
            http.response.status_code = error.status,
            omni_bridge.rest_seconds = rest.as_secs_f64(),
        },
        "a try failed: the model is tried again"
    );
}

/// A model failed and another goes on.
pub(crate) fn fallback(from: &str, to: &str, error: &Error, mid_stream: bool) {
    tracing::warn!(
        target: target!(),
        {
            omni_bridge.fallback.from = from,
            omni_bridge.fallback.to = to,
            omni_bridge.fallback.mid_stream = mid_stream,
            error.type = error.code.name(),
            http.response.status_code = error.status,
        },
        "a model failed: a fallback goes on"
    );
}

/// A try must wait for its turn.
pub(crate) fn queued(model: &str) {
    tracing::debug!(
        target: target!(),
        {
            gen_ai.request.model = ModelId::parse(model).model,
        },
        "a try waits: the provider's limits are reached"
    );
}

/// A failure is not tried again because too many were.
pub(crate) fn storm(provider: &str) {
    tracing::warn!(
        target: target!(),
        {
            gen_ai.provider.name = provider_name(provider),
        },
        "no more retries for now: too many calls to this provider failed"
    );
}

fn text(span: &Span, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        span.record(name, value);
    }
}

fn number(span: &Span, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        span.record(name, value);
    }
}

/// The conventions' own names of some providers; all others keep theirs.
fn provider_name(provider: &str) -> &str {
    match provider {
        "azure" => "azure.ai.openai",
        "azure_ai" => "azure.ai.inference",
        "bedrock" | "bedrock_converse" => "aws.bedrock",
        "gemini" => "gcp.gemini",
        "vertex_ai" | "vertex_ai_beta" => "gcp.vertex_ai",
        "mistral" => "mistral_ai",
        "watsonx" => "ibm.watsonx.ai",
        "xai" => "x_ai",
        other => other,
    }
}

fn output_type(request: &Request) -> Option<&'static str> {
    let format = request.response_format.as_ref()?.get("type")?.as_str()?;
    Some(if format == "text" { "text" } else { "json" })
}

/// Host and port of a base URL, without what may be secret in it.
fn server(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let usual = if scheme.eq_ignore_ascii_case("http") {
        80
    } else {
        443
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (place, usual),
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_base_url_only_the_place_is_told() {
        for (url, want) in [
            (
                "https://user:hunter2@host.example/v1?key=hunter2",
                Some(("host.example", 443)),
            ),
            ("http://127.0.0.1:8080/v1", Some(("127.0.0.1", 8080))),
            ("http://[::1]/v1", Some(("[::1]", 80))),
            ("http://[::1]:81", Some(("[::1]", 81))),
            ("HTTP://a", Some(("a", 80))),
            ("https://a:hunter2", None),
            ("hunter2", None),
            ("https://", None),
        ] {
            assert_eq!(server(url), want, "{url}");
        }
    }
}
