//! Clients: made, asked, shut down.

use crate::code::OmniCode;
use crate::door::Answer;
use crate::gil;
use crate::handle::{Kind, Table};
use crate::stream::STREAMS;
use crate::text::{self, Slot};
use crate::{config, push, runtime};
use omni_bridge_rs::{Client, Code, Error, Request};
use std::ffi::c_char;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A client: what makes calls. A handle, not an address: never look through it.
///
/// omni_init makes one; omni_chat, omni_models, omni_stream_open and omni_stream_start use it; omni_shutdown
/// ends it. All of them may be called from any number of threads at once.
pub struct OmniClient {
    _opaque: (),
}

pub(crate) static CLIENTS: Table<Open> = Table::new(Kind::Client);

/// What a client's handle stands for.
pub(crate) struct Open {
    pub(crate) client: Client,
    /// Whether it is being shut down.
    closing: watch::Sender<bool>,
    /// How many of its calls have somebody at work: a blocked caller, or the task that feeds a callback.
    busy: watch::Sender<usize>,
}

impl Open {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            closing: watch::Sender::new(false),
            busy: watch::Sender::new(0),
        }
    }

    /// Whether the client is being shut down, or was.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Completes when the client is shut down.
    async fn closed(&self) {
        // It cannot fail: the sender is in `self`.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Counts as work for as long as the result lives.
    pub(crate) fn work(self: &Arc<Self>) -> Working {
        self.busy.send_modify(|busy| *busy += 1);
        Working(Arc::clone(self))
    }
}

pub(crate) struct Working(Arc<Open>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

/// Makes a client. `config_json` is a JSON object in which everything may be left out (NULL is the same as
/// "{}"):
///
///   bridge                "embedded" (default): the Python engine in this process; "http": a bridge service
///                         ("omni serve"); "scripted": no engine, for tests of programs that use this library
///   bridge_url            the service's address, e.g. "http://127.0.0.1:8411"; implies "http"
///   bridge_token          its token
///   python                the interpreter to embed: an executable or a virtual environment; default: what
///                         OMNI_BRIDGE_PYTHON names, then VIRTUAL_ENV, then python3 on the path. A process
///                         that has an interpreter already uses that one.
///   engine                who is to answer where a request does not say: "auto" (default: the native engine where
///                         it can, else LiteLLM), "native" or "litellm"; OMNI_BRIDGE_ENGINE sets the default
///   timeout               seconds in all, or {"connect", "first_event", "idle", "total"}
///   retry                 retries before the first event: a number, or {"max_retries", "max_wait"}
///   fallbacks             models to go on with when one fails before its first event
///   allow_endpoints       whether requests may set api_base, api_key and headers; default true
///   allowed_hosts         hosts beside a provider's own to which a key of the environment may go
///   fallback_mid_stream   whether a fallback may also take over in the middle of an answer; default false
///   limits                by provider, an object with concurrency, requests_per_minute, tokens_per_minute
///   budget                what all calls of the client may spend: an object with tokens, usd
///   allow_private_images  whether images may be fetched from private addresses; default false
///   script                for "scripted": a list with the lines of each call; a line is an event of the
///                         contract, {"type": "repeat", "times", "event"}, {"type": "hold"} (wait for a cancel),
///                         {"type": "finish", "finish_reason", ...} or {"type": "error", "error": {...}}.
///                         Without it the answer repeats the last user message, word by word.
///
/// Starts nothing: threads and the interpreter come with the first call, so forking is free until then. Any
/// number of clients may live at once; they share one engine. After omni_shutdown a new one can be made.
///
/// Gives NULL and omni_last_error if the configuration is wrong.
///
/// Frees: the caller ends the client by omni_shutdown; `config_json` stays the caller's. Threads: any.
/// Callbacks: works inside one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_init(config_json: *const c_char) -> *mut OmniClient {
    door!(omni_init, |_| null_mut(), {
        let config = if config_json.is_null() {
            b"{}"
        } else {
            // SAFETY: not NULL, and the caller keeps the text as it is until we return.
            unsafe { text::read(config_json, "config_json") }?
        };
        CLIENTS.insert(Arc::new(Open::new(config::client(config)?)))
    })
}

/// Makes one call and waits for its reply. `request_json` is a request of the contract, e.g.
/// {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}.
///
/// Gives OMNI_CODE_OK and the reply in *reply_json; else the code, with the whole error in omni_last_error,
/// and NULL in *reply_json. omni_shutdown from another thread ends it with OMNI_CODE_CANCELLED.
///
/// Frees: the caller frees *reply_json by omni_string_free; `request_json` stays the caller's. Threads: any,
/// many at once; a thread that holds the lock of a Python interpreter lets go of it while it waits;
/// the thread of the engine's own loop (a LiteLLM callback) gets OMNI_CODE_UNSUPPORTED, as it would wait for
/// itself. Callbacks: works inside one (and keeps the next event of that stream waiting).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_chat(
    client: *mut OmniClient,
    request_json: *const c_char,
    reply_json: *mut *mut c_char,
) -> OmniCode {
    door!(omni_chat, OmniCode::of, {
        gil::refuse_loop_thread()?;
        let _detached = gil::detach();
        // SAFETY: the place is the caller's, who keeps it until we return.
        let slot = unsafe { Slot::new(reply_json, "reply_json") }?;
        let open = CLIENTS.get(client)?;
        // SAFETY: the text is the caller's, who keeps it as it is until we return.
        let request = Request::from_json(unsafe { text::read(request_json, "request_json") }?)?;
        let reply = wait(&open, async {
            let call = open.client.chat_events(request);
            let canceller = call.canceller();
            let mut reply = std::pin::pin!(call.reply());
            tokio::select! {
                reply = &mut reply => return reply,
                () = open.closed() => canceller.cancel(),
            }
            // The engine closes the socket first, within bounds of its own.
            reply.await
        })?;
        slot.put(text::json(&reply)?);
        Ok(OmniCode::Ok)
    })
}

