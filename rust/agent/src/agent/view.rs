//! A session as its loop needs it: the messages that the model is to see, from the end of the path back to the last
//! summary, so that opening a long session costs what must be sent.

use super::run::At;
use super::{Inner, RunInput, lock};
use crate::flow::{Entry, SessionView, result};
use crate::protocol::{AgentEvent, Payload, TurnUsage};
use crate::session::{PathQuery, SessionInfo, StoredMessage};
use omni_core::{Error, Message, Result, Role};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Messages that are read at first, if their number is not known; then twice as many, and so on, until the last
/// summary's beginning is there.
const FIRST: usize = 128;
/// Events that are read at once, from the log's end, until one tells of a turn's beginning or end.
const PAGE: u64 = 32;
/// Events after an answer among which the ends of its calls are looked for.
const EVENTS: usize = 4_096;
/// Compactions that are read at first: on a session without branches the newest alone counts.
const COMPACTIONS: usize = 4;

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
        let (landmarks, mut path) = self.landmarks_and_path(session_id, input.at(), &info).await?;
        view.titled = info.title.is_some();
        view.turns = info.turns;
        view.messages = info.messages;
        view.usage = if info.turns == 0 { nothing() } else { info.usage };
        view.active = info.leaf;
        view.granted
            .extend(landmarks.iter().filter_map(|event| match &event.payload {
                Payload::ToolApproved { tool, .. } => Some(tool.clone()),
                _ => None,
            }));
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

    /// What shortens the messages that the turn goes on from, and these: with the newest compactions alone if they say
    /// all that there is to know of the path, else with every one.
    async fn landmarks_and_path(
        &self,
        session_id: &str,
        at: &At,
        info: &SessionInfo,
    ) -> Result<(Vec<AgentEvent>, Vec<StoredMessage>)> {
        let newest = self.store.landmarks(session_id, COMPACTIONS).await?;
        let path = self.path_of(session_id, at, info, &newest).await?;
        if suffice(&newest, &path) {
            return Ok((newest, path));
        }
        let all = self.store.landmarks(session_id, usize::MAX).await?;
        let path = self.path_of(session_id, at, info, &all).await?;
        Ok((all, path))
    }

    /// The messages that the turn goes on from.
    async fn path_of(
        &self,
        session_id: &str,
        at: &At,
        info: &SessionInfo,
        landmarks: &[AgentEvent],
    ) -> Result<Vec<StoredMessage>> {
        let (active, messages) = (info.leaf.clone(), info.messages);
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

/// Whether the newest compactions are all that matter on a path: it begins with one of their summaries, and those that
/// are not among them were made before its first message was there.
fn suffice(newest: &[AgentEvent], path: &[StoredMessage]) -> bool {
    let compactions = || {
        newest.iter().filter_map(|event| match &event.payload {
            Payload::CompactionCompleted {
                summary, first_kept, ..
            } => Some((event.seq?, summary.is_some(), first_kept.as_deref()?)),
            _ => None,
        })
    };
    let Some((oldest, ..)) = compactions()
        .next()
        .filter(|_| compactions().count() >= COMPACTIONS)
    else {
        return true;
    };
    let summaries: HashMap<&str, u64> = compactions()
        .filter(|(_, summary, _)| *summary)
        .map(|(seq, _, first)| (first, seq))
        .collect();
    let newest = path
        .iter()
        .filter_map(|stored| Some((summaries.get(stored.message_id.as_str())?, stored.seq)))
        .max();
    newest.is_some_and(|(_, begins)| oldest < begins)
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
    use super::*;
    use crate::protocol::EVENT_VERSION;
    use proptest::prelude::*;

    fn stored(number: u64) -> StoredMessage {
        StoredMessage {
            message_id: format!("m{number}"),
            parent_id: None,
            seq: number * 10,
            turn_id: None,
            message: Message::user("Hi"),
        }
    }

    /// A compaction after message `number` that keeps what begins so many before it, on this path or on another.
    fn compaction(number: u64, (back, here, summary): (u64, bool, bool)) -> AgentEvent {
        let name = if here { "m" } else { "other" };
        AgentEvent {
            v: EVENT_VERSION,
            seq: Some(number * 10 + 5),
            after_seq: None,
            session_id: "s".to_owned(),
            timestamp_ms: 0,
            turn_id: None,
            call_id: None,
            parent: None,
            payload: Payload::CompactionCompleted {
                summary: summary.then(|| format!("of {number}")),
                first_kept: Some(format!("{name}{}", number.saturating_sub(back).max(1))),
                tokens_before: 2,
                tokens_after: 1,
            },
        }
    }

    /// What the loop makes of a path: the summary, the messages after it, and before which of these results are blank.
    fn shown(
        path: &[StoredMessage],
        landmarks: &[AgentEvent],
    ) -> (Option<String>, Vec<String>, Option<usize>) {
        let (mut view, mut path) = (SessionView::default(), path.to_vec());
        view.shorten(&mut path, landmarks);
        let ids: Vec<String> = path.into_iter().map(|stored| stored.message_id).collect();
        let blanked = view
            .blanked_before
            .and_then(|id| ids.iter().position(|one| *one == id));
        (view.summary, ids, blanked.filter(|at| *at > 0))
    }

    proptest! {
        #[test]
        fn the_newest_compactions_shorten_a_path_as_all_of_them_do_or_all_are_asked_for(
            made in prop::collection::vec((0..30_u64, any::<bool>(), any::<bool>()), 0..30),
        ) {
            let path: Vec<StoredMessage> = (1..=60).map(stored).collect();
            let all: Vec<AgentEvent> = made
                .into_iter()
                .zip(1..)
                .map(|(one, at)| compaction(at * 2, one))
                .collect();
            let newest = &all[all.len().saturating_sub(COMPACTIONS)..];
            if suffice(newest, &path) {
                prop_assert_eq!(shown(&path, newest), shown(&path, &all));
            }
        }
    }

    #[test]
    fn one_compaction_after_another_is_read_from_the_newest_alone() {
        let path: Vec<StoredMessage> = (1..=60).map(stored).collect();
        let all: Vec<AgentEvent> = (1..=30).map(|at| compaction(at * 2, (1, true, true))).collect();
        assert!(suffice(&all[all.len() - COMPACTIONS..], &path));
        // On the path of an old branch they are of no use.
        assert!(!suffice(&all[all.len() - COMPACTIONS..], &path[..10]));
    }

    #[test]
    fn the_messages_since_one_are_counted_by_its_number() {
        assert_eq!(since("m4997", 5_000), Some(4));
        assert_eq!(since("m1", 1), Some(1));
        for unknown in ["m7", "m", "x1", "m-1", "m18446744073709551616"] {
            assert_eq!(since(unknown, 6), None, "{unknown}");
        }
    }
}
