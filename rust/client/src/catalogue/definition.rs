//! What a user says of a provider or a model: read from a document, with errors that name the field.

use super::model::{Ability, Mode, Model};
use super::price::{Meter, Price, Prices, Tier};
use super::provider::{Auth, Provider};
use omni_core::near_match;
use omni_providers::{Dialect, Protocol, dialect_of, known_dialects};
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;

/// A field that cannot be, by its path, and why as a clause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) path: Vec<String>,
    pub(super) why: String,
}

type Result<T> = std::result::Result<T, Fault>;

/// A provider of the user's own.
///
/// ```
/// use omni_bridge::catalogue::{Catalogue, Definition, Protocol};
///
/// let catalogue = Catalogue::builtin();
/// let acme = Definition::new("acme", Protocol::OpenaiChat, "https://llm.acme.example/v1").key_env("ACME_API_KEY");
/// catalogue.register_provider(acme)?;
/// assert_eq!(catalogue.resolve("acme/fast").unwrap().provider.name, "acme");
/// # Ok::<(), omni_bridge::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a definition does nothing until it is registered"]
pub struct Definition {
    pub(super) name: String,
    /// The fields as they would stand in `omni.toml`.
    pub(super) fields: Map<String, Value>,
    /// Its models, by their names there.
    pub(super) models: Map<String, Value>,
}

impl Definition {
    /// A provider that speaks `protocol` at `base_url`, and needs no key until [`key_env`](Self::key_env) names one.
    pub fn new(name: impl Into<String>, protocol: Protocol, base_url: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("protocol".to_owned(), protocol.name().into());
        fields.insert("base_url".to_owned(), base_url.into().into());
        Self {
            name: name.into(),
            fields,
            models: Map::new(),
        }
    }

    /// The environment variable with the key; call it again for another that counts where the first is not set.
    pub fn key_env(mut self, name: impl Into<String>) -> Self {
        let names = self
            .fields
            .entry("key_env")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(names) = names {
            names.push(name.into().into());
        }
        self
    }

    /// A header for every call.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let headers = self
            .fields
            .entry("headers")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(headers) = headers {
            headers.insert(name.into(), value.into().into());
        }
        self
    }

    /// Any other field, as `omni.toml` has it: `auth`, `also`, `dialect`, `local`, `replace`, `allow_key`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// What is known of a model of this provider, as `omni.toml` has it.
    pub fn model(mut self, name: impl Into<String>, fields: impl Into<Value>) -> Self {
        self.models.insert(name.into(), fields.into());
        self
    }

    /// From a document: the fields, and `name` and `models` with them.
    pub(super) fn read(mut document: Map<String, Value>) -> Result<Self> {
        let name = match document.remove("name") {
            Some(Value::String(name)) => name,
            Some(other) => return Err(expected(&["name"], "the provider's name as a text", &other)),
            None => return Err(fault(&[], "the field \"name\" is missing: how model ids begin")),
        };
        let models = match document.remove("models") {
            Some(Value::Object(models)) => models,
            Some(other) => return Err(expected(&["models"], "an object by model", &other)),
            None => Map::new(),
        };
        Ok(Self {
            name,
            fields: document,
            models,
        })
    }
}

/// A provider as it was read, and what it asks for beside.
pub(super) struct Read {
    pub(super) provider: Provider,
    /// It may stand in the place of one that is built in.
    pub(super) replace: bool,
    /// It may be sent a key whose name is another provider's.
    pub(super) allow_key: bool,
}

const PROVIDER: &[&str] = &[
    "protocol",
    "base_url",
    "key_env",
    "auth",
    "headers",
    "also",
    "dialect",
    "local",
    "replace",
    "allow_key",
];

