//! Canned answers of each wire, of any number of chunks, in the shape in which providers send them.

use serde::Deserialize;
use serde_json::{Value, json};

/// Whose wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// `POST …/chat/completions`.
    #[default]
    Openai,
    /// `POST …/responses`.
    Responses,
    /// `POST …/v1/messages`.
    Anthropic,
    /// `POST …/models/{model}:streamGenerateContent?alt=sse`.
    Gemini,
}

const WORDS: [&str; 8] = [
    "time ",
    "flies ",
    "like ",
    "an ",
    "arrow, ",
    "fruit ",
    "like ",
    "bananas; ",
];

/// The text of chunk `n`.
pub fn word(n: usize) -> &'static str {
    WORDS[n % WORDS.len()]
}

/// The whole text of an answer of so many chunks.
pub fn text(chunks: usize) -> String {
    (0..chunks).map(word).collect()
}

impl Wire {
    /// Every wire.
    pub const ALL: [Wire; 4] = [Wire::Openai, Wire::Responses, Wire::Anthropic, Wire::Gemini];

    /// Its name in records and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Wire::Openai => "openai",
            Wire::Responses => "responses",
            Wire::Anthropic => "anthropic",
            Wire::Gemini => "gemini",
        }
    }

    /// The wire of that name.
    pub fn named(name: &str) -> Option<Wire> {
        Wire::ALL.into_iter().find(|wire| wire.name() == name)
    }

    /// The answer that is not streamed.
    pub fn body(self, chunks: usize) -> Vec<u8> {
        let body = match self {
            Wire::Openai => openai_body(chunks),
            Wire::Responses => responses_body(chunks, "completed"),
            Wire::Anthropic => anthropic_body(chunks),
            Wire::Gemini => gemini_chunk(&text(chunks), chunks, Some("STOP")),
        };
        body.to_string().into_bytes()
    }

    /// The streamed answer: its server-sent events, each with the blank line that ends it.
    pub fn events(self, chunks: usize) -> Vec<String> {
        match self {
            Wire::Openai => openai_events(chunks),
            Wire::Responses => responses_events(chunks),
            Wire::Anthropic => anthropic_events(chunks),
            Wire::Gemini => (0..chunks)
                .map(|n| {
                    let last = n + 1 == chunks;
                    unnamed(&gemini_chunk(word(n), n, last.then_some("STOP")))
                })
                .collect(),
        }
    }

    /// The streamed answer, joined.
    pub fn stream(self, chunks: usize) -> Vec<u8> {
        self.events(chunks).concat().into_bytes()
    }
}

fn unnamed(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn named(data: &Value) -> String {
    let name = data["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

fn openai_body(chunks: usize) -> Value {
    json!({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o-2024-08-06",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": text(chunks), "refusal": null},
        }],
        "usage": openai_usage(chunks), "service_tier": "default", "system_fingerprint": "fp_bench",
    })
}

fn openai_usage(chunks: usize) -> Value {
    json!({"prompt_tokens": 12, "completion_tokens": chunks, "total_tokens": 12 + chunks})
}

fn openai_delta(delta: &Value, finish: &Value) -> Value {
    json!({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06", "service_tier": "default", "system_fingerprint": "fp_bench",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
    })
}

/// One event of a streamed chat completion.
pub fn openai_text(n: usize) -> String {
    unnamed(&openai_delta(&json!({"content": word(n)}), &Value::Null))
}

/// What precedes the text of a streamed chat completion.
pub fn openai_head() -> String {
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    unnamed(&openai_delta(&role, &Value::Null))
}

