//! The caches, made anew from the log.

use super::fault::Inner;
use super::fold::{Fact, SessionState};
use super::row;
use crate::protocol::Payload;
use omni_core::Message;
use rusqlite::{Connection, params};

/// Makes the table of searchable text.
pub(super) fn search_table(connection: &Connection) -> Inner<()> {
    // `secure-delete`: without it, words of deleted rows stay in the index until it is merged.
    connection.execute_batch(
        "CREATE VIRTUAL TABLE search USING fts5 (
             text, session_id UNINDEXED, message_id UNINDEXED, tokenize = 'unicode61 remove_diacritics 2'
         );
         INSERT INTO search (search, rank) VALUES ('secure-delete', 1);",
    )?;
    Ok(())
}

/// Fills the table of searchable text from the log.
pub(super) fn fill_search(connection: &Connection) -> Inner<()> {
    each_event(connection, |id, session_id, _, payload| {
        if let Payload::MessageSaved {
            message_id, message, ..
        } = payload
        {
            index(connection, id, session_id, message_id, message)?;
        }
        Ok(())
    })
}

/// Makes a message's text findable.
pub(super) fn index(
    connection: &Connection,
    id: i64,
    session_id: &str,
    message_id: &str,
    message: &Message,
) -> Inner<()> {
    let text = message.text();
    if !text.is_empty() {
        connection
            .prepare_cached(
                "INSERT INTO search (rowid, text, session_id, message_id) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, text, session_id, message_id])?;
    }
    Ok(())
}

/// Puts a message into its tree.
pub(super) fn hang(
    connection: &Connection,
    session_id: &str,
    seq: u64,
    turn_id: Option<&str>,
    message_id: &str,
    parent_id: Option<&str>,
) -> Inner<()> {
    connection
        .prepare_cached(
            "INSERT INTO messages (session_id, message_id, parent_id, seq, turn_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![session_id, message_id, parent_id, row::signed(seq), turn_id])?;
    Ok(())
}

/// Whether a session has a message.
pub(super) fn has_message(connection: &Connection, session_id: &str, message_id: &str) -> Inner<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM messages WHERE session_id = ?1 AND message_id = ?2")?;
    Ok(statement.exists([session_id, message_id])?)
}

/// Throws all caches away and makes them from the log. Inside a transaction.
pub(super) fn all(connection: &Connection) -> Inner<()> {
    connection.execute_batch("DELETE FROM messages; DELETE FROM sessions; DROP TABLE search;")?;
    search_table(connection)?;
    let mut state = SessionState::new("");
    each_event(connection, |id, session_id, event, payload| {
        if state.info.session_id != session_id {
            let before = std::mem::replace(&mut state, SessionState::new(session_id));
            if before.info.last_seq > 0 {
                row::save(connection, &before)?;
            }
            // The messages refer to the session's row, so it comes first.
            row::save(connection, &state)?;
        }
        let fact = Fact {
            seq: event.seq,
            timestamp_ms: event.timestamp_ms,
            payload,
        };
        state.check(&fact, |message| has_message(connection, session_id, message))?;
        state.apply(&fact);
        if let Payload::MessageSaved {
            message_id,
            parent_id,
            message,
        } = payload
        {
            let parent = parent_id.as_deref();
            hang(
                connection,
                session_id,
                event.seq,
                event.turn_id,
                message_id,
                parent,
            )?;
            index(connection, id, session_id, message_id, message)?;
        }
        Ok(())
    })?;
    if state.info.last_seq > 0 {
        row::save(connection, &state)?;
    }
    Ok(())
}

/// The envelope, as far as the caches need it.
struct Envelope<'a> {
    seq: u64,
    timestamp_ms: u64,
    turn_id: Option<&'a str>,
}

/// Every event of the log, session by session and in order.
fn each_event(
    connection: &Connection,
    mut take: impl FnMut(i64, &str, &Envelope<'_>, &Payload) -> Inner<()>,
) -> Inner<()> {
    let mut statement = connection.prepare(&format!(
        "SELECT id, {} FROM events ORDER BY session_id, seq",
        row::EVENT
    ))?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let event = row::event(found)?;
        let envelope = Envelope {
            seq: event.seq.unwrap_or_default(),
            timestamp_ms: event.timestamp_ms,
            turn_id: event.turn_id.as_deref(),
        };
        take(found.get("id")?, &event.session_id, &envelope, &event.payload)?;
    }
    Ok(())
}
