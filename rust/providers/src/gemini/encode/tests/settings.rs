//! Tools and settings.

use super::*;

#[test]
fn tools_are_functions_in_one_and_what_the_provider_runs() {
    let schema =
        json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "additionalProperties": false});
    let googles = json!({"type": "OBJECT", "properties": {"x": {"type": "STRING"}}});
    let tools = json!([
        {"type": "function", "function": {"name": "a", "description": "A", "parameters": schema, "strict": true}},
        {"type": "provider", "provider": "gemini", "data": {"googleSearch": {}}},
        {"type": "provider", "provider": "openai", "data": {"type": "web_search"}},
        {"type": "function", "function": {"name": "b", "parameters": googles}, "extra": {"gemini": {"behavior": "BLOCKING"}}},
        {"type": "function", "function": {"name": "c"}}
    ]);
    assert_eq!(
        body(json!({"tools": tools}))["tools"],
        json!([
            {"functionDeclarations": [
                {"name": "a", "description": "A", "parametersJsonSchema": schema},
                {"name": "b", "parameters": googles, "behavior": "BLOCKING"},
                {"name": "c"}
            ]},
            {"googleSearch": {}}
        ])
    );
}

#[test]
fn a_choice_of_tools_has_its_mode() {
    let function = json!({"type": "function", "function": {"name": "f"}});
    let allowed =
        |mode: &str| json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [function]}});
    for (choice, config) in [
        (json!("auto"), json!({"mode": "AUTO"})),
        (json!("none"), json!({"mode": "NONE"})),
        (json!("required"), json!({"mode": "ANY"})),
        (
            function.clone(),
            json!({"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ),
        (
            allowed("required"),
            json!({"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ),
        (
            allowed("auto"),
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
        ),
    ] {
        let body = body(json!({"tools": [function], "tool_choice": choice}));
        assert_eq!(body["toolConfig"], json!({ "functionCallingConfig": config }));
    }
}

#[test]
fn tools_of_the_provider_alone_cannot_be_chosen_but_can_be_forbidden() {
    let tools = json!([{"type": "provider", "provider": "gemini", "data": {"googleSearch": {}}}]);
    let with = |choice: &str| json!({"tools": tools, "tool_choice": choice});
    assert!(declined("gemini-2.5-flash", with("required")).starts_with("tool_choice"));
    assert_eq!(body(with("none")).get("tools"), None);
    let auto = body(with("auto"));
    assert_eq!(
        (&auto["tools"], auto.get("toolConfig")),
        (&json!([{"googleSearch": {}}]), None)
    );
}

#[test]
fn custom_tools_are_declined_with_what_to_do() {
    let why = declined(
        "gemini-2.5-flash",
        json!({"tools": [{"type": "custom", "custom": {"name": "sql"}}]}),
    );
    assert_eq!(
        why,
        "tools[0]: gemini has no custom tools: offer \"sql\" as a function"
    );
}

#[test]
fn settings_stand_in_the_generation_config() {
    let sent = body(json!({
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": 100, "stop": ["a", "b"], "seed": 7,
        "frequency_penalty": 0.1, "presence_penalty": 0.2, "logprobs": true, "top_logprobs": 3,
        "modalities": ["text", "image"], "service_tier": "flex", "n": 1,
        "user": "u", "parallel_tool_calls": false, "labels": {"team": "t"}, "metadata": {"m": "1"}
    }));
    assert_eq!(
        sent,
        json!({
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 100, "stopSequences": ["a", "b"],
                "seed": 7, "frequencyPenalty": 0.1, "presencePenalty": 0.2, "responseLogprobs": true, "logprobs": 3,
                "responseModalities": ["TEXT", "IMAGE"]
            },
            "serviceTier": "flex"
        })
    );
    assert_eq!(
        body(json!({"stop": "x"}))["generationConfig"],
        json!({"stopSequences": ["x"]})
    );
}

#[test]
fn hints_that_the_model_refuses_are_left_out() {
    let fields = json!({"frequency_penalty": 0.1, "presence_penalty": 0.2, "service_tier": "auto"});
    assert_eq!(sent("gemini-3-pro-preview", fields), body(json!({})));
    assert_eq!(
        body(json!({"service_tier": "Default"}))["serviceTier"],
        "standard"
    );
}

#[test]
fn the_finest_resolution_that_a_part_asks_for_holds() {
    let part = |detail: &str| json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": detail}});
    let with = |parts: Value| {
        body(json!({"messages": [{"role": "user", "content": parts}]}))["generationConfig"].clone()
    };
    assert_eq!(
        with(json!([part("high"), part("low")])),
        json!({"mediaResolution": "MEDIA_RESOLUTION_HIGH"})
    );
    assert_eq!(with(json!([part("auto")])), Value::Null);
}

#[test]
fn the_format_of_the_answer_takes_any_schema() {
    let config = |format: Value| body(json!({ "response_format": format }))["generationConfig"].clone();
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
    assert_eq!(config(json!({"type": "text"})), Value::Null);
    assert_eq!(
        config(json!({"type": "json_object"})),
        json!({"responseMimeType": "application/json"})
    );
    assert_eq!(
        config(
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}})
        ),
        json!({"responseMimeType": "application/json", "responseJsonSchema": schema})
    );
    let googles = json!({"type": "OBJECT"});
    assert_eq!(
        config(json!({"type": "json_object", "response_schema": googles})),
        json!({"responseMimeType": "application/json", "responseSchema": googles})
    );
    assert!(
        declined(
            "gemini-2.5-flash",
            json!({"response_format": {"type": "grammar"}})
        )
        .contains("response_format")
    );
}

#[test]
fn effort_is_a_level_or_a_budget_by_generation() {
    for (model, effort, config) in [
        (
            "gemini-3-pro-preview",
            "minimal",
            json!({"thinkingLevel": "low", "includeThoughts": true}),
        ),
        (
            "gemini-3-flash-preview",
            "minimal",
            json!({"thinkingLevel": "minimal", "includeThoughts": true}),
        ),
        (
            "gemini-3-pro-preview",
            "high",
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
        (
            "gemini-3-pro-preview",
            "xhigh",
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
        (
            "gemini-3-flash-preview",
            "none",
            json!({"thinkingLevel": "minimal", "includeThoughts": false}),
        ),
        (
            "gemini-flash-latest",
            "low",
            json!({"thinkingLevel": "low", "includeThoughts": true}),
        ),
        (
            "gemini-2.5-flash",
            "minimal",
            json!({"thinkingBudget": 1, "includeThoughts": true}),
        ),
        (
            "gemini-2.5-flash-lite",
            "minimal",
            json!({"thinkingBudget": 512, "includeThoughts": true}),
        ),
        (
            "gemini-2.5-pro",
            "medium",
            json!({"thinkingBudget": 2048, "includeThoughts": true}),
        ),
        (
            "gemini-2.5-pro",
            "none",
            json!({"thinkingBudget": 128, "includeThoughts": false}),
        ),
        (
            "gemini-2.5-flash",
            "none",
            json!({"thinkingBudget": 0, "includeThoughts": false}),
        ),
    ] {
        let body = sent(model, json!({ "reasoning_effort": effort }));
        assert_eq!(
            body["generationConfig"]["thinkingConfig"], config,
            "{model} {effort}"
        );
    }
    assert_eq!(
        sent("gemini-2.0-flash", json!({"reasoning_effort": "none"})),
        body(json!({}))
    );
    for (model, effort) in [
        ("gemini-2.0-flash", "low"),
        ("my-tuned", "low"),
        ("gemini-2.5-pro", "extreme"),
    ] {
        assert!(declined(model, json!({ "reasoning_effort": effort })).starts_with("reasoning_effort"));
    }
}

#[test]
fn a_budget_says_more_than_an_effort() {
    let config = |budget: u64| {
        let body = body(json!({"reasoning_effort": "low", "reasoning_budget_tokens": budget}));
        body["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(
        config(5000),
        json!({"thinkingBudget": 5000, "includeThoughts": true})
    );
    assert_eq!(config(0), json!({"thinkingBudget": 0, "includeThoughts": false}));
    assert!(
        declined("gemini-2.0-flash", json!({"reasoning_budget_tokens": 9}))
            .contains("reasoning_budget_tokens")
    );
}
