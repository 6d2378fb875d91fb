//! The contract's error as the exception of its code, and panics as `internal`.

use omni_core::{Code, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The name in `errors.py` of the class of a code. No catch-all: a new code does not compile until it has its class.
const fn class_name(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest => "InvalidRequestError",
        Code::Authentication => "AuthenticationError",
        Code::Quota => "QuotaError",
        Code::Permission => "PermissionDeniedError",
        Code::NotFound => "NotFoundError",
        Code::Timeout => "RequestTimeoutError",
        Code::ContextLength => "ContextLengthError",
        Code::ContentFilter => "ContentFilterError",
        Code::RateLimit => "RateLimitError",
        Code::Budget => "BudgetError",
        Code::Provider => "ProviderError",
        Code::Protocol => "ProtocolError",
        Code::Connection => "ConnectionFailedError",
        Code::Overloaded => "OverloadedError",
        Code::EngineUnavailable => "EngineUnavailableError",
        Code::Unsupported => "UnsupportedError",
        Code::Cancelled => "CancelledError",
        Code::Internal => "InternalError",
    }
}

/// `error` as an exception object, not raised.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = ERRORS.get_or_try_init(py, || {
        PyModule::import(py, "omni_bridge.errors").map(Bound::unbind)
    })?;
    let fields = PyDict::new(py);
    fields.set_item("provider", error.provider.as_deref())?;
    fields.set_item("model", error.model.as_deref())?;
    fields.set_item("status", error.status)?;
    fields.set_item("retryable", error.retryable)?;
    fields.set_item("retry_after", error.retry_after)?;
    fields.set_item("request_id", error.request_id.as_deref())?;
    module
        .bind(py)
        .getattr(class_name(error.code))?
        .call((error.message.as_str(),), Some(&fields))
}

/// `error` ready to be raised.
pub(crate) fn raise(error: &Error) -> PyErr {
    Python::attach(|py| match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failed) => failed,
    })
}

/// Runs a door's body. A panic becomes an `internal` error: pyo3's own exception would pass by every
/// `except Exception` of the user. The panic's text has gone to stderr; it is not repeated, for it may hold data.
pub(crate) fn guarded<T>(body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(_) => Err(raise(&panicked())),
    }
}

/// What a panic of ours is called.
pub(crate) fn panicked() -> Error {
    Error::internal(
        "a bug in omni_bridge: its Rust code panicked (see stderr); other calls are not affected. Please report it",
    )
}
