use super::super::{declines, encode};
use super::{body, body_to, target};
use crate::Dialect;
use omni_core::{Code, Request};
use serde_json::{Value, json};
use std::sync::Arc;

fn input(messages: &Value) -> Value {
    body(messages, &json!({}))["input"].clone()
}

#[test]
fn a_plain_request_is_small() {
    let request = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
    let want = json!({"model": "gpt-4.1", "input": [{"role": "system", "content": "Be brief."},
                                                    {"role": "user", "content": "Hi"}]});
    assert_eq!(body(&request, &json!({})), want);
}

#[test]
fn every_kind_of_input_has_its_part() {
    let sent = input(&json!([{"role": "user", "content": [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "JVBE", "format": "application/pdf", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "https://x.test/b.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "reasoning", "text": "no"},
        {"type": "novel", "x": 1},
        {"type": "provider", "provider": "openai", "kind": "input_image", "data": {"type": "input_image", "file_id": "f"}},
        {"type": "provider", "provider": "other", "kind": "x", "data": {"type": "input_x"}},
    ]}]));
    let want = json!([
        {"type": "input_text", "text": "Look"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://x.test/b.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_image", "file_id": "f"},
    ]);
    assert_eq!(sent[0]["content"], want);
}

#[test]
fn an_item_in_a_users_message_stands_by_itself() {
    let data = json!({"type": "mcp_approval_response", "approval_request_id": "a", "approve": true});
    let sent = input(&json!([{"role": "user", "content": [
        {"type": "text", "text": "yes"},
        {"type": "provider", "provider": "openai", "kind": "mcp_approval_response", "data": data},
    ]}]));
    let said = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "yes"}]});
    assert_eq!(sent, json!([said, data]));
}

#[test]
fn an_answer_goes_back_in_its_order() {
    let call =
        |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{ }"}});
    let search = json!({"type": "web_search_call", "id": "ws_1"});
    let sent = input(
        &json!([{"role": "assistant", "refusal": "no", "tool_calls": [call("b"), call("a")], "content": [
            {"type": "reasoning", "id": "rs_1", "text": "one"},
            {"type": "reasoning", "id": "rs_1", "text": "two", "encrypted": "gAAA"},
            {"type": "tool_call", "id": "a"},
            {"type": "text", "text": "x"},
            {"type": "text", "text": ""},
            {"type": "text", "text": "y"},
            {"type": "provider", "provider": "openai", "kind": "web_search_call", "data": search},
            {"type": "reasoning", "text": "of another provider", "signature": "s"},
            {"type": "provider", "provider": "anthropic", "kind": "z", "data": {"type": "z"}},
        ]}]),
    );
    let wire = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{ }"});
    let text = |text: &str| json!({"type": "output_text", "text": text});
    let want = json!([
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
         "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]},
        wire("a"),
        {"type": "message", "role": "assistant", "content": [text("x"), text("y")]},
        search,
        wire("b"),
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]);
    assert_eq!(sent, want);
}

#[test]
fn an_item_that_is_kept_whole_takes_the_place_of_what_was_told_of_it() {
    let data = json!({"type": "reasoning", "id": "rs_1", "summary": [], "format": "x"});
    let sent = input(&json!([{"role": "assistant", "content": [
        {"type": "reasoning", "id": "rs_1", "text": "", "encrypted": "gAAA"},
        {"type": "provider", "provider": "openai", "kind": "reasoning", "data": data},
    ]}]));
    assert_eq!(sent, json!([data]));
}

#[test]
fn reasoning_that_the_server_cannot_know_is_left_out() {
    let messages = |extra: Value| {
        json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "extra": extra, "content": [
            {"type": "reasoning", "id": "rs_1", "text": "a", "encrypted": "gAAA"},
            {"type": "reasoning", "id": "rs_2", "text": "b"},
            {"type": "text", "text": "x"},
        ]}])
    };
    let sent = |extra: Value, more: &Value| {
        let body = body(&messages(extra), more);
        let ids = body["input"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|item| item["id"].as_str());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    let unstored = json!({"provider_options": {"openai": {"store": false}}});
    assert_eq!(sent(json!({}), &json!({})), ["rs_1", "rs_2"]);
    assert_eq!(sent(json!({"openai": {}}), &json!({})), ["rs_1", "rs_2"]);
    assert_eq!(sent(json!({}), &unstored), ["rs_1"]);
    assert!(sent(json!({"xai": {}}), &json!({})).is_empty());
}

