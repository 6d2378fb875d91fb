//! A session as its loop needs it: the messages that the model is to see, from the end of the path back to the last
//! summary, so that opening a long session costs what must be sent.

use super::run::At;
use super::{Inner, RunInput, lock};
use crate::flow::{Entry, SessionView, result};
use crate::protocol::{AgentEvent, Payload, TurnUsage};
use crate::session::{PathQuery, StoredMessage};
use omni_core::{Error, Message, Result, Role};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Messages that are read at first, if their number is not known; then twice as many, and so on, until the last
/// summary's beginning is there.
const FIRST: usize = 128;
/// Events that are read at once, from the log's end, until one tells of a turn's beginning or end.
const PAGE: u64 = 32;
/// Events after an answer among which the ends of its calls are looked for.
const EVENTS: usize = 4_096;

impl Inner {
    /// What the loop is told of a session.
    pub(super) async fn view(&self, session_id: &str, input: &RunInput) -> Result<SessionView> {
        let granted: BTreeSet<String> = lock(&self.always).clone();
        let window = self.window().await;
        let mut view = SessionView {
            session_id: session_id.to_owned(),
            granted: granted.into_iter().collect(),
            window,
            ..SessionView::default()
        };
        if input.opens().is_none() {
            view.titled = input.title().is_some();
            view.usage = nothing();
            return Ok(view);
        }
        let info = self.store.info(session_id).await?;
        let landmarks = self.store.landmarks(session_id).await?;
        view.titled = info.title.is_some();
        view.turns = info.turns;
        view.messages = info.messages;
        view.usage = if info.turns == 0 { nothing() } else { info.usage };
        view.active.clone_from(&info.leaf);
        view.granted
            .extend(landmarks.iter().filter_map(|event| match &event.payload {
                Payload::ToolApproved { tool, .. } => Some(tool.clone()),
                _ => None,
            }));
        let mut path = self
            .path_of(session_id, input.at(), (info.leaf, info.messages), &landmarks)
            .await?;
        view.open_turn = self.open_turn(session_id, info.last_seq).await?;
        view.early = self.early(session_id, &path).await?;
        view.shorten(&mut path, &landmarks);
        view.path = path
            .into_iter()
            .map(|stored| Entry {
                message_id: stored.message_id,
                turn_id: stored.turn_id,
                message: stored.message,
            })
            .collect();
        Ok(view)
    }

    /// The messages that the turn goes on from.
    async fn path_of(
        &self,
        session_id: &str,
        at: &At,
        (active, messages): (Option<String>, u64),
        landmarks: &[AgentEvent],
    ) -> Result<Vec<StoredMessage>> {
        let no_user = |what: &str| {
            Err(Error::invalid(format!(
                "{what} of session {session_id} is no message of the user: only those can be edited or answered again"
            )))
        };
        match at {
            At::Leaf => self.tail(session_id, active, landmarks, messages).await,
            At::After(None) => Ok(Vec::new()),
            At::After(Some(id)) => self.tail(session_id, Some(id.clone()), landmarks, messages).await,
            At::Edit(id) => {
                let mut path = self.whole(session_id, Some(id.clone())).await?;
                match path.pop() {
                    Some(last) if last.message.role == Role::User => Ok(path),
                    _ => no_user(&format!("message {id}")),
                }
            }
            At::Again(id) => {
                let mut path = self.whole(session_id, id.clone().or(active)).await?;
                while path.last().is_some_and(|last| last.message.role != Role::User) {
                    path.pop();
                }
                if path.is_empty() {
                    no_user("the beginning")
                } else {
                    Ok(path)
                }
            }
        }
    }

    /// The last turn, if the log does not say how it ended. Nearly always the log's last events say it.
    async fn open_turn(&self, session_id: &str, last_seq: u64) -> Result<Option<String>> {
        let mut before = last_seq;
        while before > 0 {
            let after = before.saturating_sub(PAGE);
            let count = usize::try_from(before - after).unwrap_or(usize::MAX);
            let events = self.store.events(session_id, after, count).await?;
            for event in events.into_iter().rev() {
                match event.payload {
                    Payload::TurnStarted { .. } => return Ok(event.turn_id),
                    Payload::TurnCompleted { .. }
                    | Payload::TurnFailed { .. }
                    | Payload::TurnCancelled { .. } => {
                        return Ok(None);
                    }
                    _ => {}
                }
            }
            before = after;
        }
        Ok(None)
    }

