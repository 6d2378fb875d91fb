//! Streams a chat with a tool call; with `litellm` after the model, through a Python that this program embeds.
use omni_bridge::{Client, EngineChoice, Event, Message, Request};
use serde_json::{Value, json};
use std::{error::Error, io::Write};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder().build()?;
    let model = std::env::args().nth(1).unwrap_or("openai/gpt-5-mini".into());
    let mut request = Request::new(model, vec![Message::user("What is the weather in Paris?")]);
    request.tools = Some(serde_json::from_value(json!([{"type": "function", "function": {
        "name": "get_weather", "description": "The weather in a city, now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }}]))?);
    let litellm = std::env::args().nth(2).is_some_and(|engine| engine == "litellm");
    request.engine = litellm.then_some(EngineChoice::Litellm);
    loop {
        let mut events = client.stream(request.clone());
        let reply = loop {
            match events.next().await.ok_or("a stream has a last event")? {
                Event::TextDelta { text, .. } => print!("{text}"),
                Event::Done { reply } => break reply,
                Event::Error { error, .. } => return Err(error.into()),
                _ => {}
            }
            std::io::stdout().flush()?;
        };
        request.messages.push(reply.message); // reasoning, signatures and calls go back as they came
        if reply.tool_calls.is_empty() {
            break;
        }
        for call in reply.tool_calls {
            let asked = call.function.ok_or("only functions were offered")?;
            let arguments: Value = serde_json::from_str(&asked.arguments)?;
            let city = arguments["city"].as_str().unwrap_or("nowhere");
            println!("calling {} for {city}", asked.name);
            request.messages.push(Message::tool(call.id, "18 °C and sunny"));
        }
    }
    println!();
    Ok(())
}
