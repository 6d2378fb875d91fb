//! The sessions that are open in an agent: one writer each, one turn at a time.

use super::run::RunHandle;
use super::{Inner, RunInput, lock};
use crate::bus::{Bus, Reader};
use crate::driver::{Clock, note_waiting};
use crate::flow::Flow;
use crate::protocol::{AgentEvent, EVENT_VERSION, Payload};
use crate::session::{NewEvent, SessionWriter};
use omni_core::{Error, Result};
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// So long a turn waits for the one before it to give its session back.
const HANDOVER: Duration = Duration::from_millis(500);

/// Calls that wait for a decision, by `call_id`.
pub(super) type Waiting = Arc<Mutex<HashSet<String>>>;

/// The sessions of an agent.
#[derive(Default)]
pub(super) struct Sessions {
    map: Mutex<Map>,
    released: Notify,
}

#[derive(Default)]
struct Map {
    /// Sessions whose turn runs, with its handle once it has one.
    running: HashMap<String, Option<RunHandle>>,
    open: HashMap<String, Weak<Open>>,
    /// Who waits for a session that is not open.
    followers: HashMap<String, Vec<Weak<Follower>>>,
}

/// Somebody who follows a session that is open nowhere here. It gets a reader in the moment in which it is opened, so
/// that it misses nothing of a turn that is over before it looks.
pub(super) struct Follower {
    /// The last durable event that it was told.
    pub(super) seq: AtomicU64,
    reader: Mutex<Option<Reader>>,
    pub(super) opened: Notify,
}

impl Follower {
    pub(super) fn new(after: u64) -> Self {
        Self {
            seq: AtomicU64::new(after),
            reader: Mutex::new(None),
            opened: Notify::new(),
        }
    }

    /// The reader, once the session was opened.
    pub(super) fn take(&self) -> Option<Reader> {
        lock(&self.reader).take()
    }

    fn hand(&self, bus: &Bus) {
        *lock(&self.reader) = Some(bus.subscribe(Some(self.seq.load(Ordering::Acquire))));
        self.opened.notify_one();
    }
}

/// A session that is open.
struct Open {
    bus: Bus,
    last_seq: AtomicU64,
    waiting: Waiting,
    slot: tokio::sync::Mutex<Slot>,
}

struct Slot {
    /// `None` before the first commit of a new session.
    writer: Option<Box<dyn SessionWriter>>,
    /// The loop as the last turn left it.
    flow: Option<Flow>,
    /// A commit failed, or the session was given back: the writer is not the session's any more.
    broken: bool,
    title: Option<String>,
}

/// A hold on an open session. The last one gives the session back to other processes.
pub(crate) struct Lease {
    agent: Arc<Inner>,
    session_id: String,
    open: Option<Arc<Open>>,
    /// It is the turn's.
    runs: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        {
            // Under the lock, so that nobody opens the session while its writer is being dropped.
            let mut map = lock(&self.agent.sessions.map);
            if self.runs {
                map.running.remove(&self.session_id);
            }
            drop(self.open.take());
            if map
                .open
                .get(&self.session_id)
                .is_some_and(|open| open.strong_count() == 0)
            {
                map.open.remove(&self.session_id);
            }
        }
        self.agent.sessions.released.notify_waiters();
    }
}

impl Sessions {
    pub(super) fn running(&self, session_id: &str) -> Option<RunHandle> {
        lock(&self.map).running.get(session_id).cloned().flatten()
    }

    pub(super) fn all_running(&self) -> Vec<RunHandle> {
        lock(&self.map).running.values().flatten().cloned().collect()
    }

    /// Gives a follower the session's reader: now if it is open, else when it is opened.
    pub(super) fn follow(&self, session_id: &str, follower: &Arc<Follower>) {
        let mut map = lock(&self.map);
        if let Some(open) = map.open.get(session_id).and_then(Weak::upgrade) {
            follower.hand(&open.bus);
            // What is upgraded here must be dropped under the lock too: see `Lease`.
            drop(open);
            return;
        }
        // Those that are gone are forgotten here, as nothing else comes by for a session that is never opened.
        map.followers.retain(|_, waiting| {
            waiting.retain(|one| one.strong_count() > 0);
            !waiting.is_empty()
        });
        let waiting = map.followers.entry(session_id.to_owned()).or_default();
        waiting.push(Arc::downgrade(follower));
    }

