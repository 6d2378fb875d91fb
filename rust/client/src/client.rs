//! The client: one `ChatModel` over whichever engine answers.

use crate::builder::ClientBuilder;
use crate::call::Call;
use crate::catalogue::{Catalogue, Model};
use crate::gate::Gate;
use crate::limits::Limits;
use crate::native::{Native, Route};
use crate::retry::Tries;
use crate::source::Source;
use crate::spend::{Ledger, Pricing, Spent};
use crate::storm::Storm;
use crate::trace;
use omni_core::{
    BoxFuture, Budget, ChatModel, ChatStream, Code, EngineChoice, Error, ModelId, ModelInfo, Reply, Request,
    Result, RetryPolicy, Timeouts,
};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) source: Source,
    /// `None` where all calls go elsewhere: to a bridge service, or to an engine that the caller gave.
    pub(crate) native: Option<Arc<Native>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) retry: RetryPolicy,
    pub(crate) tries: Tries,
    pub(crate) fallbacks: Vec<Value>,
    pub(crate) fallback_mid_stream: bool,
    /// By provider; only those that have limits.
    pub(crate) gates: HashMap<String, Arc<Gate>>,
    pub(crate) storm: Storm,
    pub(crate) budget: Option<Budget>,
    pub(crate) ledger: Ledger,
    pub(crate) pricing: Option<Pricing>,
    pub(crate) trace_content: bool,
}

impl Shared {
    /// Begins a try of `request`, or says who else is to.
    pub(crate) fn route(&self, request: &Request, stream: bool, connect: Option<Duration>) -> Route {
        match &self.native {
            Some(native) => native.route(request, stream, connect),
            None if request.engine == Some(EngineChoice::Native) && self.source.is_given() => {
                let message = "engine: this client was given an engine of its own; leave engine out";
                Route::Refused(Error::new(Code::Unsupported, message))
            }
            None => Route::Bridge(None),
        }
    }

    /// The gate before the provider of `model`, if it has one.
    pub(crate) fn gate(&self, model: &str) -> Option<Arc<Gate>> {
        if self.gates.is_empty() {
            return None;
        }
        if let Some(gate) = self.gates.get(provider(model)) {
            return Some(Arc::clone(gate));
        }
        // An alias, or a model that goes without its provider's name.
        let resolved = self.native.as_ref()?.catalogue.resolve(model).ok()?;
        self.gates.get(&*resolved.provider.name).map(Arc::clone)
    }

    /// Whether the retry budget of the provider of `model` has another retry; takes it.
    pub(crate) fn may_retry(&self, model: &str) -> bool {
        let provider = provider(model);
        let may = self.storm.take(provider, Instant::now());
        if !may {
            trace::storm(provider);
        }
        may
    }

    /// A try of `model` succeeded; `again` if it was a retry.
    pub(crate) fn succeeded(&self, model: &str, again: bool) {
        self.storm.succeeded(provider(model), again);
    }
}

/// Whose limits a call of `model` keeps; an id that names nobody is its own.
fn provider(model: &str) -> &str {
    ModelId::parse(model).provider.unwrap_or(model)
}

