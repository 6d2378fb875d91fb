use super::{again, answer, completed, sse, streamed, whole};
use crate::fault::Fault;
use omni_core::{Event, FinishReason, Part};
use serde_json::{Value, json};

fn added(index: u64, item: &Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

fn done(index: u64, item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

fn more(event: &str, index: u64, text: &str) -> Value {
    json!({"type": format!("response.{event}.delta"), "output_index": index, "content_index": 0, "summary_index": 0,
           "item_id": "x", "delta": text})
}

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
           "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

#[test]
fn a_streamed_text_comes_as_deltas_and_is_not_repeated() {
    let stream = sse(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "m-1", "created_at": 7.0}}),
        added(0, &json!({"type": "message", "id": "msg_1", "content": []})),
        more("output_text", 0, "Hel"),
        more("output_text", 0, "lo"),
        json!({"type": "response.output_text.done", "output_index": 0, "text": "Hello"}),
        done(0, &message("Hello")),
        completed(&json!({"output": [message("Hello")], "usage": {"input_tokens": 1, "output_tokens": 2}})),
    ]);
    let (events, reply, ignored) = answer(stream.as_bytes(), usize::MAX);
    let reply = reply.unwrap();
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    let want = [
        "start",
        "text_start",
        "text_delta",
        "text_delta",
        "text_end",
        "usage",
    ];
    assert_eq!(kinds, want);
    assert_eq!((reply.content.as_str(), ignored), ("Hello", 0));
    assert_eq!((reply.id.as_deref(), reply.created), (Some("resp_1"), Some(7)));
    assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
    assert_eq!(reply.finish_reason_raw.as_deref(), Some("completed"));
}

#[test]
fn what_only_the_whole_text_has_comes_at_its_end() {
    let link = json!({"type": "url_citation", "url": "https://x.test", "start_index": 0, "end_index": 2});
    let part = json!({"type": "output_text", "text": "Hello", "annotations": [link], "logprobs": [{"token": "Hello"}]});
    let item = json!({"type": "message", "content": [part]});
    let reply = streamed(&[more("output_text", 0, "Hel"), done(0, &item)]);
    assert_eq!(reply.content, "Hello");
    assert_eq!(reply.logprobs, Some(json!({"content": [{"token": "Hello"}]})));
    assert_eq!(again(&reply)[0]["content"][0]["annotations"], json!([link]));
}

#[test]
fn a_text_ends_with_its_own_event_and_loses_nothing_that_comes_after() {
    let link = json!({"type": "url_citation", "url": "https://x.test"});
    let part = |links: &[Value]| json!({"type": "output_text", "text": "Hi", "annotations": links});
    for (first, last) in [
        (vec![link.clone()], vec![link.clone()]),
        (vec![], vec![link.clone()]),
    ] {
        let ended = json!({"type": "response.content_part.done", "output_index": 0, "content_index": 0,
                           "part": part(&first)});
        let item = json!({"type": "message", "content": [part(&last)]});
        let reply = streamed(&[more("output_text", 0, "Hi"), ended, done(0, &item)]);
        assert_eq!(reply.content, "Hi");
        let message = serde_json::to_value(&reply.message).unwrap();
        let parts = message["content"].as_array().unwrap().iter();
        let links: Vec<_> = parts.filter_map(|part| part.get("annotations")).collect();
        assert_eq!(links, [&json!([link])]);
    }
}

#[test]
fn annotations_that_come_alone_are_kept() {
    let link = json!({"type": "url_citation", "url": "https://x.test"});
    let alone = json!({"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0,
                       "annotation": link});
    let reply = streamed(&[more("output_text", 0, "Hi"), alone, done(0, &message("Hi"))]);
    assert_eq!(again(&reply)[0]["content"][0]["annotations"], json!([link]));
}

#[test]
fn two_texts_of_a_message_keep_their_own_annotations() {
    let link = |url: &str| json!({"type": "url_citation", "url": url});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [link(text)]});
    let mut second = more("output_text", 0, "b");
    second["content_index"] = json!(1);
    let item = json!({"type": "message", "content": [part("a"), part("b")]});
    let reply = streamed(&[more("output_text", 0, "a"), second, done(0, &item)]);
    assert_eq!(again(&reply)[0]["content"], json!([part("a"), part("b")]));
}

