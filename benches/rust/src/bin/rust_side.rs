//! The Rust sides of the comparison: a command a line on stdin, an answer a line on stdout, as the Python sides do
//! it (benches/doors/_side.py).
//!
//! `bench-rust embedded`: crate `omni-bridge` with the engine in this process, and the bare echo hop;
//! `bench-rust bridge URL`: the same crate over a bridge service; `bench-rust echo URL`: POST of a JSON document,
//! the hop's baseline; `bench-rust once BASE TEXT`: one call from a cold start.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use omni_bench::side::{Failure, KEY, Many, QUESTION, Took, check, many, micros, say};
use omni_bridge::{Bridge, Client, EngineChoice, Event, Message, Request};
use omni_bridge_py::embedded::{Embedded, EmbeddedConfig};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const MODEL: &str = "openai/gpt-4o";

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Calls(Many),
    Streams(Many),
    Echo {
        n: usize,
        at_once: usize,
        data: Value,
    },
    EchoChunks {
        chunks: u32,
        data: Value,
    },
    Cancel {
        base: String,
        names: Vec<String>,
        after: Vec<usize>,
    },
}

/// What this process is asked to be.
#[derive(Clone)]
enum Side {
    Client {
        client: Client,
        embedded: Option<Embedded>,
    },
    Http {
        client: reqwest::Client,
        url: String,
    },
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    let side = match arguments.as_slice() {
        ["once", base, expect] => {
            let reply = Client::builder().build()?.chat(request(base)).await?;
            return check(&reply.content, expect);
        }
        ["embedded"] => {
            let embedded = Embedded::connect(&EmbeddedConfig::default())?;
            Side::Client {
                client: Client::builder().build()?,
                embedded: Some(embedded),
            }
        }
        ["bridge", url] => {
            let bridge = Bridge::Url {
                url: (*url).to_owned(),
                token: None,
            };
            Side::Client {
                client: Client::builder().bridge(bridge).build()?,
                embedded: None,
            }
        }
        ["echo", url] => Side::Http {
            client: reqwest::Client::builder().build()?,
            url: (*url).to_owned(),
        },
        _ => return Err("usage: bench-rust embedded | bridge URL | echo URL | once BASE TEXT".into()),
    };
    serve(side).await
}

async fn serve(side: Side) -> Result<(), Failure> {
    say(&json!({"ready": true}))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line)? {
            Command::Calls(many) => calls(&side, many, false).await?,
            Command::Streams(many) => calls(&side, many, true).await?,
            Command::Echo { n, at_once, data } => echo(&side, n, at_once, data).await?,
            Command::EchoChunks { chunks, data } => echo_chunks(&side, chunks, &data).await?,
            Command::Cancel { base, names, after } => cancel(&side, &base, names, after).await?,
        };
        say(&answer)?;
    }
    Ok(())
}

fn request(base: &str) -> Request {
    Request {
        api_base: Some(base.to_owned()),
        api_key: Some(KEY.to_owned()),
        engine: Some(EngineChoice::Litellm),
        ..Request::new(MODEL, vec![Message::user(QUESTION)])
    }
}

fn client(side: &Side) -> Result<&Client, Failure> {
    match side {
        Side::Client { client, .. } => Ok(client),
        Side::Http { .. } => Err("this side only echoes".into()),
    }
}

async fn calls(
    side: &Side,
    Many {
        base,
        expect,
        n,
        at_once,
        ..
    }: Many,
    stream: bool,
) -> Result<Value, Failure> {
    let client = client(side)?.clone();
    many(n, at_once, move || {
        let (client, base, expect) = (client.clone(), base.clone(), expect.clone());
        async move {
            if stream {
                streamed(&client, &base, &expect).await
            } else {
                whole(&client, &base, &expect).await
            }
        }
    })
    .await
}

async fn whole(client: &Client, base: &str, expect: &str) -> Result<Took, Failure> {
    let begin = Instant::now();
    let reply = client.chat(request(base)).await?;
    let us = micros(begin);
    check(&reply.content, expect)?;
    Ok(Took {
        us,
        ..Took::default()
    })
}

