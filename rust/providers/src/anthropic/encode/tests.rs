use super::*;
use omni_core::Request;
use std::sync::Arc;

pub(crate) fn target(model: &str) -> Target {
    Target {
        provider: "anthropic".to_owned(),
        model: model.to_owned(),
        dialect: Arc::default(),
    }
}

pub(crate) fn request(mut document: Value) -> Request {
    document["model"] = json!("anthropic/any");
    if document.get("messages").is_none() {
        document["messages"] = json!([{"role": "user", "content": "Hello"}]);
    }
    Request::from_value(&document).unwrap()
}

pub(crate) fn encoded(model: &str, document: Value) -> (Value, Encoded) {
    let encoded = encode(&request(document), &target(model), false).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

pub(crate) fn body(model: &str, document: Value) -> Value {
    encoded(model, document).0
}

pub(crate) fn messages(document: &Value) -> Value {
    body("claude-sonnet-4-5", json!({ "messages": document }))["messages"].take()
}

fn why_not(document: Value) -> Option<String> {
    declines(&request(document), &target("claude-3-5-haiku-latest"))
}

fn header<'a>(encoded: &'a Encoded, name: &str) -> Option<&'a str> {
    let found = encoded.headers.iter().find(|(have, _)| *have == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn a_plain_request_says_what_the_wire_demands_and_no_more() {
    let (body, encoded) = encoded("claude-sonnet-4-5", json!({}));
    assert_eq!(
        body,
        json!({"model": "claude-sonnet-4-5", "max_tokens": 64_000,
               "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]})
    );
    assert_eq!(encoded.path, "/v1/messages");
    assert_eq!(encoded.headers, [("anthropic-version", "2023-06-01".to_owned())]);
}

#[test]
fn tools_keep_their_schemas_and_what_is_meant_for_this_provider() {
    let (body, encoded) = encoded(
        "claude-sonnet-4-5",
        json!({"tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "strict": true,
                "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}},
             "cache_control": {"type": "ephemeral"}},
            {"type": "function", "function": {"name": "g"}, "extra": {"anthropic": {"defer_loading": true}}},
            {"type": "provider", "provider": "anthropic", "data": {"type": "memory_20250818", "name": "memory"}},
            {"type": "provider", "provider": "openai", "data": {"type": "web_search"}}],
            "tool_choice": "required", "parallel_tool_calls": false}),
    );
    assert_eq!(
        body["tools"],
        json!([{"name": "f", "description": "d", "strict": true, "cache_control": {"type": "ephemeral"},
                "input_schema": {"type": "object", "additionalProperties": false,
                    "properties": {"a": {"type": "integer", "description": "(at least: 1)"}}}},
               {"name": "g", "input_schema": {"type": "object", "properties": {}}, "defer_loading": true},
               {"type": "memory_20250818", "name": "memory"}])
    );
    assert_eq!(
        body["tool_choice"],
        json!({"type": "any", "disable_parallel_tool_use": true})
    );
    assert_eq!(
        header(&encoded, "anthropic-beta"),
        Some("context-management-2025-06-27")
    );
}

#[test]
fn every_choice_of_a_tool_has_its_word() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for (choice, parallel, wire) in [
        (json!("auto"), None, json!({"type": "auto"})),
        (json!("none"), Some(false), json!({"type": "none"})),
        (
            json!({"type": "function", "function": {"name": "f"}}),
            None,
            json!({"type": "tool", "name": "f"}),
        ),
        (json!({"type": "any"}), Some(true), json!({"type": "any"})),
        (
            Value::Null,
            Some(false),
            json!({"type": "auto", "disable_parallel_tool_use": true}),
        ),
        (Value::Null, Some(true), Value::Null),
    ] {
        let asked = json!({"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel});
        assert_eq!(body("claude-x", asked)["tool_choice"], wire, "{choice}");
    }
    let without = body(
        "claude-x",
        json!({"tool_choice": "auto", "parallel_tool_calls": false}),
    );
    assert_eq!(without["tool_choice"], Value::Null);
}

#[test]
fn reasoning_is_asked_for_as_each_model_takes_it() {
    let adaptive = json!({"type": "adaptive", "display": "summarized"});
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    for (model, asked, thinking, effort) in [
        (
            "claude-sonnet-4-5",
            json!({"reasoning_budget_tokens": 2000}),
            budget(2000),
            Value::Null,
        ),
        (
            "claude-sonnet-4-5",
            json!({"reasoning_effort": "high"}),
            budget(4096),
            Value::Null,
        ),
        (
            "claude-sonnet-4-5",
            json!({"reasoning_effort": "high", "max_tokens": 3000}),
            budget(2999),
            Value::Null,
        ),
        (
            "claude-sonnet-4-5",
            json!({"reasoning_effort": "high", "max_tokens": 900}),
            Value::Null,
            Value::Null,
        ),
        (
            "claude-opus-4-6",
            json!({"reasoning_effort": "minimal"}),
            adaptive.clone(),
            json!("low"),
        ),
        (
            "claude-opus-4-6",
            json!({"reasoning_budget_tokens": 2000}),
            budget(2000),
            Value::Null,
        ),
        (
            "claude-opus-4-8",
            json!({"reasoning_budget_tokens": 5000}),
            adaptive.clone(),
            json!("high"),
        ),
        (
            "claude-sonnet-5",
            json!({"reasoning_effort": "xhigh"}),
            adaptive,
            json!("xhigh"),
        ),
        (
            "claude-sonnet-5",
            json!({"reasoning_effort": "none"}),
            json!({"type": "disabled"}),
            Value::Null,
        ),
        (
            "claude-opus-5-5",
            json!({"reasoning_effort": "none"}),
            Value::Null,
            json!("low"),
        ),
    ] {
        let body = body(model, asked.clone());
        assert_eq!(
            (&body["thinking"], &body["output_config"]["effort"]),
            (&thinking, &effort),
            "{model} {asked}"
        );
    }
    let above = body("claude-opus-4-1", json!({"reasoning_budget_tokens": 40_000}));
    assert_eq!(above["max_tokens"], 44_096);
}

#[test]
fn the_form_of_the_answer_is_structured_output_or_a_tool_of_ours() {
    let asked = |schema: Value| {
        json!({"response_format": {"type": "json_schema",
        "json_schema": {"name": "n", "schema": schema}}})
    };
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let native = body("claude-sonnet-4-5", asked(schema.clone()));
    assert_eq!(
        native["output_config"]["format"],
        json!({"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}},
               "additionalProperties": false}})
    );
    let (body, encoded) = encoded("claude-sonnet-4-0", asked(schema.clone()));
    let name = encoded.context.format_tool.unwrap();
    assert_eq!(
        (
            body["tools"][0]["name"].as_str(),
            &body["tools"][0]["input_schema"]
        ),
        (Some(name.as_str()), &schema)
    );
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": name}));
    let mut thinking = asked(json!({"type": "array"}));
    thinking["reasoning_budget_tokens"] = json!(2000);
    let (body, encoded) = self::encoded("claude-sonnet-4-0", thinking);
    assert_eq!(
        encoded.context.format_tool.as_deref(),
        Some(crate::anthropic::FORMAT_VALUES)
    );
    assert_eq!(
        body["tools"][0]["input_schema"]["properties"]["values"],
        json!({"type": "array"})
    );
    assert_eq!(body["tool_choice"], json!({"type": "auto"}));
    let (body, encoded) = self::encoded(
        "claude-opus-4-8",
        json!({"response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": {"name": "f"}}]}),
    );
    assert!(encoded.context.format_tool.is_some());
    assert_eq!(body["tool_choice"], json!({"type": "any"}));
}

