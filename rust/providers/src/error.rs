//! Failures of a provider as errors of the contract: one table of words, one of statuses.

use crate::fault::Fault;
use crate::secret::Secret;
use crate::value::{object, text};
use omni_core::{Code, Error, Object};
use omni_transport::Head;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Characters of a provider's own words that an error carries.
const MAX_MESSAGE: usize = 1000;

/// What is known of a failed call beside what the provider said.
pub(crate) struct Case<'a> {
    pub(crate) provider: &'a str,
    /// The model id that was asked for.
    pub(crate) model: &'a str,
    pub(crate) head: Option<&'a Head>,
    /// Values that must not stand in the message.
    pub(crate) secrets: &'a [Secret],
    /// The request's body: its longer texts must not stand in the message either.
    pub(crate) asked: &'a [u8],
}

/// The error of an answer whose status is none of success.
pub(crate) fn of_status(case: &Case<'_>, body: &[u8]) -> Error {
    let status = case.head.map(|head| head.status);
    let document = serde_json::from_slice(body).unwrap_or(Value::Null);
    let (code, said) = classify(status, &document);
    let status = status.unwrap_or_default();
    let code = code.unwrap_or(Code::Provider);
    if (300..400).contains(&status) {
        let message = format!(
            "{} answered with a redirect (HTTP {status}) that is not followed: a key would go with it. If that is \
             where the call belongs, set api_base to it.",
            case.provider
        );
        let error = build(case, Code::Connection, &message);
        return Error {
            retryable: false,
            ..error
        };
    }
    let message = if said.is_empty() {
        let html = body.trim_ascii_start().first() == Some(&b'<');
        let what = if html { " and HTML" } else { "" };
        format!("{} answered with HTTP {status}{what}", case.provider)
    } else {
        said
    };
    build(case, code, &message)
}

/// The error of an answer that is not what its status promised.
pub(crate) fn of_fault(case: &Case<'_>, fault: Fault) -> Error {
    match fault {
        Fault::Protocol(message) => {
            let message = match case.head {
                Some(head) => format!("{message} (HTTP {})", head.status),
                None => message,
            };
            let mut error = build(case, Code::Protocol, &message);
            error.status = case.head.map(|head| head.status);
            error
        }
        Fault::Said(body) => {
            let (code, said) = classify(None, &body);
            let message = if said.is_empty() {
                "the provider reported an error in its answer"
            } else {
                &said
            };
            let mut error = build(case, code.unwrap_or(Code::Provider), message);
            // The HTTP status was one of success; what the error calls its code may be a status.
            error.status = body
                .get("code")
                .and_then(Value::as_u64)
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code));
            error
        }
    }
}

fn build(case: &Case<'_>, code: Code, message: &str) -> Error {
    let mut error = Error::new(code, clean(message, case.secrets, &prompts(case.asked)));
    error.provider = Some(case.provider.to_owned());
    error.model = Some(case.model.to_owned());
    if let Some(head) = case.head {
        // Of an answer that began well the status says nothing.
        error.status = Some(head.status).filter(|status| !(200..300).contains(status));
        error.retry_after = retry_after(head, now());
        error.request_id = request_id(head);
        match head.header("x-should-retry") {
            Some("true") => error.retryable = true,
            Some("false") => error.retryable = false,
            _ if head.status == 409 => error.retryable = true,
            _ => {}
        }
    }
    error
}

