/* omni_bridge: one LLM call for every provider, from C.

   JSON text in and out: UTF-8 that ends in a NUL (JSON writes a NUL in a text as \u0000, so nothing is cut short).
   Lone surrogates and invalid UTF-8 become U+FFFD. Requests, replies, events and errors are those of the contract.

   Handles are numbers behind a pointer type: one that was freed, or was never one, is refused with an error. A
   text that a function gives as char * is the caller's and goes back by omni_string_free; one that it gives as
   const char * is never freed. A function that fails says so in its result and leaves the reason in omni_last_error.

   Every function may be called from any thread, and from inside a callback; each comment says what it does there.
   None may be called from a signal handler: set a flag there, and wait with a time limit.

   Build: cc chat.c -lomni_bridge

   Generated from rust/capi/src; mend it with: cargo test -p omni-capi --test header -- --write */

#ifndef OMNI_BRIDGE_H
#define OMNI_BRIDGE_H

#include <stdint.h>

// The version of the contract that this header was written for; compare with "contract" of omni_version().
#define OMNI_CONTRACT 1

// What went wrong, as a number: the contract's closed set of codes, plus 0 for "nothing". A number is never
// reused for another code. omni_code_name gives the contract's name for it, omni_last_error the whole error.
// A handle that is not alive, a NULL where none may be and text that is not what the contract says are
// OMNI_CODE_INVALID_REQUEST.
enum OmniCode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It went well.
  OMNI_CODE_OK = 0,
  // The request breaks the contract, or a function was called in a way that its comment forbids.
  OMNI_CODE_INVALID_REQUEST = 1,
  // No key, a wrong key, or a key that may not be sent to this host.
  OMNI_CODE_AUTHENTICATION = 2,
  // The account has no credit left.
  OMNI_CODE_QUOTA = 3,
  // The key is known but may not do this.
  OMNI_CODE_PERMISSION = 4,
  // No such model or endpoint.
  OMNI_CODE_NOT_FOUND = 5,
  // A time limit passed.
  OMNI_CODE_TIMEOUT = 6,
  // The input is longer than the model's context.
  OMNI_CODE_CONTEXT_LENGTH = 7,
  // The provider refused the input or the output for its content.
  OMNI_CODE_CONTENT_FILTER = 8,
  // Too many calls or tokens in a time; see "retry_after" of the error.
  OMNI_CODE_RATE_LIMIT = 9,
  // A budget of ours (tokens or dollars) is spent.
  OMNI_CODE_BUDGET = 10,
  // The provider failed.
  OMNI_CODE_PROVIDER = 11,
  // The answer is malformed or was cut off.
  OMNI_CODE_PROTOCOL = 12,
  // The provider could not be reached, or the connection broke.
  OMNI_CODE_CONNECTION = 13,
  // The provider is overloaded.
  OMNI_CODE_OVERLOADED = 14,
  // The engine cannot run: no interpreter, no package, another contract, a forked process.
  OMNI_CODE_ENGINE_UNAVAILABLE = 15,
  // The request is valid but this engine or provider cannot do it.
  OMNI_CODE_UNSUPPORTED = 16,
  // The call was cancelled.
  OMNI_CODE_CANCELLED = 17,
  // A bug of omni_bridge.
  OMNI_CODE_INTERNAL = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum OmniCode OmniCode;
#else
typedef int32_t OmniCode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What omni_stream_next has to say of the handle. What happened to the call is in the events.
enum OmniNext
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // *event_json holds the next event.
  OMNI_NEXT_EVENT = 0,
  // No event came in time; ask again.
  OMNI_NEXT_TIMEOUT = 1,
  // The last event has been handed out already.
  OMNI_NEXT_ENDED = 2,
  // The handle names no stream, or was freed (perhaps while this function waited).
  OMNI_NEXT_BAD_HANDLE = -1,
  // event_json is NULL, the stream has a callback, this is the engine's own thread, or there is a bug;
  // omni_last_error says which.
  OMNI_NEXT_REFUSED = -2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum OmniNext OmniNext;
