//! Events, messages and sessions as rows, and back.

use super::fault::{Inner, Trouble, lasting};
use super::fold::SessionState;
use super::{NewEvent, SessionInfo, StoredMessage};
use crate::protocol::{AgentEvent, EVENT_VERSION, ForkOrigin, Payload, TurnUsage};
use omni_core::{Code, Error, Result};
use rusqlite::{OptionalExtension, Row, named_params, params};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event with its payload's text, made before the writer's thread is asked.
pub(super) struct Prepared {
    pub(super) event: NewEvent,
    pub(super) event_type: String,
    pub(super) payload: String,
}

impl Prepared {
    pub(super) fn new(event: NewEvent) -> Result<Self> {
        #[derive(Deserialize)]
        struct Split<'a> {
            event_type: &'a str,
            #[serde(borrow)]
            payload: &'a RawValue,
        }
        let failed =
            |_: serde_json::Error| Error::internal("an event could not be written as JSON: please report it");
        let whole = serde_json::to_string(&event.payload).map_err(failed)?;
        let split: Split<'_> = serde_json::from_str(&whole).map_err(failed)?;
        let (event_type, payload) = (split.event_type.to_owned(), split.payload.get().to_owned());
        Ok(Self {
            event,
            event_type,
            payload,
        })
    }

    /// The event as it stands in the log.
    pub(super) fn stored(self, session_id: &str, seq: u64) -> AgentEvent {
        let event = self.event;
        AgentEvent {
            v: EVENT_VERSION,
            seq: Some(seq),
            after_seq: None,
            timestamp_ms: event.timestamp_ms,
            session_id: session_id.to_owned(),
            turn_id: event.turn_id,
            call_id: event.call_id,
            parent: event.parent,
            payload: event.payload,
        }
    }
}

/// SQLite's integers are signed; nothing of ours is ever that large.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

/// The payload of an event's text.
pub(super) fn payload(session_id: &str, seq: u64, event_type: &str, text: &str) -> Result<Payload> {
    let name = serde_json::Value::from(event_type);
    serde_json::from_str(&format!("{{\"event_type\":{name},\"payload\":{text}}}")).map_err(|_| {
        lasting(
            Code::Protocol,
            format!(
                "event {seq} of session \"{session_id}\" cannot be read: it is damaged, or its type was made by a \
                 newer omni_bridge. The events before and after it stay readable (ask for those after seq {seq})"
            ),
        )
    })
}

/// The columns that [`event`] reads.
pub(super) const EVENT: &str =
    "session_id, seq, v, timestamp_ms, turn_id, call_id, parent, event_type, payload";

/// An event of a row of [`EVENT`].
pub(super) fn event(row: &Row<'_>) -> Inner<AgentEvent> {
    let session_id: String = row.get("session_id")?;
    let seq = unsigned(row, "seq")?;
    let read = text(row, "event_type").and_then(|kind| Ok((kind, text(row, "payload")?)));
    let payload = match read {
        Ok((kind, text)) => payload(&session_id, seq, kind, text)?,
        // Bytes that are no UTF-8.
        Err(_) => payload(&session_id, seq, "", "")?,
    };
    Ok(AgentEvent {
        v: u32::try_from(unsigned(row, "v")?).unwrap_or(u32::MAX),
        seq: Some(seq),
        after_seq: None,
        timestamp_ms: unsigned(row, "timestamp_ms")?,
        turn_id: row.get("turn_id")?,
        call_id: row.get("call_id")?,
        parent: row.get("parent")?,
        payload,
        session_id,
    })
}

fn text<'a>(row: &'a Row<'_>, column: &str) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// A message of an event.
pub(super) fn message(event: AgentEvent) -> Option<StoredMessage> {
    let seq = event.seq?;
    match event.payload {
        Payload::MessageSaved {
            message_id,
            parent_id,
            message,
        } => Some(StoredMessage {
            message_id,
            parent_id,
            seq,
            turn_id: event.turn_id,
            message,
        }),
        _ => None,
    }
}

/// The columns of a session.
pub(super) const SESSION: &str = "session_id, title, title_given, created_ms, updated_ms, last_seq, leaf, messages, \
     turns, input_tokens, output_tokens, cost_usd, forked, forked_session, forked_message";

