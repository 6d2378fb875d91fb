//! What only the store's own connections show.

use super::*;
use crate::protocol::LogLevel;
use std::time::Instant;

fn note(text: String) -> NewEvent {
    NewEvent {
        timestamp_ms: 1,
        turn_id: None,
        call_id: None,
        parent: None,
        payload: Payload::Log {
            level: LogLevel::Info,
            message: text,
            server: None,
        },
    }
}

async fn number(store: &SqliteStore, pragma: &'static str) -> i64 {
    store
        .change("a test", move |transaction| {
            Ok(transaction.pragma_query_value(None, pragma, |row| row.get(0))?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_must_be_survived_decides_how_a_commit_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (durability, synchronous) in [(Durability::ProcessKill, 1), (Durability::PowerLoss, 2)] {
        let store = SqliteStore::open(folder.path().join("s.db"), durability).unwrap();
        assert_eq!(number(&store, "synchronous").await, synchronous, "{durability:?}");
        assert_eq!(number(&store, "foreign_keys").await, 1);
        assert_eq!(number(&store, "secure_delete").await, 1);
        let mode = store
            .look("a test", |connection| {
                Ok(connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?)
            })
            .await;
        assert_eq!(mode.as_deref(), Ok("wal"));
    }
}

#[tokio::test]
async fn a_quiet_writer_keeps_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = SqliteStore::open_with(&path, Durability::ProcessKill, Duration::from_millis(150)).unwrap();
    let mut writer = store.create(Some("s".into()), Vec::new()).await.unwrap();
    let expires = || async {
        let read = store.look("a test", |connection| {
            Ok(connection.query_row("SELECT expires_ms FROM leases", [], |row| row.get::<_, i64>(0))?)
        });
        read.await.unwrap()
    };
    let first = expires().await;
    let until = Instant::now() + Duration::from_secs(10);
    // Several lives of the lease pass; nothing is appended.
    while expires().await < first + 600 {
        assert!(Instant::now() < until, "the lease was not renewed");
        tokio::task::yield_now().await;
    }
    writer.append(vec![note("still mine".into())]).await.unwrap();
}

#[tokio::test]
async fn an_event_that_does_not_fit_on_the_disk_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("s.db"), Durability::ProcessKill).unwrap();
    let mut small = store.create(Some("small".into()), Vec::new()).await.unwrap();
    let mut large = store.create(Some("large".into()), Vec::new()).await.unwrap();
    let pages = number(&store, "page_count").await;
    store
        .change("a test", move |transaction| {
            let set = transaction.pragma_update_and_check(None, "max_page_count", pages + 20, |_| Ok(()));
            Ok(set?)
        })
        .await
        .unwrap();
    // Another connection's lock lets both wait in one group.
    let other = Connection::open(folder.path().join("s.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let unlock = async {
        tokio::task::yield_now().await;
        other.execute_batch("ROLLBACK").unwrap();
    };
    let (huge, fine, ()) = tokio::join!(
        large.append(vec![note("x".repeat(1 << 20))]),
        small.append(vec![note("y".into())]),
        unlock
    );
    let error = huge.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::Internal, false));
    assert!(error.message.contains("the disk is full"), "{error}");
    assert!(error.message.contains("Nothing of it was stored"), "{error}");
    assert_eq!(fine.unwrap()[0].seq, Some(2));
    assert_eq!(
        large.append(vec![note("less".into())]).await.unwrap()[0].seq,
        Some(2)
    );
    assert_eq!(store.events("large", 0, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_threads_end_with_the_last_clone_and_the_last_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = SqliteStore::open(&path, Durability::ProcessKill).unwrap();
    let known = Arc::downgrade(&store.inner.shared);
    let mut writer = store.create(Some("s".into()), Vec::new()).await.unwrap();
    drop(store);
    writer
        .append(vec![note("a writer is enough".into())])
        .await
        .unwrap();
    drop(writer);
    let until = Instant::now() + Duration::from_secs(10);
    while known.strong_count() > 0 || open::beside(&path, "-wal").exists() {
        assert!(
            Instant::now() < until,
            "a thread lives on, or a connection is open still"
        );
        tokio::task::yield_now().await;
    }
}
