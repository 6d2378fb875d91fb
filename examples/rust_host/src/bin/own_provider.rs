use omni_bridge::catalogue::{Catalogue, Definition, Protocol};
use omni_bridge::{Client, Message, Request};

#[tokio::main]
async fn main() -> omni_bridge::Result<()> {
    let base = std::env::args()
        .nth(1)
        .unwrap_or("http://127.0.0.1:8000/v1".into());
    let catalogue = Catalogue::load()?;
    let acme = Definition::new("acme", Protocol::OpenaiChat, base).key_env("ACME_API_KEY");
    catalogue.register_provider(acme)?;
    let client = Client::builder().catalogue(catalogue).build()?;

    let reply = client
        .chat(Request::new("acme/fast", vec![Message::user("Say hello.")]))
        .await?;
    println!("{}", reply.content);
    Ok(())
}
