//! What a turn costs beside what it stands on: a model that answers at once, and a store on the disk.
//!
//!     bench_agent PHASE [ROUNDS]
//!
//! `turn`: a turn without tools, beside the bare call and one commit. `open`: a session of 10,000 messages to its last
//! 100. `agents`: 200 turns at once in this process. `growth`: a turn at 10 messages and at 5,000. One JSON record a
//! line: {name, value, unit, baseline, ratio}. Every answer is checked before its time counts; sides take turns.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a benchmark that fails may stop, its counts are small, and its modules are its own"
)]

mod log;
mod model;

use log::{Turn, question};
use model::{Gate, MODEL, Model, answer};
use omni_agent::{Agent, AgentConfig, Durability, PathQuery, Payload, RunInput, SessionStore, SqliteStore};
use omni_core::{ChatModel, Message, Request};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of a long session.
const LONG: usize = 10_000;
/// What growth is measured between.
const SHORT_PATH: usize = 10;
const LONG_PATH: usize = 5_000;
/// Turns of one session that are measured before it is the next one's turn, so that what is sent stays small.
const TURNS: usize = 10;
const AGENTS: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let phase = words.next().unwrap_or_default();
    let rounds = |usual: usize, given: Option<String>| given.and_then(|n| n.parse().ok()).unwrap_or(usual);
    let given = words.next();
    // In a task, as a program's own code is.
    let done = match phase.as_str() {
        "turn" => tokio::spawn(turns(rounds(40, given))),
        "open" => tokio::spawn(opening(rounds(40, given))),
        "agents" => tokio::spawn(agents()),
        "growth" => tokio::spawn(growth(rounds(8, given))),
        _ => {
            eprintln!("bench_agent turn|open|agents|growth [ROUNDS]");
            return ExitCode::from(2);
        }
    };
    done.await.unwrap();
    ExitCode::SUCCESS
}

fn opened(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder.join("sessions.db"), Durability::ProcessKill).unwrap()
}

/// An agent without titles, which would be a call and a commit more after a session's first turn.
fn agent(model: &Model, store: &SqliteStore, window: Option<u64>) -> Agent {
    let mut config = AgentConfig::new(MODEL);
    config.titles = false;
    config.compaction.window = window;
    Agent::builder(config)
        .model(Arc::new(model.clone()))
        .store(Arc::new(store.clone()))
        .build()
        .unwrap()
}

/// A turn whose events are read as they come, to its end.
async fn turn(agent: &Agent, input: RunInput) -> Duration {
    let begun = Instant::now();
    let mut run = agent.run(input).await.unwrap();
    let mut text = String::new();
    while let Some(event) = run.next().await {
        if let Payload::StreamChunk { text: more, .. } = event.payload {
            text.push_str(&more);
        }
    }
    let outcome = run.result().await.unwrap();
    let took = begun.elapsed();
    assert_eq!(text, answer(), "the chunks of a turn");
    assert_eq!(outcome.text, text, "the outcome of a turn");
    took
}

/// The call alone, with the messages that the turn sends.
async fn bare(model: &Model, messages: &[Message]) -> Duration {
    let begun = Instant::now();
    let mut stream = model.stream(Request::new(MODEL, messages.to_vec()));
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if let omni_core::Event::TextDelta { text: more, .. } = event {
            text.push_str(&more);
        }
    }
    let took = begun.elapsed();
    assert_eq!(text, answer(), "the deltas of a call");
    took
}

fn asks() -> RunInput {
    RunInput::new(Message::user(question()))
}

async fn path(store: &SqliteStore, id: &str) -> Vec<Message> {
    let path = store.path(id, PathQuery::default()).await.unwrap();
    path.into_iter().map(|stored| stored.message).collect()
}

// ------------------------------------------------------------------------------------------------------ a turn

