//! The tables, their versions, and how a file gets from one to the next.

use super::fault::{Inner, Place, lasting};
use super::log::{APPROVAL, COMPACTION};
use super::rebuild;
use omni_core::{Code, Error, Result};
use rusqlite::{Connection, TransactionBehavior};

/// Marks the file as ours: `omni` in ASCII.
const APPLICATION: i32 = 0x6f6d_6e69;

/// Each step takes a file from the version of its index to the next. A step that was released is never changed.
const STEPS: &[Step] = &[
    // The log is the truth. `sessions` and `messages` are caches of it, kept in the same transaction. A message's
    // content stands in the log only. `leases` says who writes, and holds nothing that lasts.
    |connection| {
        connection.execute_batch(
            "CREATE TABLE events (
                 id INTEGER PRIMARY KEY, -- the order in which the store took them, over all sessions
                 session_id TEXT NOT NULL, -- the session
                 seq INTEGER NOT NULL, -- the place in the session, from 1
                 v INTEGER NOT NULL, -- the version of the event
                 timestamp_ms INTEGER NOT NULL, -- Unix milliseconds
                 turn_id TEXT, -- the turn, null outside turns
                 call_id TEXT, -- the model call or the tool call
                 parent TEXT, -- the call that this one belongs to
                 event_type TEXT NOT NULL, -- what happened, see the events
                 payload TEXT NOT NULL, -- its fields, as JSON, byte for byte
                 UNIQUE (session_id, seq)
             ) STRICT;
             CREATE TABLE sessions (
                 session_id TEXT PRIMARY KEY, -- the session
                 title TEXT, -- given, generated, or null
                 title_given INTEGER NOT NULL, -- 1: somebody gave it, so a generated one does not count
                 created_ms INTEGER NOT NULL, -- Unix milliseconds
                 updated_ms INTEGER NOT NULL, -- of its last event, Unix milliseconds
                 last_seq INTEGER NOT NULL, -- its last event
                 leaf TEXT, -- the message at the active end
                 messages INTEGER NOT NULL, -- how many, siblings included
                 turns INTEGER NOT NULL, -- how many were begun
                 input_tokens INTEGER NOT NULL, -- consumed, cache reads and writes included
                 output_tokens INTEGER NOT NULL, -- consumed, reasoning included
                 cost_usd REAL, -- dollars, null if a price was unknown
                 forked INTEGER NOT NULL, -- 1: it is a fork
                 forked_session TEXT, -- the older session
                 forked_message TEXT -- the last message that was copied, null if none was
             ) STRICT;
             CREATE INDEX sessions_by_age ON sessions (updated_ms DESC, session_id DESC);
             CREATE TABLE messages (
                 session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, -- the session
                 message_id TEXT NOT NULL, -- the message
                 parent_id TEXT, -- the message before it, null for a first one
                 seq INTEGER NOT NULL, -- of its message.saved, which has the content
                 turn_id TEXT, -- its turn
                 PRIMARY KEY (session_id, message_id)
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX messages_in_order ON messages (session_id, seq);
             CREATE TABLE leases (
                 session_id TEXT PRIMARY KEY, -- the session
                 owner TEXT NOT NULL, -- the store of that process, which renews all its leases at once
                 token TEXT NOT NULL, -- the writer, one of the owner's
                 host TEXT NOT NULL, -- the boot of the machine and the space of its process ids
                 pid INTEGER NOT NULL, -- the process
                 started INTEGER NOT NULL, -- when the process began: a pid is used again
                 expires_ms INTEGER NOT NULL -- Unix milliseconds: then the lease is free for all
             ) STRICT;",
        )?;
        Ok(())
    },
    // The text of the messages, to be searched: another cache. `rowid` is the event's `id`.
    |connection| {
        rebuild::search_table(connection)?;
        rebuild::fill_search(connection)
    },
    // What a run must know of a long log without reading it; `log::landmarks` asks in the same words.
    |connection| {
        for (name, event_type) in [("compactions", COMPACTION), ("approvals", APPROVAL)] {
            connection.execute_batch(&format!(
                "CREATE INDEX {name} ON events (session_id, seq) WHERE event_type = '{event_type}'"
            ))?;
        }
        Ok(())
    },
];

type Step = fn(&Connection) -> Inner<()>;

/// The version that this program writes.
fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// What a file is, before anything in it is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An empty one.
    New,
    /// Ours, at an older version.
    Old,
    /// Ours, as this program writes it.
    Current,
}

/// Looks at the file without changing it.
pub(super) fn look(connection: &Connection, place: &Place) -> Result<Found> {
    let read = || -> Inner<(i32, i64, i64)> {
        // All of one moment: another process may be making the tables just now.
        let moment = connection.unchecked_transaction()?;
        let tables = moment.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let application = moment.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok((application, version(&moment)?, tables))
    };
    let (application, version, tables) =
        read().map_err(|trouble| place.tell("reading the schema version", trouble))?;
    let name = place.name();
    match (application, version) {
        (0, 0) if tables == 0 => Ok(Found::New),
        (APPLICATION, version) if version > newest() => Err(lasting(
            Code::Unsupported,
            format!(
                "{name} has schema version {version}, and this program knows versions up to {}: a newer omni_bridge \
                 wrote it. Nothing in it was changed. Update omni_bridge, or name another file",
                newest()
            ),
        )),
        (APPLICATION, version) if version == newest() => Ok(Found::Current),
        (APPLICATION, 1..) => Ok(Found::Old),
        _ => Err(Error::invalid(format!(
            "{name} is another program's database: it has tables that are not a session store's. Nothing in it was \
             changed. Name another file"
        ))),
    }
}

/// Brings the file to the newest version: all steps in one transaction, or none.
pub(super) fn migrate(connection: &mut Connection, place: &Place) -> Result<()> {
    let mut steps = || -> Inner<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again: another process may have been here since.
        let done = usize::try_from(version(&transaction)?).unwrap_or(usize::MAX);
        for step in STEPS.iter().skip(done) {
            step(&transaction)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", newest())?;
        transaction.commit()?;
        Ok(())
    };
    steps().map_err(|trouble| place.tell("bringing the tables to this program's version", trouble))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
