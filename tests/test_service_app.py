"""The HTTP door over real sockets, with a scripted door behind it: limits, errors, clients that leave."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from omni_bridge.errors import (
    InvalidRequestError,
    OmniError,
    PermissionDeniedError,
    RateLimitError,
    error_for,
)
from omni_bridge.service import Settings, create_app

LONG = 30.0


class ScriptedEvents:
    """Events as the model's name says: a number of them, or without end, or none at all."""

    def __init__(self, door: ScriptedDoor, model: str) -> None:
        self.door, self.model = door, model
        self.sent = 0
        self.stop = asyncio.Event()

    async def batch(self) -> list[tuple[str, str]]:
        if self.stop.is_set():
            return []
        if self.model == "raise":
            raise RuntimeError("a prompt")
        if self.model == "flood":
            self.sent += 1
            self.door.flooded = self.sent
            await asyncio.sleep(0)
            return [("text_delta", json.dumps({"type": "text_delta", "text": "x" * 10_000}))] * 10
        if self.model.isdigit() and self.sent < int(self.model):
            self.sent += 1
            return [("text_delta", json.dumps({"type": "text_delta", "n": self.sent}))]
        if self.model.isdigit() and self.sent == int(self.model):
            self.sent += 1
            return [("done", json.dumps({"type": "done"}))]
        if self.model == "quiet":
            await self.stop.wait()
            return [("cancelled", json.dumps({"type": "cancelled"}))]
        return []

    def cancel(self) -> None:
        self.stop.set()
        self.door.asked_to_stop.set()

    async def aclose(self) -> None:
        self.door.closed.set()


class ScriptedDoor:
    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.asked_to_stop = threading.Event()
        self.closed = threading.Event()
        self.began = threading.Event()
        self.flooded = 0

    def check(self, body: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(body)
        except ValueError:
            raise InvalidRequestError("not JSON") from None
        if "model" not in asked:
            raise InvalidRequestError("model: missing")
        return asked

    async def chat(self, request: dict[str, Any]) -> str:
        self.began.set()
        model = request["model"]
        if model == "hang":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if model == "raise":
            raise RuntimeError("a prompt")
        if model.startswith("error:"):
            raise error_for(model[6:])("so it is")
        if model == "slow down":
            raise RateLimitError("slow down", provider="p", retry_after=2.2)
        return json.dumps({"content": model, "tool_calls": []})

    def stream(self, request: dict[str, Any]) -> ScriptedEvents:
        self.began.set()
        return ScriptedEvents(self, request["model"])

    async def models(self) -> str:
        return '{"models": []}'

    async def echo(self, body: bytes) -> str:
        return body.decode()

    def health(self) -> dict[str, Any]:
        return {"contract": 1, "version": "0"}


class Served:
    """The application on a socket, in a thread of its own."""

    def __init__(self, **settings: Any) -> None:
        self.door = ScriptedDoor()
        self.app = create_app(Settings(**settings), self.door)
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
        )
        self.server = uvicorn.Server(config)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=asyncio.run, args=(self.serve(),), daemon=True)

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve([self.sock])

    def on_loop(self, function: Callable[[], object]) -> None:
        """Call a function on the server's loop."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(LONG)
        assert not self.thread.is_alive()

    @property
    def running(self) -> int:
        return self.app.state.calls.running

    def ask(
        self, path: str, body: object = None, method: str | None = None, headers: dict[str, str] | None = None
    ):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        client.request(method or ("GET" if data is None else "POST"), path, body=data, headers=headers or {})
        return client.getresponse()

    def raw(self, path: str, body: object) -> socket.socket:
        """A request on a bare socket, which the test can then leave alone or close."""
        data = json.dumps(body).encode()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
        )
        return sock

    def idle(self) -> None:
        """Wait until no call runs."""
        until(lambda: self.running == 0)


def until(condition: Callable[[], object]) -> None:
    """Wait for a state of the server, which has no event of its own to wait for."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def served():
    with Served() as running:
        yield running


