"""DemoServer: the OpenAI wire without a model, deterministic, at a chosen pace."""

from __future__ import annotations

import http.client
import json
import time

import pytest
from omni_bridge.testing import DemoServer

LONG = 30.0
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather now",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def demo():
    with DemoServer() as running:
        yield running
        assert running.failures == []


def post(server: DemoServer, said: str = "hi", *, path: str = "/v1/chat/completions", headers=None, **fields):
    body = {"model": "demo", "messages": [{"role": "user", "content": said}], **fields}
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
    client.request("POST", path, body=json.dumps(body), headers=headers or {})
    answer = client.getresponse()
    return answer.status, json.loads(answer.read()), answer.headers


def stream(server: DemoServer, said: str = "hi", **fields):
    body = {"model": "demo", "messages": [{"role": "user", "content": said}], "stream": True, **fields}
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
    client.request("POST", "/v1/chat/completions", body=json.dumps(body))
    answer = client.getresponse()
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    data = answer.read().decode()
    assert data.endswith("data: [DONE]\n\n")
    return [json.loads(block.removeprefix("data: ")) for block in data.split("\n\n")[:-2]]


def test_an_unstreamed_answer_has_the_wire_shape(demo: DemoServer):
    status, answer, headers = post(demo)
    assert status == 200
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert (
        choice["message"]["content"]
        == "You said: hi. (This is the offline demo provider; no model was asked.)"
    )
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert headers["x-request-id"].startswith("req_demo_")


def test_a_stream_says_the_same_as_the_whole_answer(demo: DemoServer):
    whole = post(demo, "Grüße 🌍")[1]
    chunks = stream(demo, "Grüße 🌍", stream_options={"include_usage": True})
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    text = "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_usage_comes_in_a_stream_only_when_asked_for(demo: DemoServer):
    chunks = stream(demo)
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_it_is_deterministic():
    def run():
        with DemoServer() as server:
            return [
                post(server, "weather in Rome", tools=[WEATHER])[1],
                stream(server, "a b c"),
                post(server)[1],
            ]

    assert run() == run()


def test_a_fitting_tool_is_called_and_its_result_used(demo: DemoServer):
    answer = post(demo, "What is the weather in New York, in fahrenheit?", tools=[WEATHER])[1]
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "New York", "unit": "fahrenheit"}
    messages = [
        {"role": "user", "content": "What is the weather in New York?"},
        choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"},
    ]
    after = post(demo, messages=messages, tools=[WEATHER])[1]
    assert after["choices"][0]["finish_reason"] == "stop"
    assert "18 degrees" in after["choices"][0]["message"]["content"]


def test_streamed_tool_calls_come_in_pieces_and_join_to_the_same(demo: DemoServer):
    said = "The weather in Paris and Rome?"
    whole = post(demo, said, tools=[WEATHER])[1]["choices"][0]["message"]["tool_calls"]
    joined: dict[int, dict[str, str]] = {}
    for chunk in stream(demo, said, tools=[WEATHER]):
        for call in chunk["choices"][0]["delta"].get("tool_calls", []):
            one = joined.setdefault(call["index"], {"name": "", "arguments": ""})
            one["name"] += call["function"].get("name", "")
            one["arguments"] += call["function"]["arguments"]
    assert list(joined.values()) == [call["function"] for call in whole]
    assert [json.loads(one["arguments"])["city"] for one in joined.values()] == ["Paris", "Rome"]
    assert (
        len(
            post(demo, said, tools=[WEATHER], parallel_tool_calls=False)[1]["choices"][0]["message"][
                "tool_calls"
            ]
        )
        == 1
    )


@pytest.mark.parametrize(
    ("said", "choice", "called"),
    [
        ("hello", None, False),
        ("hello", "required", True),
        ("the weather", "none", False),
        ("hello", {"type": "function", "function": {"name": "get_weather"}}, True),
    ],
)
def test_tool_choice_is_heeded(demo: DemoServer, said: str, choice: object, called: bool):
    fields = {} if choice is None else {"tool_choice": choice}
    answer = post(demo, said, tools=[WEATHER], **fields)[1]
    assert (answer["choices"][0]["finish_reason"] == "tool_calls") is called


