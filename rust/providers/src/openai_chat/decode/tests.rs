#![expect(
    clippy::needless_pass_by_value,
    reason = "tests write their documents where they use them"
)]

use super::*;
use crate::{Answer, Protocol};
use omni_core::{Event, Fold, Reply};
use serde_json::json;

mod properties;

/// All that a decoder made of some documents.
#[derive(Debug, PartialEq)]
struct Read {
    events: Vec<Event>,
    end: Result<Finish, Fault>,
    ignored: u32,
}

fn context() -> Context {
    Context {
        provider: "openai".to_owned(),
        audio_format: Some("mp3".to_owned()),
        ..Context::default()
    }
}

/// Decodes documents one by one, as a stream or the first as a whole answer.
fn read<T: AsRef<str>>(documents: &[T], whole: bool, quick: bool) -> Read {
    let mut decoder = Decoder::new(&context());
    decoder.quick = quick;
    let mut parts = Parts::default();
    let mut said = Ok(());
    for document in documents {
        let document = document.as_ref();
        said = if whole {
            decoder.body(document.as_bytes(), &mut parts)
        } else {
            decoder.frame("", document, &mut parts)
        };
        if whole || said.is_err() {
            break;
        }
    }
    let end = said.and_then(|()| decoder.end(&mut parts));
    let ignored = parts.ignored;
    Read {
        events: std::iter::from_fn(|| parts.pop()).collect(),
        end,
        ignored,
    }
}

fn folded(read: Read) -> Reply {
    let mut fold = Fold::new();
    for event in &read.events {
        fold.push(event);
    }
    fold.finish(read.end.unwrap(), Vec::new())
}

fn texts(documents: &[Value]) -> Vec<String> {
    let texts = documents.iter().map(Value::to_string);
    texts.chain(["[DONE]".to_owned()]).collect()
}

/// The reply that a stream of these documents folds to, in both ways of reading.
fn streamed(documents: &[Value]) -> Reply {
    let texts = texts(documents);
    let read_quickly = read(&texts, false, true);
    assert_eq!(read_quickly, read(&texts, false, false));
    folded(read_quickly)
}

fn deltas(deltas: &[Value]) -> Reply {
    streamed(
        &deltas
            .iter()
            .map(|delta| chunk(delta.clone()))
            .collect::<Vec<_>>(),
    )
}

fn chunk(delta: Value) -> Value {
    json!({"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 7, "model": "m-1",
           "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn whole(message: Value, finish: &str) -> Reply {
    let document = json!({"id": "c", "object": "chat.completion", "created": 7, "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
    .to_string();
    let read_quickly = read(&[&document], true, true);
    assert_eq!(read_quickly, read(&[&document], true, false));
    folded(read_quickly)
}

fn fault(document: &Value) -> Fault {
    read(&[document.to_string()], false, true).end.unwrap_err()
}

fn calls(reply: &Reply) -> Vec<(&str, &str, &str)> {
    reply
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), call.name(), call.text()))
        .collect()
}

fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    json!({"tool_calls": [{"index": index, "id": id, "type": "function",
                           "function": {"name": name, "arguments": arguments}}]})
}

#[test]
fn common_documents_are_read_the_quick_way() {
    for delta in [
        json!({"content": "a \"quoted\" word"}),
        json!({"role": "assistant", "content": "", "refusal": null, "tool_calls": null}),
        json!({"role": "assistant", "content": null, "reasoning_content": "hm"}),
        json!({"reasoning": "hm", "reasoning_details": null}),
        call(json!(1), json!(null), json!(null), json!("{\"a\"")),
        json!({}),
    ] {
        let mut document = chunk(delta);
        document["system_fingerprint"] = json!("fp");
        document["usage"] = json!(null);
        document["choices"][0]["logprobs"] = json!(null);
        document["choices"][0]["content_filter_results"] = json!({"hate": {"filtered": false}});
        assert!(
            Document::read(&document.to_string(), &Remembered::default()).is_some(),
            "{document}"
        );
    }
}

#[test]
fn text_is_bracketed_and_nothing_said_says_nothing() {
    let documents = [
        chunk(json!({"role": "assistant", "content": ""})),
        chunk(json!({"content": "He"})),
        chunk(json!({"content": null})),
        chunk(json!({"content": "y"})),
    ];
    let read = read(&texts(&documents), false, true);
    let text = |text: &str| Event::TextDelta {
        index: 0,
        text: text.to_owned(),
    };
    let end = Event::TextEnd {
        index: 0,
        annotations: None,
        signature: None,
    };
    assert_eq!(
        read.events,
        [Event::TextStart { index: 0 }, text("He"), text("y"), end]
    );
}