#[test]
fn a_format_without_its_schema_is_refused() {
    let asked = request(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}));
    let error = encode(&asked, &target("claude-x"), false).unwrap_err();
    assert!(
        error.message.contains("response_format.json_schema.schema"),
        "{error:?}"
    );
}

#[test]
fn options_are_merged_all_the_way_down_and_only_those_of_this_provider() {
    let body = body(
        "claude-opus-4-8",
        json!({"reasoning_effort": "high", "temperature": 0.5, "provider_options": {
            "openai": {"store": true}, "anthropic": {"thinking": {"display": "omitted"}, "temperature": 1,
            "output_config": {"task_budget": {"total": 9}}, "speed": "slow"}}}),
    );
    assert_eq!(
        body["thinking"],
        json!({"type": "adaptive", "display": "omitted"})
    );
    assert_eq!(
        body["output_config"],
        json!({"effort": "high", "task_budget": {"total": 9}})
    );
    assert_eq!(
        (&body["temperature"], &body["speed"], &body["store"]),
        (&json!(1), &json!("slow"), &Value::Null)
    );
}

#[test]
fn an_option_stands_in_the_body_once() {
    let asked =
        json!({"stop": "x", "provider_options": {"anthropic": {"messages": [], "stop_sequences": ["y"]}}});
    let (_, encoded) = encoded("claude-x", asked);
    let sent = String::from_utf8(encoded.body).unwrap();
    assert_eq!(
        (
            sent.matches("\"messages\"").count(),
            sent.matches("stop_sequences").count()
        ),
        (1, 1)
    );
    assert!(
        sent.contains("\"messages\":[]") && sent.contains("[\"y\"]"),
        "{sent}"
    );
}