/// Calls models. Cheap to clone, and to be shared by any number of threads and tasks.
///
/// Making one starts nothing: the engine is found at the first call. A call is polled on the caller's own task and
/// needs a running tokio timer (every tokio runtime with `enable_time` or `enable_all`).
///
/// ```
/// use omni_bridge::testing::FakeEngine;
/// use omni_bridge::{Client, Event, Message, Request};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // A program leaves `engine` out and gets the one that is embedded; here one of the tests answers.
/// let client = Client::builder().engine(FakeEngine::saying("Hello!")).build()?;
/// let request = Request::new("openai/gpt-5-mini", vec![Message::user("Say hello.")]);
///
/// let reply = client.chat(request.clone()).await?;
/// assert_eq!(reply.content, "Hello!");
///
/// let mut stream = client.stream(request);
/// while let Some(event) = stream.next().await {
///     match event {
///         Event::TextDelta { text, .. } => print!("{text}"),
///         Event::Error { error, .. } => eprintln!("{error}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), omni_bridge::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// A client to be configured; `Client::builder().build()?` has the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn from_shared(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// One call, one reply, over the provider's unstreamed wire. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Every [`Code`](omni_core::Code) can come; `error.retryable` says whether the same call may succeed later.
    pub fn chat(&self, request: Request) -> impl Future<Output = Result<Reply>> + Send + use<> {
        // Not an `async fn`: its future would carry the request, a kilobyte to be moved at every step.
        self.chat_events(request).reply()
    }

    /// One call, streamed. Dropping the stream cancels the call; so does its
    /// [`canceller`](ChatStream::canceller), from any thread, and then the events end in `cancelled`.
    ///
    /// The call is sent when the stream is first polled. A stream itself never fails: it ends in exactly one of
    /// `done`, `error` and `cancelled`.
    pub fn stream(&self, request: Request) -> ChatStream {
        Call::open(Arc::clone(&self.shared), request, true)
    }

    /// As [`chat`](Self::chat), over the provider's unstreamed wire, but as the events of a stream: for callers who
    /// need the [`canceller`](ChatStream::canceller), or what had come when a call failed.
    pub fn chat_events(&self, request: Request) -> ChatStream {
        Call::open(Arc::clone(&self.shared), request, false)
    }

    /// What the calls of this client and its clones have spent so far, failed tries included. Dollars are counted
    /// where a price is known.
    pub fn spent(&self) -> Spent {
        self.shared.ledger.spent()
    }

    /// What is known of a model. Unknown fields are `None`. From the catalogue; a model that it does not have is asked
    /// of the engine behind the bridge.
    pub async fn model_info(&self, model: &str) -> Result<ModelInfo> {
        if let Some(known) = self.catalogue().and_then(|catalogue| catalogue.model(model)) {
            return Ok(ModelInfo {
                id: model.to_owned(),
                ..known.info()
            });
        }
        self.shared.source.get().await?.model_info(model).await
    }

    /// The native engine, if this client has it.
    pub(crate) fn native(&self) -> Option<&Arc<Native>> {
        self.shared.native.as_ref()
    }

    /// The models that are known: a list of objects, each with at least its `id`. Those of the catalogue, which needs no
    /// Python; a client of a bridge service asks that.
    pub async fn models(&self) -> Result<Value> {
        match self.catalogue() {
            Some(catalogue) => Ok(catalogue.models().iter().map(Model::document).collect()),
            None => self.shared.source.get().await?.models().await,
        }
    }

    /// What is known of providers and models; `None` where all calls go to a bridge service or to an engine that was
    /// given. Clones of the catalogue share what is registered.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.shared.native.as_ref().map(|native| &native.catalogue)
    }

    /// Adds a provider, from the JSON of its definition: the fields of `omni.toml`, and its `name`. Calls that begin from
    /// now on know it.
    ///
    /// # Errors
    /// `invalid_request` naming the field; `unsupported` where all calls go to a bridge service: register it there.
    ///
    /// ```
    /// # fn main() -> omni_bridge::Result<()> {
    /// let client = omni_bridge::Client::builder().build()?;
    /// client.register_provider(
    ///     r#"{"name": "acme", "protocol": "openai_chat", "base_url": "https://llm.acme.example/v1", "key_env": "ACME_API_KEY"}"#,
    /// )?; // from here on: acme/any-model
    /// # Ok(()) }
    /// ```
    pub fn register_provider(&self, definition: &str) -> Result<()> {
        let Some(catalogue) = self.catalogue() else {
            let message = "register_provider: calls of this client go elsewhere; register the provider there";
            return Err(Error::new(Code::Unsupported, message));
        };
        catalogue.register_provider_json(definition)
    }

    /// The input tokens that `request` will take, as near as is known without calling the provider.
    pub async fn count_tokens(&self, request: Request) -> Result<u64> {
        request.check()?;
        self.shared.source.get().await?.count_tokens(request).await
    }

    /// Finds the engine now, and whether it speaks this contract; the first call would otherwise do so.
    ///
    /// # Errors
    /// `engine_unavailable`, naming what is missing and how to mend it.
    pub async fn connect(&self) -> Result<()> {
        self.shared.source.check().await
    }

    /// Loads what the first call would otherwise wait for (LiteLLM takes two seconds and more).
    pub async fn warm_up(&self) -> Result<()> {
        self.shared.source.warm_up().await
    }

    /// Another operation of the engine, as a document: `doctor`, and those that later versions add.
    ///
    /// # Errors
    /// `unsupported` if this client's engine takes no documents.
    pub async fn op(&self, name: &str, document: Value) -> Result<Value> {
        self.shared.source.op(name, document).await
    }

    /// Stops the engine embedded in this process, for every client: its calls end in `cancelled`. Blocks at most
    /// `timeout`; true if all had ended by then. A later call starts it anew. Other engines are left alone.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.shared.source.shutdown(timeout)
    }
}

impl ChatModel for Client {
    fn chat(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(Client::chat(self, request))
    }

    fn stream(&self, request: Request) -> ChatStream {
        Client::stream(self, request)
    }

    fn model_info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        let model = model.to_owned();
        Box::pin(async move { Client::model_info(self, &model).await })
    }

    fn count_tokens(&self, request: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(Client::count_tokens(self, request))
    }
}

impl std::fmt::Debug for Client {
    /// Without tokens: those of the bridge, and those that a fallback may carry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("source", &self.shared.source)
            .field("timeouts", &self.shared.timeouts)
            .field("retry", &self.shared.retry)
            .field("fallbacks", &self.shared.fallbacks.len())
            .field("limits", &self.shared.gates.len())
            .field("budget", &self.shared.budget)
            .finish()
    }
}
