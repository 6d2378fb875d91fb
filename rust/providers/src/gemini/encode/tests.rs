use super::*;
use crate::dialect::Dialect;
use crate::gemini::OWN_ID;
use std::sync::Arc;

mod back;
mod settings;

const UNSIGNED: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

fn target(model: &str) -> Target {
    Target {
        provider: "gemini".to_owned(),
        model: model.to_owned(),
        dialect: Arc::new(Dialect::default()),
    }
}

fn request(mut fields: Value) -> Request {
    fields["model"] = json!("gemini/x");
    if fields.get("messages").is_none() {
        fields["messages"] = json!([{"role": "user", "content": "hi"}]);
    }
    Request::from_value(&fields).unwrap()
}

fn sent(model: &str, fields: Value) -> Value {
    let request = request(fields);
    assert_eq!(declines(&request, &target(model)), None);
    serde_json::from_slice(&encode(&request, &target(model), false).unwrap().body).unwrap()
}

fn body(fields: Value) -> Value {
    sent("gemini-2.5-flash", fields)
}

fn contents(messages: Value) -> Value {
    let fields = Value::from_iter([("messages", messages)]);
    body(fields)["contents"].clone()
}

/// That it is declined, and that `encode` says the same.
fn declined(model: &str, fields: Value) -> String {
    let request = request(fields);
    let why = declines(&request, &target(model)).unwrap();
    let error = encode(&request, &target(model), true).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::Unsupported, why.as_str())
    );
    why
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}

#[test]
fn a_plain_request_is_no_more_than_its_text() {
    let encoded = encode(&request(json!({})), &target("gemini-2.5-flash"), false).unwrap();
    assert_eq!(
        String::from_utf8(encoded.body).unwrap(),
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#
    );
    assert_eq!(encoded.context.provider, "gemini");
}

#[test]
fn the_path_names_the_model_and_the_way_of_the_answer() {
    for (model, stream, path) in [
        (
            "gemini-2.5-flash",
            false,
            "/models/gemini-2.5-flash:generateContent",
        ),
        (
            "gemini-2.5-flash",
            true,
            "/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        (
            "models/gemini-2.5-flash",
            false,
            "/models/gemini-2.5-flash:generateContent",
        ),
        ("tunedModels/mine-1", false, "/tunedModels/mine-1:generateContent"),
        ("../x?y#é", false, "/models/..%2Fx%3Fy%23%C3%A9:generateContent"),
    ] {
        assert_eq!(
            encode(&request(json!({})), &target(model), stream).unwrap().path,
            path
        );
    }
}

#[test]
fn instructions_leave_the_conversation_wherever_they_stand() {
    let body = body(json!({"messages": [
        {"role": "system", "content": "a"}, {"role": "user", "content": "hi"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": ""}]}
    ]}));
    assert_eq!(
        body["systemInstruction"],
        json!({"parts": [{"text": "a"}, {"text": "b"}]})
    );
    assert_eq!(
        body["contents"],
        json!([{"role": "user", "parts": [{"text": "hi"}]}])
    );
}

#[test]
fn a_user_always_speaks_first() {
    let empty = json!({"role": "user", "parts": [{"text": ""}]});
    assert_eq!(
        contents(json!([{"role": "system", "content": "a"}])),
        json!([empty])
    );
    assert_eq!(
        contents(json!([{"role": "assistant", "content": "a"}])),
        json!([empty, {"role": "model", "parts": [{"text": "a"}]}])
    );
    assert_eq!(contents(json!([{"role": "user", "content": ""}])), json!([empty]));
}

#[test]
fn media_are_inline_or_fetched_by_google() {
    let parts = json!([
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}},
        {"type": "image_url", "image_url": "data:image/png;base64,BBBB"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a/b.PNG?c=d.e"}},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,DDDD", "filename": "x.pdf"}},
        {"type": "file", "file": {"file_data": "EEEE", "filename": "x.mp4"}},
        {"type": "file", "file": {"file_id": "gs://b/x", "format": "video/mp4"}},
        {"type": "file", "file": {"file_id": "files/abc"}},
        {"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/q"}},
        {"type": "file", "file": {"file_id": "https://youtu.be/z"}}
    ]);
    let sent = contents(json!([{"role": "user", "content": parts}]));
    let file = |mime: &str, uri: &str| json!({"fileData": {"mimeType": mime, "fileUri": uri}});
    let inline = |mime: &str, data: &str| json!({"inlineData": {"mimeType": mime, "data": data}});
    let files = "https://generativelanguage.googleapis.com/v1beta/files/";
    assert_eq!(
        sent[0]["parts"],
        json!([
            {"text": "see"}, inline("image/jpeg", "AAAA"), inline("image/png", "BBBB"),
            file("image/png", "https://x.example/a/b.PNG?c=d.e"), inline("audio/mp3", "CCCC"),
            inline("application/pdf", "DDDD"), inline("video/mp4", "EEEE"), file("video/mp4", "gs://b/x"),
            {"fileData": {"fileUri": format!("{files}abc")}}, {"fileData": {"fileUri": format!("{files}q")}},
            file("video/mp4", "https://youtu.be/z")
        ])
    );
}

