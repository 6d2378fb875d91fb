//! What a session is, as a fold over its events. Pure: the store keeps the outcome in a row and goes on from it, an
//! import checks a log with it, and a rebuild runs it from the first event.

use super::SessionInfo;
use crate::protocol::{Payload, TurnUsage};
use omni_core::{Error, Result};

/// One durable event as the fold sees it.
pub(crate) struct Fact<'a> {
    pub(crate) seq: u64,
    pub(crate) timestamp_ms: u64,
    pub(crate) payload: &'a Payload,
}

/// What is known of a session after some of its events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionState {
    pub(crate) info: SessionInfo,
    /// The title is a person's: no model's title replaces it.
    pub(crate) title_given: bool,
}

impl SessionState {
    /// Before the first event.
    pub(crate) fn new(session_id: &str) -> Self {
        Self {
            info: SessionInfo {
                session_id: session_id.to_owned(),
                title: None,
                created_ms: 0,
                updated_ms: 0,
                last_seq: 0,
                leaf: None,
                messages: 0,
                turns: 0,
                usage: TurnUsage::default(),
                forked_from: None,
            },
            title_given: false,
        }
    }

    /// Whether `fact` may come next; `knows` tells which messages are there. What is wrong is told without the content.
    pub(crate) fn check<E: From<Error>>(
        &self,
        fact: &Fact<'_>,
        mut knows: impl FnMut(&str) -> std::result::Result<bool, E>,
    ) -> std::result::Result<(), E> {
        self.check_place(fact)?;
        match fact.payload {
            Payload::MessageSaved {
                message_id,
                parent_id,
                ..
            } => {
                if message_id.is_empty() {
                    return Err(Error::invalid("a message needs an id that is not empty").into());
                }
                if knows(message_id)? {
                    return Err(Error::invalid(format!(
                        "the session has a message \"{message_id}\" already: each message needs an id of its own"
                    ))
                    .into());
                }
                match parent_id {
                    Some(parent) if !knows(parent)? => Err(Error::invalid(format!(
                        "the message \"{message_id}\" follows \"{parent}\", which the session does not have"
                    ))
                    .into()),
                    _ => Ok(()),
                }
            }
            Payload::LeafChanged { leaf: Some(leaf) } if !knows(leaf)? => Err(Error::invalid(format!(
                "the session has no message \"{leaf}\" that could be its active end"
            ))
            .into()),
            _ => Ok(()),
        }
    }

    fn check_place(&self, fact: &Fact<'_>) -> Result<()> {
        let next = self.info.last_seq + 1;
        if fact.seq != next {
            let seq = fact.seq;
            return Err(Error::invalid(format!(
                "seq {seq} stands where {next} belongs: an event is missing, or there twice"
            )));
        }
        if !fact.payload.durable() {
            return Err(Error::invalid("an ephemeral event does not belong into the log"));
        }
        let created = matches!(fact.payload, Payload::SessionCreated { .. });
        match (next, created) {
            (1, false) => Err(Error::invalid("a session's first event is session.created")),
            (2.., true) => Err(Error::invalid(
                "session.created can only be a session's first event",
            )),
            _ => Ok(()),
        }
    }

