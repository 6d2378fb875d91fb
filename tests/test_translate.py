"""What goes out: every field of a request on the wire of its provider, and answers back as they came."""

from __future__ import annotations

import json

import omni_bridge
import pytest
from omni_bridge.testing import HttpServer

USER = {"role": "user", "content": "hi"}


class Provider(HttpServer):
    """Answers every request with the given bodies in turn (the last one again), streamed ones as events."""

    def __init__(self, *bodies, **options):
        super().__init__(**options)
        self.bodies = list(bodies)

    async def answer(self, exchange):
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if isinstance(body, list):
            await exchange.start(200, {"content-type": "text/event-stream"})
            for event in body:
                name = f"event: {event['type']}\n" if "type" in event else ""
                await exchange.send(f"{name}data: {json.dumps(event)}\n\n".encode())
            await exchange.end()
        else:
            await exchange.reply(200, body)


SUFFIX = {"anthropic": "", "gemini": "/v1beta"}


def options(server, model, **more):
    base = server.url + SUFFIX.get(model.split("/")[0], "/v1")
    return {"api_base": base, "api_key": "k", "engine": "litellm", "retry": 0, "timeout": 60, **more}


def ask(server, messages, model, tools=None, **more):
    reply = omni_bridge.chat(messages, model, tools, **options(server, model, **more))
    return reply, json.loads(server.last.body)


def ask_streamed(server, messages, model, tools=None, **more):
    with omni_bridge.stream_sync(messages, model, tools, **options(server, model, **more)) as stream:
        for _ in stream:
            pass
        return stream.reply(), json.loads(server.last.body)


def sent(request_messages, model, answer, tools=None, **more):
    with Provider(answer) as server:
        return ask(server, request_messages, model, tools, **more)[1]


CHAT_OK = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
}
ANTHROPIC_OK = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "c",
    "content": [{"type": "text", "text": "ok"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
GEMINI_OK = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]
}
RESPONSES_OK = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [
        {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "ok", "annotations": []}],
        }
    ],
}
OK = {
    "openai/gpt-4o": CHAT_OK,
    "anthropic/claude-sonnet-4-5": ANTHROPIC_OK,
    "gemini/gemini-2.5-flash": GEMINI_OK,
    "openai/responses/gpt-5": RESPONSES_OK,
}

ANTHROPIC_CONTENT = [
    {"type": "thinking", "thinking": "Let me think 🤔", "signature": "EqQBCgIYAhIM=="},
    {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix=="},
    {"type": "text", "text": "I will search."},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://e.example",
                "title": "t",
                "encrypted_content": "EqgfC",
            }
        ],
    },
    {
        "type": "text",
        "text": "Found it.",
        "citations": [
            {
                "type": "web_search_result_location",
                "url": "https://e.example",
                "title": "t",
                "encrypted_index": "Eo8B",
                "cited_text": "x",
            }
        ],
    },
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "days": 1.0}},
    {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
]
GEMINI_PARTS = [
    {"text": "thinking", "thought": True},
    {"text": "Here:", "thoughtSignature": "CpUBtext=="},
    {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "CpUBcode=="},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    {
        "functionCall": {"id": "fc-1", "name": "weather", "args": {"city": "Zürich"}},
        "thoughtSignature": "CpUBcall==",
    },
    {"functionCall": {"id": "fc-2", "name": "clock", "args": {}}},
]
RESPONSES_OUTPUT = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
        "encrypted_content": "gAAAAABo==",
    },
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    },
    {
        "type": "message",
        "role": "assistant",
        "content": [
            {
                "type": "output_text",
                "text": "Look:",
                "annotations": [
                    {
                        "type": "url_citation",
                        "url": "https://e.example",
                        "title": "t",
                        "start_index": 0,
                        "end_index": 4,
                    }
                ],
            }
        ],
    },
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAABp=="},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city":  "Zürich"}',
    },
    {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "call_2",
        "name": "shell",
        "input": "ls -l 'a b'\n",
    },
]


def again(first_answer, model, ok, results, **more):
    """Asks, appends the answer and the results, asks again; the second request's body."""
    with Provider(first_answer, ok) as server:
        reply, _ = ask(server, [USER], model, **more)
        return reply, ask(server, [USER, reply.message.to_dict(), *results], model, **more)[1]


