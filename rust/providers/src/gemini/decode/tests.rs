use super::*;
use crate::answer::Answer;
use crate::protocol::Protocol;
use omni_core::{Event, Fold, Reply};
use serde_json::json;

mod properties;

fn sse(documents: &[Value]) -> String {
    documents.iter().fold(String::new(), |out, one| {
        out + &format!(
            "data: {one}

"
        )
    })
}

/// What `pieces` give, as a reply or a fault, with the events.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Result<Reply, Fault>) {
    let context = Context {
        provider: "gemini".to_owned(),
        ..Context::default()
    };
    let mut answer = Answer::new(Protocol::Gemini, &context, "m", None);
    let mut events = Vec::new();
    let mut fold = Fold::new();
    let mut read = Ok(());
    for piece in pieces {
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
    (events, ended.map(|finish| fold.finish(finish, Vec::new())))
}

fn streamed(documents: &[Value]) -> Reply {
    read([sse(documents).as_bytes()]).1.unwrap()
}

fn whole(document: &Value) -> Reply {
    read([document.to_string().as_bytes()]).1.unwrap()
}

/// One chunk with these parts.
fn chunk(parts: Value) -> Value {
    let mut document = json!({"candidates": [{"content": {"role": "model"}, "index": 0}], "responseId": "r1",
                              "modelVersion": "gemini-x"});
    document["candidates"][0]["content"]["parts"] = parts;
    document
}

/// The last chunk.
fn stop(parts: Value) -> Value {
    let mut document = chunk(parts);
    document["candidates"][0]["finishReason"] = json!("STOP");
    document["usageMetadata"] =
        json!({"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12});
    document
}

fn content(reply: &Reply) -> Value {
    serde_json::to_value(&reply.message).unwrap()["content"].clone()
}

#[test]
fn pieces_of_text_are_one_part_and_the_last_usage_counts() {
    let mut first = chunk(json!([{"text": "Grüß"}]));
    first["usageMetadata"] = json!({"promptTokenCount": 7, "totalTokenCount": 7});
    let reply = streamed(&[
        first,
        chunk(json!([{"text": "e \"x\"\n"}])),
        stop(json!([{"text": "🤔"}])),
    ]);
    assert_eq!(content(&reply), "Grüße \"x\"\n🤔");
    assert_eq!(
        (reply.usage.input_tokens, reply.usage.output_tokens),
        (Some(7), Some(5))
    );
    assert_eq!(reply.usage.total_tokens, Some(12));
    assert_eq!(
        (reply.id.as_deref(), reply.model.as_deref()),
        (Some("r1"), Some("gemini-x"))
    );
    assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
    assert_eq!(reply.finish_reason_raw.as_deref(), Some("STOP"));
}

#[test]
fn start_names_the_answer_before_anything_else() {
    let (events, _) = read([sse(&[stop(json!([{"text": "x"}]))]).as_bytes()]);
    let Some(Event::Start {
        id, model, provider, ..
    }) = events.first()
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (id.as_deref(), model.as_str(), provider.as_str()),
        (Some("r1"), "gemini-x", "gemini")
    );
}

#[test]
fn thoughts_are_reasoning() {
    let reply = streamed(&[
        chunk(json!([{"text": "Two ", "thought": true}])),
        chunk(json!([{"text": "and two", "thought": true}])),
        stop(json!([{"text": "Four."}])),
    ]);
    assert_eq!(
        content(&reply),
        json!([{"type": "reasoning", "text": "Two and two"}, {"type": "text", "text": "Four."}])
    );
    assert_eq!(reply.content, "Four.");
}

#[test]
fn a_signature_belongs_to_its_own_part() {
    let reply = streamed(&[
        chunk(json!([{"text": "a"}])),
        chunk(json!([{"text": "b", "thoughtSignature": "s=="}])),
        stop(json!([{"text": "c"}])),
    ]);
    assert_eq!(
        content(&reply),
        json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b", "signature": "s=="},
               {"type": "text", "text": "c"}])
    );
}

#[test]
fn an_empty_last_piece_signs_what_streamed_before_it() {
    let reply = streamed(&[
        chunk(json!([{"text": "ab"}])),
        stop(json!([{"text": "", "thoughtSignature": "s=="}])),
    ]);
    assert_eq!(
        content(&reply),
        json!([{"type": "text", "text": "ab", "signature": "s=="}])
    );
}

