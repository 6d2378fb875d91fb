//! The keys of one user on one machine: environment, keychain, file.

use super::Secret;
use super::environment::Environments;
use super::file::{KeyFile, Stamp};
use super::keychain::{Keychain, KeychainError, OsKeychain};
use super::{Credentials, FoundKey, KeyAsk, Lookup, Principal, Source};
use futures_util::FutureExt;
use futures_util::future::Shared;
use omni_core::{BoxFuture, Code, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a call waits for the keychain: it may ask a person to unlock it, who may not be there.
const WAIT: Duration = Duration::from_secs(5);
/// How long a key of the keychain is remembered.
const KEPT: Duration = Duration::from_secs(600);
/// How long it is remembered that the keychain has none, or that there is no keychain.
const KEPT_NONE: Duration = Duration::from_secs(60);

/// The keys of one user on one machine, in this order: the environment, the keychain, the key file.
///
/// The keychain is asked for a provider once in ten minutes (once a minute where it has no key), on a thread of its own,
/// however many calls wait for it. Where none is running the call goes on at once; [`keychain_note`](Self::keychain_note)
/// says so. `OMNI_KEYCHAIN=off` leaves it out.
pub struct LocalKeys {
    environments: Arc<Environments>,
    keychain: KeychainAt,
    file: FileAt,
    known: Arc<Mutex<Known>>,
    read: Mutex<Option<Read>>,
}

enum KeychainAt {
    /// The operating system's, unless `OMNI_KEYCHAIN` says no.
    Usual,
    Given(Arc<dyn Keychain>),
    None,
}

enum FileAt {
    /// Where the environment says.
    Usual,
    Given(KeyFile),
    None,
}

/// A key file as it was read.
struct Read {
    file: KeyFile,
    stamp: Stamp,
    keys: BTreeMap<String, Secret>,
}

type Asking = Shared<BoxFuture<'static, Option<Secret>>>;

/// What the keychain said.
#[derive(Default)]
struct Known {
    answers: HashMap<String, (Instant, Option<Secret>)>,
    asking: HashMap<String, Asking>,
    /// Since when there is no use in asking, and why.
    down: Option<(Instant, KeychainError)>,
}

impl Default for LocalKeys {
    fn default() -> Self {
        Self::new(Environments::process())
    }
}

impl LocalKeys {
    /// The keys that this environment leads to. Nothing is asked yet.
    pub fn new(environments: impl Into<Arc<Environments>>) -> Self {
        Self {
            environments: environments.into(),
            keychain: KeychainAt::Usual,
            file: FileAt::Usual,
            known: Arc::default(),
            read: Mutex::default(),
        }
    }

    /// Another keychain than the operating system's.
    #[must_use]
    pub fn with_keychain(mut self, keychain: Arc<dyn Keychain>) -> Self {
        self.keychain = KeychainAt::Given(keychain);
        self
    }

    /// No keychain.
    #[must_use]
    pub fn without_keychain(mut self) -> Self {
        self.keychain = KeychainAt::None;
        self
    }

    /// This key file, wherever the environment says that it is.
    #[must_use]
    pub fn with_file(mut self, file: KeyFile) -> Self {
        self.file = FileAt::Given(file);
        self
    }

    /// No key file.
    #[must_use]
    pub fn without_file(mut self) -> Self {
        self.file = FileAt::None;
        self
    }

    /// The environment, for a [`Guard`](super::Guard).
    pub fn environments(&self) -> &Arc<Environments> {
        &self.environments
    }

    /// The key file, whether it exists or not; `None` where there is no place for one.
    pub fn file(&self) -> Option<KeyFile> {
        match &self.file {
            FileAt::Usual => KeyFile::usual(|name| self.environments.variable(name)),
            FileAt::Given(file) => Some(file.clone()),
            FileAt::None => None,
        }
    }

    /// The keychain, to be waited for as long as `limit`; `None` where it is left out.
    pub fn keychain(&self, limit: Duration) -> Option<Arc<dyn Keychain>> {
        match &self.keychain {
            KeychainAt::Usual => {
                let off = self.environments.variable("OMNI_KEYCHAIN");
                let is_off = off.is_some_and(|value| value.eq_ignore_ascii_case(OsStr::new("off")));
                (!is_off).then(|| Arc::new(OsKeychain::new(limit)) as _)
            }
            KeychainAt::Given(keychain) => Some(Arc::clone(keychain)),
            KeychainAt::None => None,
        }
    }

    /// Why the keychain gave no answer when it was last asked, in one line.
    pub fn keychain_note(&self) -> Option<String> {
        let known = lock(&self.known);
        known.down.as_ref().map(|(_, error)| error.to_string())
    }

    /// Every key that is there, by name only: first the providers of `known` (each with the names of its variables), in
    /// that order, then those that only the keychain or the file has. Within one provider the first one counts.
    ///
    /// Waits for the keychain, for `limit` at most.
    pub fn stored<'a>(
        &self,
        known: impl IntoIterator<Item = (&'a str, &'a [String])>,
        limit: Duration,
    ) -> (Vec<Stored>, Vec<String>) {
        let known: Vec<(&str, &[String])> = known.into_iter().collect();
        let mut notes = Vec::new();
        let names: Vec<&str> = known.iter().map(|(provider, _)| *provider).collect();
        let in_keychain = match self.keychain(limit).map(|keychain| keychain.providers(&names)) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                notes.push(error.to_string());
                Vec::new()
            }
            None => Vec::new(),
        };
        let in_file = match self.file().map(|file| file.providers()) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                notes.push(error.message);
                Vec::new()
            }
            None => Vec::new(),
        };
        let more = in_keychain.iter().chain(&in_file).map(String::as_str);
        let mut all = known.clone();
        for provider in more {
            if !all.iter().any(|(known, _)| *known == provider) {
                all.push((provider, &[]));
            }
        }
        let mut found = Vec::new();
        for (provider, variables) in all {
            let environment = variables
                .iter()
                .filter(|name| self.environments.secret(name).is_some())
                .map(|name| Source::Environment(name.clone()));
            let keychain = in_keychain
                .iter()
                .filter(|name| *name == provider)
                .map(|_| Source::Keychain);
            let file = in_file
                .iter()
                .filter(|name| *name == provider)
                .map(|_| Source::File);
            let mut first: Option<Source> = None;
            for source in environment.chain(keychain).chain(file) {
                found.push(Stored {
                    provider: provider.to_owned(),
                    shadowed_by: first.clone(),
                    source: source.clone(),
                });
                first.get_or_insert(source);
            }
        }
        (found, notes)
    }

    fn in_environment(&self, ask: &KeyAsk<'_>) -> Result<Option<FoundKey>> {
        for name in ask.env {
            match self.environments.secret(name) {
                Some(Ok(secret)) => {
                    let source = Source::Environment(name.clone());
                    return Ok(Some(FoundKey { secret, source }));
                }
                Some(Err(_)) => {
                    let message = format!("the environment's {name} is not text: set it again, or unset it");
                    return Err(Error {
                        provider: Some(ask.provider.to_owned()),
                        ..Error::new(Code::Authentication, message)
                    });
                }
                None => {}
            }
        }
        Ok(None)
    }

    fn in_file(&self, provider: &str) -> Result<Option<FoundKey>> {
        let Some(file) = self.file() else {
            return Ok(None);
        };
        let mut read = lock(&self.read);
        let Some(stamp) = file.stamp() else {
            *read = None;
            return Ok(None);
        };
        let known = match &mut *read {
            Some(known) if known.file == file && known.stamp == stamp => known,
            stale => {
                *stale = None;
                let keys = file.read()?;
                stale.insert(Read { file, stamp, keys })
            }
        };
        Ok(known.keys.get(provider).map(|secret| FoundKey {
            secret: secret.clone(),
            source: Source::File,
        }))
    }

    /// What is known of the keychain's key, or a future that asks.
    fn in_keychain(&self, provider: &str) -> Result<Option<Secret>, Asking> {
        if matches!(self.keychain, KeychainAt::None) {
            return Ok(None);
        }
        let mut known = lock(&self.known);
        let now = Instant::now();
        if let Some((at, _)) = known.down
            && now.duration_since(at) < KEPT_NONE
        {
            return Ok(None);
        }
        if let Some((at, answer)) = known.answers.get(provider) {
            let kept = if answer.is_some() { KEPT } else { KEPT_NONE };
            if now.duration_since(*at) < kept {
                return Ok(answer.clone());
            }
        }
        if let Some(asking) = known.asking.get(provider) {
            return Err(asking.clone());
        }
        let Some(keychain) = self.keychain(WAIT) else {
            return Ok(None);
        };
        let asking = ask(keychain, Arc::clone(&self.known), provider.to_owned());
        known.asking.insert(provider.to_owned(), asking.clone());
        Err(asking)
    }
}

