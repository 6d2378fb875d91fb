//! What `omni_init` takes, and the client that it describes.

use crate::scripted::{Line, Scripted};
use omni_bridge_rs::catalogue::Catalogue;
use omni_bridge_rs::{
    Bridge, Budget, Client, EngineChoice, Error, Limit, Object, Result, Retry, RetryPolicy, Timeout, Timeouts,
};
use omni_core::{from_slice_lenient, unreadable};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Embedded,
    Http,
    Scripted,
}

/// The configuration's fields, each taken out once.
struct Fields {
    left: Object,
    known: Vec<&'static str>,
}

impl Fields {
    fn new(config: &[u8]) -> Result<Self> {
        let left = from_slice_lenient(config).map_err(|error| unreadable("the configuration", &error))?;
        Ok(Self {
            left,
            known: Vec::new(),
        })
    }

    /// The field `name`, if it is there and not null. A wrong value is not repeated: it may be a token that got
    /// into the wrong place.
    fn take<T: DeserializeOwned>(&mut self, name: &'static str, expected: &str) -> Result<Option<T>> {
        self.known.push(name);
        match self.left.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|_| Error::invalid(format!("the configuration: {name}: expected {expected}"))),
        }
    }

    /// All fields have been taken: what is left is none.
    fn end(self) -> Result<()> {
        let Some(name) = self.left.keys().next() else {
            return Ok(());
        };
        let known = self.known.join(", ");
        Err(Error::invalid(format!(
            "the configuration: {name}: no such field; there are {known}"
        )))
    }
}

/// The client that the JSON text `config` describes. Starts nothing.
pub(crate) fn client(config: &[u8]) -> Result<Client> {
    let mut fields = Fields::new(config)?;
    let bridge: Option<Way> = fields.take("bridge", "\"embedded\", \"http\" or \"scripted\"")?;
    let url: Option<String> =
        fields.take("bridge_url", "an address, for example \"http://127.0.0.1:8411\"")?;
    let token: Option<String> = fields.take("bridge_token", "a string")?;
    let python: Option<String> =
        fields.take("python", "the path of an interpreter or a virtual environment")?;
    let timeout: Option<Timeout> = fields.take(
        "timeout",
        "seconds, or an object with connect, first_event, idle, total in seconds",
    )?;
    let retry: Option<Retry> = fields.take("retry", "a number, or an object with max_retries, max_wait")?;
    let fallbacks: Option<Vec<Value>> = fields.take("fallbacks", "a list of model ids or objects")?;
    let fallback_mid_stream: Option<bool> = fields.take("fallback_mid_stream", "true or false")?;
    let limits: Option<BTreeMap<String, Limit>> = fields.take(
        "limits",
        "an object with, for each provider, concurrency, requests_per_minute, tokens_per_minute",
    )?;
    let budget: Option<Budget> = fields.take("budget", "an object with tokens, usd")?;
    let allow_endpoints: Option<bool> = fields.take("allow_endpoints", "true or false")?;
    let allowed_hosts: Option<Vec<String>> = fields.take("allowed_hosts", "a list of host names")?;
    let allow_private_images: Option<bool> = fields.take("allow_private_images", "true or false")?;
    let script: Option<Vec<Vec<Value>>> =
        fields.take("script", "a list with a list of lines for each call")?;
    let engine: Option<EngineChoice> = fields.take("engine", "\"auto\", \"native\" or \"litellm\"")?;
    fields.end()?;

    let way = match (bridge, &url, &script) {
        (None | Some(Way::Http), Some(_), None) => Way::Http,
        (None, None, Some(_)) => Way::Scripted,
        (Some(Way::Http), None, _) => return Err(misfit("bridge \"http\" needs \"bridge_url\"")),
        (Some(Way::Embedded | Way::Scripted), Some(_), _) => {
            return Err(misfit("\"bridge_url\" goes with bridge \"http\" only"));
        }
        (Some(Way::Embedded | Way::Http), _, Some(_)) | (None, Some(_), Some(_)) => {
            return Err(misfit("\"script\" goes with bridge \"scripted\" only"));
        }
        (way, None, _) => way.unwrap_or(Way::Embedded),
    };
    let mut builder = Client::builder().catalogue(Catalogue::load()?);
    builder = match (way, url) {
        (Way::Scripted, _) => builder.engine(Scripted::new(lines(script.unwrap_or_default())?)),
        (Way::Http, Some(url)) => builder.bridge(Bridge::Url { url, token }),
        _ => builder.bridge(Bridge::Embedded),
    };
    if let Some(choice) = engine {
        builder = builder.engine_choice(choice);
    }
    if let Some(python) = python {
        builder = builder.python(python);
    }
    if let Some(allow) = allow_endpoints {
        builder = builder.allow_endpoints(allow);
    }
    if let Some(hosts) = allowed_hosts {
        builder = builder.allowed_hosts(hosts);
    }
    if let Some(allow) = allow_private_images {
        builder = builder.allow_private_images(allow);
    }
    if let Some(fallbacks) = fallbacks {
        builder = builder.fallbacks(fallbacks);
    }
    if let Some(mid_stream) = fallback_mid_stream {
        builder = builder.fallback_mid_stream(mid_stream);
    }
    for (provider, limit) in limits.into_iter().flatten() {
        builder = builder.limits(provider, limit);
    }
    if let Some(budget) = budget {
        builder = builder.budget(budget);
    }
    builder = match timeout {
        Some(Timeout::Total(total)) => builder.timeout(Timeouts {
            total: Some(total),
            ..Timeouts::default()
        }),
        Some(Timeout::Each(each)) => builder.timeout(each),
        None => builder,
    };
    builder = match retry {
        Some(Retry::Count(count)) => builder.retry(RetryPolicy {
            max_retries: Some(count),
            max_wait: None,
        }),
        Some(Retry::Policy(policy)) => builder.retry(policy),
        None => builder,
    };
    builder.build()
}

fn misfit(why: &str) -> Error {
    Error::invalid(format!("the configuration: {why}"))
}

/// The lines of a script; what is wrong with one is said in full, as no secret is in it.
fn lines(script: Vec<Vec<Value>>) -> Result<Vec<Vec<Line>>> {
    let read = |(call, lines): (usize, Vec<Value>)| {
        let lines = lines.into_iter().enumerate();
        lines
            .map(|(at, line)| {
                Line::read(line).map_err(|error| misfit(&format!("script[{call}][{at}]: {error}")))
            })
            .collect()
    };
    script.into_iter().enumerate().map(read).collect()
}
