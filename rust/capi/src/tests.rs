//! What the C programs of tests/c cannot reach: a client with an engine that panics, and the two lists of names.

use crate::client::{CLIENTS, Open, omni_chat, omni_shutdown};
use crate::code::{OmniCode, omni_code_name, omni_last_error};
use crate::stream::{OmniNext, omni_stream_free, omni_stream_next, omni_stream_open};
use omni_bridge_rs::testing::{Act, FakeEngine};
use omni_bridge_rs::{BoxFuture, ChatEngine, Client, Code, Engine, ModelInfo, Request, Result, Steps};
use serde_json::Value;
use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;
use std::sync::Arc;

const REQUEST: &CStr = cr#"{"model": "fake/model", "messages": [{"role": "user", "content": "Hello"}]}"#;

fn text(pointer: *const c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: the exported functions give NUL-terminated text or NULL.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned()
}

fn json(pointer: *const c_char) -> Value {
    serde_json::from_str(&text(pointer)).unwrap()
}

fn taken(pointer: *mut c_char) -> Value {
    assert!(!pointer.is_null());
    // SAFETY: it was handed over as a text of ours and is freed here only.
    serde_json::from_slice(unsafe { CString::from_raw(pointer) }.as_bytes()).unwrap()
}

#[test]
fn every_code_has_its_number_and_its_name_in_c() {
    for code in Code::ALL {
        assert_eq!(OmniCode::from(*code) as i32, code.number(), "{code}");
        assert_eq!(text(omni_code_name(code.number())), code.name());
    }
    let highest = Code::ALL.iter().map(|code| code.number()).max().unwrap();
    assert_eq!(text(omni_code_name(0)), "ok");
    assert!(omni_code_name(highest + 1).is_null() && omni_code_name(-1).is_null());
}

#[test]
fn a_panic_below_is_an_internal_error_and_the_next_call_works() {
    let engine = FakeEngine::new([
        vec![Act::Panic],
        vec![FakeEngine::start(), Act::Panic],
        FakeEngine::answer("ok"),
    ]);
    let client = Client::builder().engine(engine).build().unwrap();
    let client = CLIENTS.insert(Arc::new(Open::new(client))).unwrap();
    let mut reply = null_mut();
    // SAFETY: live handles, static text, a place of our own.
    unsafe {
        assert_eq!(
            omni_chat(client, REQUEST.as_ptr(), &raw mut reply),
            OmniCode::Internal
        );
        assert!(reply.is_null());
        assert_eq!(json(omni_last_error())["code"], "internal");

        let stream = omni_stream_open(client, REQUEST.as_ptr());
        let mut kinds = Vec::new();
        loop {
            let mut event = null_mut();
            match omni_stream_next(stream, -1, &raw mut event) {
                OmniNext::Event => kinds.push(taken(event)["type"].as_str().unwrap().to_owned()),
                other => {
                    assert_eq!(other, OmniNext::Ended);
                    break;
                }
            }
        }
        assert_eq!(kinds, ["start", "error"]);
        assert_eq!(omni_stream_free(stream), OmniCode::Ok);

        assert_eq!(omni_chat(client, REQUEST.as_ptr(), &raw mut reply), OmniCode::Ok);
        assert_eq!(taken(reply)["content"], "ok");
    }
    assert_eq!(omni_shutdown(client, -1), OmniCode::Ok);
}

/// An engine that panics outside of every stream, where nothing below the door catches it.
struct Bomb;

impl ChatEngine for Bomb {
    fn name(&self) -> Engine {
        Engine::Litellm
    }
    fn call(&self, _: &Request, _: bool) -> Steps {
        panic!("call")
    }
    fn model_info(&self, _: &str) -> BoxFuture<'_, Result<ModelInfo>> {
        panic!("model_info")
    }
    fn models(&self) -> BoxFuture<'_, Result<Value>> {
        panic!("boom")
    }
    fn count_tokens(&self, _: Request) -> BoxFuture<'_, Result<u64>> {
        panic!("count_tokens")
    }
}

#[test]
fn a_panic_at_the_door_itself_is_an_internal_error_that_names_the_function() {
    let client = Client::builder().engine(Bomb).build().unwrap();
    let client = CLIENTS.insert(Arc::new(Open::new(client))).unwrap();
    let mut models = null_mut();
    // SAFETY: a live handle and a place of our own.
    let code = unsafe { crate::client::omni_models(client, &raw mut models) };
    assert_eq!(code, OmniCode::Internal);
    let error = json(omni_last_error());
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("omni_models: a bug of omni_bridge"),
        "{error}"
    );
    // The work that the panic cut short does not count any more: shutting down does not wait for it.
    assert_eq!(omni_shutdown(client, -1), OmniCode::Ok);
}

#[test]
fn freeing_a_stream_or_shutting_a_client_down_leaves_nothing_running() {
    let engine = FakeEngine::new([vec![FakeEngine::start(), Act::Hang]]);
    let client = Client::builder().engine(engine.clone()).build().unwrap();
    let client = CLIENTS.insert(Arc::new(Open::new(client))).unwrap();
    let mut event = null_mut();
    // SAFETY: live handles, static text, places of our own.
    unsafe {
        let freed = omni_stream_open(client, REQUEST.as_ptr());
        let left = omni_stream_open(client, REQUEST.as_ptr());
        for stream in [freed, left] {
            assert_eq!(omni_stream_next(stream, -1, &raw mut event), OmniNext::Event);
            assert_eq!(taken(event)["type"], "start");
        }
        assert_eq!(engine.open(), 2);
        assert_eq!(omni_stream_free(freed), OmniCode::Ok);
        assert_eq!(engine.open(), 1, "a freed stream is dropped");
        assert_eq!(omni_shutdown(client, -1), OmniCode::Ok);
        assert_eq!(
            engine.cancelled(),
            2,
            "a client that is shut down cancels the streams that nobody reads"
        );
        assert_eq!(omni_stream_next(left, -1, &raw mut event), OmniNext::Event);
        assert_eq!(taken(event)["type"], "cancelled");
        assert_eq!(engine.open(), 0);
        assert_eq!(omni_stream_free(left), OmniCode::Ok);
    }
}
