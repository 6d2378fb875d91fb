//! `omni auth`: keeping keys. They are read without echo and shown nowhere.

use crate::args::{AuthCommand, AuthList, AuthRemove, AuthSet};
use crate::exit::{DONE, Failure};
use crate::keys;
use crate::output::{self, Output};
use crate::terminal::{self, Typed};
use omni_bridge::Error;
use omni_bridge::catalogue::Catalogue;
use omni_bridge::credentials::{KeyFile, Keychain, KeychainError, LocalKeys, Secret, Source, Stored};
use omni_core::Code;
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::time::Duration;

/// How long the keychain is waited for: a person may have to unlock it.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any key, a service account's JSON included.
const MAX_KEY: u64 = 64 * 1024;

pub(crate) fn run(command: &AuthCommand) -> Result<i32, Failure> {
    let keys = LocalKeys::default();
    match command {
        AuthCommand::Set(options) => set(options, &keys),
        AuthCommand::List(options) => list(options, &keys),
        AuthCommand::Remove(options) => remove(options, &keys),
    }
}

fn set(options: &AuthSet, keys: &LocalKeys) -> Result<i32, Failure> {
    let provider = provider(&options.provider)?;
    if !options.misplaced.is_empty() {
        return Err(Failure::Usage(format!(
            "a key on the command line is seen by others and kept in the shell's history; leave it out: `omni auth set \
             {provider}` asks for it, or reads it from a pipe. If it was a real one, have the provider replace it"
        )));
    }
    // Before the key is asked for: whoever has typed it should not hear that there was no place for it.
    let place = if options.file {
        let file = file(keys)?;
        file.providers()?;
        Place::File(file)
    } else {
        let keychain = keys.keychain(LIMIT).ok_or_else(|| off(provider))?;
        keychain
            .get(provider)
            .map_err(|error| refused(provider, &error))?;
        Place::Keychain(keychain)
    };
    let secret = read_key(provider)?;
    let kept = match &place {
        Place::File(file) => {
            file.set(provider, &secret)?;
            file.path().display().to_string()
        }
        Place::Keychain(keychain) => {
            keychain
                .set(provider, &secret)
                .map_err(|error| refused(provider, &error))?;
            "the keychain".to_owned()
        }
    };
    let mut output = Output::stdout();
    output.text(&format!("the key of {provider} is kept in {kept}\n"));
    output.flush()?;
    let catalogue = catalogue().0;
    if !catalogue.provider_names().iter().any(|name| name == provider) {
        output::note(&omni_bridge::catalogue::unknown(&catalogue, provider).message);
    }
    if let Some(first) = in_environment(keys, provider) {
        output::note(&format!(
            "while {first} is set in the environment, that one is taken instead"
        ));
    }
    Ok(DONE)
}

enum Place {
    Keychain(Arc<dyn Keychain>),
    File(KeyFile),
}

fn list(options: &AuthList, keys: &LocalKeys) -> Result<i32, Failure> {
    let (found, notes) = stored(keys, LIMIT);
    let mut output = Output::stdout();
    if options.json {
        let rows: Vec<Value> = found.iter().map(document).collect();
        output.json(&json!({"keys": rows, "notes": notes}), false);
    } else {
        output.text(&table(&found));
        for line in &notes {
            output::note(line);
        }
    }
    output.flush()?;
    Ok(DONE)
}

fn remove(options: &AuthRemove, keys: &LocalKeys) -> Result<i32, Failure> {
    let provider = provider(&options.provider)?;
    let mut from = Vec::new();
    let mut silent = None;
    match keys.keychain(LIMIT).map(|keychain| keychain.remove(provider)) {
        Some(Ok(true)) => from.push("the keychain".to_owned()),
        Some(Ok(false) | Err(KeychainError::Absent(_))) | None => {}
        // The file's key can go all the same.
        Some(Err(error)) => silent = Some(error),
    }
    if let Some(file) = keys.file()
        && file.remove(provider)?
    {
        from.push(file.path().display().to_string());
    }
    let mut output = Output::stdout();
    if !from.is_empty() {
        output.text(&format!(
            "the key of {provider} is removed from {}\n",
            from.join(" and from ")
        ));
    }
    output.flush()?;
    let set = in_environment(keys, provider);
    if let Some(error) = silent {
        return Err(Failure::Io(error.to_string()));
    }
    match (set, from.is_empty()) {
        (Some(name), false) => {
            output::note(&format!("{name} is still set in the environment"));
            Ok(DONE)
        }
        (None, false) => Ok(DONE),
        (set, true) => {
            let hint = set.map_or_else(
                || "`omni auth list` shows what is there".to_owned(),
                |name| format!("{name} is the environment's: unset it there"),
            );
            Err(Failure::Call(Error::new(
                Code::NotFound,
                format!("no key of {provider} is kept here; {hint}"),
            )))
        }
    }
}

