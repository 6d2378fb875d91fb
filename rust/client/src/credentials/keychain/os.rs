//! The operating system's keychain through the keyring crate, which is named nowhere else.

use super::{Keychain, KeychainError};
use crate::credentials::Secret;
use keyring::{Entry, Error};
use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Under which our keys stand there; each under its provider's name.
const SERVICE: &str = "omni_bridge";

/// Keychain Services on macOS, the Credential Manager on Windows, the Secret Service (GNOME Keyring, `KWallet`,
/// `KeePassXC`) elsewhere. It is found at the first question, and a process that found none has none to its end.
#[derive(Clone, Copy, Debug)]
pub struct OsKeychain {
    limit: Duration,
}

impl OsKeychain {
    /// A keychain that is waited for no longer than `limit`: it may show a window and wait for a person.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }

    /// Does `work` on a thread that is left behind when the limit has passed: what it waits for cannot be cancelled.
    fn within<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        // Without the bus no thread is started either.
        reachable()?;
        let (tell, told) = mpsc::sync_channel(1);
        let answer = move || {
            let found = status().and_then(|()| work());
            // Nobody listens once the limit has passed.
            let _ = tell.send(found);
        };
        std::thread::Builder::new()
            .name("omni-keychain".into())
            .spawn(answer)
            .map_err(|error| {
                KeychainError::Failed(format!("the system gives no thread to ask it on: {error}"))
            })?;
        told.recv_timeout(self.limit).unwrap_or_else(|error| {
            Err(KeychainError::Failed(match error {
                RecvTimeoutError::Timeout => format!(
                    "it took longer than {} s, perhaps because it waits to be unlocked",
                    self.limit.as_secs()
                ),
                RecvTimeoutError::Disconnected => "its client panicked".to_owned(),
            }))
        })
    }
}

impl Keychain for OsKeychain {
    fn get(&self, provider: &str) -> Result<Option<Secret>, KeychainError> {
        let provider = provider.to_owned();
        self.within(move || match entry(&provider)?.get_password() {
            Ok(key) => Ok(Some(Secret::from(key))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(failed(error)),
        })
    }

    fn set(&self, provider: &str, secret: &Secret) -> Result<(), KeychainError> {
        let (provider, secret) = (provider.to_owned(), secret.clone());
        self.within(move || entry(&provider)?.set_password(secret.expose()).map_err(failed))
    }

    fn remove(&self, provider: &str) -> Result<bool, KeychainError> {
        let provider = provider.to_owned();
        self.within(move || match entry(&provider)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(failed(error)),
        })
    }

    fn providers(&self, known: &[&str]) -> Result<Vec<String>, KeychainError> {
        let known: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
        self.within(move || {
            let mut found = match keyring_core::Entry::search(&HashMap::from([("service", SERVICE)])) {
                Ok(entries) => entries
                    .iter()
                    .filter_map(keyring_core::Entry::get_specifiers)
                    .filter(|(service, _)| service == SERVICE)
                    .map(|(_, provider)| provider)
                    .collect(),
                // Not every system's keychain can be searched this way.
                Err(Error::Invalid(..) | Error::NotSupportedByStore(_)) => asked(&known)?,
                Err(error) => return Err(failed(error)),
            };
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }
}

/// Those of `known` that have a key.
fn asked(known: &[String]) -> Result<Vec<String>, KeychainError> {
    let mut found = Vec::new();
    for provider in known {
        match entry(provider)?.get_password() {
            Ok(key) => {
                drop(Secret::from(key));
                found.push(provider.clone());
            }
            Err(Error::NoEntry) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(found)
}

fn entry(provider: &str) -> Result<Entry, KeychainError> {
    Entry::new(SERVICE, provider).map_err(failed)
}

fn status() -> Result<(), KeychainError> {
    Entry::store_status()
        .as_ref()
        .copied()
        .map_err(|error| KeychainError::Absent(words(error)))
}

/// Takes the error over, since it may hold a secret: it ends here.
fn failed(error: Error) -> KeychainError {
    match error {
        Error::NoDefaultStore => KeychainError::Absent(words(&error)),
        error => KeychainError::Failed(words(&error)),
    }
}

/// What an error says, in one line. Some hold the secret's bytes: only these three kinds may speak for themselves.
fn words(error: &Error) -> String {
    let text = match error {
        Error::PlatformFailure(cause) | Error::NoStorageAccess(cause) => cause.to_string(),
        Error::TooLong(..) => error.to_string(),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => "what it holds is no text".to_owned(),
        Error::Ambiguous(_) => "it holds several keys of this provider".to_owned(),
        _ => "it could not be opened".to_owned(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether there is a bus on which a Secret Service could answer. Without one its client would look for a while.
#[cfg(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android"))))]
fn reachable() -> Result<(), KeychainError> {
    use std::path::PathBuf;

    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if is_set("DBUS_SESSION_BUS_ADDRESS").is_some() {
        return Ok(());
    }
    let at = is_set("XDG_RUNTIME_DIR").map_or_else(usual_runtime_dir, |dir| Some(PathBuf::from(dir)));
    if at.is_some_and(|dir| dir.join("bus").exists()) {
        return Ok(());
    }
    Err(KeychainError::Absent(
        "there is no D-Bus session (DBUS_SESSION_BUS_ADDRESS is not set)".to_owned(),
    ))
}

/// Where systemd puts a user's bus; whose process this is says its own folder.
#[cfg(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android"))))]
fn usual_runtime_dir() -> Option<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt;

    let user = std::fs::metadata("/proc/self").ok()?.uid();
    Some(std::path::PathBuf::from(format!("/run/user/{user}")))
}

#[cfg(not(all(unix, not(any(target_os = "macos", target_os = "ios", target_os = "android")))))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there may be none")]
fn reachable() -> Result<(), KeychainError> {
    Ok(())
}
