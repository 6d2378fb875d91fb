//! Events that another process writes: the durable ones, as the store tells of them.

use crate::protocol::AgentEvent;
use crate::session::SessionStore;
use futures_core::Stream;
use futures_util::stream;
use omni_core::Result;
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that are read at once.
const PAGE: usize = 256;

/// The durable events of a session after `after`, in order, each once, and then as any process writes them. It never
/// ends by itself; the store's error is the last item. Dropping it stops it.
pub fn follow(
    store: Arc<dyn SessionStore>,
    session_id: impl Into<String>,
    after: u64,
) -> impl Stream<Item = Result<AgentEvent>> + Send {
    struct Place {
        store: Arc<dyn SessionStore>,
        session_id: String,
        seq: u64,
        page: VecDeque<AgentEvent>,
        failed: bool,
    }
    let place = Place {
        store,
        session_id: session_id.into(),
        seq: after,
        page: VecDeque::new(),
        failed: false,
    };
    Box::pin(stream::unfold(place, |mut place| async move {
        if place.failed {
            return None;
        }
        loop {
            if let Some(event) = place.page.pop_front() {
                // A store that gives an event again is believed once.
                if event.seq > Some(place.seq) {
                    place.seq = event.seq.unwrap_or(place.seq);
                    return Some((Ok(event), place));
                }
                continue;
            }
            let read = async {
                let page = place.store.events(&place.session_id, place.seq, PAGE).await?;
                if page.is_empty() {
                    place.store.changed(&place.session_id, place.seq).await?;
                }
                Ok(page)
            };
            match read.await {
                Ok(page) => place.page = page.into(),
                Err(error) => {
                    place.failed = true;
                    return Some((Err(error), place));
                }
            }
        }
    }))
}
