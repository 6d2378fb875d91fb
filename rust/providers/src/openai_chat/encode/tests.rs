#![expect(
    clippy::needless_pass_by_value,
    reason = "tests write their documents where they use them"
)]

use super::*;
use crate::{Dialect as Dialects, dialect_of};
use serde_json::json;
use std::sync::Arc;

fn target(provider: &str) -> Target {
    Target {
        provider: provider.to_owned(),
        model: "m".to_owned(),
        dialect: dialect_of(provider),
    }
}

fn request(document: Value) -> Request {
    let mut whole = json!({"model": "p/m", "messages": [{"role": "user", "content": "hi"}]});
    deep(&mut whole, &document);
    Request::from_value(&whole).unwrap()
}

/// The body of a request, as `provider` gets it.
fn body(provider: &str, document: Value) -> Value {
    let encoded = encode(&request(document), &target(provider), false).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

/// One message, as `provider` gets it.
fn sent(provider: &str, message: Value) -> Value {
    body(provider, json!({"messages": [message]}))["messages"][0].take()
}

fn declined(provider: &str, document: Value) -> String {
    declines(&request(document), &target(provider)).unwrap_or_default()
}

const TOOL: fn() -> Value = || json!({"type": "function", "function": {"name": "f", "parameters": {}}});

#[test]
fn a_plain_request_has_nothing_that_was_not_asked_for() {
    assert_eq!(
        body("openai", json!({})),
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    );
    let encoded = encode(&request(json!({})), &target("openai"), true).unwrap();
    let streamed: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(streamed["stream"], true);
    assert_eq!(streamed["stream_options"], json!({"include_usage": true}));
    assert_eq!(encoded.path, "/chat/completions");
}

#[test]
fn each_field_has_the_name_that_the_provider_gives_it() {
    let asked = json!({"max_tokens": 5, "seed": 1, "tools": [TOOL()], "tool_choice": "required"});
    let openai = body("openai", asked.clone());
    assert_eq!(
        (&openai["max_completion_tokens"], &openai["seed"]),
        (&json!(5), &json!(1))
    );
    assert_eq!(openai["tool_choice"], "required");
    let mistral = body("mistral", asked);
    assert_eq!(
        (&mistral["max_tokens"], &mistral["random_seed"]),
        (&json!(5), &json!(1))
    );
    assert_eq!(mistral["tool_choice"], "any");
    let vllm = body("hosted_vllm", json!({"top_k": 3}));
    assert_eq!(vllm["top_k"], 3);
}

#[test]
fn all_fields_of_the_wire_are_written() {
    let fields = json!({"temperature": 0.5, "top_p": 0.1, "stop": ["a"], "seed": -1, "logprobs": true, "top_logprobs": 2,
        "frequency_penalty": 1.0, "presence_penalty": 2.0, "response_format": {"type": "json_object"},
        "modalities": ["text", "audio"], "service_tier": "flex", "user": "u", "parallel_tool_calls": false,
        "tools": [TOOL()], "tool_choice": {"type": "function", "function": {"name": "f"}}, "reasoning_effort": "low"});
    let body = body("openai", fields.clone());
    for (key, value) in fields.as_object().unwrap() {
        assert_eq!(&body[key], value, "{key}");
    }
}

#[test]
fn hints_that_a_provider_has_not_are_left_out_and_other_fields_declined() {
    let body = body("mistral", json!({"user": "u", "service_tier": "x"}));
    assert!(body.get("user").is_none() && body.get("service_tier").is_none());
    assert!(declined("openai", json!({"top_k": 1})).starts_with("top_k: openai"));
    assert!(declined("groq", json!({"logprobs": true})).starts_with("logprobs: groq"));
    assert!(declined("perplexity", json!({"tools": [TOOL()]})).starts_with("tools: perplexity"));
    assert_eq!(declined("openai", json!({"max_tokens": 1})), "");
}

#[test]
fn what_is_declined_is_an_error_when_it_is_encoded_all_the_same() {
    let error = encode(&request(json!({"top_k": 1})), &target("openai"), false).unwrap_err();
    assert_eq!(error.code, Code::Unsupported);
    assert!(error.message.contains("top_k"));
}

#[test]
fn effort_and_budget_are_written_as_each_provider_has_them() {
    let low = json!({"reasoning_effort": "low"});
    assert_eq!(body("openai", low.clone())["reasoning_effort"], "low");
    assert_eq!(
        body("openrouter", low.clone())["reasoning"],
        json!({"effort": "low"})
    );
    assert_eq!(body("zai", low)["thinking"], json!({"type": "enabled"}));
    let none = json!({"reasoning_effort": "none"});
    assert_eq!(body("deepseek", none)["thinking"], json!({"type": "disabled"}));
    let budget = json!({"reasoning_budget_tokens": 100});
    assert_eq!(
        body("openrouter", budget.clone())["reasoning"],
        json!({"max_tokens": 100})
    );
    assert_eq!(body("dashscope", budget.clone())["thinking_budget"], 100);
    assert!(declined("openai", budget).contains("reasoning_effort"));
}

#[test]
fn developer_messages_become_system_where_there_is_no_such_role() {
    let message = json!({"role": "developer", "content": "x"});
    assert_eq!(sent("openai", message.clone())["role"], "developer");
    assert_eq!(sent("groq", message)["role"], "system");
}

#[test]
fn parts_of_a_message_keep_what_is_theirs_and_lose_what_is_ours() {
    let content = json!([
        {"type": "text", "text": "a", "signature": "s", "annotations": [], "novel": 1, "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low", "format": "image/png"}},
        {"type": "image_url", "image_url": "https://a.example/c.png"},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f1", "format": "application/pdf"}},
        {"type": "video_url", "video_url": {"url": "https://a.example/d.mp4"}},
        {"type": "provider", "provider": "anthropic", "kind": "x", "data": {"type": "x"}},
        {"type": "provider", "provider": "openai", "kind": "y", "data": {"type": "y"}},
    ]);
    assert_eq!(
        sent("openai", json!({"role": "user", "content": content}))["content"],
        json!([
            {"type": "text", "text": "a", "novel": 1},
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
            {"type": "file", "file": {"file_id": "f1"}},
            {"type": "video_url", "video_url": {"url": "https://a.example/d.mp4"}},
            {"type": "y"},
        ])
    );
}

