//! What Gemini gave goes back.

use super::*;
use crate::answer::Answer;
use crate::protocol::Protocol;
use omni_core::{Event, Fold, Message, Reply};

/// The reply of an answer with these parts, streamed or whole.
fn reply(parts: &Value, stream: bool) -> Reply {
    let document =
        json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}]});
    let text = if stream {
        format!("data: {document}\n\n")
    } else {
        document.to_string()
    };
    let context = Context {
        provider: "gemini".to_owned(),
        ..Context::default()
    };
    let mut answer = Answer::new(Protocol::Gemini, &context, "m", None);
    answer.push(text.as_bytes()).unwrap();
    let finish = answer.end().unwrap();
    let mut fold = Fold::new();
    let events: Vec<Event> = std::iter::from_fn(|| answer.event()).collect();
    for event in &events {
        fold.push(event);
    }
    fold.finish(finish, Vec::new())
}

#[test]
fn a_reply_that_is_appended_goes_back_as_it_came() {
    let parts = json!([
        {"text": "hm", "thought": true},
        {"text": "signed", "thought": true, "thoughtSignature": "Cr=="},
        {"text": "Let me see. \u{1f914}\n"},
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "Ce=="},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"functionCall": {"name": "f", "args": {"a": [1, 2.5, null], "é": "\"\\"}}, "thoughtSignature": "Cc=="},
        {"text": "Between.", "thoughtSignature": "Ct=="},
        {"functionCall": {"name": "g", "id": "given", "args": {}}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "Ci=="},
        {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "BBBB"}},
        {"text": "", "thoughtSignature": "Cl=="},
        {"toolCall": {"id": "s", "toolType": "GOOGLE_SEARCH"}, "thoughtSignature": "Cs=="},
        {"thoughtSignature": "Cz=="}
    ]);
    for stream in [true, false] {
        let message = reply(&parts, stream).message;
        assert_eq!(json!(message.extra), json!({"gemini": {}}));
        for model in ["gemini-2.5-flash", "gemini-3-flash-preview"] {
            let request = Request::new("gemini/x", vec![Message::user("x"), message.clone()]);
            let body = encode(&request, &target(model), false).unwrap().body;
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["contents"][1]["parts"], parts, "{stream}");
        }
    }
}
