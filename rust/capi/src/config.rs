//! What `omni_init` takes, and the client that it describes.

use crate::scripted::{Line, Scripted};
use omni_bridge_rs::{Bridge, Client, Error, Result, Retry, RetryPolicy, Timeout, Timeouts};
use omni_core::from_slice_lenient;
use serde::Deserialize;
use serde_json::Value;

/// The configuration; every field has the default of the Rust client.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    bridge: Option<Way>,
    bridge_url: Option<String>,
    bridge_token: Option<String>,
    python: Option<String>,
    allow_endpoints: Option<bool>,
    allowed_hosts: Option<Vec<String>>,
    allow_private_images: Option<bool>,
    timeout: Option<Timeout>,
    retry: Option<Retry>,
    fallbacks: Option<Vec<Value>>,
    script: Option<Vec<Vec<Line>>>,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Embedded,
    Http,
    Scripted,
}

/// The client that the JSON text `config` describes. Starts nothing.
pub(crate) fn client(config: &[u8]) -> Result<Client> {
    // serde_json's messages name fields and places, and quote no strings but field names: a token stays unsaid.
    let config: Config =
        from_slice_lenient(config).map_err(|error| Error::invalid(format!("the configuration: {error}")))?;
    let way = match (config.bridge, &config.bridge_url, &config.script) {
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
    let mut builder = Client::builder();
    builder = match (way, config.bridge_url) {
        (Way::Scripted, _) => builder.engine(Scripted::new(config.script.unwrap_or_default())),
        (Way::Http, Some(url)) => builder.bridge(Bridge::Url {
            url,
            token: config.bridge_token,
        }),
        _ => builder.bridge(Bridge::Embedded),
    };
    if let Some(python) = config.python {
        builder = builder.python(python);
    }
    if let Some(allow) = config.allow_endpoints {
        builder = builder.allow_endpoints(allow);
    }
    if let Some(hosts) = config.allowed_hosts {
        builder = builder.allowed_hosts(hosts);
    }
    if let Some(allow) = config.allow_private_images {
        builder = builder.allow_private_images(allow);
    }
    if let Some(fallbacks) = config.fallbacks {
        builder = builder.fallbacks(fallbacks);
    }
    builder = match config.timeout {
        Some(Timeout::Total(total)) => builder.timeout(Timeouts {
            total: Some(total),
            ..Timeouts::default()
        }),
        Some(Timeout::Each(each)) => builder.timeout(each),
        None => builder,
    };
    builder = match config.retry {
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