def test_limits_stops_and_formats_are_heeded(demo: DemoServer):
    cut = post(demo, "one two three", max_tokens=2)[1]
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["choices"][0]["message"]["content"] == "You said:"
    assert cut["usage"]["completion_tokens"] == 2
    stopped = post(demo, "one two three", stop=["two", "zzz"])[1]["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("You said: one ", "stop")
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(post(demo, "cat", response_format=wanted)[1]["choices"][0]["message"]["content"]) == {
        "name": "cat",
        "tags": ["cat"],
    }


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 529])
def test_errors_by_model_name(demo: DemoServer, status: int):
    for streamed in (False, True):
        got, body, headers = post(demo, model=f"demo-error-{status}", stream=streamed)
        assert got == status
        assert f"demo-error-{status}" in body["error"]["message"]
        assert (headers["retry-after"] == "1") is (status == 429)


def test_special_errors_by_model_name(demo: DemoServer):
    assert post(demo, model="demo-error-context_length")[1]["error"]["code"] == "context_length_exceeded"
    assert post(demo, model="demo-error-quota")[1]["error"]["code"] == "insufficient_quota"
    body = {"model": "demo-error-stream", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=LONG)
    client.request("POST", "/v1/chat/completions", body=json.dumps(body))
    data = client.getresponse().read().decode()
    assert "error" in json.loads(data.split("\n\n")[-2].removeprefix("data: "))
    assert "[DONE]" not in data


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"no json", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"messages": [{"role": "user"}]}', "model"),
        (b'{"model": "demo", "messages": []}', "messages"),
        (b'{"model": "demo", "messages": ["x"]}', "messages[0]"),
        (b'{"model": "demo", "n": 2, "messages": [{"role": "user", "content": "x"}]}', "n:"),
    ],
)
def test_what_the_real_api_refuses_is_refused(demo: DemoServer, body: bytes, what: str):
    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=LONG)
    client.request("POST", "/v1/chat/completions", body=body)
    answer = client.getresponse()
    assert answer.status == 400
    assert what in json.loads(answer.read())["error"]["message"]


def test_a_key_can_be_asked_for():
    with DemoServer(api_key="right") as server:
        assert post(server)[0] == 401
        assert post(server, headers={"authorization": "Bearer wrong"})[0] == 401
        assert post(server, headers={"authorization": "Bearer right"})[0] == 200


def test_number_and_size_of_chunks_by_setting_and_by_name():
    def texts(server: DemoServer, **fields: object) -> list[str]:
        return [t for c in stream(server, **fields) if (t := c["choices"][0]["delta"].get("content"))]

    with DemoServer(chunks=5, size=100) as server:
        assert [len(text) for text in texts(server)] == [100] * 5
        assert len(texts(server, model="openai/demo-chunks-7")) == 7
    with DemoServer(text="as told") as server:
        assert "".join(texts(server)) == "as told"


def test_the_pace_is_kept():
    with DemoServer(chunks=11, pace=100) as server:
        begun = time.monotonic()
        stream(server)
        assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize("at", ["answer", "head", 0, 3])
def test_answers_are_held_where_asked_and_go_on_when_released(at):
    with DemoServer(chunks=6, hold=at) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
        client.request(
            "POST",
            "/v1/chat/completions",
            body=json.dumps({"model": "demo", "stream": True, "messages": [{"role": "user"}]}),
        )
        received = server.wait_for_request(timeout=LONG)
        if at == "answer":
            assert received.status is None
        elif at == "head":
            server.wait_for(lambda _: received.status == 200, LONG)
            assert received.chunks == 0
        else:
            server.wait_for(lambda _: received.chunks == 1 + at, LONG)  # the first chunk carries the role
        assert received.finished is None
        server.release()
        assert client.getresponse().read().endswith(b"data: [DONE]\n\n")


def test_models_help_and_what_is_not_there(demo: DemoServer):
    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=LONG)
    client.request("GET", "/v1/models")
    assert "demo" in [model["id"] for model in json.loads(client.getresponse().read())["data"]]
    client.request("GET", "/")
    assert f"curl {demo.url}/v1/chat/completions" in client.getresponse().read().decode()
    client.request("POST", "/v1/nothing")
    answer = client.getresponse()
    assert answer.status == 404
    assert "the demo server has no /v1/nothing" in json.loads(answer.read())["error"]["message"]
