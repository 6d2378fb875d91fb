//! Streams that the caller reads, and what both kinds of streams share.

use crate::client::{CLIENTS, OmniClient, Open};
use crate::code::OmniCode;
use crate::door::{Answer, Fault};
use crate::events::Events;
use crate::gil;
use crate::handle::{Kind, Table};
use crate::push::Turns;
use crate::runtime;
use crate::text::{self, Slot};
use omni_bridge_rs::{Canceller, Request};
use std::ffi::{CString, c_char};
use std::future::poll_fn;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// The events of one call. A handle, not an address: never look through it.
///
/// omni_stream_open makes one whose events omni_stream_next hands out; omni_stream_start makes one whose
/// events go to a callback. omni_stream_cancel stops the call; omni_stream_free ends the handle, and the call
/// with it if need be.
pub struct OmniStream {
    _opaque: (),
}

/// What omni_stream_next has to say of the handle. What happened to the call is in the events.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OmniNext {
    /// *event_json holds the next event.
    Event = 0,
    /// No event came in time; ask again.
    Timeout = 1,
    /// The last event has been handed out already.
    Ended = 2,
    /// The handle names no stream, or was freed (perhaps while this function waited).
    BadHandle = -1,
    /// event_json is NULL, the stream has a callback, this is the engine's own thread, or there is a bug;
    /// omni_last_error says which.
    Refused = -2,
}

impl OmniNext {
    const fn of(fault: &Fault) -> Self {
        match fault {
            Fault::BadHandle(_) => Self::BadHandle,
            Fault::Misuse(_) | Fault::Failed(_) => Self::Refused,
        }
    }
}

pub(crate) static STREAMS: Table<OpenStream> = Table::new(Kind::Stream);

/// What a stream's handle stands for.
pub(crate) struct OpenStream {
    pub(crate) client: Arc<Open>,
    pub(crate) canceller: Canceller,
    /// Whether the handle was freed: whoever is at work with the stream stops.
    pub(crate) freed: watch::Sender<bool>,
    pub(crate) reader: Reader,
}

/// Who takes the events.
pub(crate) enum Reader {
    /// `omni_stream_next`.
    Caller(Mutex<Events>),
    Callback(Turns),
}

impl OpenStream {
    /// A handle for the stream. A client that is shut down cancels the streams that have one; this one may
    /// come just too late for that.
    pub(crate) fn insert(self: Arc<Self>) -> Answer<*mut OmniStream> {
        let handle = STREAMS.insert(Arc::clone(&self))?;
        if self.client.is_closing() {
            self.canceller.cancel();
        }
        Ok(handle)
    }

    /// Completes when the handle is freed.
    pub(crate) async fn freed(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.freed.subscribe().wait_for(|freed| *freed).await;
    }
}

/// Opens a stream whose events omni_stream_next hands out. `request_json` is as for omni_chat. The call is
/// sent at the first omni_stream_next; a slow reader slows the provider down, events do not pile up here.
///
/// Gives the stream; or NULL, with omni_last_error, if the client is bad or the request is not what the
/// contract says. Everything that goes wrong later, connecting included, comes as the event "error".
///
/// Frees: the caller frees the stream by omni_stream_free, whether it has ended or not; `request_json` stays
/// the caller's. Threads: any. Callbacks: works inside one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_stream_open(
    client: *mut OmniClient,
    request_json: *const c_char,
) -> *mut OmniStream {
    door!(omni_stream_open, |_| null_mut(), {
        let open = CLIENTS.get(client)?;
        // SAFETY: the text is the caller's, who keeps it as it is until we return.
        let request = Request::from_json(unsafe { text::read(request_json, "request_json") }?)?;
        let stream = open.client.stream(request);
        let stream = OpenStream {
            client: open,
            canceller: stream.canceller(),
            freed: watch::Sender::new(false),
            reader: Reader::Caller(Mutex::new(Events::new(stream))),
        };
        Arc::new(stream).insert()
    })
}

