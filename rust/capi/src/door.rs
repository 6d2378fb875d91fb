//! What every exported function goes through: no panic leaves, every refusal is remembered for `omni_last_error`.

use crate::last_error;
use omni_core::Error;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a function did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The handle names nothing that is alive.
    BadHandle(String),
    /// The function was called in a way that its comment forbids.
    Misuse(String),
    /// The call itself failed; the contract's error.
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Fault {
    /// The contract's error; faults of the caller name the function that refused.
    fn into_error(self, function: &str) -> Error {
        match self {
            Self::BadHandle(what) | Self::Misuse(what) => Error::invalid(format!("{function}: {what}")),
            Self::Failed(error) => error,
        }
    }
}

/// What an exported function gives back, or why not.
pub(crate) type Answer<T> = Result<T, Fault>;

/// `door!(name, refused, { body })`: the body of the exported function `name`. `body` gives an [`Answer`];
/// `refused` turns a fault into the function's own "it went wrong", and is what a panic comes to as well.
macro_rules! door {
    ($function:ident, $refused:expr, $body:block) => {
        $crate::door::guard(stringify!($function), $refused, || $body)
    };
}

/// The function behind `door!`.
pub(crate) fn guard<T>(
    function: &str,
    refused: impl FnOnce(&Fault) -> T,
    body: impl FnOnce() -> Answer<T>,
) -> T {
    // Whatever a panic leaves half done is behind a lock whose poison is looked through, or dropped with its handle.
    let answer = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(Fault::Failed(panicked(function, panic.as_ref()))));
    answer.unwrap_or_else(|fault| {
        let value = refused(&fault);
        last_error::set(&fault.into_error(function));
        value
    })
}

/// The error for a panic of ours.
pub(crate) fn panicked(place: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!(
        "{place}: a bug of omni_bridge: it panicked with: {}",
        text.unwrap_or("no text")
    ))
}
