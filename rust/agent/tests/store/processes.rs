//! Several processes on one store.

use crate::common::{Folder, all, caches_are_right, chain, child, event, given, make};
use omni_agent::{Durability, LogLevel, NewEvent, Payload, SessionStore, SqliteStore};
use omni_core::Code;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn note(text: &str) -> NewEvent {
    let payload = Payload::Log {
        level: LogLevel::Info,
        message: text.to_owned(),
        server: None,
    };
    event(1, payload)
}

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

fn start(name: &str, folder: &Folder, id: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let path = folder.path();
    let variables = [
        ("OMNI_STORE_PATH", path.to_str().unwrap()),
        ("OMNI_STORE_SESSION", id),
    ];
    let mut child = child(name, &variables);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// The next line of the child that begins with `word`, without it.
fn told(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> String {
    loop {
        let line = lines.next().expect("the child has ended").unwrap();
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

#[tokio::test]
#[ignore = "a child of the tests below"]
async fn writes_when_told() {
    let store = SqliteStore::open(given("OMNI_STORE_PATH"), Durability::ProcessKill).unwrap();
    let mut writer = store.write(&given("OMNI_STORE_SESSION")).await.unwrap();
    println!("ready");
    for line in std::io::stdin().lines() {
        match writer.append(vec![note(&line.unwrap())]).await {
            Ok(_) => println!("wrote {}", micros()),
            Err(error) => println!("failed {error}"),
        }
    }
}

#[tokio::test]
async fn a_living_writer_is_named_and_its_death_frees_the_session_at_once() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["x"])).await;
    let (mut writer, mut lines) = start("processes::writes_when_told", &folder, "s");
    told(&mut lines, "ready");
    let error = store.write("s").await.err().unwrap();
    assert_eq!(error.code, Code::Permission);
    assert!(
        error
            .message
            .contains(&format!(": process {} is writing it", writer.id())),
        "{error}"
    );
    assert!(
        store.delete("s").await.is_err(),
        "no deletion under a writer's hands"
    );
    // Others read, and fork.
    assert_eq!(all(&store, "s").await.len(), 2);
    store.fork("s", None).await.unwrap();
    writer.kill().unwrap();
    // It is not reaped yet, and its lease runs for half a minute; nobody waits for either.
    let until = Instant::now() + Duration::from_secs(5);
    let mut ours = loop {
        match store.write("s").await {
            Ok(ours) => break ours,
            Err(error) => assert!(Instant::now() < until, "its writer is dead: {error}"),
        }
    };
    assert_eq!(ours.append(vec![note("ours")]).await.unwrap()[0].seq, Some(4));
    writer.wait().unwrap();
}

#[tokio::test]
async fn a_writer_that_was_fenced_writes_no_more() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["x"])).await;
    let (mut old, mut lines) = start("processes::writes_when_told", &folder, "s");
    told(&mut lines, "ready");
    let mut stdin = old.stdin.take().unwrap();
    writeln!(stdin, "in time").unwrap();
    told(&mut lines, "wrote");
    // As if it had slept through its lease.
    folder
        .raw()
        .execute("UPDATE leases SET expires_ms = 1", [])
        .unwrap();
    let mut ours = store.write("s").await.unwrap();
    ours.append(vec![note("ours")]).await.unwrap();
    writeln!(stdin, "too late").unwrap();
    let error = told(&mut lines, "");
    assert!(error.starts_with("failed"), "{error}");
    assert!(
        error.contains(&format!("process {} has taken it over", std::process::id())),
        "{error}"
    );
    assert_eq!(ours.append(vec![note("ours too")]).await.unwrap()[0].seq, Some(5));
    drop(stdin);
    old.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_sees_the_events_of_another_process_soon() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["x"])).await;
    let (mut writer, mut lines) = start("processes::writes_when_told", &folder, "s");
    told(&mut lines, "ready");
    let mut stdin = writer.stdin.take().unwrap();
    let mut late = Vec::new();
    for round in 0..20_u64 {
        let last = 2 + round;
        let waiting = tokio::spawn({
            let store = store.clone();
            async move {
                store.changed("s", last).await.unwrap();
                micros()
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "nothing was written yet");
        writeln!(stdin, "{round}").unwrap();
        let seen = tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .expect("it is seen")
            .unwrap();
        let wrote: u64 = told(&mut lines, "wrote").parse().unwrap();
        late.push(seen.saturating_sub(wrote));
        assert_eq!(store.events("s", last, 9).await.unwrap().len(), 1);
    }
    late.sort_unstable();
    println!(
        "seen after {} ms (median of 20), {} ms at most",
        late[10] / 1000,
        late[19] / 1000
    );
    assert!(late[10] < 50_000, "{late:?}");
    drop(stdin);
    writer.wait().unwrap();
}

#[tokio::test]
#[ignore = "a child of the test below"]
async fn makes_and_fills_a_session() {
    // All of them begin at one moment.
    std::io::stdin().lines().next();
    let store = SqliteStore::open(given("OMNI_STORE_PATH"), Durability::ProcessKill).unwrap();
    let id = given("OMNI_STORE_SESSION");
    let mut writer = store.create(Some(id), chain(&["x"])).await.unwrap();
    for count in 0..50 {
        writer.append(vec![note(&count.to_string())]).await.unwrap();
    }
    println!("done");
}

#[tokio::test]
async fn processes_that_make_a_store_at_once_all_write_to_it() {
    let folder = Folder::new();
    let mut children: Vec<_> = (0..4)
        .map(|at| start("processes::makes_and_fills_a_session", &folder, &format!("s{at}")))
        .collect();
    for (child, _) in &mut children {
        writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    }
    for (child, lines) in &mut children {
        told(lines, "done");
        assert!(child.wait().unwrap().success());
    }
    let store = folder.open();
    for at in 0..4 {
        let events = all(&store, &format!("s{at}")).await;
        assert_eq!(
            events.iter().map(|event| event.seq.unwrap()).collect::<Vec<_>>(),
            (1..=52).collect::<Vec<_>>()
        );
    }
    caches_are_right(&folder, &store).await;
}
