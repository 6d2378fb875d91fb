//! Configuring a client.

use crate::catalogue::Catalogue;
use crate::client::{Client, Shared};
use crate::credentials::{Credentials, LocalKeys, Principal};
use crate::fallback;
use crate::gate::{Gate, Limit};
use crate::limits::{self, Limits};
use crate::native::Native;
use crate::retry::{self, Tries};
use crate::source::Source;
use crate::spend::{Ledger, Pricing};
use crate::storm::Storm;
use omni_bridge_py::embedded::EmbeddedConfig;
use omni_core::{
    Budget, ChatEngine, EngineChoice, Error, Result, Retry, RetryPolicy, Timeout, Timeouts, Usage,
};
use omni_transport::Transport;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The way to the Python engine.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Bridge {
    /// An interpreter in this process.
    #[default]
    Embedded,
    /// A bridge service (`omni serve`) elsewhere.
    Url {
        /// Its address, for example `http://127.0.0.1:8411`.
        url: String,
        /// Its token, if it asks for one.
        token: Option<String>,
    },
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bridge::Embedded => f.write_str("Embedded"),
            Bridge::Url { url, token } => f
                .debug_struct("Url")
                .field("url", url)
                .field("token", &token.as_ref().map(|_| "…"))
                .finish(),
        }
    }
}

/// Builds a [`Client`]. Everything has a default.
///
/// ```no_run
/// # fn main() -> omni_bridge::Result<()> {
/// use omni_bridge::{Bridge, Client, RetryPolicy, Timeouts};
///
/// let client = Client::builder()
///     .bridge(Bridge::Url { url: "http://127.0.0.1:8411".into(), token: None })
///     .timeout(Timeouts { first_event: Some(30.0), total: Some(120.0), ..Timeouts::default() })
///     .retry(RetryPolicy { max_retries: Some(4), max_wait: Some(20.0) })
///     .fallbacks(["anthropic/claude-sonnet-4-5"])
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    engine: Option<Arc<dyn ChatEngine>>,
    choice: Option<EngineChoice>,
    catalogue: Catalogue,
    credentials: Option<Arc<dyn Credentials>>,
    bridge: Bridge,
    embedding: EmbeddedConfig,
    timeouts: Timeouts,
    retry: RetryPolicy,
    fallbacks: Vec<Value>,
    fallback_mid_stream: bool,
    limits: HashMap<String, Limit>,
    budget: Option<Budget>,
    pricing: Option<Pricing>,
    trace_content: bool,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            engine: None,
            choice: None,
            catalogue: Catalogue::builtin(),
            credentials: None,
            bridge: Bridge::default(),
            embedding: EmbeddedConfig::default(),
            timeouts: limits::DEFAULT,
            retry: retry::DEFAULT,
            fallbacks: Vec::new(),
            fallback_mid_stream: false,
            limits: HashMap::new(),
            budget: None,
            pricing: None,
            trace_content: false,
        }
    }
}

