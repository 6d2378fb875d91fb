//! Where keys come from, where they may go, and that they show nowhere.

mod places;
mod rule;

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

const CANARY: &str = "canary-0123456789-abcdef";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A folder of the test's own, gone when the test ends.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("omni-keys-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> KeyFile {
        KeyFile::at(self.0.join("omni").join("credentials.json"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A keychain that counts how often it is asked, and answers when it is let.
#[derive(Default)]
struct Counting {
    keys: MemoryKeychain,
    asked: AtomicUsize,
    gate: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    broken: Option<KeychainError>,
}

impl Keychain for Counting {
    fn get(&self, provider: &str) -> Result<Option<Secret>, KeychainError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => self.keys.get(provider),
        }
    }

    fn set(&self, provider: &str, secret: &Secret) -> Result<(), KeychainError> {
        self.keys.set(provider, secret)
    }

    fn remove(&self, provider: &str) -> Result<bool, KeychainError> {
        self.keys.remove(provider)
    }

    fn providers(&self, known: &[&str]) -> Result<Vec<String>, KeychainError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => self.keys.providers(known),
        }
    }
}

fn keychain_with(key: &str) -> Arc<Counting> {
    let keychain = Counting::default();
    keychain.set("acme", &Secret::from(key)).unwrap();
    Arc::new(keychain)
}

async fn asked(keys: &LocalKeys, env: &[String], api_key: Option<&str>) -> Option<(String, Source)> {
    let ask = KeyAsk {
        provider: "acme",
        env,
    };
    let found = find(keys, &Principal::local(), &ask, api_key).await.unwrap();
    found.map(|found| (found.secret.expose().to_owned(), found.source))
}

#[tokio::test]
async fn the_call_comes_first_then_the_environment_the_keychain_and_the_file() {
    let folder = Folder::new();
    folder.file().set("acme", &Secret::from("of-the-file")).unwrap();
    let env = names(&["ACME_API_KEY", "ACME_KEY"]);
    let keys = |variables: &[(&str, &str)], keychain: Arc<dyn Keychain>| {
        LocalKeys::new(Environments::fixed(variables.iter().copied()))
            .with_keychain(keychain)
            .with_file(folder.file())
    };

    let all = keys(
        &[("ACME_API_KEY", ""), ("ACME_KEY", "of-the-environment")],
        keychain_with("of-the-keychain"),
    );
    assert_eq!(
        asked(&all, &env, Some("of-the-call")).await,
        Some(("of-the-call".into(), Source::Call))
    );
    assert_eq!(
        asked(&all, &env, None).await,
        Some((
            "of-the-environment".into(),
            Source::Environment("ACME_KEY".into())
        ))
    );
    let two = keys(&[], keychain_with("of-the-keychain"));
    assert_eq!(
        asked(&two, &env, None).await,
        Some(("of-the-keychain".into(), Source::Keychain))
    );
    let last = keys(&[], Arc::new(MemoryKeychain::default()));
    assert_eq!(
        asked(&last, &env, None).await,
        Some(("of-the-file".into(), Source::File))
    );
    folder.file().remove("acme").unwrap();
    assert_eq!(asked(&last, &env, None).await, None);
    folder.file().set("acme", &Secret::from("a-new-one")).unwrap();
    assert_eq!(
        asked(&last, &env, None).await,
        Some(("a-new-one".into(), Source::File)),
        "a changed file is read again"
    );
}

