use super::*;
use crate::{Answer, Protocol};
use omni_core::{Event, Fold, Reply};
use proptest::prelude::*;
use serde_json::json;

pub(crate) fn context() -> Context {
    Context {
        provider: "anthropic".to_owned(),
        ..Context::default()
    }
}

/// One SSE event for each document, named by its type.
pub(crate) fn sse(documents: &[Value]) -> String {
    let frame = |doc: &Value| format!("event: {}\ndata: {doc}\n\n", doc["type"].as_str().unwrap_or("x"));
    documents.iter().map(frame).collect()
}

/// A streamed message of `blocks`, each as its start and its deltas.
pub(crate) fn stream(blocks: &[(Value, Vec<Value>)], stop: &str) -> Vec<Value> {
    let mut out = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude-x", "content": [], "stop_reason": null,
            "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}}}),
        json!({"type": "ping"}),
    ];
    for (index, (start, deltas)) in blocks.iter().enumerate() {
        out.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        for delta in deltas {
            out.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        out.push(json!({"type": "content_block_stop", "index": index}));
    }
    out.push(
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
        "usage": {"output_tokens": 7}}),
    );
    out.push(json!({"type": "message_stop"}));
    out
}

pub(crate) fn read(context: &Context, body: &str, cut: usize) -> (Vec<Event>, Result<Reply, Fault>, u32) {
    let mut answer = Answer::new(Protocol::Anthropic, context, "asked", None);
    let (mut fold, mut events) = (Fold::new(), Vec::new());
    let mut read = Ok(());
    for piece in body.as_bytes().chunks(cut.max(1)) {
        read = answer.push(piece);
        events.extend(std::iter::from_fn(|| answer.event()));
        if read.is_err() {
            break;
        }
    }
    let ended = read.and_then(|()| answer.end());
    events.extend(std::iter::from_fn(|| answer.event()));
    for event in &events {
        fold.push(event);
    }
    let ignored = answer.ignored();
    (
        events,
        ended.map(|finish| fold.finish(finish, Vec::new())),
        ignored,
    )
}

fn reply_of(documents: &[Value]) -> Reply {
    read(&context(), &sse(documents), 4096).1.unwrap()
}

fn whole(content: &Value) -> Reply {
    let body = json!({"id": "msg_1", "type": "message", "model": "claude-x", "content": content,
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}});
    read(&context(), &body.to_string(), 4096).1.unwrap()
}

fn block(start: Value, deltas: Vec<Value>) -> Vec<Value> {
    stream(&[(start, deltas)], "end_turn")
}

fn message(reply: &Reply) -> Value {
    serde_json::to_value(&reply.message).unwrap()
}

#[test]
fn text_keeps_its_citations() {
    let cited = json!({"type": "char_location", "cited_text": "x", "document_index": 0});
    let reply = reply_of(&block(
        json!({"type": "text", "text": "", "citations": []}),
        vec![
            json!({"type": "text_delta", "text": "Four"}),
            json!({"type": "citations_delta", "citation": cited}),
            json!({"type": "text_delta", "text": "."}),
        ],
    ));
    assert_eq!(reply.content, "Four.");
    assert_eq!(message(&reply)["content"][0]["annotations"], json!([cited]));
}

#[test]
fn reasoning_keeps_its_signature_and_the_redacted_its_data() {
    let reply = reply_of(&stream(
        &[
            (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                vec![
                    json!({"type": "thinking_delta", "thinking": "Two "}),
                    json!({"type": "thinking_delta", "thinking": "and two"}),
                    json!({"type": "signature_delta", "signature": "c2ln"}),
                    json!({"type": "signature_delta", "signature": "bmVk"}),
                ],
            ),
            (json!({"type": "redacted_thinking", "data": "ZGF0YQ=="}), vec![]),
        ],
        "end_turn",
    ));
    assert_eq!(
        message(&reply)["content"],
        json!([{"type": "reasoning", "text": "Two and two", "signature": "c2lnbmVk"},
               {"type": "reasoning", "text": "", "encrypted": "ZGF0YQ=="}])
    );
}

