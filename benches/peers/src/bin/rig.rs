//! rig-core as a side.

use futures_util::StreamExt as _;
use omni_bench_peers::side::{Failure, KEY, QUESTION, Side, model, serve};
use omni_bench_peers::wire::Wire;
use rig_core::completion::CompletionRequest;
use rig_core::providers::anthropic::wire::AnthropicConfig;
use rig_core::providers::openai::OpenAIConfig;
use rig_core::streaming::{Item, StreamEvent};

#[derive(Clone)]
struct Rig;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    serve(Rig).await
}

/// A client on the connections that rig shares within a process; making one is a few strings.
macro_rules! with_model {
    ($wire:expr, $base:expr, $model:ident => $do:expr) => {
        match $wire {
            Wire::Openai => {
                let $model = OpenAIConfig::new(KEY)
                    .with_base_url($base)
                    .client()
                    .chat(model($wire));
                $do
            }
            Wire::Anthropic => {
                let $model = AnthropicConfig::new(KEY)
                    .with_base_url($base)
                    .client()
                    .completion(model($wire));
                $do
            }
            Wire::Responses | Wire::Gemini => Err("the upstream does not speak this wire".into()),
        }
    };
}

impl Side for Rig {
    async fn call(&self, wire: Wire, base: &str) -> Result<String, Failure> {
        with_model!(wire, base, model => Ok(model.call(CompletionRequest::new(QUESTION)).await?.text()))
    }

    async fn stream(&self, wire: Wire, base: &str, mut take: impl FnMut(&str) + Send) -> Result<(), Failure> {
        with_model!(wire, base, model => {
            let mut items = model.stream(CompletionRequest::new(QUESTION))?;
            while let Some(item) = items.next().await {
                if let Item::Event(StreamEvent::Text { text, .. }) = item? && !text.is_empty() {
                    take(&text);
                }
            }
            Ok(())
        })
    }
}