/// The provider called `name` with these fields.
pub(super) fn provider(name: &str, fields: &Map<String, Value>) -> Result<Read> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err(fault(
            &[],
            "a provider's name has letters, digits, \"-\", \"_\" and \".\" only",
        ));
    }
    known(fields, PROVIDER, &[])?;
    let Some(protocol) = fields.get("protocol") else {
        return Err(fault(
            &[],
            &format!("the field \"protocol\" is missing: one of {}", protocols()),
        ));
    };
    let protocol = protocol_of("protocol", protocol)?;
    let Some(base_url) = fields.get("base_url") else {
        return Err(fault(
            &[],
            "the field \"base_url\" is missing: where the protocol's paths begin",
        ));
    };
    let mut provider = Provider::new(name, protocol, address(base_url)?);
    provider.custom = true;
    provider.key_env = match fields.get("key_env") {
        Some(names) => texts("key_env", names)?,
        None => Vec::new(),
    };
    if let Some(bad) = provider.key_env.iter().find(|name| !is_variable(name)) {
        let why = format!("{:?} cannot be the name of an environment variable", short(bad));
        return Err(fault(&["key_env"], &why));
    }
    provider.local = boolean(fields, "local")?;
    provider.auth = match fields.get("auth") {
        Some(Value::String(auth)) if http::HeaderName::from_bytes(auth.as_bytes()).is_ok() => {
            Auth::parse(auth)
        }
        Some(other) => {
            return Err(expected(
                &["auth"],
                "\"bearer\", \"none\" or a header's name",
                other,
            ));
        }
        // Nothing names a key: nothing is looked for.
        None if provider.key_env.is_empty() => Auth::None,
        None => provider.auth,
    };
    if let Some(also) = fields.get("also") {
        for one in texts("also", also)? {
            provider.also.push(protocol_of("also", &Value::String(one))?);
        }
    }
    if let Some(headers) = fields.get("headers") {
        provider.headers = headers_of(headers)?;
    }
    match fields.get("dialect") {
        None => {}
        Some(Value::String(like)) => {
            if !known_dialects().any(|name| name == like) {
                let meant = match near_match(like, known_dialects()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "leave it out, or write them as a table".to_owned(),
                };
                return Err(fault(
                    &["dialect"],
                    &format!("no deviations of {like:?} are known; {meant}"),
                ));
            }
            provider.dialect = dialect_of(like);
        }
        Some(dialect) => provider.dialect = Arc::new(deviations(dialect)?),
    }
    Ok(Read {
        provider,
        replace: boolean(fields, "replace")?,
        allow_key: boolean(fields, "allow_key")?,
    })
}

fn deviations(dialect: &Value) -> Result<Dialect> {
    serde_json::from_value(dialect.clone()).map_err(|error| fault(&["dialect"], &error.to_string()))
}

/// The model `id` ("provider/name") with these fields.
pub(super) fn model(id: &str, fields: &Map<String, Value>) -> Result<Model> {
    let mut names = vec!["context", "max_output", "mode", "price"];
    names.extend(Ability::ALL.iter().map(|(.., name)| *name));
    known(fields, &names, &[])?;
    let Some((provider, name)) = id
        .split_once('/')
        .filter(|(provider, name)| !provider.is_empty() && !name.is_empty())
    else {
        return Err(fault(&[], "a model is named as in calls: \"provider/model\""));
    };
    let mut model = Model {
        key: id.to_owned(),
        provider: provider.to_owned(),
        label: provider.to_owned(),
        max_input_tokens: count(fields, "context")?,
        max_output_tokens: count(fields, "max_output")?,
        ..Model::default()
    };
    model.mode = match fields.get("mode").map(Value::as_str) {
        None | Some(Some("chat")) => Mode::Chat,
        Some(Some("responses")) => Mode::Responses,
        Some(_) => return Err(expected(&["mode"], "\"chat\" or \"responses\"", &fields["mode"])),
    };
    for (ability, _, name) in Ability::ALL {
        match fields.get(*name) {
            None => {}
            Some(Value::Bool(can)) => model.abilities.set(*ability, *can),
            Some(other) => return Err(expected(&[name], "true or false", other)),
        }
    }
    if let Some(price) = fields.get("price") {
        model.prices = prices(price)?;
    }
    debug_assert!(!name.is_empty());
    Ok(model)
}

/// Prices in dollars: of tokens for a million of them, of calls and searches for one.
fn prices(price: &Value) -> Result<Prices> {
    let Value::Object(price) = price else {
        return Err(expected(
            &["price"],
            "a table such as { input = 0.5, output = 1.5 }",
            price,
        ));
    };
    let names: Vec<&'static str> = Meter::ALL.iter().map(|(.., name)| *name).collect();
    known(price, &names, &["price"])?;
    let mut list = Vec::new();
    for (meter, _, name) in Meter::ALL {
        let Some(given) = price.get(*name) else { continue };
        let Some(dollars) = given
            .as_f64()
            .filter(|dollars| dollars.is_finite() && *dollars >= 0.0)
        else {
            return Err(expected(&["price", name], "dollars, 0 or more", given));
        };
        let one = matches!(
            meter,
            Meter::Request | Meter::SearchLow | Meter::SearchMedium | Meter::SearchHigh
        );
        list.push(Price {
            meter: *meter,
            above: 0,
            tier: Tier::Standard,
            dollars: if one { dollars } else { dollars / 1e6 },
        });
    }
    Ok(Prices::of(list))
}