#[test]
fn a_call_streams_its_arguments_as_they_come() {
    let documents = block(
        json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}}),
        vec![
            json!({"type": "input_json_delta", "partial_json": ""}),
            json!({"type": "input_json_delta", "partial_json": "{\"a\":  "}),
            json!({"type": "input_json_delta", "partial_json": "1.0}"}),
        ],
    );
    let reply = reply_of(&documents);
    assert_eq!(reply.tool_calls[0].text(), "{\"a\":  1.0}");
    assert_eq!(
        (reply.tool_calls[0].id.as_str(), reply.tool_calls[0].name()),
        ("toolu_1", "f")
    );
    let extra = serde_json::to_value(&reply.tool_calls[0].extra).unwrap();
    assert_eq!(extra, json!({"anthropic": {"caller": {"type": "direct"}}}));
    assert_eq!(reply.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn a_call_without_streamed_arguments_has_those_of_its_start() {
    for (input, text) in [
        (json!({}), "{}"),
        (json!(null), "{}"),
        (json!({"a": [1]}), "{\"a\":[1]}"),
    ] {
        let start = json!({"type": "tool_use", "id": "t", "name": "f", "input": input});
        let piece = json!({"type": "input_json_delta", "partial_json": ""});
        assert_eq!(
            reply_of(&block(start.clone(), vec![piece])).tool_calls[0].text(),
            text
        );
        assert_eq!(whole(&json!([start])).tool_calls[0].text(), text);
    }
}

#[test]
fn what_the_provider_ran_itself_is_a_part_and_no_call() {
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]});
    let reply = reply_of(&stream(
        &[
            (
                json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}),
                vec![json!({"type": "input_json_delta", "partial_json": "{\"query\": \"x\"}"})],
            ),
            (result.clone(), vec![]),
            (
                json!({"type": "text", "text": ""}),
                vec![json!({"type": "text_delta", "text": "So."})],
            ),
        ],
        "tool_use",
    ));
    assert!(reply.tool_calls.is_empty());
    assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
    let parts = &message(&reply)["content"];
    assert_eq!(
        parts[0]["data"],
        json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}})
    );
    assert_eq!(
        parts[1],
        json!({"type": "provider", "provider": "anthropic", "kind": "web_search_tool_result", "data": result})
    );
    assert_eq!(parts[2]["text"], "So.");
}

#[test]
fn blocks_and_deltas_that_nobody_knows_are_kept_whole() {
    let reply = reply_of(&block(
        json!({"type": "compaction", "content": null}),
        vec![
            json!({"type": "compaction_delta", "content": "Sum", "novel": {"a": 1}}),
            json!({"type": "compaction_delta", "content": "mary", "encrypted_content": null}),
        ],
    ));
    assert_eq!(
        message(&reply)["content"][0]["data"],
        json!({"type": "compaction", "content": "Summary", "novel": {"a": 1}})
    );
}

#[test]
fn every_stop_reason_has_its_word() {
    for (raw, reason) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("pause_turn", FinishReason::Pause),
        ("compaction", FinishReason::Pause),
        ("refusal", FinishReason::ContentFilter),
        ("novel", FinishReason::Other),
    ] {
        let reply = reply_of(&stream(&[], raw));
        assert_eq!(reply.finish_reason, Some(reason), "{raw}");
        assert_eq!(reply.finish_reason_raw.as_deref(), Some(raw));
    }
}

#[test]
fn usage_is_merged_and_cache_reads_and_writes_are_input() {
    let reply = reply_of(&[
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1,
            "cache_read_input_tokens": 20, "cache_creation_input_tokens": 10, "service_tier": "standard",
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": null,
            "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5},
            "server_tool_use": {"web_search_requests": 2}, "iterations": [{"type": "message"}]}}),
        json!({"type": "message_stop"}),
    ]);
    let usage = serde_json::to_value(&reply.usage).unwrap();
    assert_eq!(usage["input_tokens"], 33);
    assert_eq!(usage["output_tokens"], 9);
    assert_eq!(usage["total_tokens"], 42);
    assert_eq!(usage["cached_input_tokens"], 20);
    assert_eq!(usage["cache_creation_input_tokens"], json!({"5m": 4, "1h": 6}));
    assert_eq!(usage["reasoning_tokens"], 5);
    assert_eq!(usage["server_tool_calls"], json!({"web_search_requests": 2}));
    assert_eq!(usage["raw"]["iterations"], json!([{"type": "message"}]));
    assert_eq!(reply.service_tier.as_deref(), Some("standard"));
}

#[test]
fn a_cut_off_stream_is_a_fault_and_has_the_usage_that_was_known() {
    let mut documents = block(
        json!({"type": "text", "text": ""}),
        vec![json!({"type": "text_delta", "text": "It was"})],
    );
    documents.truncate(4);
    let (events, ended, _) = read(&context(), &sse(&documents), 4096);
    assert!(matches!(ended, Err(Fault::Protocol(_))));
    let mut fold = Fold::new();
    for event in &events {
        fold.push(event);
    }
    let partial = fold.partial(Vec::new());
    assert_eq!(
        (partial.content.as_str(), partial.usage.input_tokens),
        ("It was", Some(15))
    );
}

