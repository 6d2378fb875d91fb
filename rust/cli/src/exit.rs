//! How a command ends: the exit code, and the one line that says why.

use omni_core::{Code, Error};
use std::fmt::Write as _;

/// Done, also when the reader of a pipe had seen enough.
pub(crate) const DONE: i32 = 0;
/// The arguments are wrong.
pub(crate) const USAGE: i32 = 2;
/// A file, standard input or standard output failed.
pub(crate) const IO: i32 = 3;
/// Ctrl-C, as shells count it.
pub(crate) const INTERRUPTED: i32 = 130;

/// The exit code of an error: 10 and its number in the contract.
pub const fn exit_code(code: Code) -> i32 {
    10 + code.number()
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    Io(String),
    Call(Error),
    Interrupted,
}

impl Failure {
    pub(crate) const fn code(&self) -> i32 {
        match self {
            Failure::Usage(_) => USAGE,
            Failure::Io(_) => IO,
            Failure::Call(error) => exit_code(error.code),
            Failure::Interrupted => INTERRUPTED,
        }
    }

    /// Prints one line on standard error.
    pub(crate) fn print(&self) {
        match self {
            Failure::Usage(message) | Failure::Io(message) => crate::output::note(message),
            Failure::Call(error) => crate::output::note(&line(error)),
            // The person knows.
            Failure::Interrupted => {}
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Call(error)
    }
}

/// What, where, what next; in one line.
fn line(error: &Error) -> String {
    let mut line = format!(
        "{}: {}",
        error.code,
        error.message.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    let mut facts = Vec::new();
    if let Some(model) = &error.model {
        facts.push(format!("model {model}"));
    }
    if let Some(status) = error.status {
        facts.push(format!("status {status}"));
    }
    if let Some(id) = &error.request_id {
        facts.push(format!("request {id}"));
    }
    if let Some(seconds) = error.retry_after {
        facts.push(format!("try again in {seconds} s"));
    }
    if !facts.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(line, " ({})", facts.join(", "));
    }
    if matches!(error.code, Code::EngineUnavailable | Code::Authentication) {
        line.push_str("; `omni doctor` says what is there and what is missing");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_own_code_clear_of_the_shells() {
        let mut codes: Vec<i32> = Code::ALL.iter().map(|code| exit_code(*code)).collect();
        codes.extend([DONE, USAGE, IO, INTERRUPTED]);
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(
            codes
                .iter()
                .all(|code| (0..126).contains(code) || *code == INTERRUPTED),
            "{codes:?}"
        );
    }

    #[test]
    fn an_error_is_one_line_with_what_is_known() {
        let error = Error {
            model: Some("openai/gpt-5".into()),
            status: Some(401),
            ..Error::new(Code::Authentication, "no key\n  given")
        };
        assert_eq!(
            line(&error),
            "authentication: no key given (model openai/gpt-5, status 401); `omni doctor` says what is there and what \
             is missing"
        );
    }
}