    /// What the log says of calls at the end of the path that ended, and whose results were to be saved after those of
    /// earlier calls when their process ended.
    async fn early(&self, session_id: &str, path: &[StoredMessage]) -> Result<Vec<Message>> {
        let asked = path.iter().rfind(|stored| stored.message.role != Role::Tool);
        let Some((asked, calls)) = asked.and_then(|asked| Some((asked, asked.message.tool_calls.as_ref()?)))
        else {
            return Ok(Vec::new());
        };
        let saved = path
            .iter()
            .rev()
            .take_while(|stored| stored.message.role == Role::Tool)
            .count();
        if saved >= calls.len() {
            return Ok(Vec::new());
        }
        let events = self.store.events(session_id, asked.seq, EVENTS).await?;
        let ended = events.into_iter().filter(|event| event.turn_id == asked.turn_id);
        let result = |event: AgentEvent| {
            // `t1.2.3` is the third call of its answer.
            let place = event
                .call_id?
                .rsplit_once('.')?
                .1
                .parse::<usize>()
                .ok()?
                .checked_sub(1)?;
            let id = &calls.get(place)?.id;
            match event.payload {
                Payload::ToolCompleted { early, .. } => early,
                Payload::ToolFailed { message, .. } => Some(result::error(id, &message)),
                Payload::ToolDenied { reason, .. } => Some(result::error(id, &reason)),
                _ => None,
            }
        };
        Ok(ended.filter_map(result).collect())
    }

    async fn whole(&self, session_id: &str, leaf: Option<String>) -> Result<Vec<StoredMessage>> {
        self.store.path(session_id, PathQuery { leaf, last: None }).await
    }

    /// The path back to the newest summary's beginning, or to the root.
    async fn tail(
        &self,
        session_id: &str,
        leaf: Option<String>,
        landmarks: &[AgentEvent],
        messages: u64,
    ) -> Result<Vec<StoredMessage>> {
        if leaf.is_none() {
            return Ok(Vec::new());
        }
        let starts: Vec<&str> = landmarks
            .iter()
            .filter_map(|event| match &event.payload {
                Payload::CompactionCompleted {
                    summary: Some(_),
                    first_kept,
                    ..
                } => first_kept.as_deref(),
                _ => None,
            })
            .collect();
        let Some(newest) = starts.last() else {
            return self.whole(session_id, leaf).await;
        };
        let mut last = since(newest, messages).unwrap_or(FIRST);
        let starts: HashSet<&str> = starts.into_iter().collect();
        loop {
            let query = PathQuery {
                leaf: leaf.clone(),
                last: Some(last),
            };
            let path = self.store.path(session_id, query).await?;
            let found = path
                .iter()
                .any(|stored| starts.contains(stored.message_id.as_str()));
            if found || path.len() < last {
                return Ok(path);
            }
            last = last.saturating_mul(2);
        }
    }
}

/// How many messages a session of so many has from this one on, if they are numbered as the agent numbers them.
fn since(message_id: &str, messages: u64) -> Option<usize> {
    let number: u64 = message_id.strip_prefix('m')?.parse().ok()?;
    let count = messages.checked_sub(number)?.checked_add(1)?;
    usize::try_from(count).ok()
}

impl SessionView {
    /// Takes away what the newest summary on the path stands for.
    fn shorten(&mut self, path: &mut Vec<StoredMessage>, landmarks: &[AgentEvent]) {
        let places: HashMap<&str, usize> = path
            .iter()
            .enumerate()
            .map(|(at, stored)| (stored.message_id.as_str(), at))
            .collect();
        let mut start = 0;
        for event in landmarks {
            if let Payload::CompactionCompleted {
                summary,
                first_kept: Some(first),
                ..
            } = &event.payload
            {
                let Some(&at) = places.get(first.as_str()) else {
                    continue;
                };
                match summary {
                    Some(summary) => {
                        start = at;
                        self.summary = Some(summary.clone());
                    }
                    None => self.blanked_before = Some(first.clone()),
                }
            }
        }
        path.drain(..start);
    }
}

/// What a new session has consumed: nothing, at a known price.
fn nothing() -> TurnUsage {
    TurnUsage {
        cost_usd: Some(0.0),
        ..TurnUsage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn the_messages_since_one_are_counted_by_its_number() {
        assert_eq!(since("m4997", 5_000), Some(4));
        assert_eq!(since("m1", 1), Some(1));
        for unknown in ["m7", "m", "x1", "m-1", "m18446744073709551616"] {
            assert_eq!(since(unknown, 6), None, "{unknown}");
        }
    }
}