#[test]
fn extra_is_merged_into_its_wire_object() {
    let found = messages(&json!([
        {"role": "user", "content": [{"type": "text", "text": "a", "extra": {"anthropic": {"x": 1}, "gemini": {"y": 1}}}],
         "extra": {"anthropic": {"output_config": {"effort": "low"}}}},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function",
            "function": {"name": "f", "arguments": "{}"}, "extra": {"anthropic": {"caller": {"type": "direct"}}}}]},
        {"role": "tool", "tool_call_id": "1", "content": "r", "extra": {"anthropic": {"z": 1}}}]));
    assert_eq!(
        found[0]["content"],
        json!([{"type": "text", "text": "a", "x": 1}])
    );
    assert_eq!(found[0]["output_config"], json!({"effort": "low"}));
    assert_eq!(found[1]["content"][0]["caller"], json!({"type": "direct"}));
    assert_eq!(found[2]["content"][0]["z"], 1);
}

#[test]
fn betas_are_named_where_a_feature_needs_one_and_those_of_the_caller_are_kept() {
    let (_, with) = encoded(
        "claude-x",
        json!({"headers": {"Anthropic-Beta": "mine-1, files-api-2025-04-14"},
            "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}],
            "provider_options": {"anthropic": {"mcp_servers": [{}], "context_management":
                {"edits": [{"type": "compact_20260112"}, {"type": "clear_tool_uses_20250919"}]}}}}),
    );
    assert_eq!(
        header(&with, "anthropic-beta"),
        Some(
            "files-api-2025-04-14,mcp-client-2025-04-04,compact-2026-01-12,context-management-2025-06-27,mine-1"
        )
    );
}