#[tokio::test]
async fn the_keychain_is_asked_once_however_many_calls_wait_for_it() {
    let (open, gate) = mpsc::channel();
    let keychain = keychain_with("of-the-keychain");
    *keychain.gate.lock().unwrap() = Some(gate);
    let keys = LocalKeys::new(Environments::fixed([("A", "b"); 0]))
        .with_keychain(Arc::clone(&keychain) as _)
        .without_file();
    let ask = KeyAsk {
        provider: "acme",
        env: &[],
    };
    let principal = Principal::local();
    let waiting: Vec<Lookup<'_>> = (0..50).map(|_| keys.key(&principal, &ask)).collect();
    assert!(waiting.iter().all(|lookup| matches!(lookup, Lookup::Later(_))));
    open.send(()).unwrap();
    for lookup in waiting {
        assert!(lookup.wait().await.unwrap().is_some());
    }
    assert!(
        matches!(keys.key(&principal, &ask), Lookup::Now(Ok(Some(_)))),
        "what is remembered is there at once"
    );
    assert_eq!(keychain.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_keychain_that_is_not_there_costs_one_question_and_is_told_in_one_line() {
    let broken = Counting {
        broken: Some(KeychainError::Absent("no session".into())),
        ..Counting::default()
    };
    let keychain = Arc::new(broken);
    let keys = LocalKeys::new(Environments::fixed([("A", "b"); 0]))
        .with_keychain(Arc::clone(&keychain) as _)
        .without_file();
    assert_eq!(keys.keychain_note(), None);
    assert_eq!(asked(&keys, &[], None).await, None);
    let other = KeyAsk {
        provider: "other",
        env: &[],
    };
    assert!(matches!(
        keys.key(&Principal::local(), &other),
        Lookup::Now(Ok(None))
    ));
    assert_eq!(keychain.asked.load(Ordering::SeqCst), 1);
    assert_eq!(
        keys.keychain_note().as_deref(),
        Some("no keychain is running here: no session")
    );
}

#[test]
fn a_key_of_the_environment_needs_no_waiting_and_no_keychain() {
    let keychain = keychain_with("of-the-keychain");
    let keys = LocalKeys::new(Environments::fixed([("ACME_API_KEY", CANARY)]))
        .with_keychain(Arc::clone(&keychain) as _)
        .without_file();
    let env = names(&["ACME_API_KEY"]);
    let ask = KeyAsk {
        provider: "acme",
        env: &env,
    };
    assert!(matches!(
        keys.key(&Principal::local(), &ask),
        Lookup::Now(Ok(Some(_)))
    ));
    assert_eq!(keychain.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn another_principal_never_gets_the_keys_of_the_process() {
    let keys = LocalKeys::new(Environments::fixed([("ACME_API_KEY", CANARY)]))
        .without_keychain()
        .without_file();
    let env = names(&["ACME_API_KEY"]);
    let ask = KeyAsk {
        provider: "acme",
        env: &env,
    };
    assert!(matches!(
        keys.key(&Principal::new("somebody"), &ask),
        Lookup::Now(Ok(None))
    ));
}

#[test]
fn the_list_has_every_place_and_says_what_is_taken() {
    let folder = Folder::new();
    folder.file().set("acme", &Secret::from(CANARY)).unwrap();
    folder.file().set("zeta", &Secret::from(CANARY)).unwrap();
    let keys = LocalKeys::new(Environments::fixed([("ACME_API_KEY", CANARY)]))
        .with_keychain(keychain_with(CANARY))
        .with_file(folder.file());
    let env = names(&["ACME_API_KEY"]);
    let (found, notes) = keys.stored([("acme", env.as_slice())], std::time::Duration::from_secs(1));
    let environment = Source::Environment("ACME_API_KEY".into());
    let row = |provider: &str, source: &Source, shadowed_by: Option<&Source>| Stored {
        provider: provider.into(),
        source: source.clone(),
        shadowed_by: shadowed_by.cloned(),
    };
    assert_eq!(
        found,
        [
            row("acme", &environment, None),
            row("acme", &Source::Keychain, Some(&environment)),
            row("acme", &Source::File, Some(&environment)),
            row("zeta", &Source::File, None),
        ]
    );
    assert!(notes.is_empty());
    assert!(!format!("{found:?}").contains(CANARY));
}

#[test]
fn no_debug_print_shows_a_key() {
    let secret = Secret::from(CANARY);
    let found = FoundKey {
        secret: secret.clone(),
        source: Source::Keychain,
    };
    let environments = Environments::fixed([("ACME_API_KEY", CANARY)]);
    let keys = LocalKeys::new(Environments::fixed([("ACME_API_KEY", CANARY)]));
    let shown = format!(
        "{secret:?} {found:?} {:?} {environments:?} {:?} {keys:?} {:?}",
        Lookup::Now(Ok(Some(found.clone()))),
        environments.current(),
        Principal::new(CANARY),
    );
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(secret.expose(), CANARY);
}

#[test]
fn of_several_names_the_providers_own_is_told() {
    let catalogue = crate::catalogue::Catalogue::builtin();
    for (provider, name) in [
        ("gemini", "GEMINI_API_KEY"),
        ("mistral", "MISTRAL_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("fireworks_ai", "FIREWORKS_AI_API_KEY"),
        ("moonshot", "MOONSHOT_API_KEY"),
    ] {
        let known = catalogue.provider(provider).unwrap();
        let ask = KeyAsk {
            provider,
            env: &known.key_env,
        };
        let message = missing(&ask, None).message;
        assert!(message.contains(&format!("set {name}, or")), "{message}");
    }
    let env = ["B_TOKEN".to_owned(), "C_TOKEN".to_owned()];
    let ask = KeyAsk {
        provider: "a",
        env: &env,
    };
    assert!(missing(&ask, None).message.contains("set B_TOKEN, or"));
}

#[test]
fn a_missing_key_is_told_with_what_to_do() {
    let env = names(&["ACME_API_KEY"]);
    let ask = KeyAsk {
        provider: "acme",
        env: &env,
    };
    assert_eq!(
        missing(&ask, Some("no keychain is running here: no session")).message,
        "no key for 'acme' is known (no keychain is running here: no session): set ACME_API_KEY, or run `omni auth set \
         acme`, or pass api_key"
    );
}