def test_anthropic_blocks_go_back_as_they_came():
    answer = {**ANTHROPIC_OK, "content": ANTHROPIC_CONTENT, "stop_reason": "tool_use"}
    results = [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "no such city", "is_error": True},
        {"role": "tool", "tool_call_id": "toolu_2", "content": [{"type": "text", "text": "noon"}]},
    ]
    reply, body = again(answer, "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, results, max_tokens=100)
    assert [call.function.name for call in reply.tool_calls] == ["weather", "clock"]
    assert reply.finish_reason == "tool_calls"
    assert body["messages"][1] == {"role": "assistant", "content": ANTHROPIC_CONTENT}
    failed, fine = body["messages"][2]["content"]
    assert (failed["tool_use_id"], failed["is_error"]) == ("toolu_1", True)
    assert (fine["tool_use_id"], fine["content"]) == ("toolu_2", [{"type": "text", "text": "noon"}])
    assert "is_error" not in fine


def test_anthropic_blocks_streamed_go_back_as_they_came():
    events = [{"type": "message_start", "message": {**ANTHROPIC_OK, "content": [], "stop_reason": None}}]
    for index, block in enumerate(ANTHROPIC_CONTENT):
        kind = block["type"]
        start, deltas = dict(block), []
        if kind == "text":
            start = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": block["text"]}]
            deltas += [{"type": "citations_delta", "citation": one} for one in block.get("citations", [])]
        elif kind == "thinking":
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in block["thinking"]]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif "input" in block:
            start["input"] = {}
            text = json.dumps(block["input"])
            deltas = [
                {"type": "input_json_delta", "partial_json": text[:5]},
                {"type": "input_json_delta", "partial_json": text[5:]},
            ]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}
    )
    events.append({"type": "message_stop"})
    model = "anthropic/claude-sonnet-4-5"
    with Provider(events, ANTHROPIC_OK) as server:
        reply, _ = ask_streamed(server, [USER], model, max_tokens=100)
        _, body = ask(server, [USER, reply.message.to_dict(), USER], model, max_tokens=100)
    assert body["messages"][1]["content"] == ANTHROPIC_CONTENT


def test_gemini_parts_go_back_as_they_came():
    answer = {"candidates": [{"content": {"role": "model", "parts": GEMINI_PARTS}, "finishReason": "STOP"}]}
    results = [
        {"role": "tool", "tool_call_id": "fc-1", "content": "no such city", "is_error": True},
        {"role": "tool", "tool_call_id": "fc-2", "content": "noon"},
    ]
    reply, body = again(answer, "gemini/gemini-2.5-flash", GEMINI_OK, results)
    assert (reply.content, reply.finish_reason) == ("Here:", "tool_calls")
    assert body["contents"][1] == {"role": "model", "parts": GEMINI_PARTS}
    said = [
        part.get("function_response", part.get("functionResponse"))
        for content in body["contents"][2:]
        for part in content["parts"]
    ]
    assert [(one["id"], one["name"]) for one in said] == [("fc-1", "weather"), ("fc-2", "clock")]
    assert said[0]["response"] == {"error": "no such city"}


def test_responses_items_go_back_as_they_came():
    answer = {**RESPONSES_OK, "output": RESPONSES_OUTPUT}
    results = [
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": "a b"},
    ]
    reply, body = again(answer, "openai/responses/gpt-5", RESPONSES_OK, results)
    assert [part.text for part in reply.reasoning] == ["one", "two", ""]
    items = body["input"][1:-2]
    assert items == RESPONSES_OUTPUT
    assert [item["type"] for item in body["input"][-2:]] == [
        "function_call_output",
        "custom_tool_call_output",
    ]


MISTRAL_CONTENT = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "signature": "PROOF=="},
    {"type": "text", "text": "Said."},
]
SIGNED = {
    "mistral/magistral-small-2509": {
        **CHAT_OK,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": MISTRAL_CONTENT},
            }
        ],
    },
    "gemini/gemini-2.5-flash": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True, "thoughtSignature": "PROOF=="},
                        {"text": "Said."},
                    ],
                },
                "finishReason": "STOP",
            }
        ]
    },
    "anthropic/claude-sonnet-4-5": {
        **ANTHROPIC_OK,
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "PROOF=="},
            {"type": "redacted_thinking", "data": "PROOF=="},
            {"type": "text", "text": "Said."},
        ],
    },
    "openai/responses/gpt-5": {
        **RESPONSES_OK,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "PROOF=="},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Said."}]},
        ],
    },
}


@pytest.mark.parametrize("to", SIGNED)
@pytest.mark.parametrize("of", SIGNED)
def test_proofs_of_reasoning_go_back_to_who_gave_them_and_to_nobody_else(of, to):
    with Provider(SIGNED[of]) as server:
        reply, _ = ask(server, [USER], of, max_tokens=100)
    body = json.dumps(sent([USER, reply.message.to_dict(), USER], to, SIGNED[to], max_tokens=100))
    assert "Said." in body
    assert body.count("PROOF==") == (json.dumps(SIGNED[of]).count("PROOF==") if of == to else 0)


