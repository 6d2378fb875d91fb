//! The native engine from Rust, and raw reqwest beside it.
//!
//! `bench-native native`, `bench-native raw`: a side each, as benches/doors/_side.py has them; `bench-native own-host`:
//! native, with the upstream's host named in the configuration, so that it is as trusted as a provider's own host is
//! (elsewhere each call looks for credentials of the environment that should not leave);
//! `bench-native duel`: both in one process, call by call in turns, because the p50 of a lonely call depends on how
//! deep the cores sleep (design section 6); `bench-native once BASE TEXT`: to the first token from a cold start.

use std::time::Duration;

use omni_bench::raw::{Texts, openai_reply};
use omni_bench::side::{Failure, KEY, Many, QUESTION, Side, model, one_call, say, serve};
use omni_bench::wire::Wire;
use omni_bridge::{Client, EngineChoice, Event, Message, Request};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[derive(Clone)]
struct Native(Client);

/// reqwest and serde, nothing else: the body as a document, the answer into small typed structs (`raw.rs`).
#[derive(Clone)]
struct Raw(reqwest::Client);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["native"] => serve(native()?).await,
        ["own-host"] => serve(Native(Client::builder().allowed_hosts(["127.0.0.1"]).build()?)).await,
        ["raw"] => serve(raw()?).await,
        ["duel"] => duels().await,
        ["hold"] => holds().await,
        ["once", base, expect] => once(base, expect).await,
        _ => Err("usage: bench-native native | own-host | raw | duel | hold | once BASE TEXT".into()),
    }
}

fn native() -> Result<Native, Failure> {
    Ok(Native(Client::builder().build()?))
}

fn raw() -> Result<Raw, Failure> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    Ok(Raw(reqwest::Client::builder().build()?))
}

fn request(wire: Wire, base: &str) -> Request {
    let provider = match wire {
        Wire::Openai => "openai",
        Wire::Responses => "openai/responses",
        Wire::Anthropic => "anthropic",
        Wire::Gemini => "gemini",
    };
    Request {
        api_base: Some(base.to_owned()),
        api_key: Some(KEY.to_owned()),
        engine: Some(EngineChoice::Native),
        ..Request::new(
            format!("{provider}/{}", model(wire)),
            vec![Message::user(QUESTION)],
        )
    }
}

impl Side for Native {
    async fn call(&self, wire: Wire, base: &str) -> Result<String, Failure> {
        Ok(self.0.chat(request(wire, base)).await?.content)
    }

    async fn stream(&self, wire: Wire, base: &str, mut take: impl FnMut(&str) + Send) -> Result<(), Failure> {
        let mut events = self.0.stream(request(wire, base));
        while let Some(event) = events.next().await {
            match event {
                Event::TextDelta { text, .. } => take(&text),
                Event::Error { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Raw {
    fn post(&self, wire: Wire, base: &str, stream: bool) -> Result<reqwest::RequestBuilder, Failure> {
        let messages = json!([{"role": "user", "content": QUESTION}]);
        let mut body = json!({"model": model(wire), "messages": messages});
        if stream {
            body["stream"] = true.into();
        }
        let post = match wire {
            Wire::Openai => self
                .0
                .post(format!("{base}/chat/completions"))
                .header("authorization", format!("Bearer {KEY}")),
            Wire::Anthropic => {
                body["max_tokens"] = 4096.into();
                self.0
                    .post(format!("{base}/messages"))
                    .header("x-api-key", KEY)
                    .header("anthropic-version", "2023-06-01")
            }
            Wire::Responses | Wire::Gemini => return Err("the upstream does not speak this wire".into()),
        };
        Ok(post
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body)?))
    }
}

impl Side for Raw {
    async fn call(&self, wire: Wire, base: &str) -> Result<String, Failure> {
        let response = self.post(wire, base, false)?.send().await?;
        openai_reply(&response.error_for_status()?.bytes().await?)
    }

    async fn stream(&self, wire: Wire, base: &str, mut take: impl FnMut(&str) + Send) -> Result<(), Failure> {
        let mut response = self.post(wire, base, true)?.send().await?.error_for_status()?;
        let mut texts = Texts::new(wire);
        while let Some(bytes) = response.chunk().await? {
            texts.push(&bytes, |text| {
                if !text.is_empty() {
                    take(&text);
                }
            })?;
        }
        Ok(())
    }
}

fn commands() -> Result<Lines<BufReader<Stdin>>, Failure> {
    say(&json!({"ready": true}))?;
    Ok(BufReader::new(tokio::io::stdin()).lines())
}

/// Each command: `n` calls of each side, one after the other and in turns.
async fn duels() -> Result<(), Failure> {
    let (ours, theirs) = (native()?, raw()?);
    let mut lines = commands()?;
    while let Some(line) = lines.next_line().await? {
        let many: Many = serde_json::from_str(&line)?;
        let (mut us, mut raw_us) = (Vec::new(), Vec::new());
        for n in 0..many.n {
            // Who comes first changes too: what the one leaves in the caches is the other's.
            if n % 2 == 0 {
                us.push(one_call(&ours, &many).await?.us);
                raw_us.push(one_call(&theirs, &many).await?.us);
            } else {
                raw_us.push(one_call(&theirs, &many).await?.us);
                us.push(one_call(&ours, &many).await?.us);
            }
        }
        say(&json!({"us": us, "baseline_us": raw_us}))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Hold {
    base: String,
    n: usize,
}

/// Holds `n` streams open, all of them past their first text, until the next command.
async fn holds() -> Result<(), Failure> {
    let client = native()?;
    let mut lines = commands()?;
    let mut open = JoinSet::new();
    while let Some(line) = lines.next_line().await? {
        let Hold { base, n } = serde_json::from_str(&line)?;
        open.shutdown().await;
        let (first, mut firsts) = mpsc::channel(n.max(1));
        for _ in 0..n {
            let (client, base, first) = (client.clone(), base.clone(), first.clone());
            open.spawn(async move {
                let mut first = Some(first);
                client
                    .stream(Wire::Openai, &base, |_| {
                        if let Some(first) = first.take() {
                            // There is room for everybody's.
                            let _ = first.try_send(());
                        }
                    })
                    .await
            });
        }
        drop(first);
        for _ in 0..n {
            tokio::time::timeout(Duration::from_secs(30), firsts.recv())
                .await?
                .ok_or("a stream ended before its first text")?;
        }
        say(&json!({"held": n}))?;
    }
    Ok(())
}

async fn once(base: &str, expect: &str) -> Result<(), Failure> {
    let mut events = native()?.0.stream(request(Wire::Openai, base));
    while let Some(event) = events.next().await {
        match event {
            Event::TextDelta { text, .. } if expect.starts_with(&text) => return Ok(()),
            Event::Error { error, .. } => return Err(error.into()),
            Event::TextDelta { text, .. } => return Err(format!("the first text is {text:?}").into()),
            _ => {}
        }
    }
    Err("the stream had no text".into())
}
