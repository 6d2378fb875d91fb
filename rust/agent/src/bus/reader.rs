//! One reader of a bus: a stream of events that is never ahead of the store and never holds up the publisher.

use super::state::{Cursor, Step};
use super::{Shared, saved};
use crate::protocol::AgentEvent;
use crate::session::SessionStore;
use futures_core::Stream;
use omni_core::{BoxFuture, Code, Error, Message, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Events that are read from the store at once.
const PAGE: usize = 256;

/// What was read from the store.
enum Read {
    Page(Vec<AgentEvent>),
    Saved(Option<Box<Message>>),
}

/// Reads a session's events from a place on, and then as they are published.
///
/// Durable events come in order, without gaps and each once. Text comes between the durable events where it was said;
/// a reader that is slow gets several chunks as one, with the same joined text. `None` is the end: the bus is closed
/// or the session deleted, or [`Reader::failure`] says why not.
pub struct Reader {
    shared: Arc<Shared>,
    id: u64,
    cursor: Cursor,
    store: Option<Arc<dyn SessionStore>>,
    reading: Option<BoxFuture<'static, Result<Read>>>,
    failure: Option<Error>,
    ended: bool,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: u64,
        cursor: Cursor,
        store: Option<Arc<dyn SessionStore>>,
    ) -> Self {
        Self {
            shared,
            id,
            cursor,
            store,
            reading: None,
            failure: None,
            ended: false,
        }
    }

    /// The next event, or `None` after the last.
    pub async fn next(&mut self) -> Option<AgentEvent> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The last durable event that was handed out.
    pub fn last_seq(&self) -> u64 {
        self.cursor.seq
    }

    /// Why the reader ended before the session did: the store could not be read. A new reader goes on from
    /// [`Reader::last_seq`].
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    fn read(&self, after: u64) -> Result<BoxFuture<'static, Result<Read>>> {
        let Some(store) = self.store.clone() else {
            return Err(Error::new(
                Code::Internal,
                format!(
                    "the reader fell behind: the events after {after} are no longer in memory and the bus has no \
                     store; read them with Bus::with_store"
                ),
            ));
        };
        let session_id = self.shared.session_id.clone();
        Ok(Box::pin(async move {
            let page = store.events(&session_id, after, PAGE).await?;
            let whole = (after + 1..)
                .zip(&page)
                .all(|(seq, event)| event.seq == Some(seq));
            if page.is_empty() || !whole {
                return Err(Error::new(
                    Code::Internal,
                    format!(
                        "session {session_id}: the store has not the events after {after} that were published; \
                         check it with `omni sessions show {session_id}`"
                    ),
                ));
            }
            Ok(Read::Page(page))
        }))
    }

    /// Looks for a saved message after `after`. That it is nowhere is no failure: `message.saved` alone tells it then.
    fn find(&self, after: u64, message_id: String) -> BoxFuture<'static, Result<Read>> {
        let store = self.store.clone();
        let session_id = self.shared.session_id.clone();
        Box::pin(async move {
            let page = match store {
                Some(store) => store.events(&session_id, after, PAGE).await?,
                None => Vec::new(),
            };
            let message = page
                .iter()
                .find_map(|event| saved::message_of(event, &message_id));
            Ok(Read::Saved(message.cloned().map(Box::new)))
        })
    }

    fn fail(&mut self, error: Error) -> Poll<Option<AgentEvent>> {
        self.failure = Some(error);
        self.ended = true;
        Poll::Ready(None)
    }
}

impl Stream for Reader {
    type Item = AgentEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AgentEvent>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(reading) = &mut this.reading {
                let read = std::task::ready!(reading.as_mut().poll(context));
                this.reading = None;
                let shared = Arc::clone(&this.shared);
                let inner = shared.lock();
                match read {
                    Ok(Read::Page(page)) => this.cursor.take(page),
                    Ok(Read::Saved(message)) => this.cursor.settle(&inner.state, message.as_deref()),
                    // What a deleted session said is nowhere: only that it is gone can be told.
                    Err(_) if this.cursor.skip_to_deletion(&inner.state) => {}
                    Err(error) => return this.fail(error),
                }
            }
            let step = {
                let mut inner = this.shared.lock();
                let step = this.cursor.next(&inner.state);
                if matches!(step, Step::Wait) {
                    inner.wakers.insert(this.id, context.waker().clone());
                }
                step
            };
            match step {
                Step::Event(event) => return Poll::Ready(Some(*event)),
                // Copied outside the lock: a message may be long.
                Step::Shared(event) => return Poll::Ready(Some(Arc::unwrap_or_clone(event))),
                Step::Read(after) => match this.read(after) {
                    Ok(reading) => this.reading = Some(reading),
                    Err(error) => {
                        let deleted = this.cursor.skip_to_deletion(&this.shared.lock().state);
                        if !deleted {
                            return this.fail(error);
                        }
                    }
                },
                Step::Find(after, message_id) => this.reading = Some(this.find(after, message_id)),
                Step::Wait => return Poll::Pending,
                Step::End => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().wakers.remove(&self.id);
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("session_id", &self.shared.session_id)
            .field("seq", &self.cursor.seq)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
