//! rust-genai as a side.

use futures_util::StreamExt as _;
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest, ChatStreamEvent};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};
use omni_bench_peers::side::{Failure, KEY, QUESTION, Side, model, serve};
use omni_bench_peers::wire::Wire;

#[derive(Clone)]
struct Genai(Client);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    serve(Genai(Client::new()?)).await
}

fn target(wire: Wire, base: &str) -> Result<ServiceTarget, Failure> {
    let adapter = match wire {
        Wire::Openai => AdapterKind::OpenAI,
        Wire::Anthropic => AdapterKind::Anthropic,
        Wire::Responses | Wire::Gemini => return Err("the upstream does not speak this wire".into()),
    };
    Ok(ServiceTarget {
        endpoint: Endpoint::from_owned(format!("{base}/")),
        auth: AuthData::from_single(KEY),
        model: ModelIden::new(adapter, model(wire)),
    })
}

fn request() -> ChatRequest {
    ChatRequest::new(vec![ChatMessage::user(QUESTION)])
}

impl Side for Genai {
    async fn call(&self, wire: Wire, base: &str) -> Result<String, Failure> {
        let reply = self.0.exec_chat(target(wire, base)?, request(), None).await?;
        let mut text = reply.into_first_text().ok_or("the answer has no text")?;
        // It trims an answer that is not streamed; the canned one ends in a blank.
        text.push(' ');
        Ok(text)
    }

    async fn stream(&self, wire: Wire, base: &str, mut take: impl FnMut(&str) + Send) -> Result<(), Failure> {
        let reply = self
            .0
            .exec_chat_stream(target(wire, base)?, request(), None)
            .await?;
        let mut events = reply.stream;
        while let Some(event) = events.next().await {
            match event? {
                ChatStreamEvent::Chunk(chunk) if !chunk.content.is_empty() => take(&chunk.content),
                _ => {}
            }
        }
        Ok(())
    }
}