/// What is there, by name only, and why some of it cannot be seen.
pub(crate) fn stored(keys: &LocalKeys, limit: Duration) -> (Vec<Stored>, Vec<String>) {
    let (catalogue, fault) = catalogue();
    let known = keys::known(&catalogue, &keys.environments().current());
    let (found, mut notes) = keys.stored(
        known
            .iter()
            .map(|(provider, names)| (provider.as_str(), names.as_slice())),
        limit,
    );
    notes.extend(fault);
    (each_variable_once(&found), notes)
}

/// The catalogue; with a broken `omni.toml` what is compiled in, and what is wrong: keys can be seen to all the same.
fn catalogue() -> (Catalogue, Option<String>) {
    match Catalogue::load() {
        Ok(catalogue) => (catalogue, None),
        Err(error) => (Catalogue::builtin(), Some(error.message)),
    }
}

/// Several providers take the same variable: it is told as the first one's, and as another's only where that has a key
/// of its own, in whose way it stands.
fn each_variable_once(found: &[Stored]) -> Vec<Stored> {
    let mut kept: Vec<Stored> = Vec::new();
    for row in found {
        let variable = matches!(row.source, Source::Environment(_));
        let told = kept.iter().any(|other| other.source == row.source);
        let own = |other: &Stored| {
            other.provider == row.provider && !matches!(other.source, Source::Environment(_))
        };
        if !(variable && told) || found.iter().any(own) {
            kept.push(row.clone());
        }
    }
    kept
}

/// The variable that holds a provider's key.
fn in_environment(keys: &LocalKeys, provider: &str) -> Option<String> {
    let environment = keys.environments().current();
    keys::known(&catalogue().0, &environment)
        .into_iter()
        .filter(|(known, _)| known == provider)
        .flat_map(|(_, names)| names)
        .find(|name| environment.variable(name).is_some_and(|value| !value.is_empty()))
}

fn file(keys: &LocalKeys) -> Result<KeyFile, Failure> {
    keys.file().ok_or_else(|| {
        Failure::Usage(
            "there is no folder for configuration here (HOME is not set): name a file in OMNI_CREDENTIALS"
                .into(),
        )
    })
}

/// A provider's name, refused where it looks like something else, such as the key itself: then it is not repeated.
fn provider(text: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    if !text.is_empty() && text.len() <= 40 && text.bytes().all(plain) && !text.starts_with("sk-") {
        return Ok(text);
    }
    Err(Failure::Usage(
        "that is no provider's name; write it as in a model id, without the model: openai, anthropic, …"
            .into(),
    ))
}

/// The key: from the terminal without echo, or all that is piped in.
fn read_key(provider: &str) -> Result<Secret, Failure> {
    let text = if io::stdin().is_terminal() {
        typed(provider)?
    } else {
        piped()?
    };
    let key = text.expose().trim();
    if key.is_empty() {
        return Err(Failure::Usage("the key is empty: nothing is kept".into()));
    }
    // A service account's JSON has lines; nothing else that a header carries has.
    if key.chars().any(char::is_control) && !key.starts_with('{') {
        return Err(Failure::Usage(
            "the key has several lines or control characters: pipe in the key alone".into(),
        ));
    }
    Ok(if key.len() == text.expose().len() {
        text.clone()
    } else {
        Secret::from(key)
    })
}

