//! What is done to the log and its caches inside one transaction.

use super::fault::Inner;
use super::fold::{Fact, SessionState};
use super::row::{self, Prepared};
use super::{NewEvent, PathQuery, SessionInfo, StoredMessage, lease, rebuild};
use crate::protocol::{AgentEvent, ForkOrigin, Payload};
use omni_core::{Code, Error, Result};
use rusqlite::{Connection, named_params, params};
use std::collections::HashMap;

/// Appends events to a session and brings the caches along; gives the first `seq`.
pub(super) fn append(
    connection: &Connection,
    mut state: SessionState,
    events: &[Prepared],
) -> Inner<SessionState> {
    let session_id = state.info.session_id.clone();
    if state.info.last_seq == 0 {
        // The messages refer to the session's row.
        row::save(connection, &state)?;
    }
    for prepared in events {
        let event = &prepared.event;
        let fact = Fact {
            seq: state.info.last_seq + 1,
            timestamp_ms: event.timestamp_ms,
            payload: &event.payload,
        };
        state.check(&fact, |id| rebuild::has_message(connection, &session_id, id))?;
        let id = row::insert_event(connection, &session_id, fact.seq, prepared)?;
        if let Payload::MessageSaved {
            message_id,
            parent_id,
            message,
        } = fact.payload
        {
            let (turn, parent) = (event.turn_id.as_deref(), parent_id.as_deref());
            rebuild::hang(connection, &session_id, fact.seq, turn, message_id, parent)?;
            rebuild::index(connection, id, &session_id, message_id, message)?;
        }
        state.apply(&fact);
    }
    row::save(connection, &state)?;
    Ok(state)
}

/// Makes a session of `events`, the first of which is `session.created`.
pub(super) fn create(
    connection: &Connection,
    session_id: Option<&str>,
    events: &[Prepared],
) -> Inner<SessionState> {
    let session_id = match session_id {
        Some(given) => {
            if row::load(connection, given)?.is_some() {
                return Err(Error::invalid(format!(
                    "the store has a session \"{given}\" already: resume it, or take another id"
                ))
                .into());
            }
            given.to_owned()
        }
        None => new_id(connection)?,
    };
    append(connection, SessionState::new(&session_id), events)
}

/// An id that sorts by its time and that nobody guesses.
pub(super) fn new_id(connection: &Connection) -> Inner<String> {
    let random: String = connection.query_row("SELECT lower(hex(randomblob(6)))", [], |row| row.get(0))?;
    Ok(format!("{:011x}{random}", lease::now_ms()))
}

/// An id that somebody else made up.
pub(super) fn check_id(session_id: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let first = session_id
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if first && session_id.len() <= 128 && session_id.chars().all(fine) {
        return Ok(());
    }
    Err(Error::invalid(
        "a session id is 1 to 128 letters, digits, \"-\", \"_\", \".\" or \":\" (ASCII), and begins with a letter or \
         a digit",
    ))
}