#[test]
fn an_empty_signed_text_after_a_call_is_a_part_of_its_own() {
    let reply = streamed(&[
        chunk(json!([{"functionCall": {"id": "1", "name": "f"}}])),
        stop(json!([{"text": "", "thoughtSignature": "s=="}])),
    ]);
    assert_eq!(
        content(&reply),
        json!([{"type": "tool_call", "id": "1"}, {"type": "text", "text": "", "signature": "s=="}])
    );
}

#[test]
fn parts_of_a_whole_answer_stay_apart() {
    let reply = whole(&stop(
        json!([{"text": "a"}, {"text": "b"}, {"text": "t", "thought": true}]),
    ));
    assert_eq!(
        content(&reply),
        json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "reasoning", "text": "t"}])
    );
}

#[test]
fn calls_keep_their_ids_signatures_and_arguments() {
    let args = json!({"city": "Zürich", "days": [1, 2.0], "deep": {"a": null}});
    let reply = streamed(&[stop(json!([
        {"functionCall": {"name": "weather", "id": "call-1", "args": args}, "thoughtSignature": "c=="},
        {"functionCall": {"name": "now", "args": null}}, {"functionCall": {"name": "now", "args": {}}}
    ]))]);
    let [first, second, third] = reply.tool_calls.as_slice() else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (first.id.as_str(), first.signature.as_deref()),
        ("call-1", Some("c=="))
    );
    assert_eq!(
        first.text(),
        r#"{"city":"Zürich","days":[1,2.0],"deep":{"a":null}}"#
    );
    assert_eq!((second.text(), third.text()), ("{}", "{}"));
    assert!(second.id.starts_with(OWN_ID) && second.id.len() > OWN_ID.len() + 20);
    assert_ne!(second.id, third.id);
    assert_eq!(reply.finish_reason, Some(FinishReason::ToolCalls));
}

#[test]
fn arguments_in_pieces_become_one_call() {
    let call = |call: Value| chunk(json!([{ "functionCall": call }]));
    let reply = streamed(&[
        call(json!({"name": "light", "id": "1", "willContinue": true})),
        call(
            json!({"partialArgs": [{"jsonPath": "$.rooms[1].name", "stringValue": "Ki", "willContinue": true}],
                    "willContinue": true}),
        ),
        call(
            json!({"partialArgs": [{"jsonPath": "$.rooms[1].name", "stringValue": "tchen"},
                                    {"jsonPath": "$['on off']", "boolValue": true},
                                    {"jsonPath": "$.level", "numberValue": 5},
                                    {"jsonPath": "$.gone", "nullValue": null}], "willContinue": true}),
        ),
        call(json!({})),
        stop(json!([{"functionCall": {"id": "2", "name": "after", "args": {"a": 1}}}])),
    ]);
    let said: Vec<_> = reply
        .tool_calls
        .iter()
        .map(|call| (call.name(), call.text()))
        .collect();
    assert_eq!(
        said,
        [
            (
                "light",
                r#"{"rooms":[null,{"name":"Kitchen"}],"on off":true,"level":5,"gone":null}"#
            ),
            ("after", r#"{"a":1}"#)
        ]
    );
}

#[test]
fn a_list_is_not_made_as_long_as_an_index_says() {
    let call =
        json!({"name": "f", "id": "1", "partialArgs": [{"jsonPath": "$.a[4000000000]", "numberValue": 1}]});
    let reply = streamed(&[stop(json!([{ "functionCall": call }]))]);
    assert_eq!(reply.tool_calls[0].text(), r#"{"a":[]}"#);
}

#[test]
fn what_only_gemini_understands_stays_whole_and_in_place() {
    let code =
        json!({"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "e=="});
    let result = json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}});
    let novel = json!({"thoughtSignature": "n==", "novelPart": [1], "thought": true});
    let bare = json!({"thoughtSignature": "b=="});
    let reply = streamed(&[stop(json!([code, {"text": "x"}, result, novel, bare, {}]))]);
    let part = |kind: &str, data: &Value| json!({"type": "provider", "provider": "gemini", "kind": kind, "data": data});
    assert_eq!(
        content(&reply),
        json!([part("executableCode", &code), {"type": "text", "text": "x"}, part("codeExecutionResult", &result),
               part("novelPart", &novel), part("thoughtSignature", &bare)])
    );
}

#[test]
fn pictures_and_sounds_are_media() {
    let reply = streamed(&[stop(json!([
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "i=="},
        {"inlineData": {"data": "BBBB"}}
    ]))]);
    assert_eq!(
        content(&reply),
        json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "signature": "i=="},
               {"type": "file", "file": {"file_data": "data:application/octet-stream;base64,BBBB",
                                         "format": "application/octet-stream"}}])
    );
}

