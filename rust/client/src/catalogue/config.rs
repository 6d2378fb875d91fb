//! `omni.toml`: reading it, and writing a provider into it without touching the rest.

use super::definition::{Definition, Fault, expected, fault};
use super::own::{Additions, Trust, said};
use super::snapshot::Snapshot;
use super::{Catalogue, Own, Shared};
use omni_core::{Error, Result, near_match};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table};

/// A larger file is something else.
const MAX_LENGTH: u64 = 1 << 20;

impl Catalogue {
    /// What is compiled in or was updated since (`omni catalogue update`), and what `omni.toml` adds. The file is the
    /// one that `OMNI_CONFIG` names (an empty value: none), else `omni.toml` in the current folder, else
    /// `omni/omni.toml` in the user's folder for configuration.
    ///
    /// # Errors
    /// `invalid_request` naming file, line and field.
    pub fn load() -> Result<Self> {
        Self::load_with(|name| std::env::var_os(name), Path::new("."))
    }

    /// [`load`](Self::load) with other variables and another current folder.
    pub fn load_with(variable: impl Fn(&str) -> Option<OsString>, here: &Path) -> Result<Self> {
        let folder = folder(&variable);
        let updated = folder
            .as_deref()
            .and_then(|folder| Snapshot::updated(&folder.join("catalogue")));
        let catalogue = Self {
            shared: Arc::new(Shared {
                snapshot: updated.unwrap_or_else(Snapshot::builtin),
                own: RwLock::new(Own::default()),
                known: RwLock::default(),
            }),
        };
        if let Some((path, trust)) = find(&variable, here, folder.as_deref()) {
            catalogue.read(&path, trust)?;
        }
        Ok(catalogue)
    }

    /// Adds what a file says, which the caller vouches for.
    pub fn read_config(&self, path: &Path) -> Result<()> {
        self.read(path, Trust::User)
    }

    fn read(&self, path: &Path, trust: Trust) -> Result<()> {
        let text = text_of(path)?;
        let document = Document::parse(text.as_str()).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            Error::invalid(format!(
                "{}:{line}: this is not TOML: {}",
                path.display(),
                error.message()
            ))
        })?;
        additions(document.as_item())
            .and_then(|additions| self.add(additions, trust))
            .map_err(|fault| {
                let line = line_of(&text, place(document.as_item(), &fault.path));
                Error::invalid(format!("{}:{line}: {}", path.display(), said(&fault)))
            })
    }

    /// Writes a provider that was registered into a file, and gives the file's path. Comments and order of what
    /// stands there are kept; an entry of that name is replaced. Without a path: the file that `OMNI_CONFIG` names,
    /// else the user's `omni.toml`, which is made if need be.
    pub fn persist(&self, name: &str, path: Option<&Path>) -> Result<PathBuf> {
        let definition = self.definition(name)?;
        let path = match path {
            Some(path) => path.to_owned(),
            None => usual(|name| std::env::var_os(name)).ok_or_else(|| {
                Error::invalid("there is no folder for configuration: set OMNI_CONFIG to the path of a file")
            })?,
        };
        let text = if path.exists() {
            text_of(&path)?
        } else {
            String::new()
        };
        let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            Error::invalid(format!(
                "{}:{line}: this is not TOML: {}",
                path.display(),
                error.message()
            ))
        })?;
        enter(&mut document, &definition)
            .map_err(|fault| Error::invalid(format!("{}: {}", path.display(), said(&fault))))?;
        store(&path, &document.to_string())
            .map_err(|error| Error::invalid(format!("{} cannot be written: {error}", path.display())))?;
        Ok(path)
    }
}

/// The user's folder for what is ours.
pub fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = path(if cfg!(windows) { "APPDATA" } else { "XDG_CONFIG_HOME" })
        // The specification has relative ones ignored.
        .filter(|folder| folder.is_absolute())
        .or_else(|| path("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("omni"))
}

/// Where the user's own file is, whether or not it exists.
fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = variable("OMNI_CONFIG")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    named.or_else(|| Some(folder(variable)?.join("omni.toml")))
}

/// The file to be read, if there is one. One that `OMNI_CONFIG` names must exist.
fn find(
    variable: &impl Fn(&str) -> Option<OsString>,
    here: &Path,
    folder: Option<&Path>,
) -> Option<(PathBuf, Trust)> {
    if let Some(named) = variable("OMNI_CONFIG") {
        return (!named.is_empty()).then(|| (PathBuf::from(named), Trust::User));
    }
    let local = here.join("omni.toml");
    if local.is_file() {
        return Some((local, Trust::Here));
    }
    let own = folder?.join("omni.toml");
    own.is_file().then_some((own, Trust::User))
}