#[test]
fn citations_of_others_are_left_out() {
    let own = json!({"type": "file_citation", "file_id": "f", "index": 1});
    let sent = input(
        &json!([{"role": "assistant", "content": [{"type": "text", "text": "x", "annotations": [
            own, {"type": "char_location", "cited_text": "y"}, {"type": "url_citation", "url_citation": {"url": "u"}},
        ]}]}]),
    );
    assert_eq!(sent[0]["content"][0]["annotations"], json!([own]));
}

#[test]
fn results_are_texts_or_parts_and_know_their_call() {
    let sent = input(&json!([
        {"role": "assistant", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"id": "2", "type": "custom", "custom": {"name": "c", "input": "in"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "two"}],
         "extra": {"openai": {"status": "incomplete"}, "anthropic": {"x": 1}}},
    ]));
    assert_eq!(
        sent[2],
        json!({"type": "function_call_output", "call_id": "1", "output": "one"})
    );
    assert_eq!(
        sent[3],
        json!({"type": "custom_tool_call_output", "call_id": "2", "status": "incomplete",
               "output": [{"type": "input_text", "text": "two"}]})
    );
}

#[test]
fn a_result_without_a_call_is_named() {
    let request = json!({"model": "openai/m", "messages": [{"role": "tool", "content": "x"}]});
    let request = Request::from_value(&request).unwrap();
    let error = encode(&request, &target("openai", "m"), false).unwrap_err();
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(error.message.starts_with("messages[0].tool_call_id"));
}

#[test]
fn tools_and_choices_are_flat() {
    let sent = body(
        &json!([{"role": "user", "content": "Hi"}]),
        &json!({
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"},
                                                  "strict": null},
                 "extra": {"openai": {"defer_loading": true}}},
                {"type": "function", "function": {"name": "g"}},
                {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar",
                    "grammar": {"syntax": "lark", "definition": "x"}}}},
                {"type": "provider", "provider": "openai", "data": {"type": "web_search"}},
                {"type": "provider", "provider": "gemini", "data": {"google_search": {}}},
            ],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": false,
        }),
    );
    let want = json!([
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "defer_loading": true},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "web_search"},
    ]);
    assert_eq!(sent["tools"], want);
    assert_eq!(sent["tool_choice"], json!({"type": "function", "name": "f"}));
    assert_eq!(sent["parallel_tool_calls"], false);
}

#[test]
fn allowed_tools_are_flat_too() {
    let sent = body(
        &json!([{"role": "user", "content": "Hi"}]),
        &json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "f"}}]}}}),
    );
    let want = json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]});
    assert_eq!(sent["tool_choice"], want);
}

#[test]
fn fields_have_their_names_on_this_wire() {
    let schema = json!({"type": "object"});
    let sent = body(
        &json!([{"role": "user", "content": "Hi"}]),
        &json!({
            "max_tokens": 9, "temperature": 0.5, "top_p": 0.25, "logprobs": true, "top_logprobs": 2,
            "service_tier": "flex", "user": "u", "metadata": {"k": "v"}, "reasoning_effort": "low",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}},
        }),
    );
    let want = json!({
        "model": "gpt-4.1", "input": [{"role": "user", "content": "Hi"}],
        "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.25, "top_logprobs": 2,
        "include": ["message.output_text.logprobs"], "service_tier": "flex", "user": "u", "metadata": {"k": "v"},
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
    });
    assert_eq!(sent, want);
}

#[test]
fn options_are_merged_all_the_way_down() {
    let sent = body(
        &json!([{"role": "user", "content": "Hi"}]),
        &json!({"reasoning_effort": "low", "logprobs": true, "provider_options": {
            "openai": {"reasoning": {"summary": "auto"}, "store": false, "include": ["file_search_call.results"]},
            "anthropic": {"x": 1}}}),
    );
    assert_eq!(sent["reasoning"], json!({"effort": "low", "summary": "auto"}));
    assert_eq!(sent["store"], false);
    assert_eq!(
        sent["include"],
        json!(["file_search_call.results", "message.output_text.logprobs"])
    );
    assert!(sent.get("x").is_none());
}

