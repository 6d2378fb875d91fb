//! Which files are opened, and how.

use crate::common::{Folder, all, caches_are_right, chain, make};
use omni_agent::{Durability, SessionStore, SqliteStore};
use omni_core::{Code, Error};
use std::path::Path;

fn refused(path: impl AsRef<Path>) -> Error {
    SqliteStore::open(path, Durability::ProcessKill).expect_err("it is refused")
}

#[cfg(unix)]
#[tokio::test]
async fn sessions_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["x"])).await;
    let mut files = 0;
    for file in std::fs::read_dir(folder.folder()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
        files += 1;
    }
    assert!(files >= 3, "the file, its -wal and its -shm");
}

#[test]
fn a_missing_folder_and_a_folder_in_place_of_a_file_are_named() {
    let folder = Folder::new();
    let error = refused(folder.folder().join("none/sessions.db"));
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(error.message.contains("none does not exist. Make it"), "{error}");
    assert!(!folder.folder().join("none").exists());
    assert!(refused(folder.folder()).message.contains("this is a folder"));
    assert!(refused("").message.contains("empty"));
}

#[test]
fn a_file_that_is_no_store_is_left_as_it_is() {
    let folder = Folder::new();
    let text = "Dear diary, this is no database. ".repeat(100);
    std::fs::write(folder.path(), &text).unwrap();
    let error = refused(folder.path());
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(error.message.contains("no SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(folder.path()).unwrap(), text);

    let other = folder.folder().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection
        .execute_batch("CREATE TABLE notes (text); PRAGMA user_version = 1")
        .unwrap();
    drop(connection);
    let before = std::fs::read(&other).unwrap();
    let error = refused(&other);
    assert!(error.message.contains("another program's database"), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), before);
}

/// A copy of a store whose write-ahead log was taken in, to change it.
fn copy(folder: &Folder) -> std::path::PathBuf {
    let raw = folder.raw();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let to = folder.folder().join("copy.db");
    std::fs::copy(folder.path(), &to).unwrap();
    to
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["x"])).await;
    let path = copy(&folder);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = std::fs::read(&path).unwrap();
    let error = refused(&path);
    assert_eq!(error.code, Code::Unsupported);
    assert!(error.message.contains("schema version 99"), "{error}");
    assert!(error.message.contains("Update omni_bridge"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn an_old_schema_is_brought_to_this_one_with_all_that_is_in_it() {
    let folder = Folder::new();
    make(&folder.open(), "s", chain(&["the quick fox"])).await;
    let path = copy(&folder);
    let raw = rusqlite::Connection::open(&path).unwrap();
    // Version 1 had no search, and version 2 no indexes of landmarks.
    raw.execute_batch(
        "DROP INDEX compactions; DROP INDEX approvals; DROP TABLE search; PRAGMA user_version = 1",
    )
    .unwrap();
    drop(raw);
    let store = SqliteStore::open(&path, Durability::ProcessKill).unwrap();
    assert_eq!(store.search("fox", 9).await.unwrap().len(), 1);
    assert_eq!(all(&store, "s").await.len(), 2);
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
    assert!(store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn caches_that_are_lost_or_wrong_come_back_from_the_log() {
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "a", chain(&["one", "two"])).await;
    make(&store, "b", chain(&["three"])).await;
    let good = crate::common::caches(&folder.raw());
    folder
        .raw()
        .execute_batch(
            "DELETE FROM messages; UPDATE sessions SET title = 'wrong', messages = 7; DELETE FROM sessions
                 WHERE session_id = 'b'; DELETE FROM search WHERE message_id = 'm1'",
        )
        .unwrap();
    store.rebuild().await.unwrap();
    assert_eq!(crate::common::caches(&folder.raw()), good);
    caches_are_right(&folder, &store).await;
}

#[tokio::test]
#[ignore = "the child, run by the test below as somebody who may only read"]
async fn reads_only() {
    let store = SqliteStore::open(crate::common::given("OMNI_STORE_PATH"), Durability::ProcessKill).unwrap();
    assert!(store.read_only());
    let events = all(&store, "s").await.len();
    assert_eq!(events.to_string(), crate::common::given("OMNI_STORE_EVENTS"));
    assert_eq!(store.search("two", 9).await.unwrap().len(), 1);
    let errors = [
        store.write("s").await.err().unwrap(),
        store.create(None, Vec::new()).await.err().unwrap(),
        store.delete("s").await.unwrap_err(),
        store.fork("s", None).await.unwrap_err(),
        store.rebuild().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code, Code::Permission);
        assert!(error.message.contains("can only be read"), "{error}");
    }
    println!("it was read");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_and_writing_says_why_it_fails() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = Folder::new();
    let store = folder.open();
    make(&store, "s", chain(&["one", "two"])).await;
    let to = tempfile::tempdir().unwrap();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = to.path().join("sessions?#.db");
    std::fs::rename(copy(&folder), &path).unwrap();
    allow(&path, 0o444);
    let program = to.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    allow(&program, 0o555);
    allow(to.path(), 0o555);
    let run = |path: &Path, events: &str| {
        let mut command = std::process::Command::new(&program);
        command
            .args(["--exact", "files::reads_only", "--ignored", "--nocapture"])
            .env("OMNI_STORE_PATH", path)
            .env("OMNI_STORE_EVENTS", events);
        if rustix::process::geteuid().is_root() {
            // Nothing is read-only to root.
            command.uid(65_534).gid(65_534);
        }
        let said = command.output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
        assert!(said.status.success() && text.contains("it was read"), "{text}");
    };
    run(&path, "3");
    // A folder that can be written does not make the file writable.
    allow(to.path(), 0o777);
    run(&path, "3");
    // Somebody else writes it, so the write-ahead log beside it counts.
    store.rename("s", "mine".into()).await.unwrap();
    for file in std::fs::read_dir(folder.folder()).unwrap() {
        allow(&file.unwrap().path(), 0o444);
    }
    allow(folder.folder(), 0o555);
    run(&folder.path(), "4");
}
