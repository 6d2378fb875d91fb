//! What the user adds: the rules for it, and putting it in.

use super::definition::{self, Definition, Fault, fault};
use super::provider::Provider;
use super::snapshot::Called;
use super::{Catalogue, Own, read, write};
use omni_core::{Error, Result, near_match};
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The user: a call of the program, a file that `OMNI_CONFIG` names or that lies in the user's own folder.
    User,
    /// A file that happened to lie in the current folder: it may have come with somebody else's project.
    Here,
}

/// Where that may be said which a file of [`Trust::Here`] may not say.
const ELSEWHERE: &str = "only in a file that OMNI_CONFIG names or in your own omni.toml: this one lies in the current \
                         folder, and may have come with somebody else's project";

/// What stands in `omni.toml`, or in a document of a call.
#[derive(Default)]
pub(super) struct Additions {
    pub(super) providers: Vec<Definition>,
    /// Models by id.
    pub(super) models: Map<String, Value>,
    pub(super) aliases: Map<String, Value>,
}

impl Catalogue {
    /// Adds a provider, for this catalogue and its clones. Calls that have begun are not touched.
    ///
    /// It must not have the name of a known one unless its field `replace` is true. The key of another provider
    /// (`key_env = "OPENAI_API_KEY"`) goes to its host only if its field `allow_key` is true: a call is the program's
    /// own code and may decide so, but it has to say it.
    ///
    /// # Errors
    /// `invalid_request` naming the field, what it must be, and what was probably meant.
    pub fn register_provider(&self, definition: Definition) -> Result<()> {
        let additions = Additions {
            providers: vec![definition],
            ..Additions::default()
        };
        self.add(additions, Trust::User)
            .map_err(|fault| Error::invalid(said(&fault)))
    }

