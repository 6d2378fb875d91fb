//! What can be wrong with an answer, before anybody says which error of the contract that is.

use serde_json::Value;

/// A failure that stands in the answer itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The provider reported an error where an answer was to come; its error object.
    Said(Value),
    /// The answer is malformed or was cut off; says how, and quotes nothing of it.
    Protocol(String),
}

impl Fault {
    /// A malformed answer.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Fault::Protocol(what.into())
    }
}

impl From<omni_core::Error> for Fault {
    fn from(error: omni_core::Error) -> Self {
        Fault::Protocol(error.message)
    }
}