#[test]
fn media_that_the_api_cannot_take_are_declined_with_their_place() {
    for (part, word) in [
        (
            json!({"type": "image_url", "image_url": {"url": "http://x.example/a.png"}}),
            "image_url.url",
        ),
        (
            json!({"type": "image_url", "image_url": {"url": "https://x.example/a"}}),
            "format",
        ),
        (
            json!({"type": "image_url", "image_url": {"url": "data:text/plain,hello"}}),
            "base64",
        ),
        (
            json!({"type": "file", "file": {"file_id": "file-abc"}}),
            "file.file_id",
        ),
        (
            json!({"type": "file", "file": {"file_data": "AAAA"}}),
            "file.file_data",
        ),
        (json!({"type": "file", "file": {}}), "file.file_id"),
        (
            json!({"type": "input_audio", "input_audio": {}}),
            "input_audio.data",
        ),
    ] {
        let fields =
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]});
        let why = declined("gemini-2.5-flash", fields);
        assert!(
            why.starts_with("messages[0].content[1].") && why.contains(word),
            "{why}"
        );
    }
}

#[test]
fn an_old_model_fetches_nothing_unless_its_provider_does() {
    let fields = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]});
    assert!(declined("gemini-2.0-flash", fields.clone()).contains("fetches no web addresses"));
    let mut vertex = target("gemini-2.0-flash");
    let mut dialect = Dialect::default();
    dialect.gemini.fetches_files = true;
    vertex.dialect = Arc::new(dialect);
    assert_eq!(declines(&request(fields), &vertex), None);
}