/// The state of a row of [`SESSION`].
pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<SessionState> {
    let forked_from = if row.get("forked")? {
        Some(ForkOrigin {
            session_id: row
                .get::<_, Option<String>>("forked_session")?
                .unwrap_or_default(),
            message_id: row.get("forked_message")?,
        })
    } else {
        None
    };
    Ok(SessionState {
        info: SessionInfo {
            session_id: row.get("session_id")?,
            title: row.get("title")?,
            created_ms: unsigned(row, "created_ms")?,
            updated_ms: unsigned(row, "updated_ms")?,
            last_seq: unsigned(row, "last_seq")?,
            leaf: row.get("leaf")?,
            messages: unsigned(row, "messages")?,
            turns: unsigned(row, "turns")?,
            usage: TurnUsage {
                input_tokens: unsigned(row, "input_tokens")?,
                output_tokens: unsigned(row, "output_tokens")?,
                cost_usd: row.get("cost_usd")?,
            },
            forked_from,
        },
        title_given: row.get("title_given")?,
    })
}

/// What is kept of a session, if it is there.
pub(super) fn load(connection: &rusqlite::Connection, session_id: &str) -> Inner<Option<SessionState>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {SESSION} FROM sessions WHERE session_id = ?1"))?;
    Ok(statement.query_row([session_id], state).optional()?)
}

/// What is kept of a session; `not_found` with a near match.
pub(super) fn need(connection: &rusqlite::Connection, session_id: &str) -> Inner<SessionState> {
    match load(connection, session_id)? {
        Some(state) => Ok(state),
        None => Err(Trouble::Told(missing(connection, session_id)?)),
    }
}

fn missing(connection: &rusqlite::Connection, session_id: &str) -> Inner<Error> {
    let mut statement =
        connection.prepare_cached("SELECT session_id FROM sessions ORDER BY updated_ms DESC LIMIT 1000")?;
    let ids = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let next = match omni_core::near_match(session_id, ids.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "list the sessions to see which there are".to_owned(),
    };
    let asked: String = session_id.chars().take(128).collect();
    Ok(Error::new(
        Code::NotFound,
        format!("the store has no session {asked:?}; {next}"),
    ))
}

/// Keeps what is known of a session.
pub(super) fn save(connection: &rusqlite::Connection, state: &SessionState) -> Inner<()> {
    let SessionState { info, title_given } = state;
    let origin = info.forked_from.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO sessions (session_id, title, title_given, created_ms, updated_ms, last_seq, leaf, messages,
                 turns, input_tokens, output_tokens, cost_usd, forked, forked_session, forked_message)
             VALUES (:session_id, :title, :title_given, :created_ms, :updated_ms, :last_seq, :leaf, :messages,
                 :turns, :input_tokens, :output_tokens, :cost_usd, :forked, :forked_session, :forked_message)
             ON CONFLICT (session_id) DO UPDATE SET title = excluded.title, title_given = excluded.title_given,
                 created_ms = excluded.created_ms, updated_ms = excluded.updated_ms, last_seq = excluded.last_seq,
                 leaf = excluded.leaf, messages = excluded.messages, turns = excluded.turns,
                 input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
                 cost_usd = excluded.cost_usd, forked = excluded.forked, forked_session = excluded.forked_session,
                 forked_message = excluded.forked_message",
        )?
        .execute(named_params! {
            ":session_id": info.session_id,
            ":title": info.title,
            ":title_given": title_given,
            ":created_ms": signed(info.created_ms),
            ":updated_ms": signed(info.updated_ms),
            ":last_seq": signed(info.last_seq),
            ":leaf": info.leaf,
            ":messages": signed(info.messages),
            ":turns": signed(info.turns),
            ":input_tokens": signed(info.usage.input_tokens),
            ":output_tokens": signed(info.usage.output_tokens),
            ":cost_usd": info.usage.cost_usd,
            ":forked": origin.is_some(),
            ":forked_session": origin.map(|origin| &origin.session_id),
            ":forked_message": origin.and_then(|origin| origin.message_id.as_ref()),
        })?;
    Ok(())
}

/// Puts an event into the log; gives its row's id.
pub(super) fn insert_event(
    connection: &rusqlite::Connection,
    session_id: &str,
    seq: u64,
    prepared: &Prepared,
) -> Inner<i64> {
    let event = &prepared.event;
    connection
        .prepare_cached(
            "INSERT INTO events (session_id, seq, v, timestamp_ms, turn_id, call_id, parent, event_type, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            session_id,
            signed(seq),
            EVENT_VERSION,
            signed(event.timestamp_ms),
            event.turn_id,
            event.call_id,
            event.parent,
            prepared.event_type,
            prepared.payload,
        ])?;
    Ok(connection.last_insert_rowid())
}
