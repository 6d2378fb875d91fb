//! What a request may not say where its sender is a stranger (`allow_endpoints = false`).

use super::Source;
use omni_core::{Code, Error, Request, Result};
use serde_json::Value;

/// Names inside `provider_options` that say where a call goes or with which key, in all the spellings that `LiteLLM` and
/// the providers' own clients know.
const ENDPOINT_OPTIONS: [&str; 9] = [
    "headers",
    "default_headers",
    "extra_headers",
    "organization",
    "proxy",
    "proxies",
    "http_client",
    "client",
    "custom_llm_provider",
];
const ENDPOINT_BEGINNINGS: [&str; 4] = ["azure_", "aws_", "vertex_", "litellm_"];
const ENDPOINT_ENDINGS: [&str; 17] = [
    "api_key",
    "api_base",
    "api_version",
    "base_url",
    "endpoint",
    "endpoint_url",
    "access_key",
    "access_key_id",
    "secret",
    "secret_access_key",
    "auth_token",
    "access_token",
    "bearer_token",
    "credential",
    "credentials",
    "credential_path",
    "credentials_path",
];
/// Deeper down only what cannot be a field of the provider's own, such as a property of a schema.
const NESTED_OPTIONS: [&str; 4] = [
    "default_headers",
    "extra_headers",
    "http_client",
    "custom_llm_provider",
];
const NESTED_ENDINGS: [&str; 3] = ["api_key", "api_base", "base_url"];

/// Refuses a request that says where it goes or with which key, unless that is allowed. Pure; for both engines.
///
/// # Errors
/// `permission`, naming the fields.
pub fn check_endpoints(request: &Request, allow_endpoints: bool) -> Result<()> {
    if allow_endpoints {
        return Ok(());
    }
    let found = forbidden_in(request);
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::Permission,
        format!(
            "{}: requests may not say where a call goes or with which key here; leave it out, or configure \
             allow_endpoints",
            found.join(", ")
        ),
    ))
}

/// Refuses a request that names its host itself (`headers.host`) with a key that was found elsewhere. What stands before
/// a provider hands a request on by that name, and a [`Guard`](super::Guard) knows the address only. Pure.
///
/// # Errors
/// `authentication`, with what to do.
pub fn check_host(request: &Request, source: &Source) -> Result<()> {
    let mut names = request.headers.iter().flat_map(|headers| headers.keys());
    if *source == Source::Call || !names.any(|name| name.eq_ignore_ascii_case("host")) {
        return Ok(());
    }
    let message = "headers.host: with a key that the call did not bring, the address alone says whom it reaches. Pass \
                   api_key for this call, or leave the header out";
    Err(Error::new(Code::Authentication, message))
}

/// The paths in a request that say where it goes or with which key: `api_base`, `api_key` and `headers` at the top and
/// in fallbacks, what says the same among `provider_options`, and a model id that is an address.
pub fn forbidden_in(request: &Request) -> Vec<String> {
    let mut found = Vec::new();
    for (name, is_set) in [
        ("api_base", request.api_base.is_some()),
        ("api_key", request.api_key.is_some()),
        ("headers", request.headers.is_some()),
    ] {
        if is_set {
            found.push(name.to_owned());
        }
    }
    if is_address(&request.model) {
        found.push("model".to_owned());
    }
    for (provider, fields) in request.provider_options.iter().flatten() {
        among_options(fields, format!("provider_options.{provider}"), &mut found);
    }
    for (at, fallback) in request.fallbacks.iter().flatten().enumerate() {
        in_fallback(fallback, &format!("fallbacks[{at}]"), &mut found);
    }
    found
}

/// What a caller gave for this call, for a [`Guard`](super::Guard): `api_key` and the values of `headers`.
pub fn given_in(request: &Request) -> impl Iterator<Item = &str> {
    let headers = request.headers.iter().flat_map(|headers| headers.values());
    headers
        .filter_map(Value::as_str)
        .chain(request.api_key.as_deref())
}

fn in_fallback(fallback: &Value, path: &str, found: &mut Vec<String>) {
    let fields = match fallback {
        Value::String(model) => {
            if is_address(model) {
                found.push(path.to_owned());
            }
            return;
        }
        Value::Object(fields) => fields,
        _ => return,
    };
    for name in ["api_base", "api_key", "headers"] {
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            found.push(format!("{path}.{name}"));
        }
    }
    if fields
        .get("model")
        .and_then(Value::as_str)
        .is_some_and(is_address)
    {
        found.push(format!("{path}.model"));
    }
    if let Some(Value::Object(options)) = fields.get("provider_options") {
        for (provider, fields) in options {
            among_options(fields, format!("{path}.provider_options.{provider}"), found);
        }
    }
    if let Some(extra) = fields.get("extra") {
        among_options(extra, format!("{path}.extra"), found);
    }
    // A fallback of a fallback is refused by the client; looked at all the same, one level down.
    if let Some(Value::Array(inner)) = fields.get("fallbacks") {
        for (at, inner) in inner.iter().enumerate() {
            in_fallback(inner, &format!("{path}.fallbacks[{at}]"), found);
        }
    }
}

/// By a list of what is left, not by calling itself: how deep it goes is the sender's choice.
fn among_options(options: &Value, path: String, found: &mut Vec<String>) {
    let mut left = vec![(options, path, true)];
    while let Some((value, at, top)) = left.pop() {
        match value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                left.extend(items.map(|(number, item)| (item, format!("{at}[{number}]"), false)));
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    if is_endpoint_option(name, top) {
                        found.push(format!("{at}.{name}"));
                    } else if name != "metadata" && name != "properties" {
                        left.push((field, format!("{at}.{name}"), false));
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_endpoint_option(name: &str, top: bool) -> bool {
    let name = name.to_ascii_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|start| name.starts_with(start));
    if top {
        begins(&ENDPOINT_BEGINNINGS)
            || ENDPOINT_OPTIONS.contains(&name.as_str())
            || ends_with_one(&name, &ENDPOINT_ENDINGS)
    } else {
        begins(&["litellm_"])
            || NESTED_OPTIONS.contains(&name.as_str())
            || ends_with_one(&name, &NESTED_ENDINGS)
    }
}

/// Whether a name is one of these, or ends with `_` and one of these.
fn ends_with_one(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| {
        name.strip_suffix(ending)
            .is_some_and(|before| before.is_empty() || before.ends_with('_'))
    })
}

/// Whether a model id is one of those that `LiteLLM` takes for the address to call.
fn is_address(model: &str) -> bool {
    model.contains("://")
}