/// Events after `after`, in order.
pub(super) fn events(
    connection: &Connection,
    session_id: &str,
    after: u64,
    limit: usize,
) -> Inner<Vec<AgentEvent>> {
    row::need(connection, session_id)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        row::EVENT
    ))?;
    let mut rows = statement.query(params![session_id, row::signed(after), bound(limit)])?;
    let mut events = Vec::new();
    while let Some(found) = rows.next()? {
        match row::event(found) {
            Ok(event) => events.push(event),
            // What comes before a damaged event is given first; the next call meets it and tells.
            Err(_) if !events.is_empty() => break,
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(events)
}

/// The messages from the root, or from the last so many, to a leaf.
pub(super) fn path(
    connection: &Connection,
    session_id: &str,
    query: &PathQuery,
) -> Inner<Vec<StoredMessage>> {
    let state = row::need(connection, session_id)?;
    let leaf = match &query.leaf {
        Some(leaf) => {
            if !rebuild::has_message(connection, session_id, leaf)? {
                return Err(no_message(session_id, leaf).into());
            }
            leaf
        }
        None => match &state.info.leaf {
            Some(leaf) => leaf,
            None => return Ok(Vec::new()),
        },
    };
    // A parent is older than its child, so a damaged table cannot lead in a circle.
    let mut statement = connection.prepare_cached(&format!(
        "WITH RECURSIVE up (seq, parent_id) AS (
             SELECT seq, parent_id FROM messages WHERE session_id = :session AND message_id = :leaf
             UNION ALL
             SELECT m.seq, m.parent_id FROM up CROSS JOIN messages AS m
                 WHERE m.session_id = :session AND m.message_id = up.parent_id AND m.seq < up.seq
             LIMIT :last
         )
         SELECT {} FROM up CROSS JOIN events AS e WHERE e.session_id = :session AND e.seq = up.seq
             ORDER BY e.seq",
        row::EVENT
            .split(", ")
            .map(|column| format!("e.{column}"))
            .collect::<Vec<_>>()
            .join(", ")
    ))?;
    let rows = statement.query(named_params! {
        ":session": session_id,
        ":leaf": leaf,
        ":last": query.last.map_or(-1, bound),
    })?;
    messages(rows)
}

/// Every message, in the order in which they were saved.
pub(super) fn tree(connection: &Connection, session_id: &str) -> Inner<Vec<StoredMessage>> {
    row::need(connection, session_id)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND event_type = 'message.saved' ORDER BY seq",
        row::EVENT
    ))?;
    let rows = statement.query([session_id])?;
    messages(rows)
}

fn messages(mut rows: rusqlite::Rows<'_>) -> Inner<Vec<StoredMessage>> {
    let mut messages = Vec::new();
    while let Some(found) = rows.next()? {
        messages.extend(row::message(row::event(found)?));
    }
    Ok(messages)
}

fn no_message(session_id: &str, message_id: &str) -> Error {
    let asked: String = message_id.chars().take(128).collect();
    Error::new(
        Code::NotFound,
        format!("session \"{session_id}\" has no message {asked:?}; its tree names those that it has"),
    )
}

