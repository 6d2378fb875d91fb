//! A session as one stream, whoever writes it: from the bus while it is open here, from the store while it is not.

use super::Agent;
use super::open::Follower;
use crate::bus::{self, Reader};
use crate::protocol::{AgentEvent, Payload};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use omni_core::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where the next event comes from.
enum Source {
    /// It is open here: what is ephemeral comes too.
    Open(Box<Reader>),
    /// Nobody has it open here: what any process stores comes.
    Stored(BoxStream<'static, Result<AgentEvent>>, Arc<Follower>),
    Ended,
}

struct Place {
    agent: Agent,
    session_id: String,
    seq: u64,
    source: Source,
}

impl Place {
    /// From the store, until the session is opened here.
    fn stored(&self) -> Source {
        let follower = Arc::new(Follower::new(self.seq));
        self.agent.0.sessions.follow(&self.session_id, &follower);
        let store = Arc::clone(self.agent.store());
        let events = bus::follow(store, self.session_id.clone(), self.seq).boxed();
        Source::Stored(events, follower)
    }

    async fn next(&mut self) -> Option<Result<AgentEvent>> {
        loop {
            let event = match &mut self.source {
                Source::Ended => return None,
                Source::Open(reader) => match (reader.next().await, reader.failure()) {
                    // It may have come from the store in the moment in which the session was opened.
                    (Some(event), _) if event.seq.is_some_and(|seq| seq <= self.seq) => continue,
                    (Some(event), _) => Ok(event),
                    (None, Some(error)) => Err(error.clone()),
                    // The session was given back: another process may write it now.
                    (None, None) => {
                        self.source = self.stored();
                        continue;
                    }
                },
                Source::Stored(events, follower) => {
                    let event = tokio::select! {
                        biased;
                        () = follower.opened.notified() => None,
                        event = events.next() => Some(event),
                    };
                    // A turn that runs here tells more than the store does: the event comes again from its bus, with
                    // the text that came before it.
                    if let Some(reader) = follower.take() {
                        self.source = Source::Open(Box::new(reader));
                        continue;
                    }
                    let Some(event) = event else { continue };
                    event?
                }
            };
            match &event {
                Ok(event) => {
                    self.seq = event.seq.unwrap_or(self.seq);
                    if let Source::Stored(_, follower) = &self.source {
                        follower.seq.store(self.seq, Ordering::Release);
                    }
                    if matches!(event.payload, Payload::SessionDeleted {}) {
                        self.source = Source::Ended;
                    }
                }
                Err(_) => self.source = Source::Ended,
            }
            return Some(event);
        }
    }
}

impl Agent {
    /// The events of a session after a durable one, as they come, from turn to turn: all of them while it is open in
    /// this agent, the durable ones while another process writes it. Ends with the session's deletion, or with an
    /// error as the last item: `not_found` for a session that is not there, and what the store says. Dropping it
    /// stops it.
    pub fn follow(
        &self,
        session_id: impl Into<String>,
        after: u64,
    ) -> BoxStream<'static, Result<AgentEvent>> {
        let mut place = Place {
            agent: self.clone(),
            session_id: session_id.into(),
            seq: after,
            source: Source::Ended,
        };
        place.source = place.stored();
        let events = stream::unfold(place, |mut place| async move {
            let event = place.next().await?;
            Some((event, place))
        });
        events.boxed()
    }
}
