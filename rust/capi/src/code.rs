//! The error numbers of the C interface, and where the last error is read.

use crate::door::Fault;
use crate::last_error;
use omni_core::Code;
use std::ffi::{CStr, c_char};
use std::ptr::null;

/// What went wrong, as a number: the contract's closed set of codes, plus 0 for "nothing". A number is never
/// reused for another code. omni_code_name gives the contract's name for it, omni_last_error the whole error.
/// A handle that is not alive, a NULL where none may be and text that is not what the contract says are
/// OMNI_CODE_INVALID_REQUEST.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OmniCode {
    /// It went well.
    Ok = 0,
    /// The request breaks the contract, or a function was called in a way that its comment forbids.
    InvalidRequest = 1,
    /// No key, a wrong key, or a key that may not be sent to this host.
    Authentication = 2,
    /// The account has no credit left.
    Quota = 3,
    /// The key is known but may not do this.
    Permission = 4,
    /// No such model or endpoint.
    NotFound = 5,
    /// A time limit passed.
    Timeout = 6,
    /// The input is longer than the model's context.
    ContextLength = 7,
    /// The provider refused the input or the output for its content.
    ContentFilter = 8,
    /// Too many calls or tokens in a time; see "retry_after" of the error.
    RateLimit = 9,
    /// A budget of ours (tokens or dollars) is spent.
    Budget = 10,
    /// The provider failed.
    Provider = 11,
    /// The answer is malformed or was cut off.
    Protocol = 12,
    /// The provider could not be reached, or the connection broke.
    Connection = 13,
    /// The provider is overloaded.
    Overloaded = 14,
    /// The engine cannot run: no interpreter, no package, another contract, a forked process.
    EngineUnavailable = 15,
    /// The request is valid but this engine or provider cannot do it.
    Unsupported = 16,
    /// The call was cancelled.
    Cancelled = 17,
    /// A bug of omni_bridge.
    Internal = 18,
}

impl From<Code> for OmniCode {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidRequest => Self::InvalidRequest,
            Code::Authentication => Self::Authentication,
            Code::Quota => Self::Quota,
            Code::Permission => Self::Permission,
            Code::NotFound => Self::NotFound,
            Code::Timeout => Self::Timeout,
            Code::ContextLength => Self::ContextLength,
            Code::ContentFilter => Self::ContentFilter,
            Code::RateLimit => Self::RateLimit,
            Code::Budget => Self::Budget,
            Code::Provider => Self::Provider,
            Code::Protocol => Self::Protocol,
            Code::Connection => Self::Connection,
            Code::Overloaded => Self::Overloaded,
            Code::EngineUnavailable => Self::EngineUnavailable,
            Code::Unsupported => Self::Unsupported,
            Code::Cancelled => Self::Cancelled,
            Code::Internal => Self::Internal,
        }
    }
}

impl OmniCode {
    /// The fallback of every function that answers with a code.
    pub(crate) fn of(fault: &Fault) -> Self {
        match fault {
            Fault::BadHandle(_) | Fault::Misuse(_) => Self::InvalidRequest,
            Fault::Failed(error) => error.code.into(),
        }
    }
}

/// The contract's name of an error number: "rate_limit" for OMNI_CODE_RATE_LIMIT, "ok" for 0; NULL for a
/// number that is none.
///
/// Frees: nothing; the text is static. Threads: any, callbacks included.
#[unsafe(no_mangle)]
pub extern "C" fn omni_code_name(code: i32) -> *const c_char {
    door!(omni_code_name, |_| null(), {
        Ok(name(code).map_or(null(), CStr::as_ptr))
    })
}

/// The names as C text. Written out, because a C string must be static; a test compares them with the
/// contract.
fn name(code: i32) -> Option<&'static CStr> {
    let names = [
        c"ok",
        c"invalid_request",
        c"authentication",
        c"quota",
        c"permission",
        c"not_found",
        c"timeout",
        c"context_length",
        c"content_filter",
        c"rate_limit",
        c"budget",
        c"provider",
        c"protocol",
        c"connection",
        c"overloaded",
        c"engine_unavailable",
        c"unsupported",
        c"cancelled",
        c"internal",
    ];
    usize::try_from(code).ok().and_then(|at| names.get(at).copied())
}

/// The error of the latest function that failed on the calling thread, as the contract's JSON: {"code",
/// "message", "provider", "model", "status", "retryable", "retry_after", "request_id"}; NULL if none has
/// failed here yet. Like errno it is set by a failure and left alone by success: ask only after a function
/// has said that it failed.
///
/// Frees: nothing; the text is valid until the next function of this library fails on this thread, or the
/// thread ends. Threads: any; each has its own. Callbacks: inside one it tells of functions called inside it.
#[unsafe(no_mangle)]
pub extern "C" fn omni_last_error() -> *const c_char {
    door!(omni_last_error, |_| null(), { Ok(last_error::get()) })
}