#[test]
fn a_refusal_is_no_text() {
    let item = json!({"type": "message", "content": [{"type": "refusal", "refusal": "I cannot"}]});
    let reply = streamed(&[more("refusal", 0, "I can"), done(0, &item)]);
    assert_eq!(
        (reply.content.as_str(), reply.refusal.as_deref()),
        ("", Some("I cannot"))
    );
}

#[test]
fn reasoning_goes_back_as_it_came() {
    let item = json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA+/=",
                      "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]});
    let mut second = more("reasoning_summary_text", 0, "two");
    second["summary_index"] = json!(1);
    let stream = [
        added(0, &json!({"type": "reasoning", "id": "rs_1", "summary": []})),
        more("reasoning_summary_text", 0, "one"),
        second,
        done(0, &item),
    ];
    for reply in [streamed(&stream), whole(&json!([item]))] {
        assert_eq!(reply.reasoning.len(), 2);
        assert_eq!(again(&reply), json!([item]));
    }
}

#[test]
fn reasoning_says_whose_it_is() {
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"});
    let reply = whole(&json!([item, message("Hi")]));
    let mark = json!({"openai": {}});
    assert_eq!(reply.message.extra.as_ref(), mark.as_object());
    assert_eq!(whole(&json!([message("Hi")])).message.extra, None);
}

#[test]
fn encrypted_reasoning_without_a_summary_goes_back() {
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"});
    assert_eq!(again(&streamed(&[done(0, &item)])), json!([item]));
}

#[test]
fn reasoning_that_says_more_than_a_summary_is_shown_and_kept_whole() {
    let item = json!({"type": "reasoning", "id": "rs_1", "summary": [], "status": "completed",
                      "content": [{"type": "reasoning_text", "text": "hmm"}], "encrypted_content": "gAAA"});
    let stream = [
        added(0, &json!({"type": "reasoning", "id": "rs_1", "summary": []})),
        more("reasoning_text", 0, "hm"),
        done(0, &item),
    ];
    for reply in [streamed(&stream), whole(&json!([item]))] {
        let Part::Reasoning { text, encrypted, .. } = &reply.reasoning[0] else {
            panic!("no reasoning")
        };
        assert_eq!((text.as_str(), encrypted.as_deref()), ("hmm", Some("gAAA")));
        assert_eq!(again(&reply), json!([item]));
    }
}

#[test]
fn reasoning_that_is_whole_after_the_text_keeps_its_place() {
    // OpenRouter tells that a reasoning item is done when the message after it is.
    for (event, item) in [
        (
            "reasoning_summary_text",
            json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hmm"}],
                   "encrypted_content": "gAAA"}),
        ),
        (
            "reasoning_text",
            json!({"type": "reasoning", "id": "rs_1", "summary": [],
                   "content": [{"type": "reasoning_text", "text": "hmm"}]}),
        ),
    ] {
        let reply = streamed(&[
            added(0, &json!({"type": "reasoning", "id": "rs_1", "summary": []})),
            more(event, 0, "hmm"),
            more("output_text", 1, "Hi"),
            done(1, &message("Hi")),
            done(0, &item),
        ]);
        let sent = again(&reply);
        assert_eq!(sent[0], item);
        assert_eq!(sent[1]["content"][0]["text"], "Hi");
        assert_eq!(sent.as_array().unwrap().len(), 2);
    }
}

#[test]
fn interleaved_calls_keep_their_own_arguments() {
    let call = |n: u32, arguments: &str| {
        json!({"type": "function_call", "id": format!("fc_{n}"),
        "call_id": format!("call_{n}"), "name": format!("f{n}"), "arguments": arguments, "status": "completed"})
    };
    let reply = streamed(&[
        added(0, &call(0, "")),
        added(1, &call(1, "")),
        more("function_call_arguments", 1, "{\"b\" :"),
        more("function_call_arguments", 0, "{\"a\":"),
        more("function_call_arguments", 1, " 2}"),
        done(1, &call(1, "{\"b\" : 2}")),
        done(0, &call(0, "{\"a\": 1}")),
    ]);
    let said: Vec<_> = reply
        .tool_calls
        .iter()
        .map(|call| (call.name(), call.text()))
        .collect();
    assert_eq!(said, [("f0", "{\"a\": 1}"), ("f1", "{\"b\" : 2}")]);
    assert_eq!(reply.finish_reason, Some(FinishReason::ToolCalls));
    let sent = json!({"type": "function_call", "call_id": "call_1", "name": "f1", "arguments": "{\"b\" : 2}",
                      "id": "fc_1"});
    assert_eq!(again(&reply)[1], sent);
}