impl ClientBuilder {
    /// The way to the Python engine. Default: embedded.
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridge = bridge;
        self
    }

    /// The interpreter to embed: a Python executable, or the folder of a virtual environment. Default:
    /// `OMNI_BRIDGE_PYTHON`, then `VIRTUAL_ENV`, then `python3` on the path. A process that already has an
    /// interpreter uses that one.
    pub fn python(mut self, python: impl Into<PathBuf>) -> Self {
        self.embedding.python = Some(python.into());
        self
    }

    /// Another engine than those behind a [`Bridge`], for example [`testing::FakeEngine`](crate::testing::FakeEngine).
    pub fn engine(mut self, engine: impl ChatEngine + 'static) -> Self {
        self.engine = Some(Arc::new(engine));
        self
    }

    /// Who is to answer where a request does not say. Default: what `OMNI_BRIDGE_ENGINE` says (auto, native or litellm),
    /// else auto: the native engine where it can, else `LiteLLM`.
    pub fn engine_choice(mut self, choice: EngineChoice) -> Self {
        self.choice = Some(choice);
        self
    }

    /// What is known of providers and models. Default: what is compiled in.
    pub fn catalogue(mut self, catalogue: Catalogue) -> Self {
        self.catalogue = catalogue;
        self
    }

    /// Where keys come from that calls do not bring. Default: the environment, the keychain of the operating system,
    /// the file of `omni auth set --file`.
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Limits for every call; a request's own `timeout` wins, field by field. Default: 15 s to connect, 600 s to
    /// the first event, 300 s between two events, none in all. A field that is `None` here keeps its default;
    /// `f64::INFINITY` means no limit.
    pub fn timeout(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = limits::overlay(self.timeouts, Timeout::Each(timeouts));
        self
    }

    /// How often to try again, before the first event only; a request's own `retry` wins. Default: 2 retries for
    /// each model, at most 60 s of rest in all. Only errors that are `retryable` are tried again; the provider's
    /// Retry-After is kept, or else the rest grows from half a second.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry::overlay(self.retry, Retry::Policy(retry));
        self
    }

    /// Models to go on with when one fails before its first event: ids, or objects with the fields to change.
    /// A request's own `fallbacks` win. `api_key`, `api_base` and `headers` of the request stay with its provider.
    pub fn fallbacks<F: Into<Value>>(mut self, fallbacks: impl IntoIterator<Item = F>) -> Self {
        self.fallbacks = fallbacks.into_iter().map(Into::into).collect();
        self
    }

    /// Whether a fallback may also take over when a model fails in the middle of its answer; a request's own
    /// `fallback_mid_stream` wins. Default: no. The `fallback` event names the parts that do not count any more: all
    /// of the failed answer. The next model's parts have the indexes after them.
    pub fn fallback_mid_stream(mut self, mid_stream: bool) -> Self {
        self.fallback_mid_stream = mid_stream;
        self
    }

    /// What `provider` (the part of a model id before its slash) may be asked at the most, by all calls of this
    /// client and its clones. Default: no limit. Calls that must wait do so in the order of coming.
    pub fn limits(mut self, provider: impl Into<String>, limit: Limit) -> Self {
        self.limits.insert(provider.into(), limit);
        self
    }

    /// What all calls of this client and its clones may spend, failed tries included. Default: no end.
    ///
    /// A try does not begin once a budget is reached, and an answer whose usage exceeds it while it still grows is
    /// stopped, both with the error `budget`. An answer that is whole is given, as it has been paid for. Calls under
    /// way at the same time may overshoot by what they use. Dollars are counted where a price is known. A request's
    /// own `budget` holds for that call beside this one.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// How dollars are known where a provider does not say: from provider, model (without the provider), usage and
    /// service tier. `None` for a price that is not known. Default: the catalogue's prices.
    pub fn pricing(
        mut self,
        pricing: impl Fn(&str, &str, &Usage, Option<&str>) -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        self.pricing = Some(Arc::new(pricing));
        self
    }

    /// Whether the spans of `tracing` carry what was said: messages, tools, stop texts, answers. Default: no. Keys
    /// stand in none.
    pub fn trace_content(mut self, content: bool) -> Self {
        self.trace_content = content;
        self
    }

    /// Whether requests may set `api_base`, `api_key` and `headers`. Default: yes. For programs that pass on what
    /// strangers ask.
    pub fn allow_endpoints(mut self, allow: bool) -> Self {
        self.embedding.allow_endpoints = allow;
        self
    }

    /// Hosts beside a provider's own to which a key from the environment may be sent.
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.embedding.allowed_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Whether images may be fetched from private addresses. Default: no.
    pub fn allow_private_images(mut self, allow: bool) -> Self {
        self.embedding.allow_private_images = allow;
        self
    }

    /// The client. Starts nothing; of the environment it reads `OMNI_BRIDGE_ENGINE`.
    ///
    /// # Errors
    /// `invalid_request` naming the limit, the fallback or the address that cannot be.
    pub fn build(self) -> Result<Client> {
        let limits = Limits::new(&self.timeouts)?;
        let tries = Tries::new(self.retry)?;
        if let Some(budget) = &self.budget {
            budget.check()?;
        }
        for (provider, limit) in &self.limits {
            limit.check(provider)?;
        }
        let gates = self.limits.into_iter();
        let gates = gates.map(|(provider, limit)| (provider, Gate::new(limit)));
        for (at, entry) in self.fallbacks.iter().enumerate() {
            fallback::check(at, entry)?;
        }
        let choice = match self.choice {
            Some(choice) => choice,
            None => choice_of_environment()?,
        };
        // A bridge service has a native engine of its own, and the keys.
        let native = (self.engine.is_none() && self.bridge == Bridge::Embedded).then(|| {
            let keys = LocalKeys::default();
            Arc::new(Native {
                transport: Transport::new(),
                catalogue: self.catalogue,
                environments: Arc::clone(keys.environments()),
                credentials: self.credentials.unwrap_or_else(|| Arc::new(keys)),
                principal: Principal::local(),
                choice,
                allow_endpoints: self.embedding.allow_endpoints,
                allowed_hosts: self.embedding.allowed_hosts.clone(),
            })
        });
        let source = match self.engine {
            Some(engine) => Source::Given(engine),
            None => Source::new(self.bridge, self.embedding)?,
        };
        Ok(Client::from_shared(Shared {
            source,
            native,
            timeouts: self.timeouts,
            limits,
            retry: self.retry,
            tries,
            fallbacks: self.fallbacks,
            fallback_mid_stream: self.fallback_mid_stream,
            gates: gates.collect(),
            storm: Storm::default(),
            budget: self.budget,
            ledger: Ledger::default(),
            pricing: self.pricing,
            trace_content: self.trace_content,
        }))
    }
}

impl std::fmt::Debug for ClientBuilder {
    /// Without tokens: those of the bridge, and those that a fallback may carry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("bridge", &self.bridge)
            .field("embedding", &self.embedding)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .field("fallbacks", &self.fallbacks.len())
            .field("limits", &self.limits)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What `OMNI_BRIDGE_ENGINE` says.
fn choice_of_environment() -> Result<EngineChoice> {
    let Some(word) = std::env::var_os(CHOICE).filter(|word| !word.is_empty()) else {
        return Ok(EngineChoice::Auto);
    };
    let known = EngineChoice::ALL.iter().find(|choice| word == choice.name());
    known.copied().ok_or_else(|| {
        Error::invalid(format!(
            "{CHOICE}: expected \"auto\", \"native\" or \"litellm\"; unset it, or set one of these"
        ))
    })
}

const CHOICE: &str = "OMNI_BRIDGE_ENGINE";