/// What follows the text of a streamed chat completion.
pub fn openai_tail(chunks: usize, usage: bool) -> Vec<String> {
    let mut events = vec![unnamed(&openai_delta(&json!({}), &"stop".into()))];
    if usage {
        let mut last = openai_delta(&json!({}), &Value::Null);
        last["choices"] = json!([]);
        last["usage"] = openai_usage(chunks);
        events.push(unnamed(&last));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn openai_events(chunks: usize) -> Vec<String> {
    let texts = (0..chunks).map(openai_text);
    std::iter::once(openai_head())
        .chain(texts)
        .chain(openai_tail(chunks, true))
        .collect()
}

fn anthropic_usage(chunks: usize) -> Value {
    json!({
        "input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": chunks,
    })
}

fn anthropic_body(chunks: usize) -> Value {
    json!({
        "id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": text(chunks)}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": anthropic_usage(chunks),
    })
}

fn anthropic_events(chunks: usize) -> Vec<String> {
    let mut message = anthropic_body(0);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["usage"] = anthropic_usage(1);
    let block = json!({"type": "text", "text": ""});
    let mut events = vec![
        named(&json!({"type": "message_start", "message": message})),
        named(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
        named(&json!({"type": "ping"})),
    ];
    events.extend((0..chunks).map(|n| {
        let delta = json!({"type": "text_delta", "text": word(n)});
        named(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
    }));
    let stop = json!({"stop_reason": "end_turn", "stop_sequence": null});
    events.extend([
        named(&json!({"type": "content_block_stop", "index": 0})),
        named(&json!({"type": "message_delta", "delta": stop, "usage": anthropic_usage(chunks)})),
        named(&json!({"type": "message_stop"})),
    ]);
    events
}

fn responses_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

fn responses_item(status: &str, content: &Value) -> Value {
    json!({"id": "msg_bench", "type": "message", "status": status, "role": "assistant", "content": content})
}

fn responses_body(chunks: usize, status: &str) -> Value {
    let (output, usage) = if status == "completed" {
        (
            json!([responses_item(
                "completed",
                &json!([responses_part(&text(chunks))])
            )]),
            json!({
                "input_tokens": 12, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": chunks,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12 + chunks,
            }),
        )
    } else {
        (json!([]), Value::Null)
    };
    json!({
        "id": "resp_bench", "object": "response", "created_at": 1_700_000_000, "status": status, "error": null,
        "incomplete_details": null, "instructions": null, "max_output_tokens": null, "model": "gpt-5-mini-2025-08-07",
        "output": output, "parallel_tool_calls": true, "service_tier": "default", "store": false, "usage": usage,
    })
}

fn responses_events(chunks: usize) -> Vec<String> {
    let mut told: Vec<Value> = vec![
        json!({"type": "response.created", "response": responses_body(chunks, "in_progress")}),
        json!({"type": "response.in_progress", "response": responses_body(chunks, "in_progress")}),
        json!({
            "type": "response.output_item.added", "output_index": 0,
            "item": responses_item("in_progress", &json!([])),
        }),
        json!({
            "type": "response.content_part.added", "item_id": "msg_bench", "output_index": 0, "content_index": 0,
            "part": responses_part(""),
        }),
    ];
    told.extend((0..chunks).map(|n| {
        json!({
            "type": "response.output_text.delta", "item_id": "msg_bench", "output_index": 0, "content_index": 0,
            "delta": word(n), "logprobs": [], "obfuscation": "qX3vB9",
        })
    }));
    let whole = text(chunks);
    let part = responses_part(&whole);
    told.extend([
        json!({
            "type": "response.output_text.done", "item_id": "msg_bench", "output_index": 0, "content_index": 0,
            "text": whole, "logprobs": [],
        }),
        json!({
            "type": "response.content_part.done", "item_id": "msg_bench", "output_index": 0, "content_index": 0,
            "part": part,
        }),
        json!({
            "type": "response.output_item.done", "output_index": 0, "item": responses_item("completed", &json!([part])),
        }),
        json!({"type": "response.completed", "response": responses_body(chunks, "completed")}),
    ]);
    for (n, event) in told.iter_mut().enumerate() {
        event["sequence_number"] = n.into();
    }
    told.iter().map(named).collect()
}

fn gemini_chunk(text: &str, seen: usize, finish: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 12, "candidatesTokenCount": seen, "totalTokenCount": 12 + seen,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
        },
        "modelVersion": "gemini-2.5-flash", "responseId": "gemini-bench",
    })
}
