//! One writer a session, many sessions a store.

use crate::common::{Folder, all, caches_are_right, chain, make, saved};
use futures_util::future::join_all;
use omni_agent::{NewEvent, SessionStore, SqliteStore};
use omni_core::{Code, Message};
use std::time::Duration;

fn note(text: &str) -> NewEvent {
    crate::common::event(
        1,
        omni_agent::Payload::Log {
            level: omni_agent::LogLevel::Info,
            message: text.to_owned(),
            server: None,
        },
    )
}

#[tokio::test]
async fn a_session_has_one_writer_and_its_drop_gives_the_lease_back() {
    let folder = Folder::new();
    let store = folder.open();
    let writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    let error = store.write("s").await.err().unwrap();
    assert_eq!((error.code, error.retryable), (Code::Permission, true));
    assert!(
        error
            .message
            .contains(&format!("this process ({})", std::process::id())),
        "{error}"
    );
    assert!(
        store
            .delete("s")
            .await
            .unwrap_err()
            .message
            .contains("deleted now")
    );
    assert!(store.rename("s", "t".into()).await.is_err());
    // Another opening of the same file is another writer too.
    assert!(folder.open().write("s").await.is_err());
    drop(writer);
    let writer = store.write("s").await.unwrap();
    assert_eq!(writer.last_seq(), 2);
    writer.close().await.unwrap();
    let other = folder.open();
    drop(
        other
            .write("s")
            .await
            .expect("a closed writer holds nothing, for no opening of the file"),
    );
}

#[tokio::test]
async fn a_lease_of_a_writer_that_is_gone_is_taken_over_and_one_elsewhere_is_waited_for() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    let raw = folder.raw();
    let now = || {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        i64::try_from(now.as_millis()).unwrap()
    };
    let steal = |host: &str, pid: u32, expires: i64| {
        let changed = raw.execute(
            "UPDATE leases SET token = 'theirs', owner = 'they', pid = ?2, started = 5, expires_ms = ?3,
                 host = CASE ?1 WHEN '' THEN host ELSE ?1 END",
            rusqlite::params![host, pid, expires],
        );
        assert_eq!(changed, Ok(1));
    };
    // The process lives on another machine: only its time tells.
    steal("elsewhere", 1, now() + 60_000);
    let error = folder.open().write("s").await.err().unwrap();
    assert!(error.message.contains("process 1 on another machine"), "{error}");
    // The old writer is fenced at once.
    let error = writer.append(vec![note("late")]).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Permission, false));
    assert!(error.message.contains("taken it over"), "{error}");
    assert!(error.message.contains("Resume"), "{error}");
    steal("elsewhere", 1, now() - 1);
    let late = folder.open().write("s").await.expect("its time is over");
    late.close().await.unwrap();
    // A process of this machine that is gone is not waited for.
    let mut another = folder.open().write("s").await.unwrap();
    let mut own: String = raw
        .query_row("SELECT host FROM leases", [], |row| row.get(0))
        .unwrap();
    own.retain(|c| c != '\0');
    steal(&own, std::process::id(), now() + 60_000);
    let last = folder
        .open()
        .write("s")
        .await
        .expect("the pid is another process's now")
        .last_seq();
    assert_eq!(last, 2);
    assert!(another.append(vec![note("late")]).await.is_err());
    assert_eq!(
        all(&store, "s").await.len(),
        2,
        "nothing of the fenced writers was stored"
    );
}

#[tokio::test]
async fn a_writer_of_a_deleted_session_is_told() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    folder.raw().execute("DELETE FROM leases", []).unwrap();
    folder.open().delete("s").await.unwrap();
    let error = writer.append(vec![note("late")]).await.unwrap_err();
    assert!(error.message.contains("deleted"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_queue_up_share_a_commit_and_stay_whole() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writers = Vec::new();
    for at in 0..50 {
        writers.push(store.create(Some(format!("s{at}")), chain(&["x"])).await.unwrap());
    }
    // Another process's transaction holds the first commit up, so the others queue behind it.
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = store.commits();
    let rounds = 4_u64;
    let work = writers
        .into_iter()
        .enumerate()
        .map(|(at, mut writer)| async move {
            for round in 0..rounds {
                let wrong = at == 7 && round == 1;
                let parent = if wrong { "m99" } else { "m1" };
                let id = format!("m{}", round + 2);
                let events = vec![note("one"), saved(&id, Some(parent), Message::user("y"))];
                let outcome = writer.append(events).await;
                assert_eq!(outcome.is_err(), wrong, "{outcome:?}");
            }
        });
    let work = tokio::spawn(join_all(work));
    tokio::task::yield_now().await;
    other.execute_batch("ROLLBACK").unwrap();
    work.await.unwrap();
    let commits = store.commits() - before;
    assert!(commits < 100, "{commits} commits for 200 appends");
    for at in 0..50 {
        let seqs: Vec<_> = all(&store, &format!("s{at}"))
            .await
            .iter()
            .map(|event| event.seq.unwrap())
            .collect();
        let last = if at == 7 { 8 } else { 10 };
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>(), "s{at}");
    }
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_is_stored_and_its_writer_goes_on() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(1), writer.append(vec![note("dropped")])).await;
    assert!(gone.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    let next = writer.append(vec![note("next")]).await.unwrap();
    assert_eq!((next[0].seq, writer.last_seq()), (Some(4), 4));
    assert_eq!(all(&store, "s").await.len(), 4);
}

#[tokio::test]
async fn an_asynchronous_thread_never_waits_for_the_disk() {
    let folder = Folder::new();
    let store = folder.open();
    let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One thread for all: if the append held it, the other branch would not run and the lock would stay.
    let unlock = async {
        tokio::task::yield_now().await;
        assert_eq!(
            store.info("s").await.unwrap().last_seq,
            2,
            "reading goes on meanwhile"
        );
        other.execute_batch("ROLLBACK").unwrap();
    };
    let (appended, ()) = tokio::join!(writer.append(vec![note("y")]), unlock);
    appended.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_sees_what_is_written_in_memory_too() {
    for store in [SqliteStore::in_memory().unwrap(), Folder::new().open()] {
        let mut writer = store.create(Some("s".into()), chain(&["x"])).await.unwrap();
        store.changed("s", 1).await.unwrap();
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.changed("s", 2).await }
        });
        make(&store, "another", chain(&["x"])).await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "another session's events wake nobody");
        writer.append(vec![note("y")]).await.unwrap();
        waiting.await.unwrap().unwrap();
        // A session that is deleted has no more events: who waits is told.
        drop(writer);
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.changed("s", 99).await }
        });
        tokio::task::yield_now().await;
        store.delete("s").await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().code, Code::NotFound);
    }
}