    /// [`register_provider`](Self::register_provider) with a JSON object: the fields of `omni.toml`, `name`, and
    /// `models` by their names at this provider. With `"persist": true` it is also written into the user's
    /// `omni.toml`.
    pub fn register_provider_json(&self, text: &str) -> Result<()> {
        let document: Value = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("the definition of a provider is not JSON: {error}")))?;
        let Value::Object(mut document) = document else {
            return Err(Error::invalid("the definition of a provider is an object"));
        };
        let persist = match document.remove("persist") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(Error::invalid("persist: expected true or false")),
        };
        let definition = Definition::read(document).map_err(|fault| Error::invalid(said(&fault)))?;
        let name = definition.name.clone();
        self.register_provider(definition)?;
        if persist {
            self.persist(&name, None)?;
        }
        Ok(())
    }

    /// Adds all or nothing.
    pub(super) fn add(&self, additions: Additions, trust: Trust) -> std::result::Result<(), Fault> {
        let mut own = write(&self.shared.own);
        let mut next = own.clone();
        for definition in additions.providers {
            let at = ["providers", definition.name.as_str()];
            let (provider, definition) = self
                .checked(definition.clone(), &next, trust)
                .map_err(|fault| under(&at, fault))?;
            for (name, fields) in &definition.models {
                let id = format!("{}/{name}", definition.name);
                put_model(&mut next, &id, fields)?;
            }
            next.providers.insert(provider.name.clone(), Arc::new(provider));
            next.definitions.insert(definition.name.clone(), definition);
        }
        for (id, fields) in &additions.models {
            put_model(&mut next, id, fields)?;
        }
        for (alias, id) in additions.aliases {
            let at = ["aliases", alias.as_str()];
            let Value::String(id) = id else {
                return Err(under(&at, definition::expected(&[], "a model id", &id)));
            };
            if alias.is_empty() || alias == id {
                return Err(fault(&at, "an alias is another name than its model's"));
            }
            // Else a project's file could lead every prompt that is meant for a known model to its own host.
            if trust == Trust::Here && self.means_another(&own, &alias, &id) {
                let why = format!("that name has a meaning already; another can be given to it {ELSEWHERE}");
                return Err(fault(&at, &why));
            }
            next.aliases.insert(alias, id);
        }
        for (alias, id) in &next.aliases {
            let at = ["aliases", alias.as_str()];
            if next.aliases.contains_key(id) {
                return Err(fault(&at, &format!("{id:?} is an alias itself; name the model")));
            }
            let resolved = super::resolve::resolve(&self.shared.snapshot, &next, id);
            if let Some(error) = resolved.err().filter(|error| !error.is_foreign()) {
                return Err(fault(&at, &error.to_string()));
            }
        }
        *own = next;
        // What was resolved before may mean another now.
        write(&self.shared.known).clear();
        Ok(())
    }

    /// Whether an id leads somewhere before this is added, and not by being this alias already.
    fn means_another(&self, own: &Own, alias: &str, id: &str) -> bool {
        if let Some(known) = own.aliases.get(alias) {
            return known != id;
        }
        match super::resolve::resolve(&self.shared.snapshot, own, alias) {
            Ok(_) => true,
            Err(error) => error.is_foreign(),
        }
    }

    /// A definition that keeps the rules, as a provider.
    fn checked(
        &self,
        definition: Definition,
        own: &Own,
        trust: Trust,
    ) -> std::result::Result<(Provider, Definition), Fault> {
        let found = definition::provider(&definition.name, &definition.fields)?;
        let mut provider = found.provider;
        let name = provider.name.clone();
        let here = trust == Trust::Here && !own.definitions.contains_key(&name);
        let builtin = !matches!(self.shared.snapshot.provider(&name), Called::Nobody);
        if builtin && !found.replace {
            let why = "a provider of this name is built in; take another name, or say replace = true";
            return Err(fault(&[], why));
        }
        if here && found.replace && builtin {
            return Err(fault(&["replace"], ELSEWHERE));
        }
        if here && found.allow_key {
            return Err(fault(&["allow_key"], ELSEWHERE));
        }
        for variable in &provider.key_env {
            if let Some(owner) = self
                .owner_elsewhere(variable, &provider)
                .filter(|_| !found.allow_key)
            {
                let host = host(&provider.base_url).unwrap_or_default();
                let why =
                    format!("{variable} is the key of {owner}; to send it to {host} say allow_key = true");
                return Err(fault(&["key_env"], &why));
            }
            if here && *variable != own_variable(&name) {
                let why = format!(
                    "{variable} would be sent there; {} may be named anywhere, others {ELSEWHERE}",
                    own_variable(&name)
                );
                return Err(fault(&["key_env"], &why));
            }
        }
        // The configuration names this place; keys go there and nowhere else.
        provider.hosts.clear();
        Ok((provider, definition))
    }

    /// The known provider whose key this is, unless `provider` is at one of its hosts.
    fn owner_elsewhere(&self, variable: &str, provider: &Provider) -> Option<String> {
        let snapshot = &self.shared.snapshot;
        let at = host(&provider.base_url)?;
        let owners = snapshot
            .provider_names()
            .filter(|name| match snapshot.provider(name).native() {
                Some(known) => known.key_env.iter().any(|key| key == variable),
                None => variable == own_variable(name),
            });
        // Several take it; it is that one's whose name it has.
        let owner = owners.min_by_key(|name| variable != own_variable(name))?;
        let at_home = snapshot.provider(owner).native().is_some_and(|known| {
            known.hosts.contains(&at) || host(&known.base_url).is_some_and(|own| own == at)
        });
        (!at_home).then(|| owner.to_owned())
    }

    /// What was registered under this name.
    pub(super) fn definition(&self, name: &str) -> Result<Definition> {
        let own = read(&self.shared.own);
        own.definitions.get(name).cloned().ok_or_else(|| {
            let near = near_match(name, own.definitions.keys().map(String::as_str));
            let meant = near
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            Error::invalid(format!("no provider {name:?} was registered{meant}"))
        })
    }
}

fn put_model(own: &mut Own, id: &str, fields: &Value) -> std::result::Result<(), Fault> {
    let at = ["models", id];
    let Value::Object(fields) = fields else {
        return Err(definition::expected(&at, "a table", fields));
    };
    let model = definition::model(id, fields).map_err(|fault| under(&at, fault))?;
    own.models.insert(id.to_owned(), Arc::new(model));
    Ok(())
}

/// The variable that is a provider's own by its name.
fn own_variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    format!("{}_API_KEY", upper.replace(['-', '.'], "_"))
}

fn host(base: &str) -> Option<String> {
    Url::parse(base).ok()?.host_str().map(str::to_ascii_lowercase)
}

fn under(at: &[&str], mut fault: Fault) -> Fault {
    fault
        .path
        .splice(0..0, at.iter().map(|&segment| segment.to_owned()));
    fault
}

/// A fault as a sentence: the path as TOML spells it, and why.
pub(super) fn said(fault: &Fault) -> String {
    let plain = |segment: &String| {
        segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let path: Vec<String> = fault
        .path
        .iter()
        .map(|segment| {
            if plain(segment) {
                segment.clone()
            } else {
                format!("{segment:?}")
            }
        })
        .collect();
    if path.is_empty() {
        return fault.why.clone();
    }
    format!("{}: {}", path.join("."), fault.why)
}