/// Adds a provider that the native engine can ask, for the calls of this client that begin from now on.
/// `definition_json` has the fields of a provider in omni.toml, and its name, e.g.
/// {"name": "acme", "protocol": "openai_chat", "base_url": "https://llm.acme.example/v1",
///  "key_env": "ACME_API_KEY"}; a model is then asked for as "acme/MODEL". With "persist": true it is also
/// written into the user's omni.toml.
///
/// Gives OMNI_CODE_OK; else OMNI_CODE_INVALID_REQUEST with the field in omni_last_error, or
/// OMNI_CODE_UNSUPPORTED for a client of a bridge service: register the provider there.
///
/// Frees: nothing; `definition_json` stays the caller's. Threads: any. Callbacks: works inside one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_register_provider(
    client: *mut OmniClient,
    definition_json: *const c_char,
) -> OmniCode {
    door!(omni_register_provider, OmniCode::of, {
        let open = CLIENTS.get(client)?;
        // SAFETY: the text is the caller's, who keeps it as it is until we return.
        let definition = unsafe { text::read(definition_json, "definition_json") }?;
        let definition = std::str::from_utf8(definition)
            .map_err(|_| Error::invalid("definition_json: this is not UTF-8"))?;
        open.client.register_provider(definition)?;
        Ok(OmniCode::Ok)
    })
}

/// The models that are known, as a JSON list of objects with at least "id": those of the catalogue,
/// or of the bridge service.
///
/// Gives OMNI_CODE_OK and the list in *models_json; else the code, with the error in omni_last_error, and
/// NULL in *models_json.
///
/// Frees: the caller frees *models_json by omni_string_free. Threads and callbacks: as omni_chat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omni_models(client: *mut OmniClient, models_json: *mut *mut c_char) -> OmniCode {
    door!(omni_models, OmniCode::of, {
        gil::refuse_loop_thread()?;
        let _detached = gil::detach();
        // SAFETY: the place is the caller's, who keeps it until we return.
        let slot = unsafe { Slot::new(models_json, "models_json") }?;
        let open = CLIENTS.get(client)?;
        let models = wait(&open, async {
            tokio::select! {
                models = open.client.models() => models,
                () = open.closed() => Err(Error::new(Code::Cancelled, "the client was shut down")),
            }
        })?;
        slot.put(text::json(&models)?);
        Ok(OmniCode::Ok)
    })
}

/// Ends a client. Its calls are cancelled: omni_chat on other threads gives OMNI_CODE_CANCELLED, streams end
/// in the event "cancelled"; stream handles stay valid until each is freed. Then waits, `timeout_ms`
/// milliseconds at most (negative: without limit), until no thread is inside a call of this client and no
/// callback of its streams is running.
///
/// Gives OMNI_CODE_OK, or OMNI_CODE_TIMEOUT if the time ran out: the client is gone all the same, and what
/// was left ends on its own. OMNI_CODE_INVALID_REQUEST if the client is gone already. The engine stays ready
/// for the next client.
///
/// Threads: any, also while others are inside calls of this client. Callbacks: works inside one, and then
/// does not wait; nor does it on the thread of the engine's own loop (a LiteLLM callback).
#[unsafe(no_mangle)]
pub extern "C" fn omni_shutdown(client: *mut OmniClient, timeout_ms: i64) -> OmniCode {
    door!(omni_shutdown, OmniCode::of, {
        let on_loop = gil::on_loop_thread();
        let _detached = gil::detach();
        let open = CLIENTS.remove(client)?;
        open.closing.send_replace(true);
        for stream in STREAMS.all()? {
            if Arc::ptr_eq(&stream.client, &open) {
                stream.canceller.cancel();
            }
        }
        if *open.busy.borrow() == 0 || push::inside_callback() || on_loop {
            return Ok(OmniCode::Ok);
        }
        let mut busy = open.busy.subscribe();
        runtime::get()?.block_on(async {
            let idle = busy.wait_for(|busy| *busy == 0);
            match u64::try_from(timeout_ms) {
                Err(_) => drop(idle.await),
                Ok(limit) => {
                    if tokio::time::timeout(Duration::from_millis(limit), idle).await.is_err() {
                        let why = "calls of this client were still ending when the time ran out; they end on their own";
                        return Err(Error::new(Code::Timeout, why));
                    }
                }
            }
            Ok(())
        })?;
        Ok(OmniCode::Ok)
    })
}

/// Waits on the calling thread, counted as work of `open`.
fn wait<T>(open: &Arc<Open>, call: impl Future<Output = omni_core::Result<T>>) -> Answer<T> {
    let _working = open.work();
    Ok(runtime::get()?.block_on(call)?)
}