/// The provider's id of the request, from its headers.
pub(crate) fn request_id(head: &Head) -> Option<String> {
    const NAMES: [&str; 11] = [
        "x-request-id",
        "request-id",
        "anthropic-request-id",
        "x-amzn-requestid",
        "apim-request-id",
        "x-ms-request-id",
        "x-goog-request-id",
        "x-groq-id",
        "mistral-correlation-id",
        "x-debug-trace-id",
        "cf-ray",
    ];
    // One walk over what came, for answers have few headers and each look-up hashes a name.
    let found = head.headers.iter().filter_map(|(name, value)| {
        let rank = NAMES.iter().position(|known| *known == name.as_str())?;
        let value = value.to_str().ok().filter(|value| !value.is_empty())?;
        Some((rank, value))
    });
    let (_, value) = found.min_by_key(|(rank, _)| *rank)?;
    Some(value.chars().take(200).collect())
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Seconds to wait as the headers say: milliseconds, then seconds or a date.
fn retry_after(head: &Head, now: f64) -> Option<f64> {
    for (name, scale) in [
        ("retry-after-ms", 0.001),
        ("x-ms-retry-after-ms", 0.001),
        ("retry-after", 1.0),
    ] {
        let Some(value) = head.header(name).map(str::trim).filter(|value| !value.is_empty()) else {
            continue;
        };
        let seconds = match value.parse::<f64>() {
            Ok(number) => Some(number * scale),
            Err(_) => httpdate::parse_http_date(value)
                .ok()
                .and_then(|when| when.duration_since(UNIX_EPOCH).ok())
                .map(|when| when.as_secs_f64() - now),
        };
        if let Some(seconds) = seconds.filter(|seconds| seconds.is_finite()) {
            return Some(seconds.max(0.0));
        }
    }
    None
}

/// The error object in a provider's body, in any of the shapes they use.
fn error_object(body: &Value) -> Option<Object> {
    let body = match body {
        Value::Array(list) => list.first()?,
        other => other,
    };
    let body = body.as_object()?;
    for key in ["error", "errors"] {
        let inner = match body.get(key) {
            Some(Value::Array(list)) => list.first(),
            other => other,
        };
        match inner {
            Some(Value::Object(inner)) => return Some(inner.clone()),
            Some(Value::String(message)) => {
                let mut whole = body.clone();
                whole.insert("message".to_owned(), Value::String(message.clone()));
                return Some(whole);
            }
            _ => {}
        }
    }
    Some(body.clone())
}

/// What a provider's error object calls itself says more than the HTTP status.
fn by_word(word: &str) -> Option<Code> {
    Some(match word {
        "invalid_request_error" | "invalid_argument" | "failed_precondition" | "request_too_large" => {
            Code::InvalidRequest
        }
        "authentication_error" | "invalid_api_key" | "unauthenticated" => Code::Authentication,
        "insufficient_quota"
        | "billing_error"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "insufficient_balance" => Code::Quota,
        "permission_error" | "permission_denied" => Code::Permission,
        "not_found_error" | "model_not_found" | "not_found" => Code::NotFound,
        "deadline_exceeded" | "timeout_error" => Code::Timeout,
        "context_length_exceeded" | "string_above_max_length" => Code::ContextLength,
        "content_filter"
        | "content_policy_violation"
        | "responsibleaipolicyviolation"
        | "moderation_blocked"
        | "cyber_policy" => Code::ContentFilter,
        "rate_limit_error" | "rate_limit_exceeded" | "resource_exhausted" | "requests" | "tokens" => {
            Code::RateLimit
        }
        "api_error" | "server_error" | "internal" | "internal_error" | "internal_server_error" => {
            Code::Provider
        }
        "overloaded_error" | "overloaded" | "service_unavailable" | "unavailable" | "slow_down" => {
            Code::Overloaded
        }
        _ => return None,
    })
}

fn by_status(status: u16) -> Option<Code> {
    Some(match status {
        401 => Code::Authentication,
        402 => Code::Quota,
        403 => Code::Permission,
        404 | 410 => Code::NotFound,
        408 | 504 => Code::Timeout,
        429 => Code::RateLimit,
        501 => Code::Unsupported,
        503 | 529 => Code::Overloaded,
        424 | 499 | 500.. => Code::Provider,
        400..=499 => Code::InvalidRequest,
        _ => return None,
    })
}

/// `(code, message)` that a provider's status and error body say; no code when they say nothing.
fn classify(status: Option<u16>, body: &Value) -> (Option<Code>, String) {
    let error = error_object(body).unwrap_or_default();
    let mut said = ["message", "detail", "error_message", "msg"]
        .iter()
        .find_map(|key| error.get(*key).and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    // OpenRouter puts the words of the provider behind it here.
    if let Some(raw) = object(error.get("metadata")).and_then(|metadata| metadata.get("raw")?.as_str()) {
        said = format!("{said}: {raw}");
    }
    if said.is_empty() && error.get("detail").is_some_and(Value::is_array) {
        said = error["detail"].to_string();
    }
    let status = status.or_else(|| {
        error
            .get("code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
    });
    let vague = |code: Option<Code>| matches!(code, None | Some(Code::InvalidRequest | Code::Provider));
    let mut code = None;
    for key in ["code", "type", "status"] {
        if let Some(found) = by_word(&text(error.get(key)).to_ascii_lowercase()) {
            code = Some(found);
            if !vague(code) {
                break;
            }
        }
    }
    let by_status = status.and_then(by_status);
    if by_status.is_some() && (vague(code) || by_status == Some(Code::Provider)) {
        code = by_status;
    }
    let lower = said.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    match code {
        Some(Code::RateLimit | Code::InvalidRequest | Code::Permission | Code::Quota) if says(QUOTA) => {
            code = Some(Code::Quota);
        }
        Some(Code::InvalidRequest | Code::RateLimit)
            if status != Some(429) && (says(CONTEXT) || exceeds(&lower)) =>
        {
            code = Some(Code::ContextLength);
        }
        Some(Code::InvalidRequest) if says(FILTER) => code = Some(Code::ContentFilter),
        Some(Code::InvalidRequest) if status == Some(400) && bad_key(&lower) => {
            code = Some(Code::Authentication);
        }
        _ => {}
    }
    (code, said)
}

const QUOTA: &[&str] = &[
    "insufficient quota",
    "insufficient_quota",
    "insufficient balance",
    "insufficient_balance",
    "insufficient credit",
    "insufficient_credit",
    "insufficient funds",
    "insufficient_funds",
    "credit balance is too low",
    "exceeded your current quota, please check",
    "billing hard limit",
    "out of credits",
    "more credits",
];
const CONTEXT: &[&str] = &[
    "context length",
    "context_length",
    "context-length",
    "contextlength",
    "context window",
    "context_window",
    "context-window",
    "maximum context",
    "available context size",
    "prompt is too long",
    "too many tokens",
    "input is too long",
    "reduce the length of the messages",
    "reduce the length of the input",
    "reduce the length of the prompt",
];
const FILTER: &[&str] = &[
    "content policy",
    "content_policy",
    "content filter",
    "content_filter",
    "content management policy",
    "content_management_policy",
    "contentpolicy",
    "contentfilter",
    "safety system",
    "responsible ai",
    "flagged as",
    "usage policies",
];

/// "… exceeds the maximum number of tokens …", "token count … exceeds".
fn exceeds(lower: &str) -> bool {
    let Some(at) = lower.find("exceeds") else {
        return false;
    };
    let (before, after) = lower.split_at(at);
    let after = after.split_once("tokens").map_or("", |(between, _)| between);
    let limit = after.len() < 60 && (after.contains("maximum") || after.contains("model'"));
    limit && after.contains("exceeds the ") || before.rfind("token count").is_some_and(|from| at - from < 75)
}

/// "API key not valid", "invalid API key", "the token has expired".
fn bad_key(lower: &str) -> bool {
    let wrong = ["not valid", "invalid", "expired", "incorrect"];
    ["api key", "api_key", "apikey", "token"].iter().any(|name| {
        lower.match_indices(name).any(|(at, _)| {
            let after: String = lower[at + name.len()..].chars().take(40).collect();
            wrong.iter().any(|word| after.contains(word))
        })
    }) || lower.contains("invalid api key")
        || lower.contains("invalid api_key")
}

/// The longer texts of a request's body. Only failed calls pay for it.
fn prompts(body: &[u8]) -> Vec<String> {
    fn collect(value: Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) if text.len() >= 24 => into.push(text),
            Value::Array(list) => list.into_iter().for_each(|one| collect(one, into)),
            Value::Object(object) => object.into_iter().for_each(|(_, one)| collect(one, into)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    collect(serde_json::from_slice(body).unwrap_or(Value::Null), &mut texts);
    texts
}

/// `message` without keys, tokens and whole prompts, and of bounded length.
fn clean(message: &str, secrets: &[Secret], prompts: &[String]) -> String {
    let mut message: String = message.chars().take(20 * MAX_MESSAGE).collect();
    for secret in secrets
        .iter()
        .map(Secret::expose)
        .filter(|secret| secret.len() >= 4)
    {
        message = message.replace(secret, "[redacted]");
    }
    for prompt in prompts {
        if message.contains(prompt.as_str()) {
            message = message.replace(prompt.as_str(), "[prompt]");
        }
    }
    let mut out = String::with_capacity(message.len());
    for word in message.split(|c: char| c.is_whitespace() || c == '\0') {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        if looks_like_token(word) || out.to_ascii_lowercase().ends_with("bearer ") && word.len() >= 6 {
            out.push_str("[redacted]");
        } else {
            out.push_str(word);
        }
    }
    if out.chars().count() > MAX_MESSAGE {
        out = out.chars().take(MAX_MESSAGE - 1).chain(['…']).collect();
    }
    out
}

/// Whether a word holds something of the form of a known kind of key.
fn looks_like_token(word: &str) -> bool {
    const PREFIXES: [&str; 24] = [
        "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "gsk_", "xai-", "key-", "pplx-", "csk-", "nvapi-", "hf_",
        "fw_", "r8_", "ghp_", "gho_", "ghu_", "ghs_", "glpat-", "xoxb-", "AIza", "ya29.", "eyJ",
    ];
    let runs = word.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
    runs.into_iter().any(|run| {
        PREFIXES
            .iter()
            .any(|prefix| run.starts_with(prefix) && run.len() >= prefix.len() + 8)
            || (run.starts_with("AKIA") || run.starts_with("ASIA")) && run.len() >= 16
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(status: Option<u16>, body: &Value) -> Option<Code> {
        classify(status, body).0
    }

    #[test]
    fn statuses_and_words_give_the_code() {
        for (status, body, want) in [
            (401, json!({"error": {"message": "no"}}), Code::Authentication),
            (402, json!(null), Code::Quota),
            (
                413,
                json!({"error": {"type": "request_too_large"}}),
                Code::InvalidRequest,
            ),
            (429, json!({"error": {"code": "insufficient_quota"}}), Code::Quota),
            (
                429,
                json!({"error": {"type": "rate_limit_error"}}),
                Code::RateLimit,
            ),
            (
                400,
                json!({"error": {"code": "context_length_exceeded"}}),
                Code::ContextLength,
            ),
            (
                400,
                json!({"error": {"message": "prompt is too long: 9 > 8"}}),
                Code::ContextLength,
            ),
            (
                400,
                json!([{"error": {"status": "INVALID_ARGUMENT", "message": "API key not valid."}}]),
                Code::Authentication,
            ),
            (
                500,
                json!({"error": {"type": "authentication_error"}}),
                Code::Provider,
            ),
            (
                529,
                json!({"type": "error", "error": {"type": "overloaded_error"}}),
                Code::Overloaded,
            ),
            (418, json!({"detail": "tea"}), Code::InvalidRequest),
        ] {
            assert_eq!(code(Some(status), &body), Some(want), "{status} {body}");
        }
        let streamed = json!({"error": {"type": "overloaded_error", "message": "Overloaded"}});
        assert_eq!(code(None, &streamed), Some(Code::Overloaded));
        assert_eq!(
            code(None, &json!({"error": {"code": 429, "message": "x"}})),
            Some(Code::RateLimit)
        );
        assert_eq!(code(None, &json!({})), None);
    }

    #[test]
    fn keys_and_prompts_do_not_stand_in_messages() {
        let prompt = "the whole secret plan of the user".to_owned();
        let said = format!("bad key hunter2hunter2 or sk-abcdefghijkl or Bearer abcdefgh for {prompt}");
        let message = clean(&said, &[Secret::from("hunter2hunter2")], &[prompt]);
        assert_eq!(
            message,
            "bad key [redacted] or [redacted] or Bearer [redacted] for [prompt]"
        );
        assert_eq!(clean(&"x ".repeat(5000), &[], &[]).chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let head = |name: &'static str, value: &str| Head {
            status: 429,
            headers: [(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_str(value).unwrap(),
            )]
            .into_iter()
            .collect(),
        };
        assert_eq!(retry_after(&head("retry-after", "2"), 0.0), Some(2.0));
        assert_eq!(retry_after(&head("retry-after-ms", "1500"), 0.0), Some(1.5));
        assert_eq!(
            retry_after(&head("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"), 50.0),
            Some(10.0)
        );
        for none in ["soon", "nan", ""] {
            assert_eq!(retry_after(&head("retry-after", none), 0.0), None, "{none}");
        }
    }
}
