//! What the tests share: events, a store in a folder, and a look at its tables from outside.

use omni_agent::{AgentEvent, Durability, NewEvent, Payload, SessionStore, SqliteStore};
use omni_core::Message;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) fn event(timestamp_ms: u64, payload: Payload) -> NewEvent {
    NewEvent {
        timestamp_ms,
        turn_id: None,
        call_id: None,
        parent: None,
        payload,
    }
}

pub(crate) fn saved(id: &str, parent: Option<&str>, message: Message) -> NewEvent {
    let payload = Payload::MessageSaved {
        message_id: id.to_owned(),
        parent_id: parent.map(str::to_owned),
        message,
    };
    event(1_700_000_000_000, payload)
}

/// `m1` … of user's texts, each after the one before.
pub(crate) fn chain(texts: &[&str]) -> Vec<NewEvent> {
    texts
        .iter()
        .enumerate()
        .map(|(at, text)| {
            let parent = (at > 0).then(|| format!("m{at}"));
            saved(&format!("m{}", at + 1), parent.as_deref(), Message::user(*text))
        })
        .collect()
}

pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path(), Durability::ProcessKill).unwrap()
    }

    /// The tables, seen by another connection.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// Makes a session and gives the lease back.
pub(crate) async fn make(store: &SqliteStore, id: &str, events: Vec<NewEvent>) {
    let writer = store.create(Some(id.to_owned()), events).await.unwrap();
    writer.close().await.unwrap();
}

pub(crate) async fn all(store: &dyn SessionStore, id: &str) -> Vec<AgentEvent> {
    store.events(id, 0, usize::MAX).await.unwrap()
}

pub(crate) fn texts(path: &[omni_agent::StoredMessage]) -> Vec<String> {
    path.iter()
        .map(|stored| stored.message.text().into_owned())
        .collect()
}

/// Every row of every cache, as text.
pub(crate) fn caches(connection: &rusqlite::Connection) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["sessions", "messages", "search"] {
        let mut statement = connection
            .prepare(&format!(
                "SELECT {} FROM {table} ORDER BY 1, 2, 3",
                if table == "search" { "rowid, *" } else { "*" }
            ))
            .unwrap();
        let columns = statement.column_count();
        let found = statement
            .query_map([], |row| {
                let cells: Vec<String> = (0..columns)
                    .map(|at| format!("{:?}", row.get_ref(at).unwrap()))
                    .collect();
                Ok(format!("{table}: {}", cells.join("|")))
            })
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

/// The caches are what a rebuild makes of the log.
pub(crate) async fn caches_are_right(folder: &Folder, store: &SqliteStore) {
    let before = caches(&folder.raw());
    store.rebuild().await.unwrap();
    assert!(!before.is_empty());
    assert_eq!(
        before,
        caches(&folder.raw()),
        "the caches are not what the log says"
    );
    let words = folder
        .raw()
        .execute("INSERT INTO search (search) VALUES ('integrity-check')", []);
    assert!(words.is_ok(), "{words:?}");
}

/// Runs the test `name` of this program in a process of its own, which sees `variables`.
pub(crate) fn child(name: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (key, value) in variables {
        command.env(key, value);
    }
    command.spawn().unwrap()
}

/// What a child was given.
pub(crate) fn given(key: &str) -> String {
    std::env::var(key).expect("run by another test of this program only")
}