/// Waits for the next event of a stream, `timeout_ms` milliseconds at most (0: takes what is there; negative:
/// waits without limit). The last event is exactly one of "done", "error" and "cancelled". Waiting in vain
/// takes nothing away: ask again.
///
/// Gives OMNI_NEXT_EVENT and the event in *event_json, or another OmniNext and NULL there.
///
/// Frees: the caller frees *event_json by omni_string_free. Threads: any; several may wait on one stream, and
/// each event goes to one of them; a thread that holds the lock of a Python interpreter lets go of it while
/// it waits; the thread of the engine's own loop (a LiteLLM callback) is refused unless timeout_ms is 0, as it
/// would wait for itself. Callbacks: works inside a callback of another stream; a stream that has a callback
/// itself is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_stream_next(
    stream: *mut OmniStream,
    timeout_ms: i64,
    event_json: *mut *mut c_char,
) -> OmniNext {
    door!(omni_stream_next, OmniNext::of, {
        if timeout_ms != 0 {
            gil::refuse_loop_thread()?;
        }
        let _detached = gil::detach();
        // SAFETY: the place is the caller's, who keeps it until we return.
        let slot = unsafe { Slot::new(event_json, "event_json") }?;
        let open = STREAMS.get(stream)?;
        let Reader::Caller(events) = &open.reader else {
            let why = "this stream was made by omni_stream_start: its callback gets the events";
            return Err(Fault::Misuse(why.to_owned()));
        };
        let next = runtime::get()?.block_on(async {
            let next = next(&open, events);
            match u64::try_from(timeout_ms) {
                Ok(limit) => tokio::time::timeout(Duration::from_millis(limit), next)
                    .await
                    .ok(),
                Err(_) => Some(next.await),
            }
        });
        match next {
            None => Ok(OmniNext::Timeout),
            Some(Err(fault)) => Err(fault),
            Some(Ok(None)) => Ok(OmniNext::Ended),
            Some(Ok(Some(event))) => {
                slot.put(event);
                Ok(OmniNext::Event)
            }
        }
    })
}

/// The next event, unless the stream is freed first.
async fn next(open: &OpenStream, events: &Mutex<Events>) -> Answer<Option<CString>> {
    let read = async {
        let mut events = events.lock().await;
        poll_fn(|context| events.poll_next(context)).await
    };
    tokio::select! {
        biased;
        () = open.freed() => Err(Fault::BadHandle("the stream was freed while this function waited".to_owned())),
        event = read => Ok(event.transpose()?),
    }
}

/// Asks a stream's call to stop. Returns at once; the events that follow end in "cancelled", unless the call
/// had ended. Cancelling twice, or after the end, does nothing.
///
/// Gives OMNI_CODE_OK, or OMNI_CODE_INVALID_REQUEST if the handle names no stream.
///
/// Frees: nothing; the stream still has to be freed. Threads: any, also while others wait in
/// omni_stream_next: that is what it is for. Callbacks: works inside one, the stream's own included.
#[unsafe(no_mangle)]
pub extern "C" fn omni_stream_cancel(stream: *mut OmniStream) -> OmniCode {
    door!(omni_stream_cancel, OmniCode::of, {
        let _detached = gil::detach();
        STREAMS.get(stream)?.canceller.cancel();
        Ok(OmniCode::Ok)
    })
}

/// Ends a stream's handle; a call that still runs is cancelled. A thread that waits in omni_stream_next on it
/// gets OMNI_NEXT_BAD_HANDLE. When it returns, the stream's callback is not running and is never called
/// again, so user_data may be freed; it waits for a callback that is running, so do not hold a lock that the
/// callback takes.
///
/// Gives OMNI_CODE_OK; OMNI_CODE_INVALID_REQUEST, and does nothing, if the handle was freed already or never
/// was one.
///
/// Threads: any; a thread that holds the lock of a Python interpreter lets go of it while it waits.
/// Callbacks: works inside any, and then does not wait: inside the stream's own callback, that one is the
/// last; inside another's, a callback of this stream that is running just then ends on its own, and no other
/// follows.
#[unsafe(no_mangle)]
pub extern "C" fn omni_stream_free(stream: *mut OmniStream) -> OmniCode {
    door!(omni_stream_free, OmniCode::of, {
        let _detached = gil::detach();
        let open = STREAMS.remove(stream)?;
        open.freed.send_replace(true);
        open.canceller.cancel();
        if let Reader::Callback(turns) = &open.reader {
            turns.close();
        }
        Ok(OmniCode::Ok)
    })
}