def test_openrouter_reasoning_details_go_back_as_they_came():
    details = [
        {
            "type": "reasoning.text",
            "text": "hm",
            "signature": "sig==",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {
            "type": "reasoning.encrypted",
            "data": "enc==",
            "id": "rs_1",
            "format": "openai-responses-v1",
            "index": 1,
        },
    ]
    message = {"role": "assistant", "content": "x", "reasoning": "hm", "reasoning_details": details}
    answer = {**CHAT_OK, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    _, body = again(answer, "openrouter/anthropic/claude-sonnet-4.5", CHAT_OK, [USER])
    assert body["messages"][1]["reasoning_details"] == details
    assert body["messages"][1]["content"] == "x"


def test_chat_reasoning_goes_back_in_the_providers_own_field():
    for model, field in (("deepseek/deepseek-chat", "reasoning_content"), ("groq/qwen3", "reasoning")):
        message = {"role": "assistant", "content": "x", field: "because"}
        answer = {**CHAT_OK, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        reply, body = again(answer, model, CHAT_OK, [USER])
        assert [part.text for part in reply.reasoning] == ["because"]
        assert body["messages"][1][field] == "because"
        assert body["messages"][1]["content"] == "x"


def test_argument_text_is_kept_byte_for_byte_where_the_wire_carries_text():
    texts = ['{"a":  1.0,\n "b":"é"}', "not json", "", "[1]"]
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": text}}
        for n, text in enumerate(texts)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in calls]
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    body = sent(messages, "openai/gpt-4o", CHAT_OK)
    assert [call["function"]["arguments"] for call in body["messages"][1]["tool_calls"]] == texts
    body = sent(messages, "openai/responses/gpt-5", RESPONSES_OK)
    assert [item["arguments"] for item in body["input"] if item["type"] == "function_call"] == texts
    body = sent(messages, "anthropic/claude-sonnet-4-5", ANTHROPIC_OK)
    inputs = [block["input"] for block in body["messages"][1]["content"]]
    assert inputs == [{"a": 1.0, "b": "é"}, {"_raw": "not json"}, {}, {"_raw": "[1]"}]


@pytest.mark.parametrize("model", OK)
def test_provider_options_are_laid_over_that_providers_body_only(model):
    name = model.split("/")[0]
    other = "mistral" if name != "mistral" else "openai"
    given = {
        name: {"metadata": {"user_id": "u", "deep": {"a": 1}}, "brand_new": [1]},
        other: {"not_for": "you"},
    }
    body = sent([USER], model, OK[model], provider_options=given, max_tokens=10)
    assert body["metadata"]["deep"] == {"a": 1}
    assert body["brand_new"] == [1]
    assert "not_for" not in body


@pytest.mark.parametrize("model", OK)
def test_provider_tools_and_provider_parts_stand_in_their_places(model):
    name = model.split("/")[0]
    function = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    }
    wire_tool = {"type": "some_server_tool", "name": "s", "max_uses": 3}
    tools = [
        {"type": "provider", "provider": name, "data": wire_tool},
        function,
        {"type": "provider", "provider": "somebody_else", "data": {"type": "other"}},
    ]
    part = {"type": "provider", "provider": name, "kind": "x", "data": {"type": "odd_part", "id": "f1"}}
    alien = {"type": "provider", "provider": "somebody_else", "kind": "x", "data": {"type": "alien"}}
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, part, alien, {"type": "text", "text": "b"}],
        }
    ]
    body = sent(messages, model, OK[model], tools, max_tokens=10)
    assert body["tools"][0] == wire_tool
    assert len(body["tools"]) == 2
    text = json.dumps(body)
    assert "alien" not in text
    assert "omni:" not in text
    holder = body.get("messages") or body.get("input") or body.get("contents")
    parts = holder[0].get("content") or holder[0]["parts"]
    assert parts[1] == {"type": "odd_part", "id": "f1"}