/// The newest sessions after `after`.
pub(super) fn list(connection: &Connection, limit: usize, after: Option<&str>) -> Inner<Vec<SessionInfo>> {
    let (updated, last) = match after {
        Some(after) => {
            let info = row::need(connection, after)?.info;
            (row::signed(info.updated_ms), info.session_id)
        }
        None => (i64::MAX, "\u{10ffff}".to_owned()),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM sessions WHERE (updated_ms, session_id) < (?1, ?2)
             ORDER BY updated_ms DESC, session_id DESC LIMIT ?3",
        row::SESSION
    ))?;
    let rows = statement.query_map(params![updated, last, bound(limit)], |found| {
        row::state(found).map(|state| state.info)
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A new session with the path up to `message_id`; both logs tell of it.
pub(super) fn fork(
    connection: &Connection,
    session_id: &str,
    message_id: Option<String>,
) -> Inner<SessionState> {
    let old = row::need(connection, session_id)?;
    let query = PathQuery {
        leaf: message_id,
        last: None,
    };
    let path = path(connection, session_id, &query)?;
    let last = path.last().map(|message| message.message_id.clone());
    let new_ids: HashMap<String, String> = path
        .iter()
        .zip(1_u64..)
        .map(|(message, number)| (message.message_id.clone(), format!("m{number}")))
        .collect();
    let renamed = |id: &str| new_ids.get(id).cloned();
    let now = lease::now_ms();
    let event = |timestamp_ms, payload| {
        Prepared::new(NewEvent {
            timestamp_ms,
            turn_id: None,
            call_id: None,
            parent: None,
            payload,
        })
    };
    let mut log = vec![event(
        now,
        Payload::SessionCreated {
            title: old.info.title.clone(),
            forked_from: Some(ForkOrigin {
                session_id: session_id.to_owned(),
                message_id: last.clone(),
            }),
        },
    )?];
    let mut compactions = newest(connection, session_id, COMPACTION, usize::MAX)?
        .into_iter()
        .peekable();
    for message in path {
        // What the model sees of the path goes along: without its summary it might not fit into the window.
        while let Some(before) = compactions.next_if(|at| at.seq.is_some_and(|seq| seq < message.seq)) {
            log.extend(
                compaction(before.payload, &renamed)
                    .map(|payload| event(now, payload))
                    .transpose()?,
            );
        }
        log.push(event(
            now,
            Payload::MessageSaved {
                message_id: renamed(&message.message_id).unwrap_or_default(),
                parent_id: message.parent_id.as_deref().and_then(renamed),
                message: message.message,
            },
        )?);
    }
    for after in compactions {
        log.extend(
            compaction(after.payload, &renamed)
                .map(|payload| event(now, payload))
                .transpose()?,
        );
    }
    let new = create(connection, None, &log)?;
    let told = event(
        now,
        Payload::SessionForked {
            new_session_id: new.info.session_id.clone(),
            message_id: last,
        },
    )?;
    append(connection, old, &[told])?;
    Ok(new)
}

/// A compaction with the new session's ids, if what it keeps is on the copied path.
fn compaction(payload: Payload, renamed: &impl Fn(&str) -> Option<String>) -> Option<Payload> {
    match payload {
        Payload::CompactionCompleted {
            summary,
            first_kept: Some(first_kept),
            tokens_before,
            tokens_after,
        } => Some(Payload::CompactionCompleted {
            summary,
            first_kept: Some(renamed(&first_kept)?),
            tokens_before,
            tokens_after,
        }),
        _ => None,
    }
}

/// Of one type, in order, and in the words of the indexes of `schema`: the newest so many, and only these are read.
fn newest(
    connection: &Connection,
    session_id: &str,
    event_type: &'static str,
    count: usize,
) -> Inner<Vec<AgentEvent>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM events WHERE session_id = ?1 AND event_type = '{event_type}' ORDER BY seq DESC LIMIT ?2",
        row::EVENT
    ))?;
    let mut rows = statement.query(params![session_id, i64::try_from(count).unwrap_or(i64::MAX)])?;
    let mut events = Vec::new();
    while let Some(found) = rows.next()? {
        events.push(row::event(found)?);
    }
    events.reverse();
    Ok(events)
}

pub(super) const COMPACTION: &str = "agent.compaction.completed";
pub(super) const APPROVAL: &str = "tool.execution.approved";

/// The events that matter beyond their turn, in order: see `SessionStore::landmarks`.
pub(super) fn landmarks(
    connection: &Connection,
    session_id: &str,
    compactions: usize,
) -> Inner<Vec<AgentEvent>> {
    row::need(connection, session_id)?;
    let mut events = newest(connection, session_id, COMPACTION, compactions)?;
    events.extend(newest(connection, session_id, APPROVAL, usize::MAX)?);
    events.retain(|event| event.payload.is_landmark());
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Takes a session out of every table. Inside a transaction.
pub(super) fn delete(connection: &Connection, session_id: &str) -> Inner<()> {
    connection.execute(
        "DELETE FROM search WHERE rowid IN (SELECT id FROM events WHERE session_id = ?1)",
        [session_id],
    )?;
    for table in ["messages", "events", "leases", "sessions"] {
        connection.execute(
            &format!("DELETE FROM {table} WHERE session_id = ?1"),
            [session_id],
        )?;
    }
    Ok(())
}

pub(super) fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_plain_and_no_path() {
        for fine in ["a", "2026-11-27.a_b:c", &"x".repeat(128)] {
            assert_eq!(check_id(fine), Ok(()), "{fine}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
