//! Logs of whole turns, as the agent itself writes them: one turn is run, and its events are numbered anew.

use crate::model::Model;
use crate::{agent, asks, turn};
use omni_agent::{NewEvent, Payload, SessionStore, SqliteStore};

/// Turns that go into one commit when a long session is made.
const AT_ONCE: usize = 100;

/// A turn's events, in the commits in which the agent wrote them.
pub struct Turn {
    first: Vec<NewEvent>,
    rest: Vec<NewEvent>,
}

impl Turn {
    /// Runs a turn and takes its events.
    pub async fn recorded(store: &SqliteStore) -> Self {
        let agent = agent(&Model::default(), store, None);
        turn(&agent, asks().new_session("template")).await;
        agent.release().await;
        let events = store.events("template", 0, usize::MAX).await.unwrap();
        let mut first: Vec<NewEvent> = events
            .into_iter()
            .skip(1)
            .map(|event| NewEvent {
                timestamp_ms: event.timestamp_ms,
                turn_id: event.turn_id,
                call_id: event.call_id,
                parent: event.parent,
                payload: event.payload,
            })
            .collect();
        let asked = first
            .iter()
            .position(|event| matches!(event.payload, Payload::StreamStarted { .. }));
        let rest = first.split_off(asked.unwrap() + 1);
        assert_eq!((first.len(), rest.len()), (3, 4), "a turn's events");
        Self { first, rest }
    }

    /// The turn of this number (from 0) in a session that has no others, in its two commits.
    pub fn commits(&self, number: usize) -> [Vec<NewEvent>; 2] {
        let asked = number * 2 + 1;
        [of(&self.first, number, asked), of(&self.rest, number, asked + 1)]
    }

    /// One of a turn's commits by itself (0 and 1), or all of its events (2), for a session that has no others.
    pub fn alone(&self, which: usize, number: usize) -> Vec<NewEvent> {
        let id = number + 1;
        match which {
            0 => of(&self.first, number, id),
            1 => of(&self.rest, number, id),
            _ => self.commits(number).concat(),
        }
    }

    /// Makes a session of so many messages, with a compaction every so many turns that leaves two turns.
    pub async fn session(&self, store: &SqliteStore, id: &str, messages: usize, every: Option<usize>) {
        let mut writer = store.create(Some(id.to_owned()), Vec::new()).await.unwrap();
        let turns: Vec<usize> = (0..messages / 2).collect();
        for some in turns.chunks(AT_ONCE) {
            let mut events = Vec::new();
            for &number in some {
                events.extend(self.commits(number).into_iter().flatten());
                if every.is_some_and(|every| (number + 1) % every == 0) {
                    events.push(compacted(number));
                }
            }
            writer.append(events).await.unwrap();
        }
        writer.close().await.unwrap();
        assert_eq!(store.info(id).await.unwrap().messages, messages as u64);
    }
}

fn of(events: &[NewEvent], number: usize, id: usize) -> Vec<NewEvent> {
    let events = events.iter().cloned();
    events.map(|event| numbered(event, number, id)).collect()
}

fn numbered(mut event: NewEvent, number: usize, id: usize) -> NewEvent {
    event.turn_id = Some(format!("t{}", number + 1));
    event.call_id = event.call_id.map(|_| format!("t{}.1", number + 1));
    match &mut event.payload {
        Payload::MessageSaved {
            message_id,
            parent_id,
            ..
        } => {
            *message_id = format!("m{id}");
            *parent_id = (id > 1).then(|| format!("m{}", id - 1));
        }
        Payload::TurnStarted { message_id, .. } | Payload::TurnCompleted { message_id, .. } => {
            *message_id = format!("m{id}");
        }
        Payload::StreamCompleted(end) => end.message_id = Some(format!("m{id}")),
        _ => {}
    }
    event
}

/// What a compaction after the turn of this number leaves: a summary, and two turns.
fn compacted(number: usize) -> NewEvent {
    NewEvent {
        timestamp_ms: 0,
        turn_id: Some(format!("t{}", number + 1)),
        call_id: None,
        parent: None,
        payload: Payload::CompactionCompleted {
            summary: Some("What was asked, what was decided, and what is open. ".repeat(20)),
            first_kept: Some(format!("m{}", (number + 1) * 2 - 3)),
            tokens_before: 10_000,
            tokens_after: 1_000,
        },
    }
}

/// What the user says in every turn.
pub fn question() -> String {
    "What a person asks, in about as many words as people use when they ask something. ".repeat(6)
}