#[test]
fn options_may_replace_the_input() {
    let more = json!({"provider_options": {"openai": {"input": "raw", "model": "other"}}});
    let sent = body(&json!([{"role": "user", "content": "Hi"}]), &more);
    assert_eq!(sent, json!({"input": "raw", "model": "other"}));
}

#[test]
fn reasoning_is_asked_for_encrypted_where_the_model_gives_it() {
    let hi = json!([{"role": "user", "content": "Hi"}]);
    let asked = |model: &str, more: Value| body_to(&target("openai", model), &hi, &more)["include"].clone();
    assert_eq!(
        asked("gpt-5-mini", json!({})),
        json!(["reasoning.encrypted_content"])
    );
    assert_eq!(
        asked("openai/o3", json!({})),
        json!(["reasoning.encrypted_content"])
    );
    assert_eq!(asked("gpt-4o", json!({})), Value::Null);
    assert_eq!(asked("gpt-5-chat-latest", json!({})), Value::Null);
    let decided = json!({"provider_options": {"openai": {"include": []}}});
    assert_eq!(asked("gpt-5-mini", decided), json!([]));
}

#[test]
fn extra_goes_into_its_own_object() {
    let sent = input(&json!([
        {"role": "user", "extra": {"openai": {"id": "m"}}, "content": [
            {"type": "text", "text": "Hi", "extra": {"openai": {"prompt_cache_breakpoint": {"mode": "explicit"}}}}]},
        {"role": "assistant", "content": "Yes", "extra": {"openai": {"phase": "commentary"}}},
    ]));
    assert_eq!(sent[0]["id"], "m");
    assert_eq!(
        sent[0]["content"][0]["prompt_cache_breakpoint"],
        json!({"mode": "explicit"})
    );
    assert_eq!(
        sent[1],
        json!({"role": "assistant", "content": "Yes", "phase": "commentary"})
    );
}

#[test]
fn what_the_wire_cannot_carry_is_declined_by_name() {
    for (field, value) in [
        ("stop", json!("x")),
        ("seed", json!(1)),
        ("top_k", json!(1)),
        ("frequency_penalty", json!(0.5)),
        ("presence_penalty", json!(-0.5)),
        ("reasoning_budget_tokens", json!(1)),
        ("modalities", json!(["text", "audio"])),
    ] {
        let mut request = json!({"model": "openai/m", "messages": [{"role": "user", "content": "Hi"}]});
        request[field] = value;
        let request = Request::from_value(&request).unwrap();
        let why = declines(&request, &target("openai", "m")).unwrap();
        assert!(why.starts_with(field), "{why}");
        let error = encode(&request, &target("openai", "m"), false).unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
    }
    let prefix =
        json!({"model": "openai/m", "messages": [{"role": "assistant", "content": "x", "prefix": true}]});
    let why = declines(&Request::from_value(&prefix).unwrap(), &target("openai", "m")).unwrap();
    assert!(why.starts_with("messages[0].prefix"), "{why}");
    let harmless = json!({"model": "openai/m", "messages": [{"role": "user", "content": "Hi"}], "stop": [], "n": 1,
                          "frequency_penalty": 0.0, "modalities": ["text"], "labels": {"a": 1}});
    assert_eq!(
        declines(&Request::from_value(&harmless).unwrap(), &target("openai", "m")),
        None
    );
}

#[test]
fn a_dialect_is_data() {
    let dialect: Dialect = serde_json::from_value(json!({"openai_responses": {
        "query": "?api-version=v1", "instructions": true, "refuses": ["user"], "encrypted_reasoning": ["grok-4"]}}))
    .unwrap();
    let mut to = target("azure", "grok-4");
    to.dialect = Arc::new(dialect);
    let mut request = json!({"model": "azure/m", "messages": [
        {"role": "system", "content": "a"}, {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": "Hi"}]});
    let encoded = encode(&Request::from_value(&request).unwrap(), &to, true).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(encoded.path, "/responses?api-version=v1");
    assert_eq!(body["instructions"], "a\n\nb");
    assert_eq!(body["input"], json!([{"role": "user", "content": "Hi"}]));
    assert_eq!(
        (&body["stream"], &body["include"]),
        (&json!(true), &json!(["reasoning.encrypted_content"]))
    );
    assert_eq!(encoded.context.provider, "azure");
    request["user"] = json!("u");
    let why = declines(&Request::from_value(&request).unwrap(), &to).unwrap();
    assert!(why.starts_with("user:"), "{why}");
}