    /// Takes an event that was checked.
    pub(crate) fn apply(&mut self, fact: &Fact<'_>) {
        let info = &mut self.info;
        info.last_seq = fact.seq;
        info.updated_ms = fact.timestamp_ms;
        match fact.payload {
            Payload::SessionCreated { title, forked_from } => {
                info.created_ms = fact.timestamp_ms;
                info.title.clone_from(title);
                info.forked_from.clone_from(forked_from);
                self.title_given = title.is_some();
            }
            Payload::SessionRenamed { title } => {
                info.title = Some(title.clone());
                self.title_given = true;
            }
            Payload::TitleGenerated { title } => {
                if !self.title_given {
                    info.title = Some(title.clone());
                }
            }
            Payload::LeafChanged { leaf } => info.leaf.clone_from(leaf),
            Payload::MessageSaved { message_id, .. } => {
                info.leaf = Some(message_id.clone());
                info.messages += 1;
            }
            Payload::TurnStarted { .. } => info.turns += 1,
            Payload::UsageUpdated { session, .. } => info.usage = *session,
            // They tell what happened and change nothing that is kept of the session.
            Payload::TurnCompleted { .. }
            | Payload::TurnFailed { .. }
            | Payload::TurnCancelled { .. }
            | Payload::StreamStarted { .. }
            | Payload::StreamChunk { .. }
            | Payload::StreamCompleted(_)
            | Payload::StreamCancelled(_)
            | Payload::StreamFailed { .. }
            | Payload::StreamFallback { .. }
            | Payload::ThinkingStarted { .. }
            | Payload::ThinkingDelta { .. }
            | Payload::ThinkingCompleted { .. }
            | Payload::ToolProposed { .. }
            | Payload::ToolApproved { .. }
            | Payload::ToolDenied { .. }
            | Payload::ToolStarted { .. }
            | Payload::ToolProgress { .. }
            | Payload::ToolCompleted { .. }
            | Payload::ToolFailed { .. }
            | Payload::SessionForked { .. }
            | Payload::SessionDeleted {}
            | Payload::CompactionStarted { .. }
            | Payload::CompactionCompleted { .. }
            | Payload::ServerConnected { .. }
            | Payload::ServerFailed { .. }
            | Payload::ServerToolsChanged { .. }
            | Payload::Log { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_core::Message;

    fn created(title: Option<&str>) -> Payload {
        Payload::SessionCreated {
            title: title.map(str::to_owned),
            forked_from: None,
        }
    }

    fn saved(id: &str, parent: Option<&str>) -> Payload {
        Payload::MessageSaved {
            message_id: id.to_owned(),
            parent_id: parent.map(str::to_owned),
            message: Message::user("x"),
        }
    }

    fn fold(payloads: &[Payload]) -> Result<SessionState> {
        let mut state = SessionState::new("s");
        let mut known = Vec::new();
        for (seq, payload) in (1_u64..).zip(payloads) {
            let fact = Fact {
                seq,
                timestamp_ms: 100 + seq,
                payload,
            };
            state.check::<Error>(&fact, |id| Ok(known.iter().any(|have| have == id)))?;
            if let Payload::MessageSaved { message_id, .. } = payload {
                known.push(message_id.clone());
            }
            state.apply(&fact);
        }
        Ok(state)
    }

    #[test]
    fn a_sibling_and_a_moved_leaf_count_and_the_last_one_is_active() {
        let leaf = |id: Option<&str>| Payload::LeafChanged {
            leaf: id.map(str::to_owned),
        };
        let log = [
            created(None),
            saved("m1", None),
            saved("m2", Some("m1")),
            saved("m3", Some("m1")),
        ];
        let state = fold(&log).unwrap();
        assert_eq!(state.info.leaf.as_deref(), Some("m3"));
        assert_eq!(
            (state.info.messages, state.info.last_seq, state.info.created_ms),
            (3, 4, 101)
        );
        assert_eq!(state.info.updated_ms, 104);
        let moved = fold(&[&log[..], &[leaf(Some("m2"))]].concat()).unwrap();
        assert_eq!(moved.info.leaf.as_deref(), Some("m2"));
        assert_eq!(fold(&[&log[..], &[leaf(None)]].concat()).unwrap().info.leaf, None);
        assert!(fold(&[&log[..], &[leaf(Some("m9"))]].concat()).is_err());
    }

    #[test]
    fn a_models_title_never_replaces_a_persons() {
        let generated = || Payload::TitleGenerated {
            title: "model's".into(),
        };
        let renamed = || Payload::SessionRenamed { title: "mine".into() };
        let title = |log: &[Payload]| fold(log).unwrap().info.title.unwrap();
        assert_eq!(title(&[created(None), generated()]), "model's");
        assert_eq!(title(&[created(None), generated(), renamed()]), "mine");
        assert_eq!(title(&[created(None), renamed(), generated()]), "mine");
        assert_eq!(title(&[created(Some("given")), generated()]), "given");
    }

    #[test]
    fn what_breaks_the_log_is_refused_and_named() {
        let told = |log: &[Payload]| fold(log).unwrap_err().message;
        assert!(told(&[saved("m1", None)]).contains("session.created"));
        assert!(told(&[created(None), created(None)]).contains("first event"));
        assert!(told(&[created(None), saved("m1", Some("m0"))]).contains("\"m0\""));
        assert!(told(&[created(None), saved("m1", None), saved("m1", None)]).contains("already"));
        assert!(told(&[created(None), saved("", None)]).contains("empty"));
        assert!(told(&[created(None), Payload::SessionDeleted {}]).contains("ephemeral"));
        let fact = Fact {
            seq: 3,
            timestamp_ms: 0,
            payload: &created(None),
        };
        let gap = SessionState::new("s")
            .check::<Error>(&fact, |_| Ok(false))
            .unwrap_err();
        assert!(gap.message.contains("seq 3"), "{gap}");
    }
}