#[test]
fn arguments_go_out_byte_for_byte_as_the_object_they_are() {
    for (arguments, wire) in [
        (r#"{"a": 1.0,  "a":"é"}"#, r#"{"a": 1.0,  "a":"é"}"#),
        ("", "{}"),
        ("[1]", r#"{"_raw":"[1]"}"#),
        ("{oops", r#"{"_raw":"{oops"}"#),
        (r#"{"a":"\ud800"}"#, r#"{"a":"\ufffd"}"#),
    ] {
        let messages = json!([{"role": "user", "content": "x"},
                              {"role": "assistant", "content": null, "tool_calls": [call("c1", arguments)]}]);
        let request = request(json!({ "messages": messages }));
        let body = encode(&request, &target("gemini-2.5-flash"), false).unwrap().body;
        let body = String::from_utf8(body).unwrap();
        let want = format!(r#"{{"functionCall":{{"name":"f","id":"c1","args":{wire}}}}}"#);
        assert!(body.contains(&want), "{body}");
    }
}

#[test]
fn results_of_one_turn_are_one_content_and_an_object_stays_one() {
    let own = format!("{OWN_ID}1");
    let sent = contents(json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("c1", "{}"), call(&own, "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "{\"t\":  20.0}"},
        {"role": "tool", "tool_call_id": own, "content": [{"type": "text", "text": "su"}, {"type": "text", "text": "nny"}]},
        {"role": "user", "content": "and?"}
    ]));
    assert_eq!(sent.as_array().unwrap().len(), 4);
    assert_eq!(
        sent[2],
        json!({"role": "user", "parts": [
            {"functionResponse": {"name": "f", "id": "c1", "response": {"t": 20.0}}},
            {"functionResponse": {"name": "f", "response": {"output": "sunny"}}}
        ]})
    );
}

#[test]
fn a_failed_tool_says_so_where_the_api_looks_for_it() {
    for (content, response) in [
        ("no", json!({"error": "no"})),
        ("{\"why\": 1}", json!({"error": {"why": 1}})),
        ("{\"error\": \"x\"}", json!({"error": "x"})),
        ("[1]", json!({"error": "[1]"})),
    ] {
        let sent = contents(json!([
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [call("c1", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": content, "is_error": true}
        ]));
        assert_eq!(sent[2]["parts"][0]["functionResponse"]["response"], response);
    }
}

#[test]
fn media_of_a_result_are_in_it_where_the_model_knows_that_and_after_it_elsewhere() {
    let fields = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("c1", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": [
            {"type": "text", "text": "seen"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    ]});
    let media = json!([{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]);
    let third = sent("gemini-3-flash-preview", fields.clone());
    assert_eq!(
        third["contents"][2]["parts"][0]["functionResponse"]["parts"],
        media
    );
    let second = body(fields);
    assert_eq!(
        second["contents"][2]["parts"][0]["functionResponse"].get("parts"),
        None
    );
    assert_eq!(second["contents"][3], json!({"role": "user", "parts": media}));
}

#[test]
fn a_result_without_a_call_needs_a_name() {
    let tool = json!({"role": "tool", "tool_call_id": "lost", "content": "x"});
    let request = |tool: &Value| request(json!({"messages": [{"role": "user", "content": "x"}, tool]}));
    let error = encode(&request(&tool), &target("gemini-2.5-flash"), false).unwrap_err();
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(
        error.message.contains("messages[1].tool_call_id"),
        "{}",
        error.message
    );
    let mut named = tool;
    named["name"] = json!("f");
    let sent: Value = serde_json::from_slice(
        &encode(&request(&named), &target("gemini-2.5-flash"), false)
            .unwrap()
            .body,
    )
    .unwrap();
    let result = json!({"functionResponse": {"name": "f", "response": {"output": "x"}}});
    assert_eq!(sent["contents"][1]["parts"], json!([result]));
}

#[test]
fn the_parts_of_an_answer_go_back_in_their_order() {
    let code = json!({"executableCode": {"code": "1"}, "thoughtSignature": "e=="});
    let sent = contents(
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "a", "signature": "t=="},
        {"type": "tool_call", "id": "c2"},
        {"type": "provider", "provider": "vertex_ai", "kind": "executableCode", "data": code},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "signature": "i=="}
    ], "tool_calls": [{"id": "c1", "function": {"name": "g"}, "signature": "c=="}, call("c2", "{}")]}]),
    );
    assert_eq!(
        sent[1]["parts"],
        json!([
            {"text": "hm", "thought": true}, {"text": "a", "thoughtSignature": "t=="},
            {"functionCall": {"name": "f", "id": "c2", "args": {}}}, code,
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "i=="},
            {"functionCall": {"name": "g", "id": "c1", "args": {}}, "thoughtSignature": "c=="}
        ])
    );
}

#[test]
fn what_another_provider_gave_is_left_out() {
    let sent = contents(
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": [
            {"type": "reasoning", "text": "claude's", "signature": "EqQB=="},
            {"type": "reasoning", "text": "", "encrypted": "gAAA"},
            {"type": "reasoning", "text": "openai's", "id": "rs_1"},
            {"type": "provider", "provider": "anthropic", "kind": "server_tool_use", "data": {"type": "server_tool_use"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "novel", "x": 1},
            {"type": "text", "text": "a", "annotations": [{"type": "url_citation"}]}
        ]}]),
    );
    assert_eq!(sent[1], json!({"role": "model", "parts": [{"text": "a"}]}));
}

#[test]
fn a_signed_thought_goes_back_where_the_message_says_that_it_is_geminis() {
    let parts = |extra: Value| {
        let content =
            json!([{"type": "reasoning", "text": "hm", "signature": "r=="}, {"type": "text", "text": "a"}]);
        let message = json!({"role": "assistant", "content": content, "extra": extra});
        contents(json!([{"role": "user", "content": "x"}, message]))[1]["parts"].clone()
    };
    let thought = json!({"text": "hm", "thought": true, "thoughtSignature": "r=="});
    assert_eq!(parts(json!({"gemini": {}})), json!([thought, {"text": "a"}]));
    for other in [json!({}), json!({"mistral": {}})] {
        assert_eq!(parts(other), json!([{"text": "a"}]));
    }
}