#else
typedef int32_t OmniNext;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A client: what makes calls. A handle, not an address: never look through it.
//
// omni_init makes one; omni_chat, omni_models, omni_stream_open and omni_stream_start use it; omni_shutdown
// ends it. All of them may be called from any number of threads at once.
typedef struct OmniClient OmniClient;

// The events of one call. A handle, not an address: never look through it.
//
// omni_stream_open makes one whose events omni_stream_next hands out; omni_stream_start makes one whose
// events go to a callback. omni_stream_cancel stops the call; omni_stream_free ends the handle, and the call
// with it if need be.
typedef struct OmniStream OmniStream;

// Gets the events of a stream, one call for each, in order and never two at once; the last is exactly one of
// "done", "error" and "cancelled". `event_json` is valid until the callback returns. `user_data` is what
// omni_stream_start got.
//
// It runs on threads of this library, not always the same one. It may take its time: the provider is slowed
// down meanwhile, other streams are not. It may call every function of this library; each says what it does
// then. It must return: no C++ exception and no longjmp may leave it.
typedef void (*OmniCallback)(OmniStream *stream, const char *event_json, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What the library is, as JSON: {"version": "0.1.0", "contract": 1}.
//
// Frees: nothing; the text is static. Threads: any, before anything else, callbacks included.
const char *omni_version(void);

// Reads a document of the contract and writes it anew as this library understands it: for tests, and to
// check a request before it is sent. `kind` is "request", "reply", "event", "message", "tool", "usage" or
// "error".
//
// Gives OMNI_CODE_OK and the document in *checked; else the code (OMNI_CODE_INVALID_REQUEST with the path of
// what is wrong in omni_last_error) and NULL in *checked.
//
// Frees: the caller frees *checked by omni_string_free; `kind` and `json` stay the caller's. Threads: any,
// callbacks included.
OmniCode omni_check(const char *kind, const char *json, char **checked);

// Makes a client. `config_json` is a JSON object in which everything may be left out (NULL is the same as
// "{}"):
//
//   bridge                "embedded" (default): the Python engine in this process; "http": a bridge service
//                         ("omni serve"); "scripted": no engine, for tests of programs that use this library
//   bridge_url            the service's address, e.g. "http://127.0.0.1:8411"; implies "http"
//   bridge_token          its token
//   python                the interpreter to embed: an executable or a virtual environment; default: what
//                         OMNI_BRIDGE_PYTHON names, then VIRTUAL_ENV, then python3 on the path. A process
//                         that has an interpreter already uses that one.
//   engine                who is to answer where a request does not say: "auto" (default: the native engine where
//                         it can, else LiteLLM), "native" or "litellm"; OMNI_BRIDGE_ENGINE sets the default
//   timeout               seconds in all, or {"connect", "first_event", "idle", "total"}
//   retry                 retries before the first event: a number, or {"max_retries", "max_wait"}
//   fallbacks             models to go on with when one fails before its first event
//   allow_endpoints       whether requests may set api_base, api_key and headers; default true
//   allowed_hosts         hosts beside a provider's own to which a key of the environment may go
//   fallback_mid_stream   whether a fallback may also take over in the middle of an answer; default false
//   limits                by provider, an object with concurrency, requests_per_minute, tokens_per_minute
//   budget                what all calls of the client may spend: an object with tokens, usd
//   allow_private_images  whether images may be fetched from private addresses; default false
//   script                for "scripted": a list with the lines of each call; a line is an event of the
//                         contract, {"type": "repeat", "times", "event"}, {"type": "hold"} (wait for a cancel),
//                         {"type": "finish", "finish_reason", ...} or {"type": "error", "error": {...}}.
//                         Without it the answer repeats the last user message, word by word.
//
// Starts nothing: threads and the interpreter come with the first call, so forking is free until then. Any
// number of clients may live at once; they share one engine. After omni_shutdown a new one can be made.
//
// Gives NULL and omni_last_error if the configuration is wrong.
//
// Frees: the caller ends the client by omni_shutdown; `config_json` stays the caller's. Threads: any.
// Callbacks: works inside one.
OmniClient *omni_init(const char *config_json);

// Makes one call and waits for its reply. `request_json` is a request of the contract, e.g.
// {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}.
//
// Gives OMNI_CODE_OK and the reply in *reply_json; else the code, with the whole error in omni_last_error,
// and NULL in *reply_json. omni_shutdown from another thread ends it with OMNI_CODE_CANCELLED.
//
// Frees: the caller frees *reply_json by omni_string_free; `request_json` stays the caller's. Threads: any,
// many at once; a thread that holds the lock of a Python interpreter lets go of it while it waits;
// the thread of the engine's own loop (a LiteLLM callback) gets OMNI_CODE_UNSUPPORTED, as it would wait for
// itself. Callbacks: works inside one (and keeps the next event of that stream waiting).
OmniCode omni_chat(OmniClient *client, const char *request_json, char **reply_json);

// Adds a provider that the native engine can ask, for the calls of this client that begin from now on.
// `definition_json` has the fields of a provider in omni.toml, and its name, e.g.
// {"name": "acme", "protocol": "openai_chat", "base_url": "https://llm.acme.example/v1",
//  "key_env": "ACME_API_KEY"}; a model is then asked for as "acme/MODEL". With "persist": true it is also
// written into the user's omni.toml.
//
// Gives OMNI_CODE_OK; else OMNI_CODE_INVALID_REQUEST with the field in omni_last_error, or
// OMNI_CODE_UNSUPPORTED for a client of a bridge service: register the provider there.
//
// Frees: nothing; `definition_json` stays the caller's. Threads: any. Callbacks: works inside one.
OmniCode omni_register_provider(OmniClient *client, const char *definition_json);

// The models that are known, as a JSON list of objects with at least "id": those of the catalogue,
// or of the bridge service.
//
// Gives OMNI_CODE_OK and the list in *models_json; else the code, with the error in omni_last_error, and
// NULL in *models_json.
//
// Frees: the caller frees *models_json by omni_string_free. Threads and callbacks: as omni_chat.
OmniCode omni_models(OmniClient *client, char **models_json);

// Ends a client. Its calls are cancelled: omni_chat on other threads gives OMNI_CODE_CANCELLED, streams end
// in the event "cancelled"; stream handles stay valid until each is freed. Then waits, `timeout_ms`
// milliseconds at most (negative: without limit), until no thread is inside a call of this client and no
// callback of its streams is running.
//
// Gives OMNI_CODE_OK, or OMNI_CODE_TIMEOUT if the time ran out: the client is gone all the same, and what
// was left ends on its own. OMNI_CODE_INVALID_REQUEST if the client is gone already. The engine stays ready
// for the next client.
//
// Threads: any, also while others are inside calls of this client. Callbacks: works inside one, and then
// does not wait; nor does it on the thread of the engine's own loop (a LiteLLM callback).
OmniCode omni_shutdown(OmniClient *client, int64_t timeout_ms);

// The contract's name of an error number: "rate_limit" for OMNI_CODE_RATE_LIMIT, "ok" for 0; NULL for a
// number that is none.
//
// Frees: nothing; the text is static. Threads: any, callbacks included.
const char *omni_code_name(int32_t code);

// The error of the latest function that failed on the calling thread, as the contract's JSON: {"code",
// "message", "provider", "model", "status", "retryable", "retry_after", "request_id"}; NULL if none has
// failed here yet. Like errno it is set by a failure and left alone by success: ask only after a function
// has said that it failed.
//
// Frees: nothing; the text is valid until the next function of this library fails on this thread, or the
// thread ends. Threads: any; each has its own. Callbacks: inside one it tells of functions called inside it.
const char *omni_last_error(void);

// What stands in `json` at `pointer` (RFC 6901: "/reply/tool_calls/0/id"; "" is the whole), as JSON text: a
// string with its quotes and escapes, ready to be put into other JSON.
//
// Gives NULL, with omni_last_error, if nothing stands there or `json` is no JSON.
//
// Frees: the caller frees the result by omni_string_free; `json` and `pointer` stay the caller's. Threads: any,
// callbacks included.
char *omni_json_get(const char *json, const char *pointer);

// The string that stands in `json` at `pointer`, as plain text without quotes and escapes, ready to be shown. A
// NUL in it, which would end the text, becomes U+FFFD.
//
// Gives NULL, with omni_last_error, if no string stands there or `json` is no JSON.
//
// Frees, threads and callbacks: as omni_json_get.
char *omni_json_text(const char *json, const char *pointer);

// Starts a call whose events go to `callback`. `request_json` is as for omni_chat. The callback may run
// before this function returns, so it is given the stream.
//
// Gives the stream; or NULL, with omni_last_error, if the client is bad, the request is not what the
// contract says or `callback` is NULL: then `callback` is never called.
//
// Frees: the caller frees the stream by omni_stream_free, whether it has ended or not, also inside the
// callback; `request_json` stays the caller's; `user_data` is never looked at and must stay good until the
// callback has returned from the last event, or omni_stream_free has returned, whichever is first. Threads:
// any. Callbacks: works inside one.
OmniStream *omni_stream_start(OmniClient *client, const char *request_json, OmniCallback callback, void *user_data);

// Opens a stream whose events omni_stream_next hands out. `request_json` is as for omni_chat. The call is
// sent at the first omni_stream_next; a slow reader slows the provider down, events do not pile up here.
//
// Gives the stream; or NULL, with omni_last_error, if the client is bad or the request is not what the
// contract says. Everything that goes wrong later, connecting included, comes as the event "error".
//
// Frees: the caller frees the stream by omni_stream_free, whether it has ended or not; `request_json` stays
// the caller's. Threads: any. Callbacks: works inside one.
OmniStream *omni_stream_open(OmniClient *client, const char *request_json);

// Waits for the next event of a stream, `timeout_ms` milliseconds at most (0: takes what is there; negative:
// waits without limit). The last event is exactly one of "done", "error" and "cancelled". Waiting in vain
// takes nothing away: ask again.
//
// Gives OMNI_NEXT_EVENT and the event in *event_json, or another OmniNext and NULL there.
//
// Frees: the caller frees *event_json by omni_string_free. Threads: any; several may wait on one stream, and
// each event goes to one of them; a thread that holds the lock of a Python interpreter lets go of it while
// it waits; the thread of the engine's own loop (a LiteLLM callback) is refused unless timeout_ms is 0, as it
// would wait for itself. Callbacks: works inside a callback of another stream; a stream that has a callback
// itself is refused.
OmniNext omni_stream_next(OmniStream *stream, int64_t timeout_ms, char **event_json);

// Asks a stream's call to stop. Returns at once; the events that follow end in "cancelled", unless the call
// had ended. Cancelling twice, or after the end, does nothing.
//
// Gives OMNI_CODE_OK, or OMNI_CODE_INVALID_REQUEST if the handle names no stream.
//
// Frees: nothing; the stream still has to be freed. Threads: any, also while others wait in
// omni_stream_next: that is what it is for. Callbacks: works inside one, the stream's own included.
OmniCode omni_stream_cancel(OmniStream *stream);

// Ends a stream's handle; a call that still runs is cancelled. A thread that waits in omni_stream_next on it
// gets OMNI_NEXT_BAD_HANDLE. When it returns, the stream's callback is not running and is never called
// again, so user_data may be freed; it waits for a callback that is running, so do not hold a lock that the
// callback takes.
//
// Gives OMNI_CODE_OK; OMNI_CODE_INVALID_REQUEST, and does nothing, if the handle was freed already or never
// was one.
//
// Threads: any; a thread that holds the lock of a Python interpreter lets go of it while it waits.
// Callbacks: works inside any, and then does not wait: inside the stream's own callback, that one is the
// last; inside another's, a callback of this stream that is running just then ends on its own, and no other
// follows.
OmniCode omni_stream_free(OmniStream *stream);

// Frees a text that a function of this library gave as char * (never one that it gave as const char *, and each
// only once: a text is plain memory, a second free cannot be noticed). NULL is left alone.
//
// Threads: any, also another than the one that got it. Callbacks: works inside one.
void omni_string_free(char *text);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OMNI_BRIDGE_H */