/// A turn, the bare call, and the commits of a turn by themselves, in turns whose order rotates.
async fn turns(sessions: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let template = Turn::recorded(&store).await;
    let model = Model::default();
    let agent = agent(&model, &store, None);
    let (mut whole, mut calls) = (vec![], vec![]);
    let mut commits = [vec![], vec![], vec![]];
    let (mut most, mut most_first) = (0, 0);
    for session in 0..sessions {
        let id = format!("s{session}");
        let before = store.commits();
        turn(&agent, asks().new_session(id.as_str())).await;
        // What makes a session is one commit, which `commits` leaves out.
        most_first = most_first.max(store.commits() - before + 1);
        let mut seen = path(&store, &id).await;
        let mut writers = Vec::new();
        for commit in ["first", "rest", "both"] {
            let id = format!("{commit}{session}");
            writers.push(store.create(Some(id), Vec::new()).await.unwrap());
        }
        // The first session warms everything up.
        let counts = session > 0;
        for number in 0..TURNS {
            for step in 0..5 {
                match (number + step) % 5 {
                    0 => {
                        let before = store.commits();
                        let took = turn(&agent, asks().session(id.as_str())).await;
                        most = most.max(store.commits() - before);
                        whole.extend(counts.then_some(took));
                    }
                    1 => {
                        seen.push(Message::user(question()));
                        let took = bare(&model, &seen).await;
                        seen.push(Message::assistant(answer()));
                        calls.extend(counts.then_some(took));
                    }
                    other => {
                        let which = other - 2;
                        let events = template.alone(which, number);
                        let begun = Instant::now();
                        writers[which].append(events).await.unwrap();
                        commits[which].extend(counts.then(|| begun.elapsed()));
                    }
                }
            }
        }
        assert_eq!(path(&store, &id).await, seen, "what the session holds");
        agent.release().await;
    }
    let (whole, call) = (median(whole), median(calls));
    let [first, rest, both] = commits.map(median);
    record("agent.turn.wall", whole, "µs", Some(call));
    record(
        "agent.turn.overhead",
        whole - call,
        "µs",
        Some(f64::midpoint(first, rest)),
    );
    record(
        "agent.turn.overhead_vs_all_events_in_one_commit",
        whole - call,
        "µs",
        Some(both),
    );
    record("agent.turn.commits", most as f64, "commits", None);
    record(
        "agent.turn.commits.new_session",
        most_first as f64,
        "commits",
        None,
    );
}

// -------------------------------------------------------------------------------------------------- opening

/// The store is opened, the lease is taken, the last 100 messages are read; beside a session that has no more.
async fn opening(rounds: usize) {
    const LAST: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let template = Turn::recorded(&store).await;
    template.session(&store, "long", LONG, None).await;
    template.session(&store, "short", LAST, None).await;
    drop(store);
    let (mut long, mut short, mut alone) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let names = [("long", LONG), ("short", LAST)];
        for (name, messages) in [names[round % 2], names[(round + 1) % 2]] {
            let begun = Instant::now();
            let store = opened(folder.path());
            let there = Instant::now();
            let writer = store.write(name).await.unwrap();
            let query = PathQuery {
                leaf: None,
                last: Some(LAST),
            };
            let path = store.path(name, query).await.unwrap();
            let (took, without) = (begun.elapsed(), there.elapsed());
            assert_eq!(path.len(), LAST);
            assert_eq!(path[LAST - 1].message_id, format!("m{messages}"));
            assert_eq!(path[LAST - 1].message.text(), answer());
            writer.close().await.unwrap();
            if name == "long" {
                long.push(took);
                alone.push(without);
            } else {
                short.push(took);
            }
        }
    }
    let [long, short, alone] = [long, short, alone].map(|times| median(times) / 1e3);
    record("agent.open.10000_messages", long, "ms", Some(short));
    record("agent.open.10000_messages.store_open_already", alone, "ms", None);
}

// ------------------------------------------------------------------------------------------- many at once

/// Agents, each with a session of its own and a turn that streams, all held in the middle of their answers.
async fn agents() {
    const MESSAGES: usize = 20;
    let bare = resident();
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let template = Turn::recorded(&store).await;
    for number in 0..AGENTS {
        template
            .session(&store, &format!("s{number}"), MESSAGES, None)
            .await;
    }
    let gate = Gate::new();
    let model = Model::behind(gate.clone());
    let mut readers = Vec::new();
    for number in 0..AGENTS {
        let agent = agent(&model, &store, None);
        readers.push(tokio::spawn(async move {
            turn(&agent, asks().session(format!("s{number}"))).await;
        }));
    }
    let all = u32::try_from(AGENTS).unwrap();
    gate.here.acquire_many(all).await.unwrap().forget();
    record("agent.memory.agents_200.resident", resident(), "MB", Some(bare));
    gate.open.send_replace(true);
    for reader in readers {
        reader.await.unwrap();
    }
    for number in 0..AGENTS {
        let messages = path(&store, &format!("s{number}")).await;
        assert_eq!(messages.len(), MESSAGES + 2);
        assert_eq!(messages[MESSAGES + 1].text(), answer());
    }
}

