//! Where a client's engine comes from.

use crate::builder::Bridge;
use futures_util::FutureExt;
use futures_util::future::Shared;
use omni_bridge_py::embedded::{self, Embedded, EmbeddedConfig};
use omni_bridge_py::http::HttpBridge;
use omni_core::{BoxFuture, ChatEngine, Code, Error, Result};
use serde_json::Value;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// An engine, or the way to one.
pub(crate) enum Source {
    /// The caller gave it.
    Given(Arc<dyn ChatEngine>),
    /// In this process, found at the first call.
    Embedded(Arc<Finder>),
    /// Behind a bridge service.
    Http(Arc<HttpBridge>),
}

impl Source {
    /// The engine behind `bridge`; nothing is opened yet.
    pub(crate) fn new(bridge: Bridge, config: EmbeddedConfig) -> Result<Self> {
        Ok(match bridge {
            Bridge::Embedded => Source::Embedded(Arc::new(Finder {
                config,
                found: OnceLock::new(),
                finding: Mutex::default(),
            })),
            Bridge::Url { url, token } => Source::Http(Arc::new(HttpBridge::new(&url, token)?)),
        })
    }

    /// Whether the caller gave the engine.
    pub(crate) const fn is_given(&self) -> bool {
        matches!(self, Source::Given(_))
    }

    /// The engine, if it needs no finding.
    pub(crate) fn ready(&self) -> Option<Arc<dyn ChatEngine>> {
        match self {
            Source::Given(engine) => Some(Arc::clone(engine)),
            Source::Embedded(finder) => finder.ready().map(|found| found as _),
            Source::Http(bridge) => Some(Arc::clone(bridge) as _),
        }
    }

    /// Finds the engine, where `ready` gave none.
    pub(crate) fn connect(&self) -> BoxFuture<'static, Result<Arc<dyn ChatEngine>>> {
        match self {
            Source::Embedded(finder) => Box::pin(finder.find().map(|found| found.map(|found| found as _))),
            Source::Given(engine) => Box::pin(std::future::ready(Ok(Arc::clone(engine)))),
            Source::Http(bridge) => Box::pin(std::future::ready(Ok(Arc::clone(bridge) as _))),
        }
    }

    /// The engine, found if need be.
    pub(crate) async fn get(&self) -> Result<Arc<dyn ChatEngine>> {
        match self.ready() {
            Some(engine) => Ok(engine),
            None => self.connect().await,
        }
    }

    /// Finds the engine and asks whether it speaks this contract.
    pub(crate) async fn check(&self) -> Result<()> {
        match self {
            Source::Given(_) => Ok(()),
            Source::Embedded(finder) => finder.get().await.map(drop),
            Source::Http(bridge) => bridge.check().await,
        }
    }

    pub(crate) async fn warm_up(&self) -> Result<()> {
        match self {
            Source::Embedded(finder) => finder.get().await?.warm_up().await,
            Source::Given(_) | Source::Http(_) => self.check().await,
        }
    }

    pub(crate) async fn op(&self, name: &str, document: Value) -> Result<Value> {
        match self {
            Source::Embedded(finder) => finder.get().await?.op(name, document).await,
            Source::Given(_) | Source::Http(_) => {
                let message = format!(
                    "op \"{name}\": only the embedded engine takes it; leave out the bridge's address"
                );
                Err(Error::new(Code::Unsupported, message))
            }
        }
    }

    pub(crate) fn shutdown(&self, timeout: Duration) -> bool {
        match self {
            Source::Embedded(finder) => finder.ready().is_none_or(|found| found.shutdown(timeout)),
            Source::Given(_) | Source::Http(_) => true,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Given(engine) => f.debug_tuple("Given").field(&engine.name()).finish(),
            Source::Embedded(finder) => finder.config.fmt(f),
            Source::Http(bridge) => bridge.fmt(f),
        }
    }
}

type Finding = Shared<BoxFuture<'static, Result<Arc<Embedded>>>>;

/// Finds the embedded engine once, for all calls that wait for it.
pub(crate) struct Finder {
    config: EmbeddedConfig,
    found: OnceLock<Arc<Embedded>>,
    finding: Mutex<Option<Finding>>,
}

impl Finder {
    fn ready(&self) -> Option<Arc<Embedded>> {
        if let Some(found) = self.found.get() {
            return Some(Arc::clone(found));
        }
        // In a Python process the engine is installed before the first call can be made: no thread, no wait.
        let installed = embedded::installed()
            .then(|| Embedded::connect(&self.config).ok())
            .flatten()?;
        Some(Arc::clone(self.found.get_or_init(|| Arc::new(installed))))
    }

    async fn get(self: &Arc<Self>) -> Result<Arc<Embedded>> {
        match self.ready() {
            Some(found) => Ok(found),
            None => self.find().await,
        }
    }

    /// Opens the interpreter on a thread of its own, because that takes some 50 ms and the caller's runtime has
    /// other things to do. A failure is forgotten: the next call may find what has been mended meanwhile.
    fn find(self: &Arc<Self>) -> Finding {
        let mut finding = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        finding.get_or_insert_with(|| self.spawn()).clone()
    }

    fn spawn(self: &Arc<Self>) -> Finding {
        let (tell, told) = tokio::sync::oneshot::channel();
        let finder = Arc::clone(self);
        let work = move || {
            let result = Embedded::connect(&finder.config)
                .map(|found| Arc::clone(finder.found.get_or_init(|| Arc::new(found))));
            *finder.finding.lock().unwrap_or_else(PoisonError::into_inner) = None;
            // Nobody listens if every call was dropped meanwhile.
            let _ = tell.send(result);
        };
        let spawned = std::thread::Builder::new()
            .name("omni-connect".into())
            .spawn(work);
        async move {
            if let Err(error) = spawned {
                let message = format!("the system gives no thread to start the engine on: {error}");
                return Err(Error::new(Code::EngineUnavailable, message));
            }
            told.await
                .unwrap_or_else(|_| Err(Error::internal("starting the embedded engine panicked")))
        }
        .boxed()
        .shared()
    }
}
