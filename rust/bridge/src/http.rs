//! The Python engine behind a bridge service (`omni serve`).

use omni_core::{BoxFuture, ChatEngine, Code, Engine, Error, ModelInfo, Request, Result, Steps};
use serde_json::Value;

/// A bridge service.
#[derive(Clone)]
pub struct HttpBridge {
    url: String,
}

fn unavailable() -> Error {
    Error::new(Code::EngineUnavailable, "the HTTP bridge is being written")
}

impl HttpBridge {
    /// The service at `url`.
    pub fn new(url: &str, _token: Option<String>) -> Result<Self> {
        Ok(Self { url: url.to_owned() })
    }

    /// Asks the service whether it speaks this contract.
    pub async fn check(&self) -> Result<()> {
        Err(unavailable())
    }
}

impl std::fmt::Debug for HttpBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpBridge").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ChatEngine for HttpBridge {
    fn name(&self) -> Engine {
        Engine::Litellm
    }
    fn call(&self, _: &Request, _: bool) -> Steps {
        Steps::failed(unavailable())
    }
    fn model_info(&self, _: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        Box::pin(async { Err(unavailable()) })
    }
    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async { Err(unavailable()) })
    }
    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async { Err(unavailable()) })
    }
}
