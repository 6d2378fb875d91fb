use crate::anthropic::encode::encode;
use crate::anthropic::encode::tests::{body, encoded, messages, request, target};
use omni_core::Code;
use serde_json::json;

#[test]
fn instructions_stand_in_front_with_their_marks_for_the_cache() {
    let body = body(
        "claude-sonnet-4-5",
        json!({"messages": [
            {"role": "system", "content": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"role": "developer", "content": [{"type": "text", "text": ""},
                {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            {"role": "user", "content": "Hi", "cache_control": {"type": "ephemeral"}}]}),
    );
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
               {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}])
    );
    assert_eq!(
        body["messages"][0]["content"][0]["cache_control"],
        json!({"type": "ephemeral"})
    );
}

#[test]
fn an_instruction_in_the_middle_stays_there_in_the_best_form_that_the_model_takes() {
    let conversation = json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "s"},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}, {"role": "system", "content": "t"},
        {"role": "assistant", "content": "d"}]});
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        body("claude-opus-4-8", conversation.clone())["messages"],
        json!([{"role": "user", "content": [text("a"), text("b")]}, {"role": "system", "content": [text("s")]},
               {"role": "assistant", "content": [text("c")]},
               {"role": "user", "content": [text("<system>\nt\n</system>")]},
               {"role": "assistant", "content": [text("d")]}])
    );
    assert_eq!(
        body("claude-opus-4-5", conversation)["messages"][0]["content"],
        json!([text("a"), text("<system>\ns\n</system>"), text("b")])
    );
}

#[test]
fn results_of_one_turn_stand_together_right_after_their_calls() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
    let found = messages(&json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": null, "tool_calls": [call("1"), call("b.2")]},
        {"role": "tool", "tool_call_id": "1", "content": "one", "is_error": true},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "b.2", "cache_control": {"type": "ephemeral"},
         "content": [{"type": "text", "text": "two"}, {"type": "text", "text": " "},
                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "user", "content": ""}]));
    assert_eq!(
        found[1]["content"],
        json!([{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
               {"type": "tool_use", "id": "b_2", "name": "f", "input": {"a": 1}}])
    );
    assert_eq!(
        found[2],
        json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": "one", "is_error": true},
            {"type": "tool_result", "tool_use_id": "b_2", "cache_control": {"type": "ephemeral"}, "content": [
                {"type": "text", "text": "two"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"type": "text", "text": "And?"}]})
    );
    assert_eq!(found.as_array().unwrap().len(), 3);
}

#[test]
fn a_result_that_names_no_call_is_refused_with_its_place() {
    let asked = request(json!({"messages": [{"role": "tool", "content": "x"}]}));
    let error = encode(&asked, &target("claude-x"), false).unwrap_err();
    assert!(error.message.starts_with("messages[0].tool_call_id"), "{error:?}");
    assert_eq!(error.code, Code::InvalidRequest);
}

#[test]
fn images_and_documents_take_the_form_that_their_address_shows() {
    let found = messages(&json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": "data:image/webp;base64,AA"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JV", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "JV", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file_1", "format": "application/pdf"}},
        {"type": "file", "file": {"file_id": "file_2", "format": "image/png"}},
        {"type": "file", "file": {"file_id": "file_3"}},
        {"type": "file", "file": {"file_id": "https://x/y.pdf"}, "cache_control": {"type": "ephemeral"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,R3LDvMOfZQ==", "filename": "a.txt"}}]}]));
    let pdf = json!({"type": "document", "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"}});
    assert_eq!(
        found[0]["content"],
        json!([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
               {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "AA"}},
               pdf, pdf,
               {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
               {"type": "image", "source": {"type": "file", "file_id": "file_2"}},
               {"type": "container_upload", "file_id": "file_3"},
               {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"},
                "cache_control": {"type": "ephemeral"}},
               {"type": "document", "title": "a.txt",
                "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}}])
    );
}

#[test]
fn reasoning_of_this_wire_goes_back_and_that_of_others_is_left_out() {
    let found = messages(&json!([{"role": "assistant", "content": [
        {"type": "reasoning", "text": "mine", "signature": "sig"},
        {"type": "reasoning", "text": "", "encrypted": "data"},
        {"type": "reasoning", "text": "no proof"},
        {"type": "reasoning", "text": "", "id": "rs_1", "encrypted": "openai"},
        {"type": "provider", "provider": "gemini", "kind": "executableCode", "data": {"executableCode": {}}},
        {"type": "provider", "provider": "anthropic", "kind": "novel", "data": {"type": "novel", "a": 1}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "text", "text": "Said.", "signature": "gemini's",
         "annotations": [{"type": "url_citation"}, {"type": "page_location", "a": 1}]}]},
        {"role": "user", "content": "Go on"}]));
    assert_eq!(
        found[0]["content"],
        json!([{"type": "thinking", "thinking": "mine", "signature": "sig"},
               {"type": "redacted_thinking", "data": "data"},
               {"type": "novel", "a": 1},
               {"type": "text", "text": "Said.", "citations": [{"type": "page_location", "a": 1}]}])
    );
}

#[test]
fn arguments_that_are_no_object_are_wrapped_and_objects_are_kept_to_the_digit() {
    for (text, wire) in [
        ("", "{}"),
        (
            "{\"a\":  1.0, \"n\": 12345678901234567890123}",
            "{\"a\":  1.0, \"n\": 12345678901234567890123}",
        ),
        ("[1]", "{\"_raw\":\"[1]\"}"),
        ("{\"a\"", "{\"_raw\":\"{\\\"a\\\"\"}"),
        ("{\"a\": \"\\ud800\"}", "{\"a\":\"\u{fffd}\"}"),
    ] {
        let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": text}});
        let (_, encoded) = encoded(
            "claude-x",
            json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}),
        );
        let sent = String::from_utf8(encoded.body).unwrap();
        assert!(sent.contains(&format!("\"input\":{wire}}}")), "{text}: {sent}");
    }
}

#[test]
fn a_prefix_is_the_last_turn_and_ends_in_no_blanks() {
    let found = messages(&json!([{"role": "user", "content": "Count"},
        {"role": "assistant", "content": "One, two \n", "prefix": true}]));
    assert_eq!(found[1]["content"][0]["text"], "One, two");
}

#[test]
fn an_instruction_may_follow_results_of_the_providers_own_tools_and_keeps_what_is_meant_for_it() {
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []});
    let found = body(
        "claude-opus-5",
        json!({"messages": [
            {"role": "system", "content": "first", "extra": {"anthropic": {"x": 1}}},
            {"role": "assistant", "content": [
                {"type": "provider", "provider": "anthropic", "kind": "web_search_tool_result", "data": result}]},
            {"role": "system", "content": "then", "extra": {"anthropic": {"clear_at": "next"}}}]}),
    );
    assert_eq!(
        found["system"],
        json!([{"type": "text", "text": "first", "x": 1}])
    );
    assert_eq!(
        found["messages"],
        json!([{"role": "assistant", "content": [result]},
               {"role": "system", "content": [{"type": "text", "text": "then"}], "clear_at": "next"}])
    );
}