#[test]
fn a_custom_call_has_input_and_its_result_is_named_so() {
    let item = json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "sql", "input": "SELECT 1"});
    let reply = streamed(&[
        added(
            0,
            &json!({"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": ""}),
        ),
        more("custom_tool_call_input", 0, "SELECT"),
        done(0, &item),
    ]);
    assert_eq!(
        (reply.tool_calls[0].kind.as_str(), reply.tool_calls[0].text()),
        ("custom", "SELECT 1")
    );
    assert_eq!(again(&reply), json!([item]));
}

#[test]
fn events_without_a_number_are_matched_by_id_or_order() {
    let bare = |mut document: Value| {
        document.as_object_mut().unwrap().shift_remove("output_index");
        document
    };
    let call = |n: u32| json!({"type": "function_call", "id": format!("fc_{n}"), "call_id": format!("c{n}"), "name": "f"});
    let arguments = |n: u32, text: &str| json!({"type": "response.function_call_arguments.delta", "item_id": format!("fc_{n}"), "delta": text});
    let reply = streamed(&[
        bare(added(0, &call(0))),
        bare(added(0, &call(1))),
        arguments(0, "[0"),
        arguments(1, "[1"),
        arguments(0, "]"),
        arguments(1, "]"),
    ]);
    let said: Vec<_> = reply.tool_calls.iter().map(omni_core::ToolCall::text).collect();
    assert_eq!(said, ["[0]", "[1]"]);
}

#[test]
fn what_the_provider_ran_itself_is_kept_whole_and_in_place() {
    let search = json!({"type": "web_search_call", "id": "ws_1", "status": "completed",
                        "action": {"type": "search", "query": "q"}, "novel": {"z": 1, "a": null}});
    let body = json!([search, message("Found"), {"type": "novel_item", "x": 1}]);
    let reply = whole(&body);
    let sent = again(&reply);
    assert_eq!((&sent[0], &sent[2]), (&search, &body[2]));
    assert!(reply.tool_calls.is_empty());
    assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
}

#[test]
fn a_picture_is_shown_and_its_item_kept() {
    let item = json!({"type": "image_generation_call", "id": "ig_1", "status": "completed", "output_format": "webp",
                      "result": "UklGRg=="});
    let reply = whole(&json!([item]));
    let message = serde_json::to_value(&reply.message).unwrap();
    assert_eq!(
        message["content"][0]["image_url"]["url"],
        "data:image/webp;base64,UklGRg=="
    );
    assert_eq!(again(&reply), json!([item]));
}

#[test]
fn what_was_not_streamed_is_taken_from_the_last_event() {
    let search = json!({"type": "web_search_call", "id": "ws_1"});
    let documents = [
        more("output_text", 1, "Hi"),
        completed(&json!({"output": [search, message("Hi there")]})),
    ];
    let reply = answer(sse(&documents).as_bytes(), usize::MAX).1.unwrap();
    assert_eq!(reply.content, "Hi there");
    assert_eq!(again(&reply).as_array().unwrap().len(), 2);
}

#[test]
fn usage_is_read_and_what_is_unknown_stays_so() {
    let usage = json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}, "output_tokens_details": null,
        "cost_in_usd_ticks": 37_756_000});
    let stream = sse(&[completed(&json!({"usage": usage, "service_tier": "flex"}))]);
    let reply = answer(stream.as_bytes(), usize::MAX).1.unwrap();
    let got = &reply.usage;
    assert_eq!(
        (got.input_tokens, got.output_tokens, got.total_tokens),
        (Some(10), Some(5), Some(15))
    );
    assert_eq!((got.cached_input_tokens, got.reasoning_tokens), (Some(4), None));
    assert_eq!(
        got.cache_creation_input_tokens.as_ref().unwrap().five_minutes,
        Some(3)
    );
    assert!((got.cost_usd.unwrap() - 0.003_775_6).abs() < 1e-12);
    assert_eq!(
        (got.raw.as_ref(), reply.service_tier.as_deref()),
        (Some(&usage), Some("flex"))
    );
}

