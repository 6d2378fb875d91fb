use super::{again, answer, context, sse, whole};
use crate::openai_responses::Decoder;
use crate::parts::Parts;
use crate::protocol::Decode;
use omni_core::Event;
use proptest::prelude::*;
use serde_json::{Value, json};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\\n\u{e9}\u{1f9e8}]{1,12}", "\\PC{1,8}"]
}

fn item() -> impl Strategy<Value = Value> {
    let message = prop::collection::vec((text(), any::<bool>()), 1..3).prop_map(|parts| {
        let part = |(text, cites): (String, bool)| {
            let link = json!({"type": "url_citation", "url": text});
            json!({"type": "output_text", "text": text, "annotations": if cites { vec![link] } else { vec![] }})
        };
        json!({"type": "message", "role": "assistant", "content": parts.into_iter().map(part).collect::<Vec<_>>()})
    });
    let summaries = prop::collection::vec(text(), 0..3);
    let encrypted = prop::option::of("[A-Za-z0-9+/=]{4}");
    let reasoning = (summaries, encrypted, any::<bool>()).prop_map(|(texts, encrypted, content)| {
        let kind = if content { "reasoning_text" } else { "summary_text" };
        let texts: Vec<_> = texts
            .iter()
            .map(|text| json!({"type": kind, "text": text}))
            .collect();
        let mut item = json!({"type": "reasoning", "summary": []});
        if !texts.is_empty() {
            item[if content { "content" } else { "summary" }] = json!(texts);
        }
        if let Some(encrypted) = encrypted {
            item["encrypted_content"] = json!(encrypted);
        }
        item
    });
    let call = (text(), any::<bool>()).prop_map(|(text, custom)| {
        if custom {
            json!({"type": "custom_tool_call", "name": "c", "input": text})
        } else {
            json!({"type": "function_call", "name": "f", "arguments": text})
        }
    });
    let own = text().prop_map(|text| json!({"type": "web_search_call", "action": {"query": text}}));
    prop_oneof![message, reasoning, call, own]
}

/// Items with ids and call ids of their own.
fn output() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(item(), 0..5).prop_map(|mut items| {
        for (at, item) in items.iter_mut().enumerate() {
            item["id"] = json!(format!("item_{at}"));
            if item.get("name").is_some() {
                item["call_id"] = json!(format!("call_{at}"));
            }
        }
        items
    })
}

/// The events that an item is streamed in, its texts in two pieces.
fn streamed_item(index: usize, item: &Value) -> Vec<Value> {
    let mut bare = item.clone();
    for key in ["content", "summary"] {
        if bare.get(key).is_some() {
            bare[key] = json!([]);
        }
    }
    for key in ["arguments", "input"] {
        if bare.get(key).is_some() {
            bare[key] = json!("");
        }
    }
    let mut out = vec![json!({"type": "response.output_item.added", "output_index": index, "item": bare})];
    let mut pieces = |event: &str, number: &str, at: usize, text: &str| {
        let middle = (0..=text.len() / 2)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap();
        for piece in [&text[..middle], &text[middle..]] {
            out.push(json!({"type": format!("response.{event}.delta"), "item_id": item["id"], "output_index": index,
                            number: at, "delta": piece, "sequence_number": 1, "obfuscation": "x"}));
        }
    };
    for (at, part) in item["content"].as_array().into_iter().flatten().enumerate() {
        let event = if part["type"] == "output_text" {
            "output_text"
        } else {
            "reasoning_text"
        };
        pieces(event, "content_index", at, part["text"].as_str().unwrap());
    }
    for (at, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
        pieces(
            "reasoning_summary_text",
            "summary_index",
            at,
            part["text"].as_str().unwrap(),
        );
    }
    if let Some(text) = item["arguments"].as_str() {
        pieces("function_call_arguments", "content_index", 0, text);
    }
    if let Some(text) = item["input"].as_str() {
        pieces("custom_tool_call_input", "content_index", 0, text);
    }
    out.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    out
}

