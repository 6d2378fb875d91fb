//! Damage and full disks: a clear error, and what is there stays readable.

use crate::common::{Folder, all, caches_are_right, chain, given, saved};
use omni_agent::{Durability, NewEvent, PathQuery, SessionStore, SqliteStore, export_log};
use omni_core::{Code, Message};
use std::path::PathBuf;

/// Messages that fill pages of their own.
fn large(from: u64, count: u64, word: &str) -> Vec<NewEvent> {
    (from..from + count)
        .map(|at| {
            let parent = (at > 1).then(|| format!("m{}", at - 1));
            let text = format!("{word}{at} ").repeat(300);
            saved(&format!("m{at}"), parent.as_deref(), Message::user(text))
        })
        .collect()
}

/// Two sessions, one after the other in the file, and a copy of it to damage.
async fn two(folder: &Folder) -> PathBuf {
    let store = folder.open();
    for (id, word) in [("first", "alpha"), ("second", "omega")] {
        crate::common::make(&store, id, large(1, 20, word)).await;
    }
    folder
        .raw()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let path = folder.folder().join("damaged.db");
    std::fs::copy(folder.path(), &path).unwrap();
    path
}

fn damage(path: &PathBuf, place: &str, change: impl FnOnce(&mut [u8], usize)) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes
        .windows(place.len())
        .position(|window| window == place.as_bytes())
        .unwrap();
    change(&mut bytes, at);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_event_with_damaged_bytes_is_named_and_all_others_are_read() {
    let folder = Folder::new();
    let path = two(&folder).await;
    // Message 10 of the second session is event 11.
    damage(&path, "omega10 omega10", |bytes, at| {
        bytes[at..at + 40].fill(0xff);
    });
    let store = SqliteStore::open(&path, Durability::ProcessKill).unwrap();
    let error = store.path("second", PathQuery::default()).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Protocol, false));
    assert!(
        error.message.contains("event 11 of session \"second\""),
        "{error}"
    );
    assert!(!error.message.contains("omega"), "no content in errors: {error}");
    assert_eq!(all(&store, "second").await.len(), 10, "those before it");
    assert_eq!(store.events("second", 10, 99).await.unwrap_err(), error);
    assert_eq!(
        store.events("second", 11, 99).await.unwrap().len(),
        10,
        "those after it"
    );
    assert_eq!(
        export_log(&store, "second").await.unwrap_err(),
        error,
        "a log is exported whole or not"
    );
    assert_eq!(export_log(&store, "first").await.unwrap().lines().count(), 21);
    let last = PathQuery {
        leaf: None,
        last: Some(5),
    };
    assert_eq!(store.path("second", last).await.unwrap().len(), 5);
    assert_eq!(
        store.rebuild().await.unwrap_err(),
        error,
        "the caches that are there are kept"
    );
    assert_eq!(store.list(9, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_page_is_an_error_and_the_other_session_is_read() {
    let folder = Folder::new();
    let path = two(&folder).await;
    damage(&path, "omega10 omega10", |bytes, at| {
        let page = at / 4096 * 4096;
        bytes[page..page + 4096].fill(0xaa);
    });
    let store = SqliteStore::open(&path, Durability::ProcessKill).unwrap();
    let error = store.events("second", 10, 1).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Protocol, false));
    assert!(
        error.message.contains("damaged") && error.message.contains("readable"),
        "{error}"
    );
    assert_eq!(all(&store, "first").await.len(), 21);
    assert_eq!(store.list(9, None).await.unwrap().len(), 2);
    assert!(!store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_without_its_beginning_or_its_end_is_told_and_kept() {
    let folder = Folder::new();
    let path = two(&folder).await;
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[..64].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let error = SqliteStore::open(&path, Durability::ProcessKill).unwrap_err();
    assert!(error.message.contains("its beginning is damaged"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    match SqliteStore::open(&path, Durability::ProcessKill) {
        Ok(store) => {
            let outcome = store.path("second", PathQuery::default()).await;
            let error = outcome.unwrap_err();
            assert_eq!(error.code, Code::Protocol, "{error}");
        }
        Err(error) => assert!(error.message.contains("damaged"), "{error}"),
    }
}

#[tokio::test]
#[ignore = "the child, run by the test below with a limit on the size of files"]
async fn fills_the_disk() {
    let store = SqliteStore::open(given("OMNI_STORE_PATH"), Durability::ProcessKill).unwrap();
    let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    let mut stored = 1;
    let error = loop {
        match writer.append(large(stored + 1, 1, "fill")).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10_000, "there is no limit");
    };
    assert_eq!((error.code, error.retryable), (Code::Internal, false));
    assert!(error.message.contains("Nothing of it was stored"), "{error}");
    assert!(error.message.contains("disk"), "{error}");
    assert_eq!(
        store.tree("s").await.unwrap().len() as u64,
        stored,
        "what is there is read"
    );
    assert_eq!(writer.last_seq(), stored + 1);
    assert!(
        writer.append(large(stored + 1, 1, "fill")).await.is_err(),
        "and the next one tells again"
    );
    println!("stored {stored} ");
}

#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_is_told_and_costs_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let program = std::env::current_exe().unwrap();
    let said = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact faults::fills_the_disk --ignored --nocapture",
        ])
        .arg(program)
        .env("OMNI_STORE_PATH", folder.path())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.status.success(), "{text}");
    let stored: u64 = text
        .split("stored ")
        .last()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    // There is room again.
    let store = folder.open();
    assert_eq!(store.tree("s").await.unwrap().len() as u64, stored);
    let mut writer = store.write("s").await.unwrap();
    writer.append(large(stored + 1, 3, "more")).await.unwrap();
    assert!(store.check().await.unwrap().is_empty());
    caches_are_right(&folder, &store).await;
}
