"""`omni serve` as a process: real sockets, real signals, a real engine, the offline provider behind it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import omni_bridge
import pytest
from omni_bridge.testing import DemoServer

from tests import serving
from tests.serving import KEY, LONG

PROMPT = "a-very-private-prompt"


class Served(serving.Served):
    """With what these tests ask beside it."""

    def raw(self, path: str, body: object) -> socket.socket:
        data = json.dumps(body).encode()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
        )
        return sock


def chat(model: str = "demo", **fields: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{model}",
        "messages": [{"role": "user", "content": PROMPT}],
        "retry": 0,
        **fields,
    }


def events(data: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for frame in data.split("\n\n"):
        if frame and not frame.startswith(":"):
            kind, text = frame.split("\n")
            found.append((kind.removeprefix("event: "), json.loads(text.removeprefix("data: "))))
    return found


@pytest.fixture(scope="module")
def served():
    with DemoServer() as provider, Served(provider, "--warm-up") as running:
        yield running
        assert running.stop() == 0
        log = "".join(running.log)
        assert KEY not in log
        assert PROMPT not in log
        assert "Traceback" not in log


def test_it_says_where_it_serves_and_what(served: Served):
    assert set(served.ready) == {"url", "pid", "contract"}
    assert served.ready["pid"] == served.process.pid
    health = json.loads(served.ask("/health").read())
    assert (health["status"], health["contract"]) == ("ok", 1)
    assert health["warm"] in (True, False)


def test_a_chat_gives_the_reply_of_the_contract(served: Served):
    answer = served.ask("/chat", chat())
    reply = json.loads(answer.read())
    assert answer.status == 200, reply
    assert reply["content"].startswith(f"You said: {PROMPT}.")
    assert reply["tool_calls"] == []
    assert reply["finish_reason"] == "stop"
    assert reply["message"]["role"] == "assistant"
    assert json.loads(served.ask("/health").read())["warm"] is True
    assert reply["usage"]["output_tokens"] > 0


def test_a_stream_gives_the_events_and_ends_in_done(served: Served):
    answer = served.ask("/chat/stream", chat("demo-chunks-5"))
    found = events(answer.read().decode())
    assert [kind for kind, _ in found] == [event["type"] for _, event in found]
    assert found[0][0] == "start"
    assert found[-1][0] == "done"
    text = "".join(event["text"] for kind, event in found if kind == "text_delta")
    assert text == found[-1][1]["reply"]["content"] == "w0......w1......w2......w3......w4......"


def test_a_tool_is_called_and_answered(served: Served):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    asked = chat(tools=tools, messages=[{"role": "user", "content": "The weather in Paris?"}])
    reply = json.loads(served.ask("/chat", asked).read())
    (call,) = reply["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"}
    asked["messages"] += [reply["message"], result]
    assert "18 degrees" in json.loads(served.ask("/chat", asked).read())["content"]


@pytest.mark.parametrize(
    ("status", "code"), [(401, "authentication"), (429, "rate_limit"), (503, "overloaded")]
)
def test_errors_of_the_provider_are_errors_of_the_contract(served: Served, status: int, code: str):
    answer = served.ask("/chat", chat(f"demo-error-{status}"))
    assert answer.status == status
    error = json.loads(answer.read())["error"]
    assert (error["code"], error["status"], error["provider"]) == (code, status, "openai")
    last, event = events(served.ask("/chat/stream", chat(f"demo-error-{status}")).read().decode())[-1]
    assert (last, event["error"]["code"]) == ("error", code)
    assert event["reply"]["content"] == ""


def test_a_wrong_field_is_refused_with_its_path_and_a_near_match(served: Served):
    for path in ("/chat", "/chat/stream"):
        answer = served.ask(path, chat(temprature=1))
        assert answer.status == 400
        error = json.loads(answer.read())["error"]
        assert error["code"] == "invalid_request"
        assert 'temprature: no such field; did you mean "temperature"?' in error["message"]


def test_lone_surrogates_become_the_replacement_character(served: Served):
    body = json.dumps(chat()).replace(PROMPT, r"a\ud83dz").encode()
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=LONG)
    client.request("POST", "/chat", body)
    assert json.loads(client.getresponse().read())["content"].startswith("You said: a\ufffdz.")


def test_endpoints_are_refused_and_nothing_is_sent(served: Served):
    before = served.provider.requests_total
    with DemoServer() as elsewhere:
        answer = served.ask("/chat", chat(api_base=elsewhere.api_base, api_key="k"))
        assert answer.status == 403
        answer = served.ask("/chat", chat(fallbacks=[{"model": "openai/x", "api_base": elsewhere.api_base}]))
        assert answer.status == 403
        assert elsewhere.requests_total == 0
    assert served.provider.requests_total == before


def test_a_client_that_leaves_closes_the_providers_socket(served: Served):
    for path, name in (("/chat/stream", "leave-a-stream"), ("/chat", "leave-a-chat")):
        # An answer of minutes: whoever waits for its end waits too long.
        sock = served.raw(path, chat(f"{name}-chunks-6000-pace-20"))
        received = served.provider.wait_for_request(lambda one, name=name: name.encode() in one.body, LONG)
        if path == "/chat/stream":
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            served.provider.wait_for(lambda _, one=received: one.chunks > 2, LONG)
        left = time.monotonic()
        sock.close()
        served.provider.wait_for(lambda _, one=received: one.closed is not None, LONG)
        assert received.left
        assert received.closed - left < 10


def test_a_slow_reader_stops_the_provider_and_leaving_closes_its_socket(served: Served):
    sock = served.raw("/chat/stream", chat("demo-chunks-200000-size-1000"))
    provider = served.provider
    received = provider.wait_for_request(lambda one: b"chunks-200000" in one.body, LONG)
    provider.wait_for(lambda _: received.paused, LONG)
    sock.close()
    provider.wait_for(lambda _: received.closed is not None, LONG)
    assert received.left
    assert received.accepted < 150_000_000, "held back before it was all sent"


def test_many_clients_at_once_are_all_served(served: Served):
    results: list[bool] = []

    def one() -> None:
        data = served.ask("/chat/stream", chat("demo-chunks-20")).read().decode()
        results.append(events(data)[-1][0] == "done" and data.count("event: text_delta") == 20)

    threads = [threading.Thread(target=one) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert results == [True] * 32


def test_curl_speaks_with_it(served: Served, need):
    curl = need("curl")
    done = subprocess.run(
        [curl, "-sN", f"{served.url}/chat/stream", "-d", json.dumps(chat("demo-chunks-2"))],
        capture_output=True, text=True, timeout=LONG, check=True,
    )  # fmt: skip
    assert [kind for kind, _ in events(done.stdout)][-1] == "done"
    # More than curl sends without asking first: it sends "Expect: 100-continue".
    big = json.dumps(chat(messages=[{"role": "user", "content": "x" * 2_000_000}]))
    done = subprocess.run(
        [curl, "-s", f"{served.url}/chat", "-d", "@-"],
        input=big,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    assert json.loads(done.stdout)["finish_reason"] == "stop"


# --- our own client, with the service behind its engine


@pytest.fixture
def bridge(served: Served):
    omni_bridge.configure(bridge_url=served.url, retry=0)
    yield served
    omni_bridge.configure()


HI = [{"role": "user", "content": PROMPT}]


def test_the_same_calls_go_through_a_bridge_url(bridge: Served):
    reply = omni_bridge.chat(HI, "openai/demo")
    assert reply.content.startswith(f"You said: {PROMPT}.")
    with omni_bridge.stream_sync(HI, "openai/demo-chunks-3") as stream:
        types = [event.type for event in stream]
    assert types == ["start", "text_start", *["text_delta"] * 3, "usage", "text_end", "done"]
    assert stream.reply().content == "w0......w1......w2......"


def test_errors_come_through_a_bridge_url_as_they_are(bridge: Served):
    with pytest.raises(omni_bridge.RateLimitError) as slow:
        omni_bridge.chat(HI, "openai/demo-error-429")
    assert (slow.value.provider, slow.value.status, slow.value.retry_after) == ("openai", 429, 1.0)
    with omni_bridge.stream_sync(HI, "openai/demo-error-503") as stream:
        (last,) = stream
    assert last.type == "error"
    assert isinstance(last.error, omni_bridge.OverloadedError)
    with pytest.raises(omni_bridge.PermissionDeniedError, match="api_base"):
        omni_bridge.chat(HI, "openai/demo", api_base="http://elsewhere.invalid", api_key="k")


def test_leaving_a_stream_through_a_bridge_url_closes_the_providers_socket(bridge: Served):
    with omni_bridge.stream_sync(HI, "openai/bridged-chunks-6000-pace-20") as stream:
        assert next(event for event in stream if event.type == "text_delta").text == "w0......"
        received = bridge.provider.wait_for_request(lambda one: b"bridged" in one.body, LONG)
        assert received.closed is None
    bridge.provider.wait_for(lambda _: received.left, LONG)


def test_a_wrong_token_for_a_bridge_is_an_authentication_error():
    with DemoServer() as provider, Served(provider, OMNI_SERVE_TOKEN="right") as served:
        try:
            omni_bridge.configure(bridge_url=served.url, bridge_token="wrong", retry=0)
            with pytest.raises(omni_bridge.AuthenticationError, match="needs its token"):
                omni_bridge.chat(HI, "openai/demo")
            omni_bridge.configure(bridge_url=served.url, bridge_token="right", retry=0)
            assert omni_bridge.chat(HI, "openai/demo").finish_reason == "stop"
        finally:
            omni_bridge.configure()


# --- stopping


def test_sigterm_lets_running_calls_finish():
    with DemoServer(chunks=6, hold=3) as provider, Served(provider, "--grace", "60") as served:
        sock = served.raw("/chat/stream", chat())
        provider.wait_for(lambda s: s.requests and s.last.chunks == 4, LONG)
        served.process.send_signal(signal.SIGTERM)
        # It takes no new calls any more, and then the running one goes on.
        until_refused(served)
        provider.release()
        data = b""
        while part := sock.recv(65536):
            data += part
        assert b"event: done" in data
        assert served.wait() == 0


def test_when_the_grace_time_is_over_calls_are_cancelled_and_told_so():
    with DemoServer(chunks=6, hold=3) as provider, Served(provider, "--grace", "0.2") as served:
        stream = served.raw("/chat/stream", chat())
        provider.wait_for(lambda s: s.requests and s.last.chunks == 4, LONG)
        begun = time.monotonic()
        assert served.stop(signal.SIGINT) == 0
        assert time.monotonic() - begun < 20
        data = b""
        while part := stream.recv(65536):
            data += part
        assert b"event: cancelled" in data
        provider.wait_for(lambda s: s.last.left, LONG)


def test_a_second_signal_does_not_wait_for_the_grace_time():
    with DemoServer(chunks=6, hold=3) as provider, Served(provider, "--grace", "600") as served:
        sock = served.raw("/chat/stream", chat())
        provider.wait_for(lambda s: s.requests and s.last.chunks == 4, LONG)
        served.process.send_signal(signal.SIGTERM)
        until_refused(served)
        assert served.stop(signal.SIGTERM) == 0
        sock.close()


def until_refused(served: Served) -> None:
    """Wait until the server takes no connection any more."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", served.port), timeout=LONG).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    raise AssertionError("it still listens")


