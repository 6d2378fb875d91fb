//! Streams whose events go to a callback.

use crate::client::{CLIENTS, OmniClient, Working};
use crate::door::Fault;
use crate::events::Events;
use crate::runtime;
use crate::stream::{OmniStream, OpenStream, Reader};
use crate::text;
use omni_bridge_rs::Request;
use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::future::poll_fn;
use std::ptr::null_mut;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;
use tokio::sync::watch;

/// Gets the events of a stream, one call for each, in order and never two at once; the last is exactly one of
/// "done", "error" and "cancelled". `event_json` is valid until the callback returns. `user_data` is what
/// omni_stream_start got.
///
/// It runs on threads of this library, not always the same one. It may take its time: the provider is slowed
/// down meanwhile, other streams are not. It may call every function of this library; each says what it does
/// then. It must return: no C++ exception and no longjmp may leave it.
pub type OmniCallback =
    Option<unsafe extern "C" fn(stream: *mut OmniStream, event_json: *const c_char, user_data: *mut c_void)>;

type Callback = unsafe extern "C" fn(*mut OmniStream, *const c_char, *mut c_void);

/// So many events that are there already go to the callback in one go of the task.
const BATCH: usize = 64;

thread_local! {
    /// How many callbacks this thread is inside of.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether the calling thread is inside a callback of any stream.
pub(crate) fn inside_callback() -> bool {
    DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0)
}

/// Whose turn it is: the callback's, or nobody's ever again.
#[derive(Default)]
pub(crate) struct Turns {
    state: Mutex<Turn>,
    over: Condvar,
}

#[derive(Default)]
struct Turn {
    running: bool,
    closed: bool,
}

impl Turns {
    /// Runs `callback`, unless the stream was freed; says whether it ran.
    fn take(&self, callback: impl FnOnce()) -> bool {
        {
            let mut turn = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.closed {
                return false;
            }
            turn.running = true;
        }
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        callback();
        DEPTH.with(|depth| depth.set(depth.get() - 1));
        self.state.lock().unwrap_or_else(PoisonError::into_inner).running = false;
        self.over.notify_all();
        true
    }

    /// From now on no callback begins; waits for a running one, except inside a callback. (Two callbacks that
    /// free each other's streams would wait for each other for ever.)
    pub(crate) fn close(&self) {
        let mut turn = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        turn.closed = true;
        while turn.running && !inside_callback() {
            turn = self.over.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The callback and everything that it is called with but the event.
struct Target {
    callback: Callback,
    stream: *mut OmniStream,
    user_data: *mut c_void,
}

// SAFETY: the comment of omni_stream_start tells the caller that both are used on other threads, one at a time;
// `stream` is a number behind a pointer type.
unsafe impl Send for Target {}

impl Target {
    fn call(&self, event: &CString) {
        // SAFETY: the caller gave the function for exactly these arguments, and `user_data` to be handed to it until
        // the stream is freed or has ended, which `Turns` keeps to.
        unsafe { (self.callback)(self.stream, event.as_ptr(), self.user_data) }
    }
}

/// Starts a call whose events go to `callback`. `request_json` is as for omni_chat. The callback may run
/// before this function returns, so it is given the stream.
///
/// Gives the stream; or NULL, with omni_last_error, if the client is bad, the request is not what the
/// contract says or `callback` is NULL: then `callback` is never called.
///
/// Frees: the caller frees the stream by omni_stream_free, whether it has ended or not, also inside the
/// callback; `request_json` stays the caller's; `user_data` is never looked at and must stay good until the
/// callback has returned from the last event, or omni_stream_free has returned, whichever is first. Threads:
/// any. Callbacks: works inside one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_stream_start(
    client: *mut OmniClient,
    request_json: *const c_char,
    callback: OmniCallback,
    user_data: *mut c_void,
) -> *mut OmniStream {
    door!(omni_stream_start, |_| null_mut(), {
        let open = CLIENTS.get(client)?;
        let Some(callback) = callback else {
            let why = "callback is NULL; omni_stream_open makes a stream without one";
            return Err(Fault::Misuse(why.to_owned()));
        };
        // SAFETY: the text is the caller's, who keeps it as it is until we return.
        let request = Request::from_json(unsafe { text::read(request_json, "request_json") }?)?;
        let runtime = runtime::get()?;
        let events = open.client.stream(request);
        let working = open.work();
        let stream = Arc::new(OpenStream {
            client: open,
            canceller: events.canceller(),
            freed: watch::Sender::new(false),
            reader: Reader::Callback(Turns::default()),
        });
        let handle = Arc::clone(&stream).insert()?;
        let target = Target {
            callback,
            stream: handle,
            user_data,
        };
        runtime.spawn(feed(stream, Events::new(events), target, working));
        Ok(handle)
    })
}

/// Brings the events to the callback until the last one, or until the stream is freed.
async fn feed(stream: Arc<OpenStream>, mut events: Events, target: Target, _working: Working) {
    let Reader::Callback(turns) = &stream.reader else {
        return;
    };
    loop {
        let mut batch = Vec::new();
        let ended = tokio::select! {
            biased;
            () = stream.freed() => return,
            ended = poll_fn(|context| loop {
                match events.poll_next(context) {
                    Poll::Ready(Some(Ok(event))) => batch.push(event),
                    // An event that has no JSON is a bug; the events after it are worth more than silence.
                    Poll::Ready(Some(Err(_))) => {}
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending if batch.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(false),
                }
                if batch.len() == BATCH {
                    return Poll::Ready(false);
                }
            }) => ended,
        };
        // The callback may block, and may call functions that block: the runtime goes on without this thread.
        let go_on =
            tokio::task::block_in_place(|| batch.iter().all(|event| turns.take(|| target.call(event))));
        if ended || !go_on {
            return;
        }
    }
}
