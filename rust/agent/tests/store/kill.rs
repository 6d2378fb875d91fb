//! kill -9 at random moments: what was acknowledged is there, once, in order.

use crate::common::{Folder, caches_are_right, child, event, given, saved};
use futures_util::future::join_all;
use omni_agent::{Durability, LogLevel, PathQuery, Payload, SessionStore, SqliteStore};
use omni_core::Message;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

const SESSIONS: usize = 3;

/// What an event of the child is known by.
fn marker(payload: &Payload) -> Option<String> {
    match payload {
        Payload::Log { message, .. } => Some(message.clone()),
        Payload::MessageSaved { message, .. } => Some(message.text().into_owned()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child: run and killed by the test below"]
async fn appends_until_it_is_killed() {
    let store = SqliteStore::open(given("OMNI_STORE_PATH"), Durability::ProcessKill).unwrap();
    let round = given("OMNI_STORE_ROUND");
    let work = (0..SESSIONS).map(|at| {
        let (store, round) = (store.clone(), round.clone());
        tokio::spawn(async move {
            let id = format!("w{at}");
            let mut writer = match store.write(&id).await {
                Ok(writer) => writer,
                Err(error) if error.code == omni_core::Code::NotFound => {
                    store.create(Some(id.clone()), Vec::new()).await.unwrap()
                }
                Err(error) => panic!("a dead writer's lease is free at once: {error}"),
            };
            let info = store.info(&id).await.unwrap();
            let (mut leaf, mut messages) = (info.leaf, info.messages);
            for count in 0_u64.. {
                let mut events = Vec::new();
                for part in 0..=(count % 4) {
                    let text = format!("{round}.{at}.{count}.{part}");
                    if part == 0 {
                        messages += 1;
                        let next = format!("m{messages}");
                        events.push(saved(&next, leaf.as_deref(), Message::user(text)));
                        leaf = Some(next);
                    } else {
                        let log = Payload::Log {
                            level: LogLevel::Info,
                            message: text,
                            server: None,
                        };
                        events.push(event(1, log));
                    }
                }
                for stored in writer.append(events).await.unwrap() {
                    let text = marker(&stored.payload).unwrap();
                    println!("ack {id} {} {text}", stored.seq.unwrap());
                }
            }
        })
    });
    join_all(work).await;
}

fn random(below: u64) -> u64 {
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
        % below
}

/// What is known of a session from outside.
#[derive(Default)]
struct Known {
    last: u64,
    markers: HashSet<String>,
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order_after_every_kill() {
    let rounds = if std::env::var_os("OMNI_SOAK").is_some() {
        1000
    } else {
        40
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let folder = Folder::new();
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut acknowledged = 0_usize;
    for round in 0..rounds {
        let acks = run_and_kill(&folder, round);
        acknowledged += acks.len();
        runtime.block_on(async {
            let store = folder.open();
            look(&store, &mut known, &acks).await;
            if (round + 1).is_multiple_of(rounds / 4) {
                caches_are_right(&folder, &store).await;
                assert!(store.check().await.unwrap().is_empty());
            }
        });
    }
    assert!(
        acknowledged > rounds * 5,
        "only {acknowledged} acknowledged: the kills came too early to show anything"
    );
    println!("{rounds} kills, {acknowledged} events acknowledged");
}

/// Runs the child and kills it, after some time or after some acknowledgements. Gives (session, seq, marker).
fn run_and_kill(folder: &Folder, round: usize) -> Vec<(String, u64, String)> {
    let path = folder.path();
    let mut child = child(
        "kill::appends_until_it_is_killed",
        &[
            ("OMNI_STORE_PATH", path.to_str().unwrap()),
            ("OMNI_STORE_ROUND", &round.to_string()),
        ],
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acks = Vec::new();
    let mut take = |line: String| {
        // The first one follows the test's name on the same line.
        if let Some((_, ack)) = line.split_once("ack ") {
            let mut words = ack.split(' ');
            let mut word = || words.next().unwrap().to_owned();
            acks.push((word(), word().parse().unwrap(), word()));
        }
    };
    if round.is_multiple_of(3) {
        // Also while it opens the store and takes the leases.
        let until = Instant::now() + Duration::from_micros(random(40_000));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    } else {
        let wanted = 3 + random(120);
        for _ in 0..wanted {
            match lines.next() {
                Some(line) => take(line.unwrap()),
                None => break,
            }
        }
        for _ in 0..random(3000) {
            std::hint::spin_loop();
        }
    }
    child.kill().unwrap();
    // What it said before it died counts too; half a line is no acknowledgement.
    for line in lines.map_while(Result::ok) {
        if line
            .split("ack ")
            .nth(1)
            .is_none_or(|ack| ack.matches('.').count() == 3)
        {
            take(line);
        }
    }
    child.wait().unwrap();
    acks
}

async fn look(store: &SqliteStore, known: &mut HashMap<String, Known>, acks: &[(String, u64, String)]) {
    let mut new: HashMap<(String, u64), String> = HashMap::new();
    for info in store.list(99, None).await.unwrap() {
        let id = info.session_id;
        let before = known.entry(id.clone()).or_default();
        for stored in store.events(&id, before.last, usize::MAX).await.unwrap() {
            let seq = stored.seq.unwrap();
            assert_eq!(seq, before.last + 1, "a gap in {id}");
            before.last = seq;
            if let Some(text) = marker(&stored.payload) {
                assert!(before.markers.insert(text.clone()), "{text} is there twice");
                new.insert((id.clone(), seq), text);
            }
        }
        assert_eq!(info.last_seq, before.last);
        let last = PathQuery {
            leaf: None,
            last: Some(50),
        };
        let path = store.path(&id, last).await.unwrap();
        assert_eq!(
            path.len() as u64,
            info.messages.min(50),
            "the chain of {id} is broken"
        );
    }
    for (id, seq, text) in acks {
        let stored = new.get(&(id.clone(), *seq));
        assert_eq!(stored, Some(text), "{id} {seq} was acknowledged");
    }
}
