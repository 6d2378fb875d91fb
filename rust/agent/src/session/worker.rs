//! The threads that talk to SQLite, so that no asynchronous thread waits for a disk.

use super::fault::{Inner, Place, Trouble};
use super::lease::Identity;
use super::row::{self, Prepared};
use super::{lease, log};
use crate::protocol::AgentEvent;
use omni_core::{Code, Error, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// So many events go into one commit at most: whoever comes first does not wait for all the others.
const GROUP: usize = 1024;

/// What a thread is asked to do.
pub(super) enum Work {
    /// Events of one writer; those of several that queue up go into one commit.
    Append(Append),
    /// Anything else.
    Do(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// Events of one writer.
pub(super) struct Append {
    pub(super) session_id: String,
    pub(super) token: String,
    pub(super) events: Vec<Prepared>,
    pub(super) last_seq: Arc<AtomicU64>,
    pub(super) done: oneshot::Sender<Result<Vec<AgentEvent>>>,
}

/// What all threads of a store know.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) read_only: bool,
    pub(super) own: Identity,
    /// This store among all that are open on the file.
    pub(super) owner: String,
    pub(super) life: Duration,
    /// Leases that this store holds.
    pub(super) held: AtomicUsize,
    /// Counts what may have brought new events.
    pub(super) news: watch::Sender<u64>,
    /// Commits of appends, for who wants to see the grouping.
    pub(super) commits: AtomicU64,
}

impl Shared {
    pub(super) fn tell_news(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn gone(&self) -> Error {
        Error::new(
            Code::Internal,
            format!(
                "{}: its thread has ended: an earlier error of ours ended it. Open the store again; what was \
                 acknowledged is stored",
                self.place.name()
            ),
        )
    }
}

/// Starts a thread.
pub(super) fn spawn(place: &Place, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|error| {
            Error::new(
                Code::Internal,
                format!(
                    "{} cannot be opened: no thread could be started: {error}",
                    place.name()
                ),
            )
        })
}

/// The loop of a reading thread; several share an inbox.
pub(super) fn read(mut connection: Connection, inbox: &Mutex<Receiver<Work>>) {
    loop {
        let work = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match work {
            Ok(Work::Do(job)) => job(&mut connection),
            Ok(Work::Append(_)) => {}
            Err(_) => return,
        }
    }
}

/// The writing thread.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) inbox: Receiver<Work>,
    pub(super) shared: Arc<Shared>,
}

impl Writer {
    /// The loop of the thread; it ends when nobody is left who could ask.
    pub(super) fn run(mut self) {
        let mut renewed = Instant::now();
        let mut next = None;
        loop {
            // Well before the leases end, so that one slow commit does not lose them.
            let beat = self.shared.life / 3;
            if self.shared.held.load(Ordering::SeqCst) == 0 {
                renewed = Instant::now();
            } else if renewed.elapsed() >= beat {
                // If it fails, the next beat tries again; an append tells if the lease was lost.
                let _ = lease::renew(&self.connection, &self.shared.owner, self.shared.life);
                renewed = Instant::now();
            }
            let work = match next.take() {
                Some(work) => work,
                None => match self.receive(beat.saturating_sub(renewed.elapsed())) {
                    Ok(work) => work,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            match work {
                Work::Do(job) => job(&mut self.connection),
                Work::Append(first) => {
                    let mut events = first.events.len();
                    let mut group = vec![first];
                    while events < GROUP {
                        match self.inbox.try_recv() {
                            Ok(Work::Append(another)) => {
                                events += another.events.len();
                                group.push(another);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
            }
        }
    }

    fn receive(&self, wait: Duration) -> Result<Work, RecvTimeoutError> {
        if self.shared.held.load(Ordering::SeqCst) == 0 {
            return self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        self.inbox.recv_timeout(wait)
    }

    fn append(&mut self, group: Vec<Append>) {
        let outcomes = match self.commit(&group) {
            Ok(outcomes) => outcomes,
            // One of them may be the reason (too large for what is left of the disk): each for itself.
            Err(_) if group.len() > 1 => group.iter().map(|append| self.alone(append)).collect(),
            Err(trouble) => group
                .first()
                .map(|append| Err(self.tell(append, trouble)))
                .into_iter()
                .collect(),
        };
        for (append, outcome) in group.into_iter().zip(outcomes) {
            append.answer(outcome);
        }
        self.shared.tell_news();
    }

    fn alone(&mut self, append: &Append) -> Result<u64> {
        let mut outcomes = self
            .commit(std::slice::from_ref(append))
            .map_err(|trouble| self.tell(append, trouble))?;
        outcomes.pop().unwrap_or_else(|| Err(self.shared.gone()))
    }

    fn tell(&self, append: &Append, trouble: Trouble) -> Error {
        let doing = format!("appending to session \"{}\"", append.session_id);
        self.shared.place.tell(&doing, trouble)
    }

    /// All appends in one commit; each is stored whole or refused for itself. Gives the last `seq` of each.
    fn commit(&mut self, group: &[Append]) -> Inner<Vec<Result<u64>>> {
        let shared = &self.shared;
        let mut transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(group.len());
        for append in group {
            let point = transaction.savepoint()?;
            match append.store(&point, &shared.own) {
                Ok(last) => {
                    point.commit()?;
                    outcomes.push(Ok(last));
                }
                Err(Trouble::Told(error)) => {
                    point.finish()?;
                    outcomes.push(Err(error));
                }
                Err(sql) => return Err(sql),
            }
        }
        transaction.commit()?;
        shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(outcomes)
    }
}

impl Append {
    fn store(&self, connection: &Connection, own: &Identity) -> Inner<u64> {
        lease::hold(connection, &self.session_id, own, &self.token)?;
        let state = row::need(connection, &self.session_id)?;
        Ok(log::append(connection, state, &self.events)?.info.last_seq)
    }

    fn answer(self, outcome: Result<u64>) {
        let answer = outcome.map(|last| {
            self.last_seq.store(last, Ordering::SeqCst);
            let first = last + 1 - u64::try_from(self.events.len()).unwrap_or_default();
            (first..)
                .zip(self.events)
                .map(|(seq, event)| event.stored(&self.session_id, seq))
                .collect()
        });
        // Nobody waits any more: it is stored all the same, and `last_seq` tells.
        let _ = self.done.send(answer);
    }
}

/// Does `work` in a transaction of its own.
pub(super) fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Inner<T>,
) -> Inner<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// Hands a job to a thread and waits for what it gives.
pub(super) async fn ask<T: Send + 'static>(
    inbox: &Sender<Work>,
    shared: &Shared,
    job: impl FnOnce(&mut Connection) -> T + Send + 'static,
) -> Result<T> {
    let (done, answer) = oneshot::channel();
    inbox
        .send(Work::Do(Box::new(move |connection| {
            // Whoever asked may have gone; what was done is done.
            let _ = done.send(job(connection));
        })))
        .map_err(|_| shared.gone())?;
    answer.await.map_err(|_| shared.gone())
}