def test_custom_tools_go_to_wires_that_have_them():
    tools = [{"type": "custom", "custom": {"name": "shell", "description": "runs it"}}]
    assert sent([USER], "openai/gpt-4o", CHAT_OK, tools)["tools"] == tools
    body = sent([USER], "openai/responses/gpt-5", RESPONSES_OK, tools)
    assert body["tools"] == [{"type": "custom", "name": "shell", "description": "runs it"}]
    with pytest.raises(omni_bridge.UnsupportedError, match="shell"):
        sent([USER], "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, tools, max_tokens=10)


def test_extra_is_merged_into_the_object_it_stands_on():
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "extra": {"anthropic": {"citations": {"enabled": True}}}}
            ],
        }
    ]
    tools = [
        {
            "type": "function",
            "function": {"name": "f"},
            "extra": {"anthropic": {"defer_loading": True}, "openai": {"no": 1}},
        }
    ]
    body = sent(messages, "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, tools, max_tokens=10)
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a", "citations": {"enabled": True}}]
    assert body["tools"][0]["defer_loading"] is True
    assert "no" not in body["tools"][0]


def test_cache_control_stands_on_parts_messages_and_tools():
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": mark}]},
    ]
    tools = [{"type": "function", "function": {"name": "f"}, "cache_control": mark}]
    body = sent(messages, "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, tools, max_tokens=10)
    assert body["system"][0]["cache_control"] == mark
    assert body["messages"][0]["content"][0]["cache_control"] == mark
    assert body["tools"][0]["cache_control"] == mark


def test_unknown_keys_go_with_the_chat_protocol_only():
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "new_part", "x": 1}],
            "weight": 2,
        }
    ]
    body = sent(messages, "openai/gpt-4o", CHAT_OK)
    assert body["messages"][0]["weight"] == 2
    assert body["messages"][0]["content"][1] == {"type": "new_part", "x": 1}
    body = sent(messages, "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, max_tokens=10)
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


def test_sampling_and_limits_have_their_place_on_every_wire():
    given = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "stop": ["X"]}
    body = sent(
        [USER], "openai/gpt-4o", CHAT_OK, seed=3, user="u", top_k=4, logprobs=True, top_logprobs=2, **given
    )
    assert (body["temperature"], body["top_p"], body["stop"], body["seed"], body["user"]) == (
        0.5,
        0.9,
        ["X"],
        3,
        "u",
    )
    assert (body["top_k"], body["logprobs"], body["top_logprobs"]) == (4, True, 2)
    assert 77 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    given.pop("top_p")
    body = sent([USER], "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, top_k=4, user="u", **given)
    assert (body["temperature"], body["max_tokens"], body["stop_sequences"]) == (0.5, 77, ["X"])
    assert (body["top_k"], body["metadata"]) == (4, {"user_id": "u"})
    config = sent([USER], "gemini/gemini-2.5-flash", GEMINI_OK, top_k=4, **given)["generationConfig"]
    assert (
        config["temperature"],
        config["max_output_tokens"],
        config["stop_sequences"],
        config["top_k"],
    ) == (0.5, 77, ["X"], 4)


def test_reasoning_budget_and_effort():
    body = sent(
        [USER], "anthropic/claude-sonnet-4-5", ANTHROPIC_OK, reasoning_budget_tokens=1500, max_tokens=4000
    )
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1500}
    body = sent([USER], "openai/some-model-nobody-knows", CHAT_OK, reasoning_effort="low")
    assert body["reasoning_effort"] == "low"
    with pytest.raises(omni_bridge.UnsupportedError):
        sent([USER], "openai/gpt-4o", CHAT_OK, reasoning_budget_tokens=1500)


def test_what_litellm_thinks_unsupported_is_left_to_the_provider():
    body = sent([USER], "openai/gpt-5", CHAT_OK, temperature=0.3)
    assert body["temperature"] == 0.3


def test_a_response_format_that_litellm_asks_for_by_a_tool_is_text_again():
    block = {"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {"a": 1}}
    answer = {**ANTHROPIC_OK, "content": [block], "stop_reason": "tool_use"}
    schema = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
    with Provider(answer) as server:
        reply, body = ask(
            server, [USER], "anthropic/claude-3-5-haiku-20241022", response_format=schema, max_tokens=50
        )
    assert body["tools"][0]["name"] == "json_tool_call"
    assert (json.loads(reply.content), reply.tool_calls, reply.finish_reason) == ({"a": 1}, [], "stop")


def test_headers_of_the_request_are_sent():
    with Provider(CHAT_OK) as server:
        ask(server, [USER], "openai/gpt-4o", headers={"X-Team": "blue"})
        assert server.last.headers["x-team"] == "blue"


def test_usage_in_the_contracts_words():
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 1},
        "output_tokens": 7,
        "server_tool_use": {"web_search_requests": 2},
    }
    with Provider({**ANTHROPIC_OK, "usage": usage}) as server:
        reply, _ = ask(server, [USER], "anthropic/claude-sonnet-4-5", max_tokens=10)
    got = reply.to_dict()["usage"]
    assert (got["input_tokens"], got["output_tokens"], got["total_tokens"], got["cached_input_tokens"]) == (
        18,
        7,
        25,
        3,
    )
    assert got["cache_creation_input_tokens"] == {"5m": 4, "1h": 1}
    assert got["server_tool_calls"] == {"web_search_requests": 2}
    assert got["cost_usd"] > 0
    assert got["reasoning_tokens"] is None
    assert got["raw"] == usage


def test_a_price_that_nobody_knows_is_null():
    with Provider(CHAT_OK) as server:
        reply, _ = ask(server, [USER], "openai/some-model-nobody-knows")
    assert reply.to_dict()["usage"]["cost_usd"] is None