def error_of(answer: http.client.HTTPResponse) -> dict[str, Any]:
    found = json.loads(answer.read())
    assert list(found) == ["error"]
    return found["error"]


def test_a_chat_is_answered_with_the_reply(served: Served):
    answer = served.ask("/chat", {"model": "hello"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.read()) == {"content": "hello", "tool_calls": []}
    assert served.running == 0


def test_events_are_frames_that_no_proxy_gathers(served: Served):
    answer = served.ask("/chat/stream", {"model": "2"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.read().decode() == (
        'event: text_delta\ndata: {"type": "text_delta", "n": 1}\n\n'
        'event: text_delta\ndata: {"type": "text_delta", "n": 2}\n\n'
        'event: done\ndata: {"type": "done"}\n\n'
    )
    assert served.door.closed.wait(LONG)
    served.idle()


def test_a_quiet_stream_gets_comments():
    with Served(quiet=0.02) as served, served.raw("/chat/stream", {"model": "quiet"}) as sock:
        data = b""
        while data.count(b": still here\n\n") < 3:
            data += sock.recv(1000)
        assert b"event:" not in data


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_request", 400),
        ("authentication", 401),
        ("quota", 402),
        ("permission", 403),
        ("not_found", 404),
        ("timeout", 408),
        ("context_length", 400),
        ("content_filter", 400),
        ("rate_limit", 429),
        ("budget", 429),
        ("provider", 502),
        ("protocol", 502),
        ("connection", 502),
        ("overloaded", 503),
        ("engine_unavailable", 503),
        ("unsupported", 400),
        ("cancelled", 499),
        ("internal", 500),
    ],
)
def test_every_code_has_its_status(served: Served, code: str, status: int):
    answer = served.ask("/chat", {"model": f"error:{code}"})
    assert answer.status == status
    error = error_of(answer)
    assert (error["code"], error["message"]) == (code, "so it is")
    assert set(error) == {
        "code",
        "message",
        "provider",
        "model",
        "status",
        "retryable",
        "retry_after",
        "request_id",
    }


def test_retry_after_is_also_a_header(served: Served):
    answer = served.ask("/chat", {"model": "slow down"})
    assert answer.headers["retry-after"] == "3"
    assert error_of(answer)["retry_after"] == 2.2


def test_a_bad_request_is_refused_before_a_stream_begins(served: Served):
    for path in ("/chat", "/chat/stream"):
        answer = served.ask(path, {"messages": []})
        assert answer.status == 400
        assert error_of(answer)["code"] == "invalid_request"
    served.idle()


def test_paths_and_methods_that_are_not_there_are_errors_of_the_same_shape(served: Served):
    answer = served.ask("/nothing")
    assert answer.status == 404
    assert error_of(answer)["message"].startswith("there is no such path here; there are /chat, ")
    answer = served.ask("/chat", method="GET")
    assert answer.status == 405
    assert error_of(answer)["code"] == "invalid_request"
    assert served.ask("/echo", {"data": 1}).status == 404, "only with its flag"


def test_echo_answers_where_it_was_asked_for():
    with Served(echo=True) as served:
        assert json.loads(served.ask("/echo", {"data": 1}).read()) == {"data": 1}


def test_health_and_models(served: Served):
    assert json.loads(served.ask("/health").read()) == {"status": "ok", "contract": 1, "version": "0"}
    assert json.loads(served.ask("/models").read()) == {"models": []}


def test_a_fault_of_ours_shows_neither_stack_nor_text(served: Served, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        answer = served.ask("/chat", {"model": "raise"})
        assert answer.status == 500
        assert error_of(answer)["code"] == "internal"
        assert served.ask("/chat", {"model": "hello"}).status == 200, "the next call works"
        # A stream that has begun can only be broken off.
        with pytest.raises(http.client.IncompleteRead):
            served.ask("/chat/stream", {"model": "raise"}).read()
    assert "internal error: RuntimeError" in caplog.text
    assert "a prompt" not in caplog.text
    assert "Traceback" not in caplog.text
    served.idle()


def test_the_log_names_known_paths_only(served: Served, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "omni_bridge.service"):
        served.ask(
            "/chat?token=s3cret", {"model": "hello"}, headers={"authorization": "Bearer s3cret"}
        ).read()
        served.ask("/s3cret").read()
    assert "POST /chat 200" in caplog.text
    assert "s3cret" not in caplog.text


# --- who may ask


def test_foreign_hosts_and_origins_are_refused_on_every_path():
    with Served(allowed_hosts=frozenset({"my.name"})) as served:
        for path, body in (("/chat", {"model": "x"}), ("/chat/stream", {"model": "1"}), ("/health", None)):
            for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
                answer = served.ask(path, body, headers=headers)
                assert answer.status == 403
                assert error_of(answer)["code"] == "permission"
            for headers in ({"host": "my.name:80"}, {"origin": "http://my.name"}):
                assert served.ask(path, body, headers=headers).status == 200
        assert not served.door.cancelled.is_set()


def test_the_token_is_asked_for_on_every_path_and_shown_nowhere():
    settings = Settings(token="s3cret")
    assert "s3cret" not in repr(settings)
    with Served(token="s3cret") as served:
        for path, body in (("/chat", {"model": "x"}), ("/health", None), ("/openapi.json", None)):
            answer = served.ask(path, body)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "s3cret" not in str(error_of(answer))
            assert served.ask(path, body, headers={"authorization": "Bearer s3cre"}).status == 401
            assert served.ask(path, body, headers={"authorization": "Bearer s3cret"}).status == 200


def test_an_application_that_would_listen_elsewhere_without_a_token_is_not_made():
    with pytest.raises(PermissionDeniedError):
        create_app(Settings(host="0.0.0.0"), ScriptedDoor())


def test_endpoints_in_a_request_are_refused_unless_allowed():
    asked = {
        "model": "x",
        "fallbacks": [{"model": "y", "api_base": "http://evil.example", "api_key": "s3cret"}],
    }
    with Served() as served:
        for path in ("/chat", "/chat/stream"):
            answer = served.ask(path, asked)
            assert answer.status == 403
            text = str(error_of(answer))
            assert "fallbacks[0].api_base, fallbacks[0].api_key" in text
            assert "--allow-endpoints" in text
            assert "s3cret" not in text
        assert not served.door.began.is_set()
    with Served(allow_endpoints=True) as served:
        assert served.ask("/chat", asked).status == 200


# --- bounds


def test_a_body_above_the_limit_is_refused_however_it_is_announced():
    with Served(max_body=1000) as served:
        inside = {"model": "x" * 900}
        assert served.ask("/chat", inside).status == 200
        for headers, body in (
            ({}, b"x" * 1001),
            ({"transfer-encoding": "chunked"}, b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"),
        ):
            answer = served.ask("/chat", body, headers=headers)
            assert answer.status == 413
            assert "1,000 bytes" in error_of(answer)["message"]
            assert answer.headers["connection"] == "close"
        served.idle()


def test_a_body_that_does_not_come_is_not_waited_for():
    with Served(body_timeout=0.05) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=LONG) as sock:
            sock.sendall(b"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{")
            assert sock.recv(1000).startswith(b"HTTP/1.1 408 ")
        served.idle()


def test_calls_above_the_limit_are_told_to_come_back():
    with Served(max_calls=1) as served, served.raw("/chat", {"model": "hang"}):
        assert served.door.began.wait(LONG)
        for path in ("/chat", "/chat/stream"):
            answer = served.ask(path, {"model": "1"})
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert error_of(answer)["code"] == "overloaded"
        assert served.ask("/health").status == 200
    assert served.door.cancelled.wait(LONG)


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/echo"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_bodies_share_one_budget_until_their_calls_end(path: str, announced: bool):
    filled = json.dumps({"model": "hang", "messages": "x" * 800}).encode()
    with Served(max_bodies=1000, echo=True) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=LONG) as first:
            head = f"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(filled)}\r\n\r\n"
            first.sendall(head.encode())  # its room is taken before its body has come
            until(lambda: served.running == 1)
            second = b"x" * 200
            if announced:
                answer = served.ask(path, second)
            else:
                chunked = b"c8\r\n" + second + b"\r\n0\r\n\r\n"
                answer = served.ask(path, chunked, headers={"transfer-encoding": "chunked"})
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["connection"] == "close"
            error = error_of(answer)
            assert (error["code"], error["retryable"]) == ("overloaded", True)
            assert "--max-bodies" in error["message"]
            assert served.ask("/chat", {"model": "small"}).status == 200
            first.sendall(filled)
            assert served.door.began.wait(LONG)
            assert served.ask(path, second).status == 503, "the call holds its request until it ends"
        served.idle()
        assert served.ask("/chat", {"model": "x" * 900}).status == 200, "all room has been given back"


# --- clients that leave


def test_a_client_that_leaves_during_a_chat_cancels_it(served: Served):
    sock = served.raw("/chat", {"model": "hang"})
    assert served.door.began.wait(LONG)
    assert served.running == 1
    sock.close()
    assert served.door.cancelled.wait(LONG)
    served.idle()


def test_a_client_that_leaves_during_a_quiet_stream_cancels_it(served: Served):
    sock = served.raw("/chat/stream", {"model": "quiet"})
    assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    sock.close()
    assert served.door.closed.wait(LONG)
    served.idle()


def test_a_slow_reader_holds_the_call_back_and_leaving_cancels_it(served: Served):
    sock = served.raw("/chat/stream", {"model": "flood"})
    assert sock.recv(100)

    # The sockets hold so much and no more: some time the server has to wait, and then its lock is taken.
    seen: list[int] = []
    until(lambda: seen.append(served.door.flooded) or (len(seen) > 300 and seen[-1] == seen[-300] > 0))
    assert served.door.flooded * 100_000 < 100_000_000
    assert served.running == 1
    sock.close()
    assert served.door.closed.wait(LONG)
    served.idle()


def test_a_client_that_leaves_while_it_sends_its_body_leaves_nothing_behind(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=LONG) as sock:
        sock.sendall(b"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{")
    served.idle()
    assert served.ask("/chat", {"model": "hello"}).status == 200
    assert not served.door.cancelled.is_set()


def test_the_stop_of_the_server_is_told_to_the_clients(served: Served):
    stream = served.raw("/chat/stream", {"model": "quiet"})
    assert stream.recv(1000).startswith(b"HTTP/1.1 200 ")
    chat = served.raw("/chat", {"model": "hang"})
    until(lambda: served.running == 2)
    served.on_loop(served.app.state.calls.cancel_all)
    data = b""
    while b"cancelled" not in data:
        data += stream.recv(1000)
    answer = b""
    while b"}" not in answer:
        answer += chat.recv(1000)
    assert answer.startswith(b"HTTP/1.1 499 ")
    assert b'"code": "cancelled"' in answer
    stream.close()
    chat.close()
    served.idle()


def test_openapi_documents_every_path_and_every_reference_leads_somewhere(served: Served):
    document = json.loads(served.ask("/openapi.json").read())
    assert set(document["paths"]) == {"/chat", "/chat/stream", "/models", "/health"}
    schemas = document["components"]["schemas"]
    assert {"Request", "Reply", "Event", "Error"} <= set(schemas)
    assert "messages" in schemas["Request"]["properties"]

    def references(node: Any):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(document))
    assert found
    assert {name.removeprefix("#/components/schemas/") for name in found} <= set(schemas)


def test_every_error_class_is_an_answer():
    assert all(kind.http_status >= 400 for kind in OmniError.__subclasses__())
