//! An agent with a tool of its own, in a session that stays.
use omni_agent::{Agent, AgentConfig, ChunkKind, HostTools, Payload, SqliteStore};
use omni_bridge::Client;
use std::{error::Error, sync::Arc};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Place {
    /// The city's name.
    city: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = AgentConfig::from_toml("model = 'openai/gpt-5-mini'\napproval.default = 'approve'")?;
    let weather = HostTools::new().tool(
        "get_weather",
        "The weather in a city, now.",
        |place: Place| async move { format!("18 °C and sunny in {}", place.city) },
    );
    let agent = Agent::builder(config)
        .model(Arc::new(Client::builder().build()?))
        .store(Arc::new(SqliteStore::in_memory()?))
        .tools(Arc::new(weather))
        .build()?;
    let mut run = agent.run("What is the weather in Paris?").await?;
    while let Some(event) = run.next().await {
        match event.payload {
            Payload::ToolStarted { name } => println!("calling {name}"),
            Payload::StreamChunk {
                kind: ChunkKind::Text,
                text,
                ..
            } => print!("{text}"),
            _ => {}
        }
    }
    println!("\n{} rounds", run.result().await?.rounds);
    agent.close().await;
    Ok(())
}
