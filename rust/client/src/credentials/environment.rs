//! The environment's variables, and what follows from them.

use super::Secret;
use super::names;
use memchr::memmem::Finder;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shorter values are found in too many places to mean anything.
const MIN_LENGTH: usize = 6;

/// One state of the environment, and what a [`Guard`](super::Guard) needs to know of it.
#[derive(Default)]
pub struct Environment {
    raw: Vec<(OsString, OsString)>,
    pub(super) secrets: Vec<Credential>,
    /// Values that are no credentials and not the system's own, such as an account's id.
    pub(super) others: Vec<String>,
    /// Variables that may hold a base URL: name and value.
    bases: Vec<(String, String)>,
}

/// Shorter credentials are found in the usual headers and in a body by chance.
const LONG: usize = 12;

/// A credential, ready to be looked for: each request that goes to a foreign host is searched for it.
pub(super) struct Credential {
    pub(super) value: String,
    /// The name of its variable; of several with one value, the last.
    name: String,
    finder: Finder<'static>,
    /// It is not found by chance.
    pub(super) long: bool,
}

impl Credential {
    fn new(value: &str, name: &str) -> Self {
        Self {
            value: value.to_owned(),
            name: name.to_owned(),
            finder: Finder::new(value).into_owned(),
            long: value.chars().count() >= LONG,
        }
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.finder.find(text).is_some()
    }
}

impl Environment {
    /// What follows from these variables.
    pub fn new<N: Into<OsString>, V: Into<OsString>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let raw: Vec<(OsString, OsString)> = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut made = Self::default();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (name, value) in &raw {
            made.read(&name.to_string_lossy(), &value.to_string_lossy(), &mut seen);
        }
        made.raw = raw;
        made
    }

    fn read(&mut self, name: &str, value: &str, seen: &mut HashMap<String, usize>) {
        if !value.is_empty() && names::is_base(name) {
            self.bases.push((name.to_owned(), value.to_owned()));
        } else if value.trim_start().starts_with('{') {
            // A service's key with its addresses in it.
            self.bases
                .extend(addresses(value).map(|url| (name.to_owned(), url.to_owned())));
        }
        if value.chars().count() < MIN_LENGTH || names::is_of_the_system(name) {
            return;
        }
        let is_address = ["/", "http://", "https://"]
            .iter()
            .any(|start| value.starts_with(start));
        if names::is_credential(name) && !is_address {
            if let Some(&at) = seen.get(value) {
                name.clone_into(&mut self.secrets[at].name);
            } else {
                seen.insert(value.to_owned(), self.secrets.len());
                self.secrets.push(Credential::new(value, name));
            }
        } else {
            self.others.push(value.to_owned());
        }
    }

    /// The value of a variable; `None` if it is not set, or not text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.raw
            .iter()
            .find(|(known, _)| known == name)
            .and_then(|(_, value)| value.to_str())
    }

    /// Names of the variables that hold credentials.
    pub fn credential_names(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|secret| secret.name.as_str())
    }

    /// The base URLs that the environment sets for a provider.
    pub fn bases_of(&self, provider: &str) -> impl Iterator<Item = &str> {
        // Most environments name none: then the prefixes are not worked out either.
        let prefixes = if self.bases.is_empty() {
            Vec::new()
        } else {
            names::prefixes(provider)
        };
        self.bases
            .iter()
            .filter(move |(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.raw.len())
    }
}

/// The addresses in a text, none of them inside another.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find("http")?..];
            let after = rest
                .strip_prefix("https://")
                .or_else(|| rest.strip_prefix("http://"));
            let Some(after) = after else {
                rest = &rest[4..];
                continue;
            };
            let length = after
                .find(|letter: char| letter.is_whitespace() || "\"'\\<>".contains(letter))
                .unwrap_or(after.len());
            let whole = &rest[..rest.len() - after.len() + length];
            rest = &after[length..];
            if length > 0 {
                return Some(whole);
            }
        }
    })
}

/// The process's environment as it changes, worked out once for each state.
///
/// Nothing tells a process that its environment changed, so each question reads all variables and compares them with
/// the last state: a few microseconds (`examples/endpoints.rs --measure`). Where a key goes to a provider's own host, or
/// to one that the configuration names, the question is not asked; and what was read within the last tenth of a second
/// may answer where a newer state could only refuse more.
pub struct Environments {
    fixed: bool,
    last: Mutex<Last>,
}

/// The last state, and when it was found to be the state.
#[derive(Default)]
struct Last {
    environment: Arc<Environment>,
    read: Option<Instant>,
}

/// How old a state may be that answers for the present one.
const RECENT: Duration = Duration::from_millis(100);

impl Environments {
    /// The environment of this process.
    pub fn process() -> Self {
        Self {
            fixed: false,
            last: Mutex::default(),
        }
    }

    /// These variables and no others, for tests and for programs that hold them elsewhere.
    pub fn fixed<N: Into<OsString>, V: Into<OsString>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            fixed: true,
            last: Mutex::new(Last {
                environment: Arc::new(Environment::new(variables)),
                read: None,
            }),
        }
    }

    /// The state as it is now.
    pub fn current(&self) -> Arc<Environment> {
        if self.fixed {
            return Arc::clone(&self.last().environment);
        }
        let raw: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let mut last = self.last();
        if last.environment.raw != raw {
            last.environment = Arc::new(Environment::new(raw));
        }
        last.read = Some(Instant::now());
        Arc::clone(&last.environment)
    }

    /// The state as it is now or was a tenth of a second ago.
    pub(super) fn recent(&self) -> Arc<Environment> {
        let last = self.last();
        if self.fixed || last.read.is_some_and(|read| read.elapsed() < RECENT) {
            return Arc::clone(&last.environment);
        }
        drop(last);
        self.current()
    }

    /// The value of one variable. Asks for this one only.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        if !self.fixed {
            return std::env::var_os(name);
        }
        let last = self.last();
        let found = last.environment.raw.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// The value of one variable as a key, `None` if it is not set or empty.
    pub(super) fn secret(&self, name: &str) -> Option<Result<Secret, NotText>> {
        let value = self.variable(name).filter(|value| !value.is_empty())?;
        Some(value.into_string().map(Secret::from).map_err(|_| NotText))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.fixed {
            "Environments(fixed)"
        } else {
            "Environments(process)"
        })
    }
}

/// A variable's value is not UTF-8: it cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;