    pub(super) fn bus(&self, session_id: &str) -> Option<Bus> {
        // What is upgraded here must be dropped under the lock too: see `Lease`.
        let map = lock(&self.map);
        let open = map.open.get(session_id).and_then(Weak::upgrade)?;
        let bus = open.bus.clone();
        drop(open);
        drop(map);
        Some(bus)
    }
}

impl Inner {
    /// Opens the session of a run for a turn, with its loop at rest.
    pub(super) async fn open(self: &Arc<Self>, input: &RunInput) -> Result<(Lease, Flow)> {
        let session_id = input.session_id().map_or_else(new_id, str::to_owned);
        let mut lease = self.reserve(session_id.clone()).await?;
        let known = lock(&self.sessions.map)
            .open
            .get(&session_id)
            .and_then(Weak::upgrade);
        let is_new = known.is_none();
        lease.open = known;
        if is_new {
            let (writer, title) = match input.opens() {
                Some(session_id) => (Some(self.store.write(session_id).await?), None),
                None => (None, input.title()),
            };
            let last_seq = writer.as_ref().map_or(0, |writer| writer.last_seq());
            let open = Arc::new(Open {
                bus: Bus::new(session_id.clone(), last_seq).with_store(Arc::clone(&self.store)),
                last_seq: AtomicU64::new(last_seq),
                waiting: Waiting::default(),
                slot: tokio::sync::Mutex::new(Slot {
                    writer,
                    flow: None,
                    broken: false,
                    title,
                }),
            });
            let mut map = lock(&self.sessions.map);
            map.open.insert(session_id.clone(), Arc::downgrade(&open));
            for follower in map.followers.remove(&session_id).into_iter().flatten() {
                if let Some(follower) = follower.upgrade() {
                    follower.hand(&open.bus);
                }
            }
            lease.open = Some(open);
        }
        let kept = lease.at_rest(input.opens().is_none()).await?;
        let mut flow = match kept {
            Some(mut flow) if input.at_leaf() => {
                // Another session may have had its tool approved for always.
                flow.grant(lock(&self.always).iter().cloned());
                flow
            }
            _ => Flow::new(Arc::clone(&self.config), self.view(&session_id, input).await?),
        };
        flow.set_alone(input.is_unattended());
        Ok((lease, flow))
    }

    /// Gives the sessions that no turn needs back, and waits until other processes can have them.
    pub(super) async fn give_back(self: &Arc<Self>) {
        let idle: Vec<Lease> = {
            let map = lock(&self.sessions.map);
            let idle = map.open.iter().filter(|(id, _)| !map.running.contains_key(*id));
            let holds = idle.filter_map(|(id, open)| {
                Some(Lease {
                    agent: Arc::clone(self),
                    session_id: id.clone(),
                    open: Some(open.upgrade()?),
                    runs: false,
                })
            });
            holds.collect()
        };
        for lease in idle {
            let writer = {
                let mut slot = lease.held().slot.lock().await;
                slot.flow = None;
                // A turn that begins meanwhile opens it again.
                slot.broken = true;
                slot.writer.take()
            };
            if let Some(writer) = writer {
                // What fails here ends with the lease's time.
                let _ = writer.close().await;
            }
        }
    }

    /// Takes the right to run a turn of a session, of which there is one in this agent.
    async fn reserve(self: &Arc<Self>, session_id: String) -> Result<Lease> {
        let give_up = tokio::time::sleep(HANDOVER);
        tokio::pin!(give_up);
        loop {
            let released = self.sessions.released.notified();
            tokio::pin!(released);
            // Before the look: what is released between the look and the wait must wake us.
            released.as_mut().enable();
            if let Entry::Vacant(free) = lock(&self.sessions.map).running.entry(session_id.clone()) {
                free.insert(None);
                return Ok(Lease {
                    agent: Arc::clone(self),
                    session_id,
                    open: None,
                    runs: true,
                });
            }
            tokio::select! {
                () = released => {}
                () = &mut give_up => {
                    return Err(Error::invalid(format!(
                        "a turn of session {session_id} is running; wait for its end or cancel it first"
                    )));
                }
            }
        }
    }
}

