//! How many ephemeral events a second reach ten readers: `cargo run --release -p omni-agent --example bench_events`.
//! One JSON record a line: {name, value, unit, baseline, ratio}; the baseline is tokio's own broadcast channel, which
//! drops what a slow reader has not taken, with the same events to the same readers.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark that fails may stop, and its counts are small"
)]

use omni_agent::{AgentEvent, Bus, ChunkKind, EVENT_VERSION, Payload};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, broadcast};

const READERS: usize = 10;
const EVENTS: u64 = 200_000;
const WORDS: &str = " lorem ipsum";

fn chunk(at: u64) -> AgentEvent {
    AgentEvent {
        v: EVENT_VERSION,
        seq: None,
        after_seq: Some(0),
        timestamp_ms: 1,
        session_id: "0198c0de-0000-7000-8000-000000000000".to_owned(),
        turn_id: Some("t1".to_owned()),
        call_id: Some("t1.1".to_owned()),
        parent: None,
        payload: Payload::StreamChunk {
            index: 0,
            kind: ChunkKind::Text,
            offset: at * WORDS.len() as u64,
            text: WORDS.to_owned(),
            tool: None,
        },
    }
}

fn text_of(event: &AgentEvent) -> usize {
    match &event.payload {
        Payload::StreamChunk { text, .. } => text.len(),
        _ => 0,
    }
}

/// Publishes as fast as it can, and waits until every reader has the whole text.
async fn burst() -> f64 {
    let bus = Bus::new("s", 0);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = bus.subscribe(None);
        readers.push(tokio::spawn(async move {
            let mut bytes = 0;
            while let Some(event) = reader.next().await {
                bytes += text_of(&event);
            }
            bytes
        }));
    }
    let start = Instant::now();
    for at in 0..EVENTS {
        bus.publish(vec![chunk(at)]);
        if at % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    drop(bus);
    for reader in readers {
        assert_eq!(reader.await.unwrap() as u64, EVENTS * WORDS.len() as u64);
    }
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

/// Each event by itself to every reader: the next one is published when all have it, so nothing is merged.
async fn one_by_one() -> f64 {
    const COUNT: u64 = 20_000;
    let bus = Bus::new("s", 0);
    let seen = Arc::new(Semaphore::new(0));
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let (mut reader, seen) = (bus.subscribe(None), Arc::clone(&seen));
        readers.push(tokio::spawn(async move {
            let mut events = 0;
            while reader.next().await.is_some() {
                events += 1;
                seen.add_permits(1);
            }
            events
        }));
    }
    let start = Instant::now();
    for at in 0..COUNT {
        bus.publish(vec![chunk(at)]);
        let all = u32::try_from(READERS).unwrap();
        seen.acquire_many(all).await.unwrap().forget();
    }
    let rate = COUNT as f64 / start.elapsed().as_secs_f64();
    drop(bus);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), COUNT);
    }
    rate
}

async fn broadcast_burst() -> f64 {
    let (bus, _) = broadcast::channel(1024);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = bus.subscribe();
        readers.push(tokio::spawn(async move {
            let mut bytes = 0;
            loop {
                match reader.recv().await {
                    Ok(event) => bytes += text_of(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return bytes,
                }
            }
        }));
    }
    let start = Instant::now();
    for at in 0..EVENTS {
        bus.send(chunk(at)).unwrap();
        if at % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    drop(bus);
    for reader in readers {
        reader.await.unwrap();
    }
    EVENTS as f64 / start.elapsed().as_secs_f64()
}

/// Ten thousand a second for two seconds: how many events each reader gets of them, and how late each is.
async fn paced() -> (f64, f64, f64) {
    const RATE: u64 = 10_000;
    let bus = Bus::new("s", 0);
    let start = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = bus.subscribe(None);
        readers.push(tokio::spawn(async move {
            let (mut late, mut bytes) = (Vec::new(), 0);
            while let Some(event) = reader.next().await {
                bytes += text_of(&event);
                let last = (bytes / WORDS.len()) as u64 - 1;
                let due = Duration::from_micros(last / 10 * 1_000);
                late.push(start.elapsed().saturating_sub(due));
            }
            assert_eq!(bytes as u64, RATE * 2 * WORDS.len() as u64);
            late
        }));
    }
    let mut tick = tokio::time::interval_at(start.into(), Duration::from_millis(1));
    for at in 0..RATE * 2 {
        if at % 10 == 0 {
            tick.tick().await;
        }
        bus.publish(vec![chunk(at)]);
    }
    let rate = (RATE * 2) as f64 / start.elapsed().as_secs_f64();
    drop(bus);
    let mut late = Vec::new();
    for reader in readers {
        late.extend(reader.await.unwrap());
    }
    late.sort_unstable();
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or_default();
    let each = late.len() as f64 / READERS as f64;
    (rate, each / (RATE * 2) as f64, p99.as_secs_f64() * 1e3)
}

fn record(name: &str, value: f64, unit: &str, baseline: Option<f64>) {
    let ratio = baseline.map(|baseline| value / baseline);
    let record =
        serde_json::json!({"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio});
    println!("{record}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ours.push(burst().await);
        theirs.push(broadcast_burst().await);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    record("agent.events.10_readers.rate", ours, "events/s", Some(theirs));
    let rate = one_by_one().await;
    record(
        "agent.events.10_readers.one_by_one.rate",
        rate,
        "events/s",
        Some(10_000.0),
    );
    let (rate, share, p99) = paced().await;
    record(
        "agent.events.10_readers.paced.rate",
        rate,
        "events/s",
        Some(10_000.0),
    );
    record(
        "agent.events.10_readers.paced.handed_out",
        share,
        "events/event",
        None,
    );
    record("agent.events.10_readers.paced.late_p99", p99, "ms", None);
}
