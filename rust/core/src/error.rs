//! The one error type and its closed set of codes (design section 2).

use serde::{Deserialize, Serialize};

/// A result of this contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $number:literal, $retryable:literal;)*) => {
        /// What went wrong, as a closed set. The same names stand in Python, C, HTTP and the schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code of this name.
            pub fn parse(name: &str) -> Option<Code> {
                match name { $($name => Some(Code::$variant),)* _ => None }
            }

            /// The name in JSON, Python, C and the docs.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// The HTTP status with which our own HTTP door answers.
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// The number in the C interface; never reused for another code.
            pub const fn number(self) -> i32 {
                match self { $(Code::$variant => $number),* }
            }

            /// Whether the same call may succeed later when nothing else is known about the failure.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$variant => $retryable),* }
            }
        }
    };
}

codes! {
    /// The request breaks the contract, or the provider says that it is malformed.
    InvalidRequest = "invalid_request", 400, 1, false;
    /// No key, a wrong key, or a key that may not be sent to this host.
    Authentication = "authentication", 401, 2, false;
    /// The account has no credit left.
    Quota = "quota", 402, 3, false;
    /// The key is known but may not do this.
    Permission = "permission", 403, 4, false;
    /// No such model or endpoint.
    NotFound = "not_found", 404, 5, false;
    /// A limit of `timeout` passed, or the provider said that it timed out.
    Timeout = "timeout", 408, 6, true;
    /// The input is longer than the model's context.
    ContextLength = "context_length", 400, 7, false;
    /// The provider refused the input or the output for its content.
    ContentFilter = "content_filter", 400, 8, false;
    /// Too many calls or tokens in a time; see `retry_after`.
    RateLimit = "rate_limit", 429, 9, true;
    /// A budget of ours (tokens or dollars) is spent.
    Budget = "budget", 429, 10, false;
    /// The provider failed (5xx).
    Provider = "provider", 502, 11, true;
    /// The answer is malformed or was cut off.
    Protocol = "protocol", 502, 12, true;
    /// The provider could not be reached, or the connection broke.
    Connection = "connection", 502, 13, true;
    /// The provider is overloaded (503, 529).
    Overloaded = "overloaded", 503, 14, true;
    /// The engine cannot run: no interpreter, no package, another contract.
    EngineUnavailable = "engine_unavailable", 503, 15, false;
    /// The request is valid but this engine or provider cannot do it.
    Unsupported = "unsupported", 400, 16, false;
    /// The caller cancelled.
    Cancelled = "cancelled", 499, 17, false;
    /// A bug of ours.
    Internal = "internal", 500, 18, false;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The one error of the contract.
///
/// A key, a token or a whole prompt never stands in it: whoever makes one sees to that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Document")]
pub struct Error {
    /// What kind of failure it is.
    pub code: Code,
    /// What happened, where, and what to do next; for people.
    pub message: String,
    /// The provider that was asked, if it got that far.
    pub provider: Option<String>,
    /// The model id that was asked for.
    pub model: Option<String>,
    /// The provider's own HTTP status.
    pub status: Option<u16>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Seconds to wait before the next try, as the provider asked.
    pub retry_after: Option<f64>,
    /// The provider's id of the failed request, for its support.
    pub request_id: Option<String>,
}

/// An error as it may come: what is missing is unknown, and `retryable` is then what is usual for the code.
#[derive(Deserialize)]
struct Document {
    code: Code,
    #[serde(default)]
    message: String,
    provider: Option<String>,
    model: Option<String>,
    status: Option<u16>,
    retryable: Option<bool>,
    retry_after: Option<f64>,
    request_id: Option<String>,
}

impl From<Document> for Error {
    fn from(document: Document) -> Self {
        Self {
            code: document.code,
            message: document.message,
            provider: document.provider,
            model: document.model,
            status: document.status,
            retryable: document.retryable.unwrap_or(document.code.retryable()),
            retry_after: document.retry_after,
            request_id: document.request_id,
        }
    }
}

impl Error {
    /// An error of `code` with nothing known of a provider.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            provider: None,
            model: None,
            status: None,
            retryable: code.retryable(),
            retry_after: None,
            request_id: None,
        }
    }

    /// The request breaks the contract.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The same error with the model id that was asked for, unless one is already named.
    #[must_use]
    pub fn for_model(mut self, model: &str) -> Self {
        if self.model.is_none() && !model.is_empty() {
            self.model = Some(model.to_owned());
        }
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn names_numbers_and_serde_agree() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert_eq!(serde_json::to_value(code).unwrap(), json!(code.name()));
            assert_eq!(serde_json::from_value::<Code>(json!(code.name())).unwrap(), *code);
            assert_eq!(Code::parse(code.name()), Some(*code));
            assert_eq!(
                code.number(),
                i32::try_from(at).unwrap() + 1,
                "numbers follow the contract's order"
            );
            assert!((400..600).contains(&code.http_status()));
        }
        assert_eq!(Code::parse("novel"), None);
    }

    #[test]
    fn every_key_is_there_and_comes_back() {
        let document = json!({"code": "rate_limit", "message": "slow down", "provider": "openai", "model": "openai/x",
            "status": 429, "retryable": false, "retry_after": 1.5, "request_id": "r"});
        let error: Error = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&error).unwrap(), document);
        let Value::Object(bare) = serde_json::to_value(Error::internal("x")).unwrap() else {
            panic!("an object")
        };
        assert_eq!(bare.len(), 8);
    }

    #[test]
    fn a_short_document_is_as_retryable_as_its_code() {
        for code in Code::ALL {
            let read: Error = serde_json::from_value(json!({"code": code.name(), "message": "m"})).unwrap();
            assert_eq!(read, Error::new(*code, "m"));
        }
    }

    #[test]
    fn the_first_named_model_stays() {
        assert_eq!(
            Error::invalid("x")
                .for_model("a/b")
                .for_model("c/d")
                .model
                .as_deref(),
            Some("a/b")
        );
        assert_eq!(Error::invalid("x").for_model("").model, None);
    }
}
