//! The keychain of the operating system, and one in memory for tests.

use super::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "keychain")]
mod os;
#[cfg(feature = "keychain")]
pub use os::OsKeychain;

/// A place where the operating system keeps secrets. Its functions may wait for it, and for the person who unlocks it:
/// [`LocalKeys`](super::LocalKeys) asks on a thread of its own.
pub trait Keychain: Send + Sync {
    /// The key of a provider, `None` if there is none.
    ///
    /// # Errors
    /// It cannot be asked.
    fn get(&self, provider: &str) -> Result<Option<Secret>, KeychainError>;

    /// Keeps a provider's key in place of an older one.
    ///
    /// # Errors
    /// It cannot be asked, or refuses.
    fn set(&self, provider: &str, secret: &Secret) -> Result<(), KeychainError>;

    /// Forgets a provider's key; whether there was one.
    ///
    /// # Errors
    /// It cannot be asked, or refuses.
    fn remove(&self, provider: &str) -> Result<bool, KeychainError>;

    /// The providers whose keys are in it, in the order of their names; `known` are those to ask for where it cannot
    /// be searched.
    ///
    /// # Errors
    /// It cannot be asked.
    fn providers(&self, known: &[&str]) -> Result<Vec<String>, KeychainError>;
}

/// Why a keychain gave no answer, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeychainError {
    /// None is running here: the same as one without keys.
    Absent(String),
    /// It is there and did not do what was asked.
    Failed(String),
}

impl fmt::Display for KeychainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeychainError::Absent(why) => write!(f, "no keychain is running here: {why}"),
            KeychainError::Failed(why) => write!(f, "the keychain did not answer: {why}"),
        }
    }
}

impl std::error::Error for KeychainError {}

/// A keychain in memory, for tests and for programs that fill one themselves.
#[derive(Default)]
pub struct MemoryKeychain(Mutex<BTreeMap<String, Secret>>);

impl MemoryKeychain {
    fn keys(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keychain for MemoryKeychain {
    fn get(&self, provider: &str) -> Result<Option<Secret>, KeychainError> {
        Ok(self.keys().get(provider).cloned())
    }

    fn set(&self, provider: &str, secret: &Secret) -> Result<(), KeychainError> {
        self.keys().insert(provider.to_owned(), secret.clone());
        Ok(())
    }

    fn remove(&self, provider: &str) -> Result<bool, KeychainError> {
        Ok(self.keys().remove(provider).is_some())
    }

    fn providers(&self, _known: &[&str]) -> Result<Vec<String>, KeychainError> {
        Ok(self.keys().keys().cloned().collect())
    }
}

/// Built without the feature `keychain`: there is none.
#[cfg(not(feature = "keychain"))]
#[derive(Debug, Default)]
pub struct OsKeychain;

#[cfg(not(feature = "keychain"))]
impl OsKeychain {
    /// What it always says.
    pub fn new(_limit: std::time::Duration) -> Self {
        Self
    }

    fn absent<T>() -> Result<T, KeychainError> {
        Err(KeychainError::Absent(
            "built without the feature `keychain`".to_owned(),
        ))
    }
}

#[cfg(not(feature = "keychain"))]
impl Keychain for OsKeychain {
    fn get(&self, _provider: &str) -> Result<Option<Secret>, KeychainError> {
        Self::absent()
    }

    fn set(&self, _provider: &str, _secret: &Secret) -> Result<(), KeychainError> {
        Self::absent()
    }

    fn remove(&self, _provider: &str) -> Result<bool, KeychainError> {
        Self::absent()
    }

    fn providers(&self, _known: &[&str]) -> Result<Vec<String>, KeychainError> {
        Self::absent()
    }
}