#[test]
fn reasoning_comes_under_two_names_and_stands_before_the_text() {
    for name in ["reasoning", "reasoning_content"] {
        let reply = deltas(&[
            json!({name: "so"}),
            json!({name: "…", "content": ""}),
            json!({"content": "x"}),
        ]);
        assert_eq!(reply.content, "x");
        assert_eq!(
            json!(reply.reasoning),
            json!([{"type": "reasoning", "text": "so…"}])
        );
    }
}

#[test]
fn content_is_a_string_a_list_or_an_object() {
    for content in [
        json!("hey"),
        json!([{"type": "text", "text": "hey"}]),
        json!(["he", {"text": "y"}]),
        json!({"type": "output_text", "text": "hey"}),
    ] {
        assert_eq!(deltas(&[json!({"content": content})]).content, "hey");
    }
    assert_eq!(deltas(&[json!({"content": {"a": 1}})]).content, "{\"a\":1}");
}

#[test]
fn thinking_parts_are_reasoning_with_their_signature() {
    let thinking =
        json!({"type": "thinking", "thinking": [{"type": "text", "text": "so"}], "signature": "s"});
    let reply = deltas(&[json!({"content": [thinking, {"type": "text", "text": "x"}]})]);
    assert_eq!(
        json!(reply.reasoning),
        json!([{"type": "reasoning", "text": "so", "signature": "s"}])
    );
    assert_eq!(reply.content, "x");
    assert_eq!(json!(reply.message.extra), json!({"openai": {}}));
}

#[test]
fn parts_of_unknown_types_are_kept_in_place() {
    let part = json!({"type": "reference", "reference_ids": [1]});
    let reply =
        deltas(&[json!({"content": [{"type": "text", "text": "a"}, part, {"type": "text", "text": "b"}]})]);
    assert_eq!(reply.content, "ab");
    let content = json!(reply.message.content);
    assert_eq!(content[1]["data"], part);
    assert_eq!(content[1]["provider"], "openai");
}

#[test]
fn a_refusal_is_no_text() {
    let reply = deltas(&[
        json!({"refusal": "I ca"}),
        json!({"refusal": "n't", "content": null}),
    ]);
    assert_eq!(
        (reply.refusal.as_deref(), reply.content.as_str()),
        (Some("I can't"), "")
    );
}

#[test]
fn annotations_stand_at_their_text_and_late_ones_are_kept() {
    let note = json!({"type": "url_citation", "url_citation": {"url": "https://a.example"}});
    let reply = deltas(&[json!({"content": "x"}), json!({"annotations": [note]})]);
    assert_eq!(json!(reply.message.content)[0]["annotations"], json!([note]));
    let reply = deltas(&[
        json!({"content": "x"}),
        call(json!(0), json!("a"), json!("f"), json!("{}")),
        json!({"annotations": [note]}),
    ]);
    assert_eq!(reply.provider_data.unwrap()["annotations"], json!([note]));
}

#[test]
fn images_are_media_and_their_addresses_provider_data() {
    let images = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]);
    let reply = whole(json!({"content": "x", "images": images}), "stop");
    assert_eq!(
        json!(reply.message.content)[1]["image_url"]["url"],
        "data:image/png;base64,QQ=="
    );
    assert_eq!(
        reply.provider_data.unwrap()["images"],
        json!(["https://a.example/b.png"])
    );
}

#[test]
fn sound_is_joined_and_its_id_goes_back() {
    let reply = deltas(&[
        json!({"audio": {"id": "a1", "transcript": "he"}}),
        json!({"audio": {"data": "QUJD"}}),
        json!({"audio": {"data": "REVG", "transcript": "y", "expires_at": 9}}),
    ]);
    let content = json!(reply.message.content);
    assert_eq!(
        content[0]["input_audio"],
        json!({"data": "QUJDREVG", "format": "mp3"})
    );
    let audio = &reply.provider_data.unwrap()["audio"];
    assert_eq!(audio, &json!({"id": "a1", "transcript": "hey", "expires_at": 9}));
    assert_eq!(reply.message.other["audio"], json!({"id": "a1"}));
}