#[test]
fn files_are_documents_for_mistral_and_web_addresses_no_files_for_openai() {
    let file = |file: Value| json!({"role": "user", "content": [{"type": "file", "file": file}]});
    let data = file(json!({"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}));
    assert_eq!(
        sent("mistral", data)["content"][0],
        json!({"type": "document_url", "document_url": "data:application/pdf;base64,QQ==", "document_name": "a.pdf"})
    );
    let upload = file(json!({"file_id": "f1"}));
    assert_eq!(
        sent("mistral", upload)["content"][0],
        json!({"type": "file", "file_id": "f1"})
    );
    let web = file(json!({"file_id": "https://a.example/a.pdf"}));
    assert!(declined("openai", json!({"messages": [web]})).starts_with("messages[0].content[0].file"));
    assert_eq!(
        sent("mistral", web)["content"][0]["document_url"],
        "https://a.example/a.pdf"
    );
}

#[test]
fn texts_become_one_string_where_only_that_is_taken() {
    let texts =
        json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
    assert_eq!(sent("deepseek", texts.clone())["content"], "ab");
    assert_eq!(sent("openai", texts)["content"].as_array().unwrap().len(), 2);
}

#[test]
fn cache_marks_go_to_those_who_know_them() {
    let mark = json!({"type": "ephemeral"});
    let message = json!({"role": "user", "content": "a", "cache_control": mark});
    assert_eq!(
        sent("openai", message.clone()),
        json!({"role": "user", "content": "a"})
    );
    assert_eq!(
        sent("openrouter", message)["content"],
        json!([{"type": "text", "text": "a", "cache_control": mark}])
    );
    let parts = json!({"role": "user", "cache_control": mark,
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
    let content = sent("openrouter", parts)["content"].take();
    assert!(content[0].get("cache_control").is_none() && content[1]["cache_control"] == mark);
    let mut tool = TOOL();
    tool["cache_control"] = mark.clone();
    assert_eq!(
        body("openrouter", json!({"tools": [tool]}))["tools"][0]["cache_control"],
        mark
    );
    assert_eq!(body("openai", json!({"tools": [tool]}))["tools"][0], TOOL());
}

#[test]
fn an_assistant_message_goes_back_as_it_came() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{ \"x\":1 }"},
                      "signature": "s", "index": 0});
    let message = json!({"role": "assistant", "tool_calls": [call], "extra": {"mistral": {}}, "content": [
        {"type": "reasoning", "text": "so", "signature": "t"},
        {"type": "text", "text": "x", "annotations": [{"type": "y"}]},
        {"type": "tool_call", "id": "a"}]});
    let wire = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{ \"x\":1 }"}, "index": 0});
    assert_eq!(
        sent("openai", message.clone()),
        json!({"role": "assistant", "content": "x", "tool_calls": [wire]})
    );
    let deepseek = sent("deepseek", message.clone());
    assert_eq!(deepseek["reasoning_content"], "so");
    assert_eq!(sent("groq", message.clone())["reasoning"], "so");
    assert_eq!(
        sent("mistral", message)["content"],
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "so"}], "signature": "t"},
               {"type": "text", "text": "x"}])
    );
}

