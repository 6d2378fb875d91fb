//! What `tools/catalogue.py` wrote: two texts of sorted lines.

use super::lines::bisect;
use super::model::Model;
use super::provider::{Entry, Provider};
use super::{read, write};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// The two texts, and the providers that were asked for before.
pub(super) struct Snapshot {
    models: Cow<'static, str>,
    providers: Cow<'static, str>,
    read: RwLock<HashMap<String, Called>>,
}

/// Whom a name stands for.
#[derive(Clone)]
pub(super) enum Called {
    /// Nobody whom `LiteLLM` knows.
    Nobody,
    /// Somebody who speaks none of our protocols.
    Foreign,
    /// Somebody whom we can ask.
    Native(Arc<Provider>),
}

impl Called {
    pub(super) fn native(self) -> Option<Arc<Provider>> {
        match self {
            Called::Native(provider) => Some(provider),
            Called::Nobody | Called::Foreign => None,
        }
    }
}

impl Snapshot {
    pub(super) fn builtin() -> Self {
        Self::new(
            Cow::Borrowed(include_str!("../../data/models.tsv")),
            Cow::Borrowed(include_str!("../../data/providers.json")),
        )
    }

    pub(super) fn new(models: Cow<'static, str>, providers: Cow<'static, str>) -> Self {
        Self {
            models,
            providers,
            read: RwLock::default(),
        }
    }

    /// The model whose key is exactly `key`.
    pub(super) fn model(&self, key: &str) -> Option<Model> {
        bisect(&self.models, |line| key_of(line).cmp(key)).map(Model::parse)
    }

    pub(super) fn models(&self) -> impl Iterator<Item = Model> + '_ {
        self.models.lines().map(Model::parse)
    }

    pub(super) fn model_keys(&self) -> impl Iterator<Item = &str> {
        self.models.lines().map(key_of)
    }

    /// Who is called `name`.
    pub(super) fn provider(&self, name: &str) -> Called {
        if let Some(found) = read(&self.read).get(name) {
            return found.clone();
        }
        let Some(mut entry) = self.entry(name) else {
            return Called::Nobody;
        };
        let mut called = name.to_owned();
        if let Some(same) = entry.same_as.take() {
            let Some(other) = self.entry(&same) else {
                return Called::Nobody;
            };
            entry = other;
            called = same;
        }
        let provider = entry.provider(&called).map(Arc::new);
        let found = provider.map_or(Called::Foreign, Called::Native);
        // As many as there are lines, at most.
        write(&self.read).insert(name.to_owned(), found.clone());
        found
    }

    pub(super) fn provider_names(&self) -> impl Iterator<Item = &str> {
        self.entries().lines().map(name_of)
    }

    pub(super) fn texts(&self) -> (&str, &str) {
        (&self.models, &self.providers)
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        let line = bisect(self.entries(), |line| name_of(line).cmp(name))?;
        let (_, entry) = line.split_once("\":")?;
        serde_json::from_str(entry.strip_suffix(',').unwrap_or(entry)).ok()
    }

    /// The lines between the braces.
    fn entries(&self) -> &str {
        let text = self.providers.strip_prefix("{\n").unwrap_or(&self.providers);
        text.strip_suffix("}\n").unwrap_or(text)
    }
}

/// The first column of a line of models.
fn key_of(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

/// The name in `"name":{…},`.
fn name_of(line: &str) -> &str {
    let rest = line.strip_prefix('"').unwrap_or(line);
    rest.split('"').next().unwrap_or_default()
}

/// The version of `LiteLLM` that the compiled-in snapshot was read from.
pub const VERSION: &str = include_str!("../../data/version.txt");

impl Snapshot {
    /// The snapshot in `folder`, where `omni catalogue update` puts it; `None` if there is none, or only one that is
    /// older than what is compiled in.
    pub(super) fn updated(folder: &std::path::Path) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let newer = is_newer(&read("version.txt")?);
        let models = read("models.tsv").filter(|_| newer)?;
        Some(Self::new(Cow::Owned(models), Cow::Owned(read("providers.json")?)))
    }
}

/// Whether a version of `LiteLLM` is newer than the one that the compiled-in snapshot was read from.
pub fn is_newer(version: &str) -> bool {
    numbers(version) > numbers(VERSION)
}

/// The numbers of a version, to compare two by.
fn numbers(version: &str) -> Vec<u64> {
    let pieces = version.trim().split('.');
    pieces.map(|piece| piece.parse().unwrap_or(0)).collect()
}
