//! An answer that is appended and sent on: to the provider that gave it, and to every other.

use crate::{Answer, Context, Protocol, Target, dialect_of};
use omni_core::{Fold, Message, Reply, Request};
use serde_json::{Value, json};

/// What stands in everything that only the provider that gave it understands.
const PROOF: &str = "PROOF+/==";

/// A provider with an answer of its wire.
struct Side {
    provider: &'static str,
    protocol: Protocol,
    model: &'static str,
    answer: Value,
    /// The place in a body where the answer goes back, and how it stands there.
    back: (&'static str, Value),
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "look", "arguments": "{\"a\":  1.50}"}})
}

fn chat(provider: &'static str, message: &Value, back: Value) -> Side {
    Side {
        provider,
        protocol: Protocol::OpenaiChat,
        model: "m",
        answer: json!({"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}),
        back: ("/messages/1", back),
    }
}

fn responses(reasoning: &Value) -> Side {
    let function = json!({"type": "function_call", "call_id": "call_1", "name": "look",
                          "arguments": "{\"a\":  1.50}"});
    let text = json!({"type": "output_text", "text": "Said."});
    let message = json!({"type": "message", "role": "assistant", "content": [text]});
    let output = json!([reasoning, {"type": "web_search_call", "id": PROOF}, message, function]);
    Side {
        provider: "openai",
        protocol: Protocol::OpenaiResponses,
        model: "gpt-5-mini",
        answer: json!({"id": "x", "status": "completed", "output": output}),
        back: ("/input", output),
    }
}

fn gemini(parts: Value) -> Side {
    let content = json!({"role": "model", "parts": parts});
    Side {
        provider: "gemini",
        protocol: Protocol::Gemini,
        model: "gemini-2.5-flash",
        answer: json!({"candidates": [{"content": content, "finishReason": "STOP"}]}),
        back: ("/contents/1/parts", parts),
    }
}

/// Every protocol, and each form in which one tells what it thought.
fn sides() -> Vec<Side> {
    let details = json!([{"type": "reasoning.text", "text": "Thought.", "signature": PROOF},
                         {"type": "reasoning.encrypted", "data": PROOF}]);
    let plain = json!({"role": "assistant", "content": "Said.", "tool_calls": [call("call00001")]});
    let mut reasoned = plain.clone();
    reasoned["reasoning_content"] = json!("Thought.");
    let mut detailed = plain.clone();
    detailed["reasoning_details"] = details;
    let mut thinking = plain.clone();
    thinking["content"] = json!([
        {"type": "thinking", "thinking": [{"type": "text", "text": "Thought."}], "signature": PROOF},
        {"type": "text", "text": "Said."}]);
    let blocks = json!([
        {"type": "thinking", "thinking": "Thought.", "signature": PROOF},
        {"type": "redacted_thinking", "data": PROOF},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": PROOF}},
        {"type": "text", "text": "Said."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1.5}}]);
    let thought = json!({"text": "Thought.", "thought": true, "thoughtSignature": PROOF});
    let function = json!({"functionCall": {"name": "look", "id": "call_1", "args": {"a": 1.5}}});
    let mut signed = function.clone();
    signed["thoughtSignature"] = json!(PROOF);
    let summary = json!([{"type": "summary_text", "text": "Thought."}]);
    vec![
        chat("openai", &reasoned, plain),
        chat("openrouter", &detailed.clone(), detailed),
        chat("mistral", &thinking.clone(), thinking),
        responses(
            &json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": PROOF}),
        ),
        responses(
            &json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": PROOF,
                         "content": [{"type": "reasoning_text", "text": "Thought."}]}),
        ),
        Side {
            provider: "anthropic",
            protocol: Protocol::Anthropic,
            model: "claude-sonnet-4-5",
            answer: json!({"id": "x", "type": "message", "content": blocks, "stop_reason": "tool_use"}),
            back: ("/messages/1/content", blocks),
        },
        gemini(json!([thought, {"text": "Said.", "thoughtSignature": PROOF},
                      {"executableCode": {"code": "1"}, "thoughtSignature": PROOF}, signed])),
        // No part but the thought shows whose it is.
        gemini(json!([thought, {"text": "Said."}, function])),
    ]
}

impl Side {
    fn reply(&self) -> Reply {
        let context = Context {
            provider: self.provider.to_owned(),
            ..Context::default()
        };
        let mut answer = Answer::new(self.protocol, &context, self.model, None);
        answer.push(self.answer.to_string().as_bytes()).unwrap();
        let finish = answer.end().unwrap();
        let mut fold = Fold::new();
        while let Some(event) = answer.event() {
            fold.push(&event);
        }
        fold.finish(finish, Vec::new())
    }

    /// The body that goes on after `answer`.
    fn body(&self, answer: &Message) -> String {
        let result = json!({"role": "tool", "tool_call_id": answer.tool_calls.as_ref().unwrap()[0].id, "content": "x"});
        let request =
            json!({"model": "p/m", "messages": [{"role": "user", "content": "Hi"}, answer, result]});
        let target = Target {
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            dialect: dialect_of(self.provider),
        };
        let request = Request::from_value(&request).unwrap();
        assert_eq!(self.protocol.declines(&request, &target), None);
        String::from_utf8(self.protocol.encode(&request, &target, false).unwrap().body).unwrap()
    }
}

#[test]
fn an_answer_goes_back_as_it_came_and_elsewhere_without_what_is_its_providers_alone() {
    for from in sides() {
        let message = from.reply().message;
        for to in sides() {
            let body = to.body(&message);
            let way = format!("{} -> {}: {body}", from.answer, to.provider);
            assert!(
                body.contains("Said.") && body.contains("look") && body.contains("1.5"),
                "{way}"
            );
            if (from.provider, from.protocol) == (to.provider, to.protocol) {
                let (place, want) = &from.back;
                let sent: Value = serde_json::from_str(&body).unwrap();
                let sent = match sent.pointer(place).unwrap() {
                    // The answer's items stand between what was asked and what the tool said.
                    Value::Array(items) if *place == "/input" => json!(items[1..items.len() - 1]),
                    other => other.clone(),
                };
                assert_eq!(&sent, want, "{way}");
            } else {
                assert!(!body.contains(PROOF), "{way}");
            }
        }
    }
}