#[test]
fn every_beta_is_named_by_its_feature_alone() {
    let option = |options: Value| json!({"provider_options": {"anthropic": options}});
    let said = |part: Value| json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": [part]}]});
    let own = |data: Value| json!({"type": "provider", "provider": "anthropic", "kind": "k", "data": data});
    let tool = |data: Value| json!({"tools": [{"type": "provider", "provider": "anthropic", "data": data}]});
    for (asked, beta) in [
        (
            option(json!({"container": {"skills": [{}]}})),
            "skills-2025-10-02",
        ),
        (option(json!({"speed": "fast"})), "fast-mode-2026-02-01"),
        (
            option(json!({"output_format": {"type": "json_schema"}})),
            "structured-outputs-2025-11-13",
        ),
        (
            option(json!({"output_config": {"task_budget": {}}})),
            "task-budgets-2026-03-13",
        ),
        (
            option(json!({"thinking": {"display": "updates"}})),
            "thinking-display-updates-2026-08-18",
        ),
        (
            option(json!({"compaction": {"type": "auto"}})),
            "compact-2026-09-04",
        ),
        (
            said(own(json!({"type": "tool_addition"}))),
            "mid-conversation-tool-changes-2026-07-01",
        ),
        (
            json!({"tools": [{"type": "provider", "provider": "anthropic", "data": {"type": "mcp_toolset"}}],
                "provider_options": {"anthropic": {"mcp_servers": [{}]}}}),
            "mcp-client-2025-11-20",
        ),
        (
            tool(json!({"type": "computer_20250124"})),
            "computer-use-2025-01-24",
        ),
        (
            tool(json!({"type": "tool_search_tool_bm25_20251119"})),
            "advanced-tool-use-2025-11-20",
        ),
        (
            json!({"messages": [{"role": "user", "content": "a", "extra": {"anthropic": {"output_config": {}}}}]}),
            "mid-conversation-output-config-2026-07-01",
        ),
    ] {
        let (_, encoded) = encoded("claude-opus-4-8", asked.clone());
        assert_eq!(header(&encoded, "anthropic-beta"), Some(beta), "{asked}");
    }
    let effort = option(json!({"output_config": {"effort": "low"}}));
    for (model, beta) in [
        ("claude-opus-4-5", Some("effort-2025-11-24")),
        ("claude-opus-4-6", None),
    ] {
        assert_eq!(
            header(&encoded(model, effort.clone()).1, "anthropic-beta"),
            beta,
            "{model}"
        );
    }
}

#[test]
fn what_the_wire_cannot_say_is_declined_and_hints_are_left_out() {
    for (document, word) in [
        (json!({"logprobs": true}), "logprobs"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"reasoning_effort": "high"}), "reasoning_effort"),
        (
            json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}),
            "tools[0].custom",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a/b"}}]}),
            "tools[0].function.name",
        ),
        (json!({"tool_choice": {"type": "allowed_tools"}}), "tool_choice"),
        (json!({"response_format": {"type": "grammar"}}), "response_format"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}]}),
            "messages[0].content[0].input_audio",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}),
            "messages[0].content[0].image_url",
        ),
    ] {
        let why = why_not(document.clone());
        assert!(
            why.as_deref().is_some_and(|why| why.starts_with(word)),
            "{document} {why:?}"
        );
    }
    let hints = json!({"seed": 1, "frequency_penalty": 1, "presence_penalty": 1, "service_tier": "flex",
        "user": "me@example.com", "logprobs": false, "modalities": ["text"]});
    assert_eq!(why_not(hints.clone()), None);
    assert_eq!(body("claude-x", hints), body("claude-x", json!({})));
}

#[test]
fn the_user_and_the_tier_have_their_own_words() {
    let body = body(
        "claude-x",
        json!({"user": "u-1", "service_tier": "default", "stop": ["a"], "top_k": 3}),
    );
    assert_eq!(body["metadata"], json!({"user_id": "u-1"}));
    assert_eq!(
        (&body["service_tier"], &body["top_k"]),
        (&json!("standard_only"), &json!(3))
    );
    assert_eq!(body["stop_sequences"], json!(["a"]));
}

#[test]
fn a_dialect_may_bound_the_output_and_know_no_betas() {
    let dialect: crate::Dialect =
        serde_json::from_value(json!({"anthropic": {"max_tokens": 100, "no_betas": true}})).unwrap();
    let target = Target {
        dialect: Arc::new(dialect),
        ..target("some-model")
    };
    let asked = request(json!({"provider_options": {"anthropic": {"mcp_servers": [{}]}}}));
    let encoded = encode(&asked, &target, true).unwrap();
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(
        (&body["max_tokens"], &body["stream"]),
        (&json!(100), &json!(true))
    );
    assert_eq!(header(&encoded, "anthropic-beta"), None);
}

#[test]
fn what_is_declined_is_not_written_either() {
    let odd = request(json!({"response_format": {"type": "grammar"}}));
    let target = target("claude-sonnet-4-5");
    let why = declines(&odd, &target).unwrap();
    let error = encode(&odd, &target, false).unwrap_err();
    assert_eq!((error.code, error.message), (Code::Unsupported, why));
}