fn typed(provider: &str) -> Result<Secret, Failure> {
    match terminal::ask(&format!("Key of {provider} (not shown): ")) {
        Ok(Typed::Line(secret)) => Ok(secret),
        Ok(Typed::Interrupted) => Err(Failure::Interrupted),
        Err(error) => Err(Failure::Io(format!("the terminal: {error}"))),
    }
}

fn piped() -> Result<Secret, Failure> {
    // Room for all of it, so that no smaller buffer is left behind with a part.
    let mut text = String::with_capacity(usize::try_from(MAX_KEY).unwrap_or(0) + 1);
    let read = io::stdin().lock().take(MAX_KEY + 1).read_to_string(&mut text);
    let secret = Secret::from(text);
    match read {
        Ok(length) if length as u64 > MAX_KEY => {
            Err(Failure::Usage("what is piped in is too long for a key".into()))
        }
        Ok(_) => Ok(secret),
        Err(error) => Err(Failure::Io(format!("standard input: {error}"))),
    }
}

fn off(provider: &str) -> Failure {
    Failure::Usage(format!(
        "OMNI_KEYCHAIN is off: `omni auth set {provider} --file` keeps the key in a file that only you can read"
    ))
}

fn refused(provider: &str, error: &KeychainError) -> Failure {
    Failure::Io(format!(
        "{error}; `omni auth set {provider} --file` keeps the key in a file that only you can read"
    ))
}

fn document(row: &Stored) -> Value {
    let mut document = json!({"provider": row.provider, "source": row.source.name()});
    if let Source::Environment(name) = &row.source {
        document["name"] = name.as_str().into();
    }
    document["taken"] = row.shadowed_by.is_none().into();
    document
}

/// The list for people.
fn table(found: &[Stored]) -> String {
    if found.is_empty() {
        return "no keys: `omni auth set PROVIDER` keeps one, or set for example OPENAI_API_KEY\n".to_owned();
    }
    let width = found.iter().map(|row| row.provider.len()).max().unwrap_or(0);
    let lines = found.iter().map(|row| {
        let shadow = row.shadowed_by.as_ref().map_or_else(String::new, |first| {
            format!("  (not taken: {} comes first)", place(first))
        });
        format!("{:<width$}  {}{shadow}\n", row.provider, place(&row.source))
    });
    lines.collect()
}

/// A place, with the variable's name if it has one.
pub(crate) fn place(source: &Source) -> String {
    match source {
        Source::Environment(name) => format!("environment {name}"),
        other => other.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_which_key_is_taken() {
        let environment = Source::Environment("OPENAI_API_KEY".into());
        let row = |source: Source, shadowed_by: Option<Source>| Stored {
            provider: "openai".into(),
            source,
            shadowed_by,
        };
        let found = [
            row(environment.clone(), None),
            row(Source::File, Some(environment)),
        ];
        assert_eq!(
            table(&found),
            "openai  environment OPENAI_API_KEY\nopenai  file  (not taken: environment OPENAI_API_KEY comes first)\n"
        );
        assert_eq!(document(&found[1])["taken"], false);
    }

    #[test]
    fn a_variable_of_several_providers_is_told_once() {
        let row = |provider: &str, source: Source| Stored {
            provider: provider.into(),
            source,
            shadowed_by: None,
        };
        let variable = || Source::Environment("DASHSCOPE_API_KEY".into());
        let found = [
            row("dashscope", variable()),
            row("qwen_ai_platform", variable()),
            row("qwencloud", variable()),
            row("qwencloud", Source::File),
        ];
        let told = each_variable_once(&found);
        let whose: Vec<&str> = told.iter().map(|row| row.provider.as_str()).collect();
        assert_eq!(whose, ["dashscope", "qwencloud", "qwencloud"]);
    }

    #[test]
    fn a_key_in_the_place_of_a_provider_is_not_repeated() {
        for text in ["sk-proj-canary", "AIzaCANARY", "", "open ai"] {
            let Err(Failure::Usage(message)) = provider(text) else {
                unreachable!("{text} is taken for a provider");
            };
            assert!(
                !message.contains("canary") && !message.contains("CANARY"),
                "{message}"
            );
        }
        assert_eq!(
            provider("text-completion-openai").unwrap(),
            "text-completion-openai"
        );
    }
}