#[test]
fn an_assistant_that_only_calls_says_null_and_one_that_says_nothing_says_nothing() {
    let calls = json!([{"id": "a", "function": {"name": "f", "arguments": ""}}]);
    let message =
        json!({"role": "assistant", "content": [{"type": "reasoning", "text": "so"}], "tool_calls": calls});
    let wire = sent("openai", message);
    assert_eq!(wire["content"], Value::Null);
    assert_eq!(wire["tool_calls"][0]["function"]["arguments"], "");
    assert_eq!(sent("openai", json!({"role": "assistant"}))["content"], "");
    let refused = sent(
        "openai",
        json!({"role": "assistant", "content": "", "refusal": "no"}),
    );
    assert_eq!(
        (&refused["content"], &refused["refusal"]),
        (&Value::Null, &json!("no"))
    );
}

#[test]
fn reasoning_details_go_back_to_those_who_gave_them_and_to_nobody_else() {
    let details = json!([{"type": "reasoning.encrypted", "data": "x"}]);
    let message = json!({"role": "assistant", "reasoning_details": details,
        "content": [{"type": "reasoning", "text": "so"}, {"type": "text", "text": "x"}]});
    let router = sent("openrouter", message.clone());
    assert_eq!(router["reasoning_details"], details);
    assert!(router.get("reasoning").is_none());
    let groq = sent("groq", message);
    assert_eq!(
        (groq.get("reasoning_details"), &groq["reasoning"]),
        (None, &json!("so"))
    );
}