impl Lease {
    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    fn held(&self) -> &Arc<Open> {
        // `reserve` makes leases without a session, and `open` alone uses it and fills it before it gives it out.
        #[allow(
            clippy::expect_used,
            reason = "the field is only empty inside `open` and in `drop`"
        )]
        self.open
            .as_ref()
            .expect("a lease that was given out has its session")
    }

    /// Makes the session ready for a turn: opened again if its last commit failed. Gives the loop that the last turn
    /// left.
    async fn at_rest(&self, is_new: bool) -> Result<Option<Flow>> {
        let open = self.held();
        lock(&open.waiting).clear();
        let mut slot = open.slot.lock().await;
        if is_new && slot.writer.is_some() {
            return Err(Error::invalid(format!(
                "there is a session {} already; go on in it, or choose another id",
                self.session_id
            )));
        }
        if slot.broken {
            slot.flow = None;
            // First given back, then taken again.
            slot.writer = None;
            let writer = self.agent.store.write(&self.session_id).await?;
            open.last_seq.store(writer.last_seq(), Ordering::Release);
            slot.writer = Some(writer);
            slot.broken = false;
        }
        Ok(slot.flow.take())
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.held().bus
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.held().last_seq.load(Ordering::Acquire)
    }

    pub(super) fn waiting(&self) -> Waiting {
        Arc::clone(&self.held().waiting)
    }

    /// Says who runs the turn.
    pub(super) fn runs(&self, handle: RunHandle) {
        lock(&self.agent.sessions.map)
            .running
            .insert(self.session_id.clone(), Some(handle));
    }

    /// Another hold, without the turn.
    pub(crate) fn share(&self) -> Self {
        Self {
            agent: Arc::clone(&self.agent),
            session_id: self.session_id.clone(),
            open: self.open.clone(),
            runs: false,
        }
    }

    /// Stores events in one commit, and publishes them then.
    pub(crate) async fn commit(&self, events: Vec<NewEvent>) -> Result<()> {
        let open = self.held();
        // Held until they are published: readers get them in the order of their `seq`.
        let mut slot = open.slot.lock().await;
        if slot.broken {
            return Err(Error::internal(
                "the session was given back; nothing more is stored in it",
            ));
        }
        let stored = match slot.writer.as_mut() {
            Some(writer) => writer.append(events).await,
            None => self.create(&mut slot, events).await,
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                slot.broken = true;
                return Err(error);
            }
        };
        if let Some(seq) = stored.iter().rev().find_map(|event| event.seq) {
            open.last_seq.store(seq, Ordering::Release);
        }
        note_waiting(&mut lock(&open.waiting), &stored);
        open.bus.publish(stored);
        Ok(())
    }

    /// The first commit of a new session makes it: one commit for both.
    async fn create(&self, slot: &mut Slot, events: Vec<NewEvent>) -> Result<Vec<AgentEvent>> {
        let created = NewEvent {
            timestamp_ms: events
                .first()
                .map_or_else(|| Clock::new().now_ms(), |event| event.timestamp_ms),
            turn_id: None,
            call_id: None,
            parent: None,
            payload: Payload::SessionCreated {
                title: slot.title.take(),
                forked_from: None,
            },
        };
        let first: Vec<NewEvent> = std::iter::once(created).chain(events).collect();
        let store = &self.agent.store;
        let writer = store.create(Some(self.session_id.clone()), first.clone()).await?;
        slot.writer = Some(writer);
        let stored = first.into_iter().zip(1..).map(|(event, seq)| AgentEvent {
            v: EVENT_VERSION,
            seq: Some(seq),
            after_seq: None,
            timestamp_ms: event.timestamp_ms,
            session_id: self.session_id.clone(),
            turn_id: event.turn_id,
            call_id: event.call_id,
            parent: event.parent,
            payload: event.payload,
        });
        Ok(stored.collect())
    }

    /// Keeps the loop for the next turn.
    pub(crate) async fn keep(&self, flow: Flow) {
        self.held().slot.lock().await.flow = Some(flow);
        self.agent.linger(self.share());
    }
}

/// An id that sorts by its time and that nobody guesses: the hasher's keys come from the system's random numbers.
fn new_id() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{:011x}{:012x}", Clock::new().now_ms(), random & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_new_and_plain() {
        let ids: HashSet<String> = (0..1_000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 23 && id.chars().all(|c| c.is_ascii_hexdigit()))
        );
    }
}