#[test]
fn log_probabilities_are_joined() {
    let with = |token: &str| {
        let mut document = chunk(json!({"content": token}));
        document["choices"][0]["logprobs"] = json!({"content": [{"token": token}], "refusal": null});
        document
    };
    let reply = streamed(&[with("a"), with("b")]);
    assert_eq!(
        reply.logprobs,
        Some(json!({"content": [{"token": "a"}, {"token": "b"}]}))
    );
}

#[test]
fn calls_may_interleave() {
    let reply = deltas(&[
        call(json!(0), json!("a"), json!("f"), json!("")),
        call(json!(1), json!("b"), json!("g"), json!("[")),
        call(json!(0), json!(null), json!(null), json!("{")),
        call(json!(1), json!(""), json!(""), json!("]")),
        call(json!(0), json!(null), json!(null), json!("}")),
    ]);
    assert_eq!(calls(&reply), [("a", "f", "{}"), ("b", "g", "[]")]);
}

#[test]
fn a_call_without_number_begins_by_its_id_and_goes_on_without() {
    let reply = deltas(&[
        call(json!(null), json!("a"), json!("f"), json!("{")),
        call(json!(null), json!(null), json!(null), json!("}")),
        call(json!(null), json!("b"), json!("g"), json!("")),
        call(json!(null), json!("b"), json!(null), json!("1")),
    ]);
    assert_eq!(calls(&reply), [("a", "f", "{}"), ("b", "g", "1")]);
}

#[test]
fn calls_that_are_all_numbered_nought_are_told_apart() {
    let reply = deltas(&[
        call(json!(0), json!("a"), json!("f"), json!("1")),
        call(json!(0), json!("b"), json!("g"), json!("2")),
        call(json!(0), json!(null), json!(null), json!("3")),
        call(json!(0), json!("a"), json!("f"), json!("4")),
    ]);
    assert_eq!(calls(&reply), [("a", "f", "14"), ("b", "g", "23")]);
    // Without ids: two names in one document, or another name after arguments.
    let one =
        |name: &str, arguments: &str| json!({"index": 0, "function": {"name": name, "arguments": arguments}});
    let reply = deltas(&[
        json!({"tool_calls": [one("f", "1"), one("f", "2")]}),
        json!({"tool_calls": [one("g", "3")]}),
    ]);
    let told: Vec<_> = calls(&reply)
        .into_iter()
        .map(|(_, name, text)| (name, text))
        .collect();
    assert_eq!(told, [("f", "1"), ("f", "2"), ("g", "3")]);
}

#[test]
fn a_number_that_comes_with_the_same_id_again_is_the_same_call() {
    let reply = deltas(&[
        call(json!(0), json!("a"), json!("f"), json!("1")),
        call(json!(0), json!("a"), json!("f"), json!("2")),
        call(json!(0), json!("other"), json!(null), json!("3")),
    ]);
    assert_eq!(calls(&reply), [("a", "f", "123")]);
}