/// The streams of the items, one after the other, or all of them at the same time.
fn stream(items: &[Value], at_once: bool) -> Vec<Value> {
    let mut queues: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(at, item)| streamed_item(at, item).into_iter().peekable())
        .collect();
    let mut out = vec![json!({"type": "response.created", "response": {"id": "resp_1", "model": "m-1"}})];
    if at_once {
        // Items begin in their order.
        out.extend(queues.iter_mut().filter_map(Iterator::next));
        while queues.iter_mut().any(|queue| queue.peek().is_some()) {
            out.extend(queues.iter_mut().filter_map(Iterator::next));
        }
    } else {
        out.extend(queues.into_iter().flatten());
    }
    let response = json!({"id": "resp_1", "model": "m-1", "status": "completed", "output": items});
    out.push(json!({"type": "response.completed", "response": response}));
    out
}

fn events_by(general: bool, documents: &[Value], named: bool) -> Vec<Event> {
    let mut decoder = Decoder::new(&context());
    let mut parts = Parts::default();
    for document in documents {
        let event = if named {
            document["type"].as_str().unwrap()
        } else {
            ""
        };
        let read = if general {
            decoder.general(event, &document.to_string(), &mut parts)
        } else {
            decoder.frame(event, &document.to_string(), &mut parts)
        };
        read.unwrap();
    }
    decoder.end(&mut parts).unwrap();
    std::iter::from_fn(|| parts.pop()).collect()
}

/// A random place in a document.
fn inside(at: &mut Value, key: prop::sample::Index, depth: u32) -> &mut Value {
    let room = match at {
        Value::Object(object) => object.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if room == 0 || depth == 0 {
        return at;
    }
    let chosen = key.index(room);
    let next = match at {
        Value::Object(object) => object.values_mut().nth(chosen),
        other => other.get_mut(chosen),
    };
    inside(next.unwrap(), key, depth - 1)
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events(items in output(), at_once: bool, size in 1usize..40) {
        let stream = sse(&stream(&items, at_once));
        prop_assert_eq!(answer(stream.as_bytes(), size), answer(stream.as_bytes(), usize::MAX));
    }

    #[test]
    fn the_fast_way_gives_the_same_events(items in output(), at_once: bool, named: bool) {
        let stream = stream(&items, at_once);
        prop_assert_eq!(events_by(false, &stream, named), events_by(true, &stream, named));
    }

    #[test]
    fn a_stream_folds_to_the_reply_of_the_whole(items in output()) {
        let (events, reply, ignored) = answer(sse(&stream(&items, false)).as_bytes(), usize::MAX);
        prop_assert_eq!(ignored, 0);
        prop_assert_eq!(reply.unwrap(), whole(&json!(items)));
        let starts = events.iter().filter(|event| event.kind().ends_with("_start")).count();
        let ends = events.iter().filter(|event| event.kind().ends_with("_end")).count();
        prop_assert_eq!(starts, ends);
    }

    #[test]
    fn items_go_back_as_they_came(items in output(), at_once: bool) {
        let reply = answer(sse(&stream(&items, at_once)).as_bytes(), usize::MAX).1.unwrap();
        let kept = |item: &&Value| item["type"] != "message";
        let sent = again(&reply);
        let sent: Vec<_> = sent.as_array().unwrap().iter().filter(|item| item.get("role").is_none()).collect();
        let want: Vec<_> = items.iter().filter(kept).collect();
        prop_assert_eq!(sent, want);
        let texts = items.iter().flat_map(|item| item["content"].as_array().into_iter().flatten());
        let texts: String = texts.filter(|part| part["type"] == "output_text").filter_map(|part| part["text"].as_str()).collect();
        prop_assert!(at_once || reply.content == texts);
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(
        items in output(), at_once: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..8), 1..6),
    ) {
        let mut documents = stream(&items, at_once);
        for (which, key, change) in changes {
            let chosen = which.index(documents.len());
            if change == 7 {
                let copy = documents[chosen].clone();
                documents.push(copy);
                continue;
            }
            let at = inside(&mut documents[chosen], key, 3);
            *at = [json!(null), json!(""), json!(-1), json!(u64::MAX), json!([[]]), json!({"type": "reasoning"}),
                   json!("response.output_text.delta")][change].clone();
        }
        let _ = answer(sse(&documents).as_bytes(), 50);
        let _ = answer(documents[0].to_string().as_bytes(), 50);
        if let Some(response) = documents.last().unwrap().get("response") {
            let _ = answer(response.to_string().as_bytes(), 50);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer(&bytes, 7);
        let mut framed = b"event: response.output_item.done\ndata: ".to_vec();
        framed.extend(bytes);
        let _ = answer(&framed, 7);
    }
}