#[test]
fn a_picture_that_is_a_thought_is_no_part_of_the_answer() {
    let part = json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": true});
    let reply = streamed(&[stop(json!([part]))]);
    assert_eq!(content(&reply)[0]["data"], part);
    assert_eq!(content(&reply)[0]["kind"], "inlineData");
}

#[test]
fn a_blocked_prompt_is_a_content_filter_and_no_fault() {
    let feedback = json!({"blockReason": "SAFETY", "safetyRatings": [{"category": "X", "blocked": true}]});
    for reply in [
        whole(&json!({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}})),
        streamed(&[json!({ "promptFeedback": feedback })]),
    ] {
        assert_eq!(reply.finish_reason, Some(FinishReason::ContentFilter));
        assert_eq!(reply.finish_reason_raw.as_deref(), Some("SAFETY"));
        assert_eq!(reply.provider_data.unwrap()["promptFeedback"], feedback);
    }
}

#[test]
fn every_finish_reason_has_its_meaning() {
    for (raw, meaning) in [
        ("STOP", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("LANGUAGE", FinishReason::ContentFilter),
        ("BLOCKLIST", FinishReason::ContentFilter),
        ("PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("SPII", FinishReason::ContentFilter),
        ("IMAGE_SAFETY", FinishReason::ContentFilter),
        ("IMAGE_PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("IMAGE_RECITATION", FinishReason::ContentFilter),
        ("MODEL_ARMOR", FinishReason::ContentFilter),
        ("MALFORMED_FUNCTION_CALL", FinishReason::Other),
        ("UNEXPECTED_TOOL_CALL", FinishReason::Other),
        ("OTHER", FinishReason::Other),
        ("A_NEW_ONE", FinishReason::Other),
    ] {
        let reply = whole(&json!({"candidates": [{"finishReason": raw, "finishMessage": "why"}]}));
        assert_eq!(reply.finish_reason, Some(meaning), "{raw}");
        assert_eq!(reply.finish_reason_raw.as_deref(), Some(raw));
        assert_eq!(reply.provider_data.unwrap()["finishMessage"], "why");
    }
}

#[test]
fn an_error_in_the_stream_is_the_providers_word_and_what_came_is_kept() {
    let error = json!({"code": 503, "message": "overloaded", "status": "UNAVAILABLE"});
    let (events, ended) = read([sse(&[chunk(json!([{"text": "a"}])), json!({ "error": error })]).as_bytes()]);
    assert_eq!(ended.unwrap_err(), Fault::Said(error));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::TextDelta { text, .. } if text == "a"))
    );
}

#[test]
fn an_answer_that_is_cut_off_is_a_fault() {
    for cut in [
        sse(&[chunk(json!([{"text": "a"}]))]),
        sse(&[json!({"usageMetadata": {"promptTokenCount": 1}})]),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
    ] {
        let ended = read([cut.as_bytes()]).1;
        assert!(matches!(ended, Err(Fault::Protocol(_))), "{cut}");
    }
}

#[test]
fn a_stream_without_sse_is_a_list_of_chunks() {
    let documents = [chunk(json!([{"text": "a"}])), stop(json!([{"text": "b"}]))];
    let listed = read([json!(documents).to_string().as_bytes()]).1.unwrap();
    assert_eq!(listed, streamed(&documents));
    assert_eq!(content(&listed), "ab");
}

#[test]
fn a_gateway_may_wrap_each_document() {
    let wrapped = [
        json!({"response": chunk(json!([{"text": "a"}])), "traceId": "t"}),
        json!({"response": stop(json!([]))}),
    ];
    assert_eq!(content(&streamed(&wrapped)), "a");
}