#[test]
fn the_reason_of_an_incomplete_answer_is_told() {
    for (reason, want) in [
        ("max_output_tokens", FinishReason::Length),
        ("content_filter", FinishReason::ContentFilter),
        ("something_new", FinishReason::Other),
    ] {
        let response =
            json!({"status": "incomplete", "incomplete_details": {"reason": reason}, "output": []});
        let last = json!({"type": "response.incomplete", "response": response});
        let reply = answer(sse(&[last]).as_bytes(), usize::MAX).1.unwrap();
        assert_eq!(reply.finish_reason, Some(want));
        assert_eq!(reply.finish_reason_raw.as_deref(), Some(reason));
    }
    let cancelled = json!({"type": "response.cancelled", "response": {"status": "cancelled"}});
    let reply = answer(sse(&[cancelled]).as_bytes(), usize::MAX).1.unwrap();
    assert_eq!(reply.finish_reason, Some(FinishReason::Other));
}

#[test]
fn failures_in_the_stream_are_the_providers_word() {
    let error = json!({"code": "server_error", "message": "overloaded"});
    let flat = json!({"type": "error", "code": "server_error", "message": "overloaded"});
    for (document, want) in [
        (
            json!({"type": "response.failed", "response": {"status": "failed", "error": error}}),
            &error,
        ),
        (json!({"type": "response.failed", "error": error}), &error),
        (json!({"type": "error", "error": error}), &error),
        (json!({"error": error}), &error),
        (flat.clone(), &flat),
    ] {
        let (events, reply, _) = answer(
            sse(&[more("output_text", 0, "Hi"), document]).as_bytes(),
            usize::MAX,
        );
        assert_eq!(reply.unwrap_err(), Fault::Said(want.clone()));
        assert!(
            events.iter().any(|event| event.kind() == "text_delta"),
            "what came before it is told"
        );
    }
    let body = json!({"error": error, "output": []});
    assert_eq!(
        answer(body.to_string().as_bytes(), 3).1.unwrap_err(),
        Fault::Said(error)
    );
}

#[test]
fn a_stream_without_its_last_event_is_a_fault() {
    let stream = sse(&[more("output_text", 0, "Hi"), done(0, &message("Hi"))]);
    assert!(matches!(
        answer(stream.as_bytes(), usize::MAX).1,
        Err(Fault::Protocol(_))
    ));
    for body in ["{}", "[]", "{\"output\": null}", "{\"output\": "] {
        assert!(
            matches!(answer(body.as_bytes(), usize::MAX).1, Err(Fault::Protocol(_))),
            "{body}"
        );
    }
}

#[test]
fn unknown_events_are_counted_and_left_out() {
    let documents = [
        json!({"type": "response.novel.thing", "x": 1}),
        json!({"type": "keepalive"}),
        json!(["no object"]),
        json!({"type": "response.web_search_call.searching"}),
        completed(&json!({})),
    ];
    let (_, reply, ignored) = answer(sse(&documents).as_bytes(), usize::MAX);
    assert!(reply.is_ok());
    assert_eq!(ignored, 3);
}

#[test]
fn fields_may_be_null_or_of_another_kind() {
    let odd = json!({"id": null, "model": 7, "created_at": "x", "usage": [], "output": [null, 3, {"type": null}, {}],
                     "incomplete_details": "x", "metadata": {}, "service_tier": null});
    let stream = sse(&[
        json!({"type": "response.created", "response": null}),
        json!({"type": "response.output_text.delta", "delta": null, "output_index": null}),
        json!({"type": "response.output_text.delta", "delta": "Hi", "output_index": "0", "content_index": -1}),
        json!({"type": "response.output_item.done", "item": null}),
        completed(&odd),
    ]);
    assert_eq!(answer(stream.as_bytes(), 1).1.unwrap().content, "Hi");
}

#[test]
fn the_phase_of_a_message_goes_back() {
    let mut item = message("Hi");
    item["phase"] = json!("final_answer");
    assert_eq!(again(&whole(&json!([item])))[0]["phase"], "final_answer");
}

#[test]
fn items_that_all_have_the_same_number_are_told_apart() {
    let call = |n: u32| {
        json!({"type": "function_call", "id": format!("fc_{n}"), "call_id": format!("c{n}"), "name": "f",
                               "arguments": format!("[{n}]")})
    };
    let reply = streamed(&[
        added(0, &call(1)),
        done(0, &call(1)),
        added(0, &call(2)),
        done(0, &call(2)),
    ]);
    let said: Vec<_> = reply.tool_calls.iter().map(omni_core::ToolCall::text).collect();
    assert_eq!(said, ["[1]", "[2]"]);
}