/// Resident memory of this process in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kb: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
    kb / 1024.0
}

// --------------------------------------------------------------------------------------------------- growth

/// What a turn costs at 10 messages and at 5,000, in a session that is open (`turn`), in one that must be opened first
/// (`reopened`), and with everything sent to the model (`all_sent`, without what the same bare call costs).
///
/// In the first two a compaction stands before the last two turns, as the loop leaves one every 25 turns, so that the
/// model sees as much of the long session as of the short one.
async fn growth(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    let template = Turn::recorded(&store).await;
    let model = Model::default();
    // Large enough that nothing is shortened while it is measured.
    let (compacting, sending) = (
        agent(&model, &store, Some(1_000_000)),
        agent(&model, &store, Some(100_000_000)),
    );
    let mut turns = [vec![], vec![]];
    let mut reopened = [vec![], vec![]];
    let mut sent = [vec![], vec![]];
    let mut calls = [vec![], vec![]];
    for round in 0..rounds {
        let names = [format!("short{round}"), format!("long{round}")];
        let whole = [format!("short{round}w"), format!("long{round}w")];
        let mut seen = [vec![], vec![]];
        for (at, (messages, every)) in [(SHORT_PATH, SHORT_PATH / 2), (LONG_PATH, 25)]
            .into_iter()
            .enumerate()
        {
            template.session(&store, &names[at], messages, Some(every)).await;
            template.session(&store, &whole[at], messages, None).await;
            seen[at] = path(&store, &whole[at]).await;
            turn(&compacting, asks().session(names[at].as_str())).await;
            turn(&sending, asks().session(whole[at].as_str())).await;
            seen[at].push(Message::user(question()));
            seen[at].push(Message::assistant(answer()));
        }
        for number in 0..TURNS {
            for at in [number % 2, (number + 1) % 2] {
                turns[at].push(turn(&compacting, asks().session(names[at].as_str())).await);
            }
        }
        // Not between the ones above: what these copy takes the place of everything in the processor's caches.
        for number in 0..TURNS {
            for at in [number % 2, (number + 1) % 2] {
                sent[at].push(turn(&sending, asks().session(whole[at].as_str())).await);
                seen[at].push(Message::user(question()));
                calls[at].push(bare(&model, &seen[at]).await);
                seen[at].push(Message::assistant(answer()));
            }
        }
        for number in 0..TURNS {
            for at in [number % 2, (number + 1) % 2] {
                compacting.release().await;
                reopened[at].push(turn(&compacting, asks().session(names[at].as_str())).await);
            }
        }
        for at in [0, 1] {
            assert_eq!(path(&store, &whole[at]).await, seen[at], "what the session holds");
        }
        sending.release().await;
    }
    let [short, long] = turns.map(median);
    record("agent.growth.turn", long, "µs", Some(short));
    let [short, long] = reopened.map(median);
    record("agent.growth.turn.reopened", long, "µs", Some(short));
    let [short_sent, long_sent] = sent.map(median);
    let [short_call, long_call] = calls.map(median);
    record(
        "agent.growth.turn.all_sent.wall",
        long_sent,
        "µs",
        Some(long_call),
    );
    record(
        "agent.growth.turn.all_sent.overhead",
        long_sent - long_call,
        "µs",
        Some(short_sent - short_call),
    );
}

// -------------------------------------------------------------------------------------------------- records

/// In microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn record(name: &str, value: f64, unit: &str, baseline: Option<f64>) {
    let ratio = baseline.map(|baseline| value / baseline);
    let record =
        serde_json::json!({"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio});
    println!("{record}");
}
