//! Arbitrary JSON as a request of the contract, written for every wire.

use crate::input::Input;
use omni_core::{Code, Request};
use omni_providers::{Protocol, Target, dialect_of};
use serde_json::Value;

/// Providers that differ most from the inventors of their protocols, so that each deviation is walked through.
const PROVIDERS: &[&str] = &[
    "openai",
    "anthropic",
    "gemini",
    "vertex_ai",
    "azure",
    "mistral",
    "openrouter",
    "deepseek",
    "groq",
    "xai",
    "zai",
    "perplexity",
    "cerebras",
    "nobody",
];

/// One input. Flags: bits 0 to 5 the provider, 6 whether the answer is to be streamed.
pub fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else {
        return;
    };
    let Ok(request) = Request::from_json(input.bytes) else {
        return;
    };
    let text = serde_json::to_vec(&request).expect("a request is JSON");
    let again = Request::from_json(&text).expect("what we wrote, we read");
    assert_eq!(
        serde_json::to_vec(&again).expect("a request is JSON"),
        text,
        "a request changed on its way through JSON"
    );
    let provider = PROVIDERS[usize::from(input.flags & 0x3f) % PROVIDERS.len()];
    encode(&request, provider, input.flag(6));
}

/// Writes `request` in every protocol.
pub fn encode(request: &Request, provider: &str, stream: bool) {
    let model = request
        .model
        .split_once('/')
        .map_or(&*request.model, |(_, model)| model);
    let target = Target {
        provider: provider.to_owned(),
        model: model.to_owned(),
        dialect: dialect_of(provider),
    };
    for &protocol in Protocol::ALL {
        let declined = protocol.declines(request, &target);
        match protocol.encode(request, &target, stream) {
            Ok(encoded) => {
                assert_eq!(declined, None, "what is declined is not written");
                assert!(encoded.path.starts_with('/'), "a path begins with a slash");
                let body: Value = serde_json::from_slice(&encoded.body).expect("a body is JSON");
                assert!(body.is_object(), "a body is an object");
                assert_eq!(
                    Some(encoded),
                    protocol.encode(request, &target, stream).ok(),
                    "the same request is written in the same way"
                );
            }
            // The router asks `declines` alone: another engine would have taken this request.
            Err(error) if error.code == Code::Unsupported => {
                assert!(declined.is_some(), "refused but not declined: {}", error.message);
            }
            Err(error) => assert_eq!(error.code, Code::InvalidRequest, "{}", error.message),
        }
        assert_ne!(declined.as_deref(), Some(""), "a reason says something");
    }
}
