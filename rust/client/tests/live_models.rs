//! Lists of models from a server that stands in for a provider.
#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

use omni_bridge::Client;
use omni_bridge::catalogue::{Catalogue, Definition, Protocol};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with what `answer` makes of its first line, and keeps what was asked.
async fn server(answer: fn(&str) -> (u16, String)) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    let length = socket.read(&mut piece).await.unwrap();
                    if length == 0 {
                        return;
                    }
                    request.extend_from_slice(&piece[..length]);
                }
                let request = String::from_utf8(request).unwrap();
                let (status, body) = answer(request.lines().next().unwrap());
                kept.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                socket.write_all((head + &body).as_bytes()).await.unwrap();
            });
        }
    });
    (base, asked)
}

fn client(catalogue: &Catalogue) -> Client {
    Client::builder().catalogue(catalogue.clone()).build().unwrap()
}

#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end() {
    let (base, asked) = server(|line| {
        let more = !line.contains("after_id=b");
        let id = if more { "b" } else { "a" };
        (
            200,
            json!({"data": [{"id": id}], "has_more": more, "last_id": id}).to_string(),
        )
    })
    .await;
    let catalogue = Catalogue::builtin();
    let acme = Definition::new("acme", Protocol::Anthropic, base)
        .header("x-team", "blue")
        .model("b", json!({"context": 9}));
    catalogue.register_provider(acme).unwrap();
    let models = client(&catalogue).live_models("acme").await.unwrap();
    let ids: Vec<String> = models.iter().map(|model| model.id()).collect();
    assert_eq!(ids, ["acme/a", "acme/b"]);
    assert_eq!(models[1].max_input_tokens, Some(9));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked
            .iter()
            .all(|request| request.contains("x-team: blue") && request.contains("anthropic-version:"))
    );
}

#[tokio::test]
async fn a_refusal_says_what_it_means() {
    let (base, _) = server(|_| (404, "no".to_owned())).await;
    let catalogue = Catalogue::builtin();
    catalogue
        .register_provider(Definition::new("acme", Protocol::OpenaiChat, base))
        .unwrap();
    let error = client(&catalogue).live_models("acme").await.unwrap_err();
    assert_eq!((error.code.name(), error.status), ("not_found", Some(404)));
    let error = client(&catalogue).live_models("acne").await.unwrap_err();
    assert!(error.message.contains("did you mean \"acme\""), "{error}");
}

#[tokio::test]
async fn servers_on_this_machine_are_found_where_the_environment_says() {
    let (base, asked) = server(|_| (200, json!({"data": [{"id": "llama3:8b"}]}).to_string())).await;
    let catalogue = Catalogue::builtin();
    let env = |name: &str| (name == "OLLAMA_API_BASE").then(|| base.clone());
    let found = catalogue.discover(env).await;
    let ollama = found
        .iter()
        .find(|local| local.provider.name == "ollama")
        .unwrap();
    assert_eq!(ollama.models[0].id(), "ollama/llama3:8b");
    assert!(asked.lock().unwrap()[0].starts_with("GET /v1/models "));
}
