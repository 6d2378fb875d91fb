mod decode;
mod encode;
mod properties;

use crate::Dialect;
use crate::answer::Answer;
use crate::fault::Fault;
use crate::protocol::{Context, Protocol, Target};
use omni_core::{Event, Fold, Reply, Request};
use serde_json::{Value, json};
use std::sync::Arc;

fn context() -> Context {
    Context {
        provider: "openai".to_owned(),
        ..Context::default()
    }
}

/// The events of an answer cut into pieces of `size` bytes, and how it ended.
fn answer(bytes: &[u8], size: usize) -> (Vec<Event>, Result<Reply, Fault>, u32) {
    let mut answer = Answer::new(Protocol::OpenaiResponses, &context(), "m", None);
    let mut events = Vec::new();
    let mut read = Ok(());
    for piece in bytes.chunks(size.max(1)) {
        read = answer.push(piece);
        events.extend(std::iter::from_fn(|| answer.event()));
        if read.is_err() {
            break;
        }
    }
    let ended = read.and_then(|()| answer.end());
    events.extend(std::iter::from_fn(|| answer.event()));
    let mut fold = Fold::new();
    for event in &events {
        fold.push(event);
    }
    let reply = ended.map(|finish| fold.finish(finish, Vec::new()));
    (events, reply, answer.ignored())
}

/// `documents` as a stream, each named as servers name it.
fn sse(documents: &[Value]) -> String {
    let frame = |document: &Value| {
        let name = document["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {document}\n\n")
    };
    documents.iter().map(frame).collect()
}

/// The last event, with `response` laid over an ordinary one.
fn completed(response: &Value) -> Value {
    let mut whole = json!({"id": "resp_1", "model": "m-1", "status": "completed", "output": []});
    crate::merge::deep(&mut whole, response);
    json!({"type": "response.completed", "response": whole})
}

/// The reply to a stream of `documents` and a last event without output.
fn streamed(documents: &[Value]) -> Reply {
    let mut documents = documents.to_vec();
    documents.push(completed(&json!({})));
    answer(sse(&documents).as_bytes(), usize::MAX).1.unwrap()
}

/// The reply to a response that is not streamed.
fn whole(output: &Value) -> Reply {
    let body = json!({"id": "resp_1", "model": "m-1", "status": "completed", "output": output});
    answer(body.to_string().as_bytes(), usize::MAX).1.unwrap()
}

fn target(provider: &str, model: &str) -> Target {
    Target {
        provider: provider.to_owned(),
        model: model.to_owned(),
        dialect: Arc::new(Dialect::default()),
    }
}

/// The body of a request with `messages` and what else is given, to a model that does not reason.
fn body(messages: &Value, more: &Value) -> Value {
    body_to(&target("openai", "gpt-4.1"), messages, more)
}

fn body_to(target: &Target, messages: &Value, more: &Value) -> Value {
    let mut request = json!({"model": "openai/m", "messages": messages});
    crate::merge::deep(&mut request, more);
    let request = Request::from_value(&request).unwrap();
    let encoded = super::encode(&request, target, false).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

/// What goes back when `reply` is appended and the model is asked again.
fn again(reply: &Reply) -> Value {
    let message = serde_json::to_value(&reply.message).unwrap();
    body(&json!([message]), &json!({}))["input"].clone()
}
