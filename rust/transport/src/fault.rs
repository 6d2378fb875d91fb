//! Failures in the words of the contract. Addresses are left out but for host and port: a query may carry a key.

use omni_core::{Code, Error};
use std::time::Duration;

/// The innermost cause is the one that tells: "connection refused", "certificate expired".
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// No connection came about; `why` also says what to do where that is known.
pub(crate) fn unconnected(to: &str, why: &str) -> Error {
    Error::new(Code::Connection, format!("no connection to {to}: {why}"))
}

pub(crate) fn too_slow(to: &str, limit: Duration) -> Error {
    Error::new(
        Code::Timeout,
        format!("connecting to {to} took longer than {limit:?}: is the address right, and a proxy needed?"),
    )
}

pub(crate) fn no_answer(why: &str) -> Error {
    Error::new(Code::Connection, format!("no answer: {why}"))
}

pub(crate) fn cut_off(why: &str) -> Error {
    Error::new(Code::Protocol, format!("the answer was cut off: {why}"))
}

pub(crate) fn malformed(why: &str) -> Error {
    Error::new(
        Code::Protocol,
        format!("the answer is not HTTP as it should be: {why}"),
    )
}