/// Asks on a thread of its own and remembers the answer.
fn ask(keychain: Arc<dyn Keychain>, known: Arc<Mutex<Known>>, provider: String) -> Asking {
    let (tell, told) = tokio::sync::oneshot::channel();
    let shared = Arc::clone(&known);
    let asked = provider.clone();
    let work = move || {
        let answer = keychain.get(&asked);
        let mut known = lock(&shared);
        known.asking.remove(&asked);
        let now = Instant::now();
        let found = match answer {
            Ok(found) => {
                known.down = None;
                known.answers.insert(asked, (now, found.clone()));
                found
            }
            Err(error) => {
                known.down = Some((now, error));
                None
            }
        };
        drop(known);
        // Nobody listens if every call was dropped meanwhile.
        let _ = tell.send(found);
    };
    let spawned = std::thread::Builder::new().name("omni-keys".into()).spawn(work);
    async move {
        if spawned.is_err() {
            lock(&known).asking.remove(&provider);
            return None;
        }
        told.await.unwrap_or_else(|_| {
            // It panicked: the next call may ask again.
            lock(&known).asking.remove(&provider);
            None
        })
    }
    .boxed()
    .shared()
}

impl Credentials for LocalKeys {
    fn key<'a>(&'a self, principal: &'a Principal, ask: &'a KeyAsk<'a>) -> Lookup<'a> {
        if principal.id().is_some() {
            // These keys are the one user's, nobody else's.
            return Lookup::Now(Ok(None));
        }
        match self.in_environment(ask) {
            Ok(None) => {}
            found => return Lookup::Now(found),
        }
        let of_keychain = |secret| FoundKey {
            secret,
            source: Source::Keychain,
        };
        match self.in_keychain(ask.provider) {
            Ok(Some(secret)) => Lookup::Now(Ok(Some(of_keychain(secret)))),
            Ok(None) => Lookup::Now(self.in_file(ask.provider)),
            Err(asking) => Lookup::Later(Box::pin(async move {
                match asking.await {
                    Some(secret) => Ok(Some(of_keychain(secret))),
                    None => self.in_file(ask.provider),
                }
            })),
        }
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeys")
            .field("environments", &self.environments)
            .finish_non_exhaustive()
    }
}

/// One key that is there, by name only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whose key it is.
    pub provider: String,
    /// Where it is.
    pub source: Source,
    /// What is taken instead of it, `None` if this is the one that counts.
    pub shadowed_by: Option<Source>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
