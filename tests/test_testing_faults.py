"""FaultServer: every fault does what its name says, in the shape of the wire that was asked."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib

import pytest
from omni_bridge.testing import FAULTS, FaultServer

PATHS = {
    "openai": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}
STREAM_PATHS = {**PATHS, "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse"}
LAST = {"openai": b"[DONE]", "responses": b"response.completed", "anthropic": b"message_stop"}
SHAPES = list(PATHS)
LONG = 30.0


@pytest.fixture(scope="module")
def server():
    with FaultServer(drip=0.0) as running:
        yield running
        assert running.failures == []


def ask(
    server: FaultServer, fault: str, shape: str, *, stream: bool = False, timeout: float = LONG, **options
):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    base = server.url_of(fault, **options).removeprefix(server.url)
    body = json.dumps({"stream": stream})
    client.request("POST", base + (STREAM_PATHS if stream else PATHS)[shape], body=body)
    return client.getresponse()


def events(data: bytes) -> list[object]:
    found = [line[6:] for line in data.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(one) for one in found if one != "[DONE]"]


def text_of(shape: str, data: bytes, *, stream: bool) -> str:
    if not stream:
        whole = json.loads(data)
        if shape == "openai":
            return whole["choices"][0]["message"]["content"]
        if shape == "anthropic":
            return whole["content"][0]["text"]
        if shape == "gemini":
            return whole["candidates"][0]["content"]["parts"][0]["text"]
        return whole["output"][0]["content"][0]["text"]
    text = ""
    for event in events(data):
        if shape == "openai":
            text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        elif shape == "anthropic" and event["type"] == "content_block_delta":
            text += event["delta"]["text"]
        elif shape == "gemini":
            text += event["candidates"][0]["content"]["parts"][0]["text"]
        elif shape == "responses" and event["type"] == "response.output_text.delta":
            text += event["delta"]
    return text


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["ok", "drip", "gzip"])
def test_right_answers_are_right_however_they_come(server: FaultServer, shape: str, stream: bool, fault: str):
    answer = ask(server, fault, shape, stream=stream)
    data = answer.read()
    if fault == "gzip":
        assert answer.headers["content-encoding"] == "gzip"
        data = gzip.decompress(data)
    assert answer.status == 200
    assert answer.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert text_of(shape, data, stream=stream) == "Hello, wörld 🌍!"
    if stream and shape in LAST:
        assert LAST[shape] in data.strip().split(b"\n\n")[-1]


def test_a_compressed_stream_can_be_read_event_by_event(server: FaultServer):
    answer = ask(server, "gzip", "openai", stream=True)
    unpack = zlib.decompressobj(wbits=31)
    assert unpack.decompress(answer.read1(200)).startswith(b'data: {"id"')
    answer.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 529])
def test_statuses_have_the_body_of_their_provider(server: FaultServer, shape: str, status: int):
    answer = ask(server, str(status), shape)
    body = json.loads(answer.read())
    assert answer.status == status
    assert answer.headers["retry-after"] is None
    assert body["error"]["message"]
    if shape == "anthropic":
        assert body["type"] == "error"
        assert body["error"]["type"].endswith(("_error", "_too_large"))
    elif shape == "gemini":
        assert body["error"]["code"] == status
        assert body["error"]["status"].isupper()
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}


def test_retry_after_in_seconds_and_as_a_date(server: FaultServer):
    assert ask(server, "429", "openai", retry_after=7).headers["retry-after"] == "7"
    assert ask(server, "503", "openai", retry_after=0.5).headers["retry-after"] == "0.5"
    assert ask(server, "429", "openai", retry_after="date").headers["retry-after"].endswith(" GMT")


@pytest.mark.parametrize("shape", ["openai", "anthropic", "responses"])
def test_an_error_event_comes_inside_a_stream_that_began_well(server: FaultServer, shape: str):
    answer = ask(server, "error_event", shape, stream=True)
    data = answer.read()
    assert answer.status == 200
    assert text_of(shape, b"\n\n".join(data.split(b"\n\n")[:-2]), stream=True)
    last = events(data)[-1]
    assert last.get("type") == "error" or "error" in last
    (only,) = events(ask(server, "error_event_first", shape, stream=True).read())
    assert only.get("type") == "error" or "error" in only


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [False, True])
def test_cut_breaks_off_in_the_middle_and_the_message_is_not_whole(
    server: FaultServer, shape: str, stream: bool
):
    answer = ask(server, "cut", shape, stream=stream)
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert not cut.value.partial.endswith(b"\n\n")
    clean = ask(server, "cut_clean", shape, stream=stream).read()
    assert clean == cut.value.partial
    with pytest.raises(ConnectionResetError):
        ask(server, "reset", shape, stream=stream).read()


@pytest.mark.parametrize("shape", LAST)
def test_a_stream_can_end_without_its_last_event(server: FaultServer, shape: str):
    whole = ask(server, "ok", shape, stream=True).read()
    short = ask(server, "no_last_event", shape, stream=True).read()
    assert LAST[shape] not in short.split(b"\n\n")[-2]
    assert whole.startswith(short)
    shorter = ask(server, "no_finish", shape, stream=True).read()
    assert short.startswith(shorter)
    assert short != shorter
    assert text_of(shape, shorter, stream=True) == "Hello, wörld 🌍!"


@pytest.mark.parametrize("fault", ["silent", "never", "stall"])
def test_what_never_comes_is_waited_for_until_the_client_leaves(server: FaultServer, fault: str):
    sock = socket.create_connection(("127.0.0.1", server.port))
    path = server.url_of(fault).removeprefix(server.url) + PATHS["openai"]
    sock.sendall(f'POST {path} HTTP/1.1\r\ncontent-length: 15\r\n\r\n{{"stream":true}}'.encode())
    received = server.wait_for(
        lambda s: [r for r in s.requests if r.target == path and r.closed is None], LONG
    )[0]
    if fault != "silent":
        server.wait_for(lambda _: received.streaming, LONG)
    assert received.closed is None
    sock.close()
    server.wait_for(lambda _: received.left, LONG)


def test_other_answers_than_json(server: FaultServer):
    page = ask(server, "html", "openai")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.read().startswith(b"<!DOCTYPE html>")
    assert ask(server, "html_502", "openai").status == 502
    assert ask(server, "empty", "openai").read() == b""
    for fault in ("not_json", "gzip_broken"):
        with pytest.raises(ValueError, match=r"."):
            json.loads(ask(server, fault, "openai").read())
    assert json.loads(ask(server, "wrong_json", "openai").read()) == [{"hello": 1}]


def test_redirects_stay_on_the_host_or_leave_it(server: FaultServer):
    here = ask(server, "redirect", "openai")
    assert here.status == 307
    assert here.headers["location"] == f"http://127.0.0.1:{server.port}/f/ok/v1/chat/completions"
    there = ask(server, "redirect_foreign", "openai")
    assert there.headers["location"] == f"http://localhost:{server.port}/f/ok/v1/chat/completions"


def test_an_unknown_fault_is_an_error_that_lists_them(server: FaultServer):
    with pytest.raises(ValueError, match="unknown fault 'nonsense': use one of ok, 400"):
        server.url_of("nonsense")
    assert all(server.url_of(name) for name in FAULTS)