#[test]
fn an_answer_that_says_nothing_keeps_its_turn() {
    let turn = |message: Value| contents(json!([{"role": "user", "content": "x"}, message]))[1].clone();
    assert_eq!(
        turn(json!({"role": "assistant", "content": null})),
        json!({"role": "model", "parts": [{"text": ""}]})
    );
    assert_eq!(
        turn(json!({"role": "assistant", "content": "", "refusal": "no"})),
        json!({"role": "model", "parts": [{"text": "no"}]})
    );
}

#[test]
fn the_first_unsigned_call_of_the_turn_is_marked_for_gemini_3() {
    let fields = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("c0", "{}")]},
        {"role": "tool", "tool_call_id": "c0", "content": "0"},
        {"role": "user", "content": "y"},
        {"role": "assistant", "content": "", "tool_calls": [call("c1", "{}"), call("c2", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"}
    ]});
    let sent = sent("gemini-3-pro-preview", fields.clone());
    let signature = |turn: usize, part: usize| sent["contents"][turn]["parts"][part].get("thoughtSignature");
    assert_eq!(signature(1, 0), None);
    assert_eq!(signature(4, 0), Some(&json!(UNSIGNED)));
    assert_eq!(signature(4, 1), None);
    assert!(!body(fields).to_string().contains(UNSIGNED));
}

#[test]
fn ids_of_calls_are_left_out_where_the_provider_knows_none() {
    let fields = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("c1", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"}
    ]});
    let mut dialect = Dialect::default();
    dialect.gemini.call_ids_from_3 = true;
    let dialect = Arc::new(dialect);
    for (model, there) in [("gemini-2.5-flash", false), ("gemini-3-flash-preview", true)] {
        let target = Target {
            dialect: dialect.clone(),
            ..target(model)
        };
        let body = encode(&request(fields.clone()), &target, false).unwrap().body;
        assert_eq!(
            String::from_utf8(body).unwrap().matches("\"c1\"").count(),
            if there { 2 } else { 0 }
        );
    }
}

#[test]
fn options_of_the_provider_are_laid_over_the_body() {
    let sent = body(json!({
        "temperature": 0.5, "max_tokens": 9,
        "provider_options": {
            "google": {"safetySettings": [1], "generationConfig": {"temperature": 0.7}},
            "gemini": {"cachedContent": "cachedContents/1", "generation_config": {"max_output_tokens": 5, "speechConfig": {}}},
            "openai": {"store": true}
        }
    }));
    assert_eq!(
        sent,
        json!({
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"temperature": 0.7, "maxOutputTokens": 5, "speechConfig": {}},
            "safetySettings": [1], "cachedContent": "cachedContents/1"
        })
    );
    let sent = body(
        json!({"provider_options": {"gemini": {"contents": [], "system_instruction": {"parts": []}}},
                           "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}),
    );
    assert_eq!(sent, json!({"contents": [], "systemInstruction": {"parts": []}}));
}

#[test]
fn extras_are_merged_into_their_wire_objects() {
    let extra = |data: Value| json!({"gemini": data, "openai": {"no": 1}});
    let mut called = call("c1", "{\"a\": 1}");
    called["extra"] = extra(json!({"functionCall": {"novel": 1}}));
    let sent = contents(json!([
        {"role": "user", "content": [{"type": "text", "text": "x", "extra": extra(json!({"p": 1}))}], "extra": extra(json!({"m": 1}))},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "1", "extra": extra(json!({"scheduling": "SILENT"}))}
    ]));
    assert_eq!(
        sent[0],
        json!({"role": "user", "parts": [{"text": "x", "p": 1}], "m": 1})
    );
    assert_eq!(
        sent[1]["parts"][0],
        json!({"functionCall": {"name": "f", "id": "c1", "args": {"a": 1}, "novel": 1}})
    );
    assert_eq!(sent[2]["parts"][0]["functionResponse"]["scheduling"], "SILENT");
    assert!(!sent.to_string().contains("\"no\""));
}

#[test]
fn a_request_that_is_declined_names_the_field_and_quotes_no_prompt() {
    let secret = "my secret";
    let fields = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": secret}, {"type": "image_url", "image_url": {"url": format!("http://x/{secret}")}}]}]});
    assert!(!declined("gemini-2.5-flash", fields).contains(secret));
}