#[test]
fn an_error_in_the_stream_is_what_the_provider_said() {
    let error = json!({"type": "overloaded_error", "message": "Overloaded"});
    let (_, ended, _) = read(
        &context(),
        &sse(&[json!({"type": "error", "error": error})]),
        4096,
    );
    assert_eq!(ended, Err(Fault::Said(error.clone())));
    let body = json!({"type": "error", "error": error}).to_string();
    assert_eq!(read(&context(), &body, 4096).1, Err(Fault::Said(error)));
}

#[test]
fn what_nobody_knows_is_counted_and_pings_are_not() {
    let mut documents = stream(&[], "end_turn");
    documents.insert(1, json!({"type": "novel_event", "x": 1}));
    assert_eq!(read(&context(), &sse(&documents), 4096).2, 1);
}

#[test]
fn what_only_this_provider_gives_is_kept() {
    let reply = reply_of(&[
        json!({"type": "message_start", "message": {"id": "m", "container": {"id": "c1"}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_sequence": "", "container": null,
            "stop_details": {"category": "cyber"}}, "context_management": {"applied_edits": []}}),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!(
        Value::Object(reply.provider_data.unwrap()),
        json!({"container": {"id": "c1"}, "stop_details": {"category": "cyber"},
               "context_management": {"applied_edits": []}})
    );
}

#[test]
fn null_absent_and_text_contents_are_no_failures() {
    assert_eq!(whole(&json!("Plain.")).content, "Plain.");
    assert_eq!(whole(&json!(null)).content, "");
    assert_eq!(
        whole(&json!([null, 1, {"type": "text", "text": null}, {"type": "text"}])).content,
        ""
    );
    let reply = reply_of(&[
        json!({"type": "message_start", "message": null}),
        json!({"type": "content_block_start", "content_block": null}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": null}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}),
        json!({"type": "content_block_stop"}),
        json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": null}),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!((reply.content.as_str(), reply.finish_reason), ("a", None));
    assert!(matches!(
        read(&context(), "{\"id\": \"m\"}", 9).1,
        Err(Fault::Protocol(_))
    ));
}

#[test]
fn blocks_that_interleave_keep_their_own_text() {
    let block = |index: u32, kind: &str| json!({"type": "content_block_start", "index": index, "content_block": {"type": kind}});
    let delta = |index: u32, kind: &str, key: &str, text: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}});
    let reply = reply_of(&[
        block(0, "thinking"),
        block(1, "text"),
        block(2, "text"),
        delta(0, "thinking_delta", "thinking", "hm"),
        delta(1, "text_delta", "text", "yes"),
        delta(2, "text_delta", "text", "no"),
        json!({"type": "message_stop"}),
    ]);
    let parts = message(&reply)["content"].take();
    let texts: Vec<&Value> = parts
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["text"])
        .collect();
    assert!(
        texts.ends_with(&[&json!("hm"), &json!("yes"), &json!("no")]),
        "{texts:?}"
    );
}

#[test]
fn the_tool_that_stands_for_the_form_of_the_answer_is_text() {
    for (name, input, text) in [
        (
            crate::anthropic::FORMAT_TOOL,
            json!({"values": [1]}),
            "{\"values\":[1]}",
        ),
        (crate::anthropic::FORMAT_VALUES, json!({"values": [1]}), "[1]"),
        (
            crate::anthropic::FORMAT_VALUES,
            json!({"other": 1}),
            "{\"other\":1}",
        ),
    ] {
        let context = Context {
            format_tool: Some(name.to_owned()),
            ..context()
        };
        let block = |input: Value| json!({"type": "tool_use", "id": "t", "name": name, "input": input});
        let piece = json!({"type": "input_json_delta", "partial_json": input.to_string()});
        let streamed = stream(&[(block(json!({})), vec![piece])], "tool_use");
        let body = json!({"content": [block(input)], "stop_reason": "tool_use"});
        for body in [sse(&streamed), body.to_string()] {
            let reply = read(&context, &body, 4096).1.unwrap();
            assert_eq!(
                (reply.content.as_str(), reply.finish_reason),
                (text, Some(FinishReason::Stop))
            );
            assert!(reply.tool_calls.is_empty());
        }
    }
}

// Any message, streamed and not.

fn piece() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,4}", "[ -~]{0,6}", "\\PC{0,4}", Just("\"\\\n".to_owned())]
}