#[test]
fn each_call_of_a_whole_answer_is_its_own() {
    let one = json!({"id": "", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let reply = whole(json!({"content": null, "tool_calls": [one, one]}), "tool_calls");
    assert_eq!(calls(&reply), [("call_1_c", "f", "{}"), ("call_2_c", "f", "{}")]);
}

#[test]
fn arguments_that_come_before_the_name_are_held_and_an_id_is_made_of_what_is_known() {
    let reply = deltas(&[
        call(json!(0), json!(null), json!(null), json!("{")),
        call(json!(0), json!(null), json!("f"), json!("}")),
    ]);
    assert_eq!(calls(&reply), [("call_1_456789abcdef", "f", "{}")]);
}

#[test]
fn a_call_of_nothing_at_all_is_none() {
    assert_eq!(deltas(&[json!({"tool_calls": [{"index": 0}]})]).tool_calls, []);
}

#[test]
fn calls_that_are_no_list_are_none() {
    for none in [json!({"content": "y"}), json!({}), json!("y"), json!(3)] {
        let reply = deltas(&[json!({"content": "x", "tool_calls": none})]);
        assert_eq!((reply.content.as_str(), reply.tool_calls.len()), ("x", 0));
    }
}

#[test]
fn custom_tools_give_their_input() {
    let piece =
        |custom: Value| json!({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": custom}]});
    let reply = deltas(&[
        piece(json!({"name": "sql", "input": "SEL"})),
        piece(json!({"input": "ECT"})),
    ]);
    assert_eq!(calls(&reply), [("a", "sql", "SELECT")]);
    assert_eq!(reply.tool_calls[0].kind, "custom");
}

#[test]
fn the_older_function_call_is_a_call() {
    let reply = deltas(&[
        json!({"function_call": {"name": "f", "arguments": ""}}),
        json!({"function_call": {"arguments": "{}"}}),
    ]);
    assert_eq!((calls(&reply)[0].1, calls(&reply)[0].2), ("f", "{}"));
    let empty = json!({"content": "x", "function_call": {"name": "", "arguments": ""}});
    assert_eq!(whole(empty, "stop").tool_calls, []);
}

#[test]
fn arguments_may_come_as_an_object() {
    let reply = whole(
        json!({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"b": [1]}}}]}),
        "stop",
    );
    assert_eq!(calls(&reply), [("a", "f", "{\"b\":[1]}")]);
    assert_eq!(reply.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn a_signature_of_a_call_is_kept_with_the_object_that_it_came_in() {
    let extra = json!({"google": {"thought_signature": "s=="}});
    let one = json!({"id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra});
    let reply = whole(json!({"tool_calls": [one]}), "stop");
    assert_eq!(reply.tool_calls[0].signature.as_deref(), Some("s=="));
    assert_eq!(
        json!(reply.tool_calls[0].extra),
        json!({"openai": {"extra_content": extra}})
    );
}

#[test]
fn pieces_of_reasoning_details_are_joined_and_go_back() {
    let piece =
        |text: &str| json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": text}]});
    let last = json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": null, "signature": "s"}]});
    let reply = deltas(&[piece("a"), piece("b"), last]);
    assert_eq!(
        reply.message.other["reasoning_details"],
        json!([{"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"}])
    );
}

#[test]
fn usage_comes_at_the_end_or_under_groqs_key_and_is_said_once() {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    for document in [
        json!({"choices": [], "usage": usage}),
        json!({"choices": [], "x_groq": {"usage": usage}}),
    ] {
        let read = read(&texts(&[document.clone(), document]), false, true);
        assert_eq!(read.events.len(), 1);
        let reply = folded(read);
        assert_eq!(
            (reply.usage.input_tokens, reply.usage.output_tokens),
            (Some(3), Some(2))
        );
        assert_eq!(reply.usage.raw, Some(usage.clone()));
    }
}

#[test]
fn usage_is_read_as_each_provider_means_it() {
    let of = |raw: Value| usage::read(raw);
    let xai = of(
        json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 10,
        "completion_tokens_details": {"reasoning_tokens": 7}, "cost_in_usd_ticks": 37_756_000}),
    );
    assert_eq!((xai.output_tokens, xai.reasoning_tokens), (Some(9), Some(7)));
    assert_eq!(xai.cost_usd, Some(0.003_775_6));
    let router = of(
        json!({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
        "cost": 0.5, "server_tool_use": {"web_search_requests": 1}}),
    );
    assert_eq!(
        (router.cached_input_tokens, router.cost_usd),
        (Some(4), Some(0.5))
    );
    assert_eq!(router.cache_creation_input_tokens.unwrap().five_minutes, Some(5));
    assert_eq!(router.server_tool_calls, Some(json!({"web_search_requests": 1})));
    let perplexity =
        of(json!({"cost": {"total_cost": 0.25}, "num_search_queries": 2, "reasoning_tokens": 1}));
    assert_eq!(
        (perplexity.cost_usd, perplexity.reasoning_tokens),
        (Some(0.25), Some(1))
    );
    assert_eq!(perplexity.server_tool_calls, Some(json!(2)));
    for name in ["prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens"] {
        assert_eq!(of(json!({name: 6})).cached_input_tokens, Some(6), "{name}");
    }
    let unknown = of(json!({"prompt_tokens": null, "completion_tokens": "many"}));
    assert_eq!(
        (unknown.input_tokens, unknown.output_tokens, unknown.total_tokens),
        (None, None, None)
    );
}

#[test]
fn an_error_in_the_stream_is_what_the_provider_said() {
    let error = json!({"message": "overloaded", "code": 503});
    assert_eq!(fault(&json!({"error": error})), Fault::Said(error.clone()));
    assert_eq!(
        fault(&json!({"choices": [{"index": 0, "delta": {}, "error": error}]})),
        Fault::Said(error.clone())
    );
    let plain = json!({"object": "error", "message": "bad"});
    assert_eq!(fault(&plain), Fault::Said(plain.clone()));
    let mut decoder = Decoder::new(&context());
    let said = decoder.frame(
        "error",
        &json!({"message": "x"}).to_string(),
        &mut Parts::default(),
    );
    assert_eq!(said, Err(Fault::Said(json!({"message": "x"}))));
}

#[test]
fn an_error_that_says_nothing_is_none() {
    for nothing in [json!(null), json!(""), json!({}), json!(false)] {
        let mut document = chunk(json!({"content": "x"}));
        document["error"] = nothing;
        assert_eq!(streamed(&[document]).content, "x");
    }
}

#[test]
fn a_whole_answer_that_is_an_error_or_none() {
    let said = |body: Value| read(&[body.to_string()], true, true).end.unwrap_err();
    let error = json!({"message": "no"});
    assert_eq!(said(json!({"error": error})), Fault::Said(error.clone()));
    assert_eq!(said(json!([{"error": error}])), Fault::Said(error));
    for none in [
        json!({}),
        json!([]),
        json!({"choices": null}),
        json!({"id": "x"}),
        json!(3),
    ] {
        assert!(matches!(said(none), Fault::Protocol(_)));
    }
}

#[test]
fn documents_of_unknown_types_are_ignored_and_counted() {
    let read = read(
        &texts(&[json!({"type": "ping"}), chunk(json!({"content": "x"}))]),
        false,
        true,
    );
    assert_eq!(read.ignored, 1);
    assert_eq!(folded(read).content, "x");
}

#[test]
fn what_is_unknown_is_provider_data_and_of_what_changes_the_last() {
    let with = |fingerprint: &str| {
        let mut document = chunk(json!({"content": "x", "novel": {"a": 1}}));
        document["system_fingerprint"] = json!(fingerprint);
        document["nothing"] = json!([]);
        document["choices"][0]["stop_reason"] = json!(128_009);
        document
    };
    let mut slow = with("b");
    slow["choices"][0]["logprobs"] = json!({"content": []});
    let reply = streamed(&[with("a"), slow, with("a"), with("c"), with("a")]);
    assert_eq!(
        json!(reply.provider_data),
        json!({"system_fingerprint": "a", "stop_reason": 128_009, "message": {"novel": {"a": 1}}})
    );
}

#[test]
fn every_word_for_the_end_is_known_in_any_case() {
    for (raw, reason) in [
        ("stop", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("content_filter", FinishReason::ContentFilter),
        ("novel", FinishReason::Other),
    ] {
        let reply = whole(json!({"content": "x"}), raw);
        assert_eq!(
            (reply.finish_reason, reply.finish_reason_raw.as_deref()),
            (Some(reason), Some(raw))
        );
    }
}

#[test]
fn a_stream_that_ends_before_its_end_is_cut_off() {
    let begun = chunk(json!({"content": "x"})).to_string();
    assert!(matches!(
        read(&[&begun], false, true).end,
        Err(Fault::Protocol(_))
    ));
    let reply = streamed(&[chunk(json!({"content": "x"}))]);
    assert_eq!(reply.finish_reason, Some(FinishReason::Other));
    let mut last = chunk(json!({}));
    last["choices"][0]["finish_reason"] = json!("stop");
    assert!(read(&[last.to_string()], false, true).end.is_ok());
}

#[test]
fn only_the_first_of_several_choices_counts() {
    let choice = |index: u32, text: &str| json!({"index": index, "delta": {"content": text}});
    let reply = streamed(&[
        json!({"choices": [choice(1, "no"), choice(0, "x")]}),
        json!({"choices": [choice(2, "no")]}),
    ]);
    assert_eq!(reply.content, "x");
}

#[test]
fn the_ids_are_those_of_the_first_document_that_has_any() {
    let mut first = chunk(json!({"content": "x"}));
    first["id"] = json!("");
    first["model"] = json!("");
    first["choices"] = json!([]);
    let mut last = chunk(json!({}));
    last["id"] = json!("other");
    last["service_tier"] = json!("flex");
    let reply = streamed(&[first, chunk(json!({})), last]);
    assert_eq!(reply.id.as_deref(), Some("chatcmpl-0123456789abcdef"));
    assert_eq!((reply.model.as_deref(), reply.created), (Some("m-1"), Some(7)));
    assert_eq!(reply.service_tier.as_deref(), Some("flex"));
}

#[test]
fn a_surrogate_alone_and_no_number_are_mended() {
    let text = r#"{"choices": [{"delta": {"content": "a\ud800"}, "logprobs": {"content": [{"logprob": -Infinity}]}}]}"#;
    let reply = folded(read(&[text, "[DONE]"], false, true));
    assert_eq!(reply.content, "a\u{fffd}");
}
