//! Where keys come from and where they may go.
//!
//! A key is looked for in this order: the call's own `api_key`, the environment under `LiteLLM`'s names, the keychain
//! of the operating system, a file that only its owner can read. [`Credentials`] is the one door to all but the first;
//! [`LocalKeys`] is what one user on one machine has. A key that the call did not bring goes only where [`Guard`] says.
//!
//! ```
//! use omni_bridge::credentials::{self, Environments, KeyAsk, LocalKeys, Principal, Source};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let environment = Environments::fixed([("ACME_API_KEY", "acme-canary-1")]);
//! let keys = LocalKeys::new(environment).without_keychain().without_file();
//! let names = ["ACME_API_KEY".to_owned()];
//! let ask = KeyAsk { provider: "acme", env: &names };
//! let found = credentials::find(&keys, &Principal::local(), &ask, None).await?.unwrap();
//! assert_eq!(found.source, Source::Environment("ACME_API_KEY".into()));
//! assert_eq!(format!("{found:?}"), "FoundKey { secret: Secret(…), source: Environment(\"ACME_API_KEY\") }");
//! # Ok::<(), omni_bridge::Error>(()) }).unwrap();
//! ```

mod endpoints;
mod environment;
mod file;
mod guard;
mod keychain;
mod local;
mod names;
mod place;
mod request;

pub use endpoints::{Hosts, trusted};
pub use environment::{Environment, Environments};
pub use file::KeyFile;
pub use guard::{Guard, Verdict};
pub use keychain::{Keychain, KeychainError, MemoryKeychain, OsKeychain};
pub use local::{LocalKeys, Stored};
pub use omni_providers::Secret;
pub use request::{check_endpoints, check_host, forbidden_in, given_in};

use omni_core::{BoxFuture, Code, Error, Result};
use std::fmt;
use std::sync::Arc;

/// Whose key is asked for. A program of one user has [`Principal::local`]; a store for many users makes one of each
/// user's id.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Principal(Option<Arc<str>>);

impl Principal {
    /// The one user of this process.
    pub const fn local() -> Self {
        Self(None)
    }

    /// The user whom a store knows by `id`.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(Some(id.into()))
    }

    /// The id, `None` for the one user of this process.
    pub fn id(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Principal {
    /// Without the id: it may be somebody's address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Principal(…)"
        } else {
            "Principal(local)"
        })
    }
}

/// Which key is asked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyAsk<'a> {
    /// The provider's name, as in a model id; also the name under which a keychain or a file keeps the key.
    pub provider: &'a str,
    /// Names of the environment's variables that may hold the key, the first one that is set counts.
    pub env: &'a [String],
}

/// Where a key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The call brought it: it may go wherever the call goes.
    Call,
    /// The environment's variable of this name.
    Environment(String),
    /// The keychain of the operating system.
    Keychain,
    /// The file that `omni auth set --file` writes.
    File,
    /// Another store, behind a [`Credentials`] of the host's own.
    Store,
}

impl Source {
    /// The word for it in lists and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Source::Call => "call",
            Source::Environment(_) => "environment",
            Source::Keychain => "keychain",
            Source::File => "file",
            Source::Store => "store",
        }
    }
}

/// A key and where it was found.
#[derive(Clone, Debug)]
pub struct FoundKey {
    /// The key.
    pub secret: Secret,
    /// Where it was found: it decides where the key may go.
    pub source: Source,
}

/// An answer that may be there already.
///
/// The environment and everything remembered answer at once, so the usual call neither allocates a future nor wakes
/// a thread; what has to be waited for (a keychain over D-Bus, a gateway's database) comes later, without stopping the
/// caller's runtime.
pub enum Lookup<'a> {
    /// Known.
    Now(Result<Option<FoundKey>>),
    /// To be waited for. It needs no runtime of a certain kind.
    Later(BoxFuture<'a, Result<Option<FoundKey>>>),
}

impl Lookup<'_> {
    /// The answer, waited for if need be.
    ///
    /// # Errors
    /// What the store says: `authentication` with what to do next.
    pub async fn wait(self) -> Result<Option<FoundKey>> {
        match self {
            Lookup::Now(found) => found,
            Lookup::Later(future) => future.await,
        }
    }
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lookup::Now(found) => f.debug_tuple("Now").field(found).finish(),
            Lookup::Later(_) => f.write_str("Later"),
        }
    }
}

/// A store of keys. `Ok(None)` means that it has none: the call then goes without, as local servers want it.
///
/// A store for many users keeps a key for each (principal, provider), answers with [`Lookup::Later`] while it asks its
/// database, remembers the answer, and leaves the environment alone: that is the operator's, not the user's.
pub trait Credentials: Send + Sync {
    /// The key of `principal` for a provider.
    fn key<'a>(&'a self, principal: &'a Principal, ask: &'a KeyAsk<'a>) -> Lookup<'a>;
}

/// The key for one call: its own `api_key`, or else what the store has.
///
/// # Errors
/// What the store says.
pub async fn find(
    credentials: &dyn Credentials,
    principal: &Principal,
    ask: &KeyAsk<'_>,
    api_key: Option<&str>,
) -> Result<Option<FoundKey>> {
    if let Some(key) = api_key {
        return Ok(Some(FoundKey {
            secret: Secret::from(key),
            source: Source::Call,
        }));
    }
    credentials.key(principal, ask).wait().await
}

/// The error of a call that has no key and needs one; `note` is what else there is to know, such as
/// [`LocalKeys::keychain_note`].
pub fn missing(ask: &KeyAsk<'_>, note: Option<&str>) -> Error {
    let provider = ask.provider;
    // Of several names the provider's own says most, whichever is looked at first.
    let own = format!("{}_API_KEY", names::upper(provider));
    let name = ask.env.iter().find(|name| **name == own);
    let set = name
        .or_else(|| ask.env.first())
        .map_or_else(String::new, |name| format!("set {name}, or "));
    let note = note.map_or_else(String::new, |note| format!(" ({note})"));
    Error {
        provider: Some(provider.to_owned()),
        ..Error::new(
            Code::Authentication,
            format!(
                "no key for '{provider}' is known{note}: {set}run `omni auth set {provider}`, or pass api_key"
            ),
        )
    }
}

#[cfg(test)]
mod tests;