fn text_of(path: &Path) -> Result<String> {
    let failed = |why: String| Error::invalid(format!("{} cannot be read: {why}", path.display()));
    let length = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if length > MAX_LENGTH {
        return Err(failed("it is larger than any configuration".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// What a document adds.
fn additions(root: &Item) -> std::result::Result<Additions, Fault> {
    const SECTIONS: &[&str] = &["providers", "models", "aliases"];
    let Value::Object(root) = json(root) else {
        return Ok(Additions::default());
    };
    let mut found = Additions::default();
    for (section, value) in root {
        if !SECTIONS.contains(&section.as_str()) {
            let near = near_match(&section, SECTIONS.iter().copied());
            let meant = near.map_or_else(|| SECTIONS.join(", "), |near| format!("did you mean {near:?}?"));
            return Err(fault(&[&section], &format!("no such section; {meant}")));
        }
        let Value::Object(entries) = value else {
            return Err(expected(&[&section], "a table", &value));
        };
        match section.as_str() {
            "models" => found.models = entries,
            "aliases" => found.aliases = entries,
            _ => {
                for (name, fields) in entries {
                    let Value::Object(fields) = fields else {
                        return Err(expected(&["providers", &name], "a table", &fields));
                    };
                    found.providers.push(Definition {
                        name,
                        fields,
                        models: Map::new(),
                    });
                }
            }
        }
    }
    Ok(found)
}

/// A value of TOML as JSON; dates become texts.
fn json(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return Value::Object(
            table
                .iter()
                .map(|(key, item)| (key.to_owned(), json(item)))
                .collect(),
        );
    }
    if let Some(tables) = item.as_array_of_tables() {
        return tables
            .iter()
            .map(|table| json(&Item::Table(table.clone())))
            .collect();
    }
    item.as_value().map_or(Value::Null, json_value)
}

fn json_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(value) => (*value.value()).into(),
        toml_edit::Value::Datetime(moment) => moment.value().to_string().into(),
        toml_edit::Value::Array(list) => list.iter().map(json_value).collect(),
        toml_edit::Value::InlineTable(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.to_owned(), json_value(value)))
                .collect(),
        ),
    }
}

/// Where the deepest piece of a path begins that stands in the document.
fn place(root: &Item, path: &[String]) -> usize {
    let mut item = root;
    let mut at = 0;
    for segment in path {
        let Some(table) = item.as_table_like() else { break };
        let Some((key, next)) = table.get_key_value(segment) else {
            break;
        };
        if let Some(span) = key.span().or_else(|| next.span()) {
            at = span.start;
        }
        item = next;
    }
    at
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Puts a definition into a document.
fn enter(document: &mut DocumentMut, definition: &Definition) -> std::result::Result<(), Fault> {
    let mut put = |section: &str, name: &str, fields: &Map<String, Value>| {
        let entry = document.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            // "[providers.acme]" needs no "[providers]" above it.
            table.set_implicit(true);
            Item::Table(table)
        });
        let Some(table) = entry.as_table_like_mut() else {
            return Err(fault(&[section], "expected a table"));
        };
        let mut new = Table::new();
        for (field, value) in fields {
            if let Some(value) = toml(value) {
                new.insert(field, Item::Value(value));
            }
        }
        if let Some(Item::Table(old)) = table.get(name) {
            // The comment above it is the user's.
            *new.decor_mut() = old.decor().clone();
        }
        table.insert(name, Item::Table(new));
        Ok(())
    };
    put("providers", &definition.name, &definition.fields)?;
    for (name, fields) in &definition.models {
        if let Value::Object(fields) = fields {
            put("models", &format!("{}/{name}", definition.name), fields)?;
        }
    }
    Ok(())
}

/// A JSON value as TOML, which has no null.
fn toml(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().filter_map(toml).collect::<Array>().into(),
        Value::Object(map) => {
            let pairs = map
                .iter()
                .filter_map(|(key, value)| Some((key.as_str(), toml(value)?)));
            pairs.collect::<InlineTable>().into()
        }
    })
}

/// Writes a file whole or not at all.
fn store(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}