#[test]
fn sound_of_the_model_goes_back_by_its_id() {
    let message = json!({"role": "assistant", "audio": {"id": "a1"},
        "content": [{"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}]});
    assert_eq!(
        sent("openai", message.clone()),
        json!({"role": "assistant", "content": "", "audio": {"id": "a1"}})
    );
    assert!(sent("mistral", message).get("audio").is_none());
}

#[test]
fn items_of_the_responses_api_stand_in_no_message() {
    let item =
        json!({"type": "provider", "provider": "openai", "kind": "web_search_call", "data": {"id": "w"}});
    let message = json!({"role": "assistant", "content": [item, {"type": "text", "text": "x"}]});
    assert_eq!(sent("openai", message)["content"], "x");
}

#[test]
fn a_prefix_is_marked_as_each_provider_wants_it() {
    let message = json!({"role": "assistant", "content": "x", "prefix": true});
    assert_eq!(sent("mistral", message.clone())["prefix"], true);
    assert_eq!(sent("moonshot", message.clone())["partial"], true);
    assert_eq!(
        sent("openrouter", message.clone()),
        json!({"role": "assistant", "content": "x"})
    );
    let asked = json!({"messages": [message]});
    assert_eq!(body("hosted_vllm", asked.clone())["continue_final_message"], true);
    assert!(declined("openai", asked).starts_with("messages[0].prefix"));
}

#[test]
fn tool_results_are_a_string_or_parts_and_an_error_keeps_its_text() {
    let text = json!({"role": "tool", "tool_call_id": "a", "content": "boom", "is_error": true, "name": "f"});
    assert_eq!(
        sent("groq", text),
        json!({"role": "tool", "content": "boom", "name": "f", "tool_call_id": "a"})
    );
    let parts = json!({"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}]});
    assert_eq!(sent("openai", parts.clone())["content"], parts["content"]);
}

#[test]
fn names_of_speakers_are_left_out_where_they_are_refused() {
    let message = json!({"role": "user", "content": "x", "name": "ann"});
    assert_eq!(sent("openai", message.clone())["name"], "ann");
    assert!(sent("groq", message).get("name").is_none());
}

#[test]
fn custom_and_own_server_side_tools_are_sent_and_those_of_others_are_not() {
    let custom = json!({"type": "custom", "custom": {"name": "c"}});
    let own =
        json!({"type": "provider", "provider": "openrouter", "data": {"type": "openrouter:web_search"}});
    let other = json!({"type": "provider", "provider": "anthropic", "data": {"type": "web_search_20250305"}});
    let body = body("openrouter", json!({"tools": [custom, own, other]}));
    assert_eq!(body["tools"], json!([custom, {"type": "openrouter:web_search"}]));
}

#[test]
fn a_choice_without_tools_is_left_out() {
    let body = body(
        "openai",
        json!({"tool_choice": "none", "parallel_tool_calls": true, "tools": []}),
    );
    assert!(
        ["tools", "tool_choice", "parallel_tool_calls"]
            .iter()
            .all(|key| body.get(*key).is_none())
    );
    assert!(
        declined("moonshot", json!({"tools": [TOOL()], "tool_choice": "required"})).contains("tool_choice")
    );
}

#[test]
fn options_and_extras_are_merged_for_the_target_alone() {
    let mut tool = TOOL();
    tool["extra"] = json!({"groq": {"function": {"strict": true}}, "gemini": {"x": 1}});
    let asked = json!({"tools": [tool], "provider_options": {"groq": {"novel": {"a": 1}}, "openai": {"store": true}},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "extra": {"groq": {"n": 1}}}], "extra": {"groq": {"m": 1}}},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"},
                "extra": {"groq": {"extra_content": {"g": 1}}}}]}]});
    let body = body("groq", asked);
    assert_eq!(body["novel"], json!({"a": 1}));
    assert!(body.get("store").is_none());
    assert_eq!(body["tools"][0]["function"]["strict"], true);
    assert!(body["tools"][0].get("x").is_none() && body["tools"][0].get("extra").is_none());
    assert_eq!(
        body["messages"][0],
        json!({"role": "user", "content": [{"type": "text", "text": "a", "n": 1}], "m": 1})
    );
    assert_eq!(
        body["messages"][1]["tool_calls"][0]["extra_content"],
        json!({"g": 1})
    );
}

#[test]
fn unknown_keys_of_messages_are_sent() {
    let message = json!({"role": "user", "content": "x", "novel": {"a": null}});
    assert_eq!(sent("openai", message)["novel"], json!({"a": null}));
}

#[test]
fn metadata_is_sent_to_be_stored() {
    let metadata = json!({"metadata": {"a": "b"}});
    assert!(body("openai", metadata.clone()).get("metadata").is_none());
    let mut stored = metadata;
    stored["provider_options"] = json!({"openai": {"store": true}});
    let body = body("openai", stored);
    assert_eq!(
        (&body["metadata"], &body["store"]),
        (&json!({"a": "b"}), &json!(true))
    );
}

#[test]
fn azure_has_deployments_and_versions_in_its_path() {
    let path = |document: Value| {
        let mut target = target("azure");
        target.model = "my gpt/4".to_owned();
        encode(&request(document), &target, false).unwrap().path
    };
    assert_eq!(
        path(json!({})),
        "/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2025-02-01-preview"
    );
    let versioned = json!({"provider_options": {"azure": {"api_version": "2024-10-21"}}});
    assert!(path(versioned.clone()).ends_with("?api-version=2024-10-21"));
    assert!(body("azure", versioned).get("api_version").is_none());
    assert_eq!(
        path(json!({"api_base": "https://x.openai.azure.com/openai/v1/"})),
        "/chat/completions"
    );
}

#[test]
fn no_model_leads_out_of_its_place_in_the_path() {
    let mut target = target("azure");
    for up in ["", ".", ".."] {
        up.clone_into(&mut target.model);
        let error = encode(&request(json!({})), &target, false).unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest, "{up}");
        assert!(error.message.contains("model"), "{error}");
    }
    "..x".clone_into(&mut target.model);
    assert!(encode(&request(json!({})), &target, false).is_ok());
}