#[test]
fn of_several_candidates_the_first_counts() {
    let other =
        json!({"candidates": [{"content": {"parts": [{"text": "no"}]}, "index": 1, "finishReason": "STOP"}]});
    let reply = streamed(&[chunk(json!([{"text": "yes"}])), other, stop(json!([]))]);
    assert_eq!(content(&reply), "yes");
}

#[test]
fn log_probabilities_of_all_chunks_are_joined() {
    let with = |mut document: Value, token: &str| {
        document["candidates"][0]["logprobsResult"] = json!({
            "chosenCandidates": [{"token": token, "logProbability": -0.5, "tokenId": 7}],
            "topCandidates": [{"candidates": [{"token": "r", "logProbability": -1.5}]}]
        });
        document
    };
    let reply = streamed(&[
        with(chunk(json!([{"text": "a"}])), "a"),
        with(stop(json!([{"text": "b"}])), "b"),
    ]);
    let one = |token: &str| json!({"token": token, "logprob": -0.5, "top_logprobs": [{"token": "r", "logprob": -1.5}]});
    assert_eq!(reply.logprobs, Some(json!({"content": [one("a"), one("b")]})));
}

#[test]
fn grounding_and_its_like_are_provider_data() {
    let mut document = stop(json!([{"text": "a"}]));
    for key in CANDIDATE_DATA {
        document["candidates"][0][*key] = json!({ "of": key });
    }
    document["candidates"][0]["citationMetadata"] = json!({});
    let data = streamed(&[chunk(json!([])), document]).provider_data.unwrap();
    assert_eq!(data["groundingMetadata"], json!({"of": "groundingMetadata"}));
    assert_eq!(data.len(), CANDIDATE_DATA.len() - 1);
}

#[test]
fn usage_counts_the_tools_input_and_the_thoughts() {
    let raw = json!({"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3,
                     "thoughtsTokenCount": 4, "cachedContentTokenCount": 2, "totalTokenCount": 22,
                     "serviceTier": "flex", "novel": [1]});
    let mut document = stop(json!([{"text": "a"}]));
    document["usageMetadata"] = raw.clone();
    let reply = whole(&document);
    let usage = reply.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(15), Some(7)));
    assert_eq!(
        (usage.cached_input_tokens, usage.reasoning_tokens),
        (Some(2), Some(4))
    );
    assert_eq!((usage.total_tokens, usage.raw), (Some(22), Some(raw)));
    assert_eq!(reply.service_tier.as_deref(), Some("flex"));
}

#[test]
fn a_count_that_is_left_out_is_nought_and_no_usage_is_unknown() {
    let mut document = stop(json!([{"text": "a"}]));
    document["usageMetadata"] = json!({"promptTokenCount": 3});
    assert_eq!(whole(&document).usage.output_tokens, Some(0));
    document["usageMetadata"] = Value::Null;
    assert_eq!(whole(&document).usage, omni_core::Usage::default());
}

#[test]
fn fields_that_come_as_null_or_another_kind_are_no_failures() {
    for odd in [
        Value::Null,
        json!(""),
        json!(7),
        json!([]),
        json!({}),
        json!([null, "x", 1]),
    ] {
        let mut document = stop(json!([{"text": "a", "thoughtSignature": odd, "thought": null}, odd]));
        for key in [
            "usageMetadata",
            "promptFeedback",
            "responseId",
            "modelVersion",
            "error",
        ] {
            if key != "error" || !says_something(&odd) {
                document[key] = odd.clone();
            }
        }
        for key in ["citationMetadata", "logprobsResult", "index"] {
            document["candidates"][0][key] = odd.clone();
        }
        if document["candidates"][0]["index"] == 7 {
            continue;
        }
        for reply in [whole(&document), streamed(&[document.clone()])] {
            assert_eq!(reply.content, "a", "{odd}");
        }
        let empty = json!({"candidates": [{"content": odd, "finishReason": "STOP"}]});
        assert_eq!(whole(&empty).content, "");
    }
}

#[test]
fn documents_of_no_known_kind_are_counted() {
    let mut decoder = Decoder::default();
    let mut parts = Parts::default();
    for data in ["{\"novel\": 1}", "7", "[DONE]", "{\"usageMetadata\": {}}"] {
        decoder.frame("", data, &mut parts).unwrap();
    }
    assert_eq!(parts.ignored, 2);
}
