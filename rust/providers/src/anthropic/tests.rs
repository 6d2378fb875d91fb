//! What a model wrote, appended and sent again.

use super::decode::tests::{any_block, context, read, sse, stream};
use crate::{Protocol, Target};
use omni_core::{Message, Request, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The assistant's blocks of a request that goes on after `answer`.
fn sent_again(answer: Message) -> Vec<Value> {
    let request = Request::new(
        "anthropic/x",
        vec![Message::user("Hi"), answer, Message::new(Role::User, "Go on")],
    );
    let target = Target {
        provider: "anthropic".to_owned(),
        model: "claude-sonnet-4-5".to_owned(),
        dialect: std::sync::Arc::default(),
    };
    let encoded = Protocol::Anthropic.encode(&request, &target, false).unwrap();
    let mut body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let turn = body
        .pointer_mut("/messages/1")
        .map(Value::take)
        .unwrap_or_default();
    match (&turn["role"], &turn["content"]) {
        (Value::String(role), Value::Array(blocks)) if role == "assistant" => blocks.clone(),
        _ => Vec::new(),
    }
}

/// What may be left out of a message that goes back: texts that say nothing, which the wire refuses, and reasoning
/// without its proof, which it refuses too.
fn goes_back(block: &Value) -> bool {
    match block["type"].as_str().unwrap_or_default() {
        "text" => !block["text"].as_str().unwrap_or_default().trim().is_empty(),
        "thinking" => block["signature"] != "",
        "redacted_thinking" => block["data"] != "",
        _ => true,
    }
}

proptest! {
    #[test]
    fn what_a_model_wrote_goes_back_as_it_came(blocks in prop::collection::vec(any_block(), 0..6)) {
        // Calls are told apart by their ids.
        let blocks: Vec<_> = blocks.into_iter().enumerate().map(|(at, (mut whole, mut start, deltas))| {
            for block in [&mut whole, &mut start] {
                if block["id"] == "t" {
                    block["id"] = json!(format!("t{at}"));
                }
            }
            (whole, start, deltas)
        }).collect();
        let want: Vec<Value> = blocks.iter().map(|(whole, ..)| whole.clone()).filter(goes_back).collect();
        let parts: Vec<_> = blocks.into_iter().map(|(_, start, deltas)| (start, deltas)).collect();
        let streamed = read(&context(), &sse(&stream(&parts, "end_turn")), 512).1.unwrap();
        prop_assert_eq!(sent_again(streamed.message), want);
    }
}

#[test]
fn citations_callers_and_compaction_go_back_in_their_places() {
    let content = json!([
        {"type": "compaction", "content": "So far: …", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": "only+proof/=="},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}},
        {"type": "text", "text": "So", "citations": [{"type": "web_search_result_location", "encrypted_index": "E"}]},
        {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {"a": {"b": [null, 1.5, "\u{1F9E8}"]}}},
        {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"retrieved_at": null}}]);
    let body = json!({"id": "m", "content": content, "stop_reason": "tool_use"}).to_string();
    let reply = read(&context(), &body, 64).1.unwrap();
    assert_eq!(Value::Array(sent_again(reply.message)), content);
}