/// A whole block, and the same as its start and its deltas.
pub(crate) fn any_block() -> impl Strategy<Value = (Value, Value, Vec<Value>)> {
    let pieces = || prop::collection::vec(piece(), 0..5);
    prop_oneof![
        pieces().prop_map(|pieces| (
            json!({"type": "text", "text": pieces.concat()}),
            json!({"type": "text", "text": ""}),
            pieces
                .iter()
                .map(|text| json!({"type": "text_delta", "text": text}))
                .collect()
        )),
        (pieces(), pieces()).prop_map(|(pieces, signature)| (
            json!({"type": "thinking", "thinking": pieces.concat(), "signature": signature.concat()}),
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            pieces
                .iter()
                .map(|text| json!({"type": "thinking_delta", "thinking": text}))
                .chain(
                    signature
                        .iter()
                        .map(|text| json!({"type": "signature_delta", "signature": text}))
                )
                .collect()
        )),
        piece().prop_map(|data| {
            let block = json!({"type": "redacted_thinking", "data": data});
            (block.clone(), block, vec![])
        }),
        (pieces(), any::<bool>(), 1..9usize).prop_map(|(pieces, ours, cut)| {
            let kind = if ours { "tool_use" } else { "server_tool_use" };
            let input = json!({"a": pieces, "b": {"c": null}});
            let text: Vec<char> = input.to_string().chars().collect();
            let block = |input| json!({"type": kind, "id": "t", "name": "f", "input": input});
            let deltas = text.chunks(cut).map(
                |part| json!({"type": "input_json_delta", "partial_json": part.iter().collect::<String>()}),
            );
            (block(input), block(json!({})), deltas.collect())
        }),
        piece().prop_map(|data| {
            let block = json!({"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"text": data}]});
            (block.clone(), block, vec![])
        }),
    ]
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events(
        blocks in prop::collection::vec(any_block(), 0..5), cut in 1..200usize,
    ) {
        let blocks: Vec<_> = blocks.into_iter().map(|(_, start, deltas)| (start, deltas)).collect();
        let body = sse(&stream(&blocks, "end_turn"));
        let (want, ended, _) = read(&context(), &body, body.len());
        let (got, also, _) = read(&context(), &body, cut);
        prop_assert_eq!(want, got);
        prop_assert_eq!(ended, also);
    }

    #[test]
    fn the_folded_stream_is_the_unstreamed_reply(blocks in prop::collection::vec(any_block(), 0..6)) {
        let content: Vec<&Value> = blocks.iter().map(|(whole, _, _)| whole).collect();
        let body = json!({"id": "msg_1", "model": "claude-x", "content": content, "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 5}}).to_string();
        let parts: Vec<_> = blocks.iter().map(|(_, start, deltas)| (start.clone(), deltas.clone())).collect();
        let streamed = read(&context(), &sse(&stream(&parts, "end_turn")), 64).1;
        let mut unstreamed = read(&context(), &body, 64).1;
        // The order of the keys of a usage object is the order in which they came.
        if let (Ok(one), Ok(other)) = (&streamed, &mut unstreamed) {
            prop_assert_eq!(&one.usage.raw, &other.usage.raw);
        }
        prop_assert_eq!(streamed, unstreamed);
    }

    #[test]
    fn the_quick_way_and_the_general_one_give_the_same_events(
        deltas in prop::collection::vec((0..3i64, 0..4usize, piece(), any::<bool>()), 1..30),
    ) {
        let (mut quick, mut slow) = (Decoder::new(&context()), Decoder::new(&context()));
        let (mut one, mut other) = (Parts::default(), Parts::default());
        let kinds = [("text_delta", "text"), ("thinking_delta", "thinking"),
                     ("input_json_delta", "partial_json"), ("signature_delta", "signature")];
        let starts = ["text", "thinking", "tool_use", "server_tool_use"];
        for (index, kind, piece, start) in deltas {
            let doc = if start {
                json!({"type": "content_block_start", "index": index,
                       "content_block": {"type": starts[kind], "id": "t", "name": "f", "text": piece}})
            } else {
                json!({"type": "content_block_delta", "index": index,
                       "delta": {"type": kinds[kind].0, kinds[kind].1: piece}})
            };
            let event = doc["type"].as_str().unwrap().to_owned();
            quick.frame(&event, &doc.to_string(), &mut one).unwrap();
            slow.general(&event, &doc.to_string(), &mut other).unwrap();
        }
        for (decoder, parts) in [(&mut quick, &mut one), (&mut slow, &mut other)] {
            decoder.general("message_stop", "{}", parts).unwrap();
            decoder.end(parts).unwrap();
        }
        let events = |parts: &mut Parts| std::iter::from_fn(|| parts.pop()).collect::<Vec<_>>();
        prop_assert_eq!(events(&mut one), events(&mut other));
    }

    #[test]
    fn no_document_makes_it_panic(
        blocks in prop::collection::vec(any_block(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        swap in any::<prop::sample::Index>(), cut in 1..300usize,
    ) {
        let blocks: Vec<_> = blocks.into_iter().map(|(_, start, deltas)| (start, deltas)).collect();
        let mut documents = stream(&blocks, "tool_use");
        let at = swap.index(documents.len());
        documents.swap(0, at);
        let mut body = sse(&documents).into_bytes();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let _ = read(&context(), &body, cut);
        let _ = read(&context(), &documents[at].to_string(), cut);
    }
}