#[test]
fn a_server_that_is_not_openais_is_spoken_to_as_most_servers_are() {
    let asked = |base: &str| body("openai", json!({"max_tokens": 1, "api_base": base}));
    for home in ["https://api.openai.com/v1", "https://eu.api.openai.com:443/v1"] {
        assert_eq!(asked(home)["max_completion_tokens"], 1, "{home}");
    }
    for other in [
        "http://localhost:8000/v1",
        "https://notopenai.com/v1",
        "https://a.example/openai.com",
        "x",
    ] {
        assert_eq!(asked(other)["max_tokens"], 1, "{other}");
    }
}

#[test]
fn signatures_of_calls_go_to_gemini_in_the_place_that_it_has_for_them() {
    let mut dialect = Dialects::default();
    dialect.openai_chat.google_signatures = true;
    let target = Target {
        dialect: Arc::new(dialect),
        ..target("openai")
    };
    let call = json!({"id": "a", "function": {"name": "f", "arguments": "{}"}, "signature": "s"});
    let request = request(json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}));
    let body: Value = serde_json::from_slice(&encode(&request, &target, false).unwrap().body).unwrap();
    assert_eq!(
        body["messages"][0]["tool_calls"][0]["extra_content"],
        json!({"google": {"thought_signature": "s"}})
    );
}

#[test]
fn the_decoder_is_told_the_format_of_the_sound_that_was_asked_for() {
    let asked = json!({"modalities": ["text", "audio"], "provider_options": {"openai": {"audio": {"format": "pcm16"}}}});
    let encoded = encode(&request(asked), &target("openai"), false).unwrap();
    assert_eq!(encoded.context.audio_format.as_deref(), Some("pcm16"));
    assert_eq!(encoded.context.provider, "openai");
}

#[test]
fn ids_of_other_providers_calls_take_mistrals_form_and_stay_together() {
    let call = |id: &str| json!({"id": id, "function": {"name": "f", "arguments": "{}"}});
    let asked = json!({"messages": [
        {"role": "assistant", "tool_calls": [call("call_1"), call("abcDEF123")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"}]});
    let messages = body("mistral", asked.clone())["messages"].take();
    let id = messages[0]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{id}"
    );
    assert_eq!(messages[1]["tool_call_id"], id);
    assert_eq!(messages[0]["tool_calls"][1]["id"], "abcDEF123");
    assert_eq!(body("openai", asked)["messages"][1]["tool_call_id"], "call_1");
}

#[test]
fn a_content_of_which_nothing_is_for_the_provider_is_empty_text() {
    let other = json!({"type": "provider", "provider": "anthropic", "kind": "x", "data": {}});
    assert_eq!(
        sent("openai", json!({"role": "user", "content": [other]}))["content"],
        ""
    );
}

#[test]
fn a_reply_that_is_appended_goes_back_byte_for_byte() {
    let extra = json!({"google": {"thought_signature": "s=="}});
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{ \"x\":1.0,}"},
                      "extra_content": extra});
    let details = json!([{"type": "reasoning.encrypted", "index": 0, "data": "e=="}]);
    let message = json!({"role": "assistant", "content": "x", "reasoning": "so", "reasoning_details": details,
                         "tool_calls": [call]});
    let answer = json!({"id": "i", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]});
    let context = Context {
        provider: "openrouter".to_owned(),
        ..Context::default()
    };
    let mut reading = crate::Answer::new(CHAT, &context, "m", None);
    reading.push(answer.to_string().as_bytes()).unwrap();
    let finish = reading.end().unwrap();
    let mut fold = omni_core::Fold::new();
    while let Some(event) = reading.event() {
        fold.push(&event);
    }
    let reply = fold.finish(finish, Vec::new());
    let back = sent("openrouter", json!(reply.message));
    assert_eq!(back["content"], "x");
    assert_eq!(back["reasoning_details"], details);
    assert_eq!(back["tool_calls"], json!([call]));
    // Another provider gets what it can take.
    let elsewhere = sent("deepseek", json!(reply.message));
    assert_eq!(elsewhere["reasoning_content"], "so");
    assert!(elsewhere.get("reasoning_details").is_none());
    assert!(elsewhere["tool_calls"][0].get("extra_content").is_none());
}