fn address(given: &Value) -> Result<String> {
    let what = "an address such as \"https://llm.example/v1\"";
    let Value::String(text) = given else {
        return Err(expected(&["base_url"], what, given));
    };
    // Text in braces would be read from the environment.
    let url = Url::parse(text)
        .ok()
        .filter(|url| url.has_host() && !text.contains(['{', '}']));
    match url {
        Some(url) if !url.username().is_empty() || url.password().is_some() => Err(fault(
            &["base_url"],
            "an address must not hold a user or a password; name the key in key_env",
        )),
        Some(url) if matches!(url.scheme(), "http" | "https") && url.fragment().is_none() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(expected(&["base_url"], what, given)),
    }
}

fn headers_of(given: &Value) -> Result<Vec<(String, String)>> {
    let Value::Object(given) = given else {
        return Err(expected(&["headers"], "an object of texts", given));
    };
    let mut headers = Vec::new();
    for (name, value) in given {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(fault(&["headers", name], "this cannot be the name of a header"));
        }
        // The value may be a secret: it is not shown.
        match value
            .as_str()
            .filter(|value| http::HeaderValue::from_str(value).is_ok())
        {
            Some(value) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => {
                return Err(fault(
                    &["headers", name],
                    "expected a text that can stand in a header",
                ));
            }
        }
    }
    Ok(headers)
}

fn protocol_of(field: &str, given: &Value) -> Result<Protocol> {
    let text = given.as_str().unwrap_or_default();
    if let Some(protocol) = Protocol::ALL.iter().find(|protocol| protocol.name() == text) {
        return Ok(*protocol);
    }
    let near = near_match(text, Protocol::ALL.iter().map(|protocol| protocol.name()));
    let meant = near
        .map(|near| format!("; did you mean \"{near}\"?"))
        .unwrap_or_default();
    let mut found = expected(&[field], &format!("one of {}", protocols()), given);
    found.why.push_str(&meant);
    Err(found)
}

fn protocols() -> String {
    let names: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name()).collect();
    names.join(", ")
}

fn known(fields: &Map<String, Value>, names: &[&'static str], at: &[&str]) -> Result<()> {
    let Some(name) = fields.keys().find(|name| !names.contains(&name.as_str())) else {
        return Ok(());
    };
    let path: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
    let why = match near_match(name, names.iter().copied()) {
        Some(near) => format!("no such field; did you mean \"{near}\"?"),
        None => format!("no such field; there are {}", names.join(", ")),
    };
    Err(fault(&path, &why))
}

/// A text, or a list of texts.
fn texts(field: &str, given: &Value) -> Result<Vec<String>> {
    let what = "a text or a list of texts";
    match given {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) => list
            .iter()
            .map(|one| {
                one.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| expected(&[field], what, one))
            })
            .collect(),
        other => Err(expected(&[field], what, other)),
    }
}

fn boolean(fields: &Map<String, Value>, field: &str) -> Result<bool> {
    match fields.get(field) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(expected(&[field], "true or false", other)),
    }
}

fn count(fields: &Map<String, Value>, field: &str) -> Result<Option<u64>> {
    match fields.get(field) {
        None => Ok(None),
        Some(given) => match given.as_u64() {
            Some(count) => Ok(Some(count)),
            None => Err(expected(&[field], "a number of tokens", given)),
        },
    }
}

/// Whether it could be the name of a variable, so that a key pasted in its place is not taken for one.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(|char: char| char.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn short(text: &str) -> String {
    let start: String = text.chars().filter(|char| !char.is_control()).take(4).collect();
    format!("{start}…")
}

pub(super) fn fault(path: &[&str], why: &str) -> Fault {
    Fault {
        path: path.iter().map(|&segment| segment.to_owned()).collect(),
        why: why.to_owned(),
    }
}

/// `found` instead of `what`. Texts are shown up to a length, and only where none is a secret.
pub(super) fn expected(path: &[&str], what: &str, found: &Value) -> Fault {
    let found = match found {
        Value::String(text) if path == ["base_url"] || path.first() == Some(&"headers") => {
            let _ = text;
            "another text".to_owned()
        }
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    fault(path, &format!("expected {what}, found {found}"))
}