async fn streamed(client: &Client, base: &str, expect: &str) -> Result<Took, Failure> {
    let mut took = Took::default();
    let mut text = String::with_capacity(expect.len());
    let begin = Instant::now();
    let mut events = client.stream(request(base));
    while let Some(event) = events.next().await {
        match event {
            Event::TextDelta { text: delta, .. } => {
                took.first_us.get_or_insert_with(|| micros(begin));
                took.texts += 1;
                text.push_str(&delta);
            }
            Event::Error { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    took.us = micros(begin);
    check(&text, expect)?;
    Ok(took)
}

async fn echo(side: &Side, n: usize, at_once: usize, data: Value) -> Result<Value, Failure> {
    match side {
        Side::Client {
            embedded: Some(embedded),
            ..
        } => {
            let document = serde_json::to_vec(&json!({"op": "echo", "data": data}))?;
            let mut event = serde_json::to_vec(&json!({"type": "echo", "data": data}))?;
            event.push(b'\n');
            let (embedded, document, event) = (embedded.clone(), Arc::new(document), Arc::new(event));
            many(n, at_once, move || {
                let (embedded, document, event) = (embedded.clone(), document.clone(), event.clone());
                async move {
                    let begin = Instant::now();
                    let mut call = embedded.raw(&document);
                    let mut answer = Vec::new();
                    while let Some(batch) = call.next().await {
                        answer.extend_from_slice(&batch);
                    }
                    let us = micros(begin);
                    same(&answer, &event)?;
                    Ok(Took {
                        us,
                        ..Took::default()
                    })
                }
            })
            .await
        }
        Side::Http { client, url } => {
            let inner = Arc::new(serde_json::to_vec(&data)?);
            let body = serde_json::to_vec(&json!({"data": data}))?;
            let (client, url, body) = (client.clone(), url.clone(), Arc::new(body));
            many(n, at_once, move || {
                let (client, url) = (client.clone(), url.clone());
                let (body, inner) = (body.clone(), inner.clone());
                async move {
                    let begin = Instant::now();
                    let sent = client
                        .post(url)
                        .header("content-type", "application/json")
                        .body(body.to_vec())
                        .send();
                    let answer = sent.await?.error_for_status()?.bytes().await?;
                    let us = micros(begin);
                    // A bare echo gives the body back, our service what stands in it.
                    same(&answer, &body).or_else(|_| same(&answer, &inner))?;
                    Ok(Took {
                        us,
                        ..Took::default()
                    })
                }
            })
            .await
        }
        Side::Client { embedded: None, .. } => {
            Err("the bridge service has no echo: ask for `echo URL`".into())
        }
    }
}

/// Equal as JSON: the two sides may space it differently.
fn same(answer: &[u8], expect: &[u8]) -> Result<(), Failure> {
    let read = |bytes| serde_json::from_slice::<Value>(bytes);
    if answer == expect || read(answer)? == read(expect)? {
        return Ok(());
    }
    Err(format!("not the same data came back: {}", String::from_utf8_lossy(answer)).into())
}

async fn echo_chunks(side: &Side, chunks: u32, data: &Value) -> Result<Value, Failure> {
    let Side::Client {
        embedded: Some(embedded),
        ..
    } = side
    else {
        return Err("only the embedded side counts what a chunk costs".into());
    };
    let document = serde_json::to_vec(&json!({"op": "echo", "chunks": chunks, "data": data}))?;
    let begin = Instant::now();
    let mut call = embedded.raw(&document);
    let (mut seen, mut last) = (0, Vec::new());
    while let Some(batch) = call.next().await {
        seen += batch.split(|byte| *byte == b'\n').count() - 1;
        last = batch;
    }
    let wall = micros(begin);
    let lines: Vec<&[u8]> = last
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let event: Map<String, Value> = serde_json::from_slice(lines.last().copied().unwrap_or_default())?;
    if seen != chunks as usize || event["n"] != chunks - 1 || event["data"] != *data {
        return Err(format!("{seen} of {chunks} events, the last {event:?}").into());
    }
    Ok(json!({"wall_us": wall}))
}

async fn cancel(side: &Side, base: &str, names: Vec<String>, after: Vec<usize>) -> Result<Value, Failure> {
    let client = client(side)?;
    let streams = names.into_iter().zip(after).map(|(name, after)| {
        let mut events = client.stream(Request {
            user: Some(name.clone()),
            ..request(base)
        });
        tokio::spawn(async move {
            let mut seen = 0;
            while seen < after {
                match events.next().await {
                    Some(Event::TextDelta { .. }) => seen += 1,
                    Some(Event::Error { error, .. }) => return Err(error.into()),
                    Some(_) => {}
                    None => {
                        return Err::<_, Failure>("the stream ended before it was to be cancelled".into());
                    }
                }
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            drop(events);
            Ok((name, u64::try_from(now.as_nanos())?))
        })
    });
    let mut cancelled = Map::new();
    for done in join_all(streams).await {
        let (name, at) = done??;
        cancelled.insert(name, at.into());
    }
    Ok(json!({"cancelled_ns": cancelled}))
}