# --- starting


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", *options],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip


def test_it_refuses_to_listen_elsewhere_without_a_token():
    done = serve("--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "refusing to listen on 0.0.0.0" in done.stderr
    assert "OMNI_SERVE_TOKEN" in done.stderr


@pytest.mark.parametrize("by", ["environment", "file"])
def test_the_token_of_environment_or_file_is_asked_for(by: str, tmp_path):
    options, environment = ["--host", "0.0.0.0"], {}
    if by == "file":
        (tmp_path / "token").write_text("t0ken\nmore\n")
        options += ["--token-file", str(tmp_path / "token")]
    else:
        environment["OMNI_SERVE_TOKEN"] = "t0ken"
    with DemoServer() as provider, Served(provider, *options, **environment) as served:
        assert served.ask("/health").status == 401
        assert served.ask("/health", authorization="Bearer t0ken").status == 200
        assert served.stop() == 0
        assert "t0ken" not in "".join(served.log)


def test_what_cannot_be_is_said_with_the_option(tmp_path):
    (tmp_path / "empty").write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for options, says in (
            (["--port", str(taken.getsockname()[1])], "cannot listen on 127.0.0.1 port"),
            (["--token-file", str(tmp_path / "none")], "--token-file"),
            (["--token-file", str(tmp_path / "empty")], "its first line is empty"),
            (["--max-body", "0"], "--max-body"),
            (["--grace", "-1"], "--grace"),
            (["--max-calls", "0"], "--max-calls"),
            (["--port", "70000"], "--port"),
        ):
            done = serve(*options)
            assert (done.returncode, done.stdout) == (2, "")
            assert says in done.stderr
            assert "Traceback" not in done.stderr


def test_ready_is_told_through_a_descriptor_too():
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--ready-fd", str(writer)]
    process = subprocess.Popen(
        command, pass_fds=[writer], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        url = pipe.read()  # to the end: the server closes it
    place = urlsplit(url.strip())
    client = http.client.HTTPConnection(place.hostname or "", place.port, timeout=LONG)
    client.request("GET", "/health")
    assert client.getresponse().status == 200
    process.terminate()
    out, _ = process.communicate(timeout=LONG)
    assert out.startswith(f"omni serve: {url.strip()} ")
    assert process.returncode == 0


def test_endpoints_can_be_allowed():
    with DemoServer(text="elsewhere") as elsewhere, DemoServer() as provider:
        with Served(provider, "--allow-endpoints") as served:
            answer = served.ask("/chat", chat(api_base=elsewhere.api_base, api_key="its own"))
            reply = json.loads(answer.read())
            assert answer.status == 200, reply
            assert reply["content"] == "elsewhere"
        assert elsewhere.last.headers["authorization"] == "Bearer its own"
        assert provider.requests_total == 0


def test_without_the_extra_it_says_what_to_install(tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    done = serve(PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'omni-bridge[http]'" in done.stderr
    assert shutil.which("omni-bridge") is None
