//! async-openai as a side.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt as _;
use omni_bench_peers::side::{Failure, KEY, QUESTION, Side, model, serve};
use omni_bench_peers::wire::Wire;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A client a base URL: its connections are kept with it.
#[derive(Clone, Default)]
struct AsyncOpenai(Arc<Mutex<HashMap<String, Client<OpenAIConfig>>>>);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    serve(AsyncOpenai::default()).await
}

impl AsyncOpenai {
    fn client(&self, wire: Wire, base: &str) -> Result<Client<OpenAIConfig>, Failure> {
        if wire != Wire::Openai {
            return Err("async-openai speaks OpenAI's wires alone".into());
        }
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(base) {
            return Ok(client.clone());
        }
        let config = OpenAIConfig::new().with_api_base(base).with_api_key(KEY);
        let client = Client::with_config(config);
        clients.insert(base.to_owned(), client.clone());
        Ok(client)
    }
}

fn request() -> Result<CreateChatCompletionRequest, Failure> {
    let message = ChatCompletionRequestUserMessageArgs::default()
        .content(QUESTION)
        .build()?;
    Ok(CreateChatCompletionRequestArgs::default()
        .model(model(Wire::Openai))
        .messages([message.into()])
        .build()?)
}

impl Side for AsyncOpenai {
    async fn call(&self, wire: Wire, base: &str) -> Result<String, Failure> {
        let mut reply = self.client(wire, base)?.chat().create(request()?).await?;
        let choice = reply.choices.pop().ok_or("the answer has no choice")?;
        choice
            .message
            .content
            .ok_or_else(|| "the answer has no text".into())
    }

    async fn stream(&self, wire: Wire, base: &str, mut take: impl FnMut(&str) + Send) -> Result<(), Failure> {
        let mut chunks = self.client(wire, base)?.chat().create_stream(request()?).await?;
        while let Some(chunk) = chunks.next().await {
            for choice in chunk?.choices {
                if let Some(text) = choice.delta.content.filter(|text| !text.is_empty()) {
                    take(&text);
                }
            }
        }
        Ok(())
    }
}
