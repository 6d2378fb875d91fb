"""The core of the test servers: what a test can see and wait for."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.parse

import pytest
from omni_bridge.testing import DemoServer, Exchange, HttpServer

LONG = 30.0  # a deadline, not a wait: every test below ends as soon as its event comes


class Echo(HttpServer):
    """Answers with what it got."""

    async def answer(self, exchange: Exchange) -> None:
        request = exchange.request
        await exchange.reply(
            200, {"method": request.method, "path": request.path, "body": request.body.decode()}
        )


class Flood(HttpServer):
    """Sends without end."""

    async def answer(self, exchange: Exchange) -> None:
        await exchange.start(200)
        while True:
            await exchange.send(b"x" * 8192)


class Silent(HttpServer):
    """Never answers."""

    async def answer(self, exchange: Exchange) -> None:
        await exchange.gone()


def connect(server: HttpServer) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.settimeout(LONG)
    return sock


def ask(sock: socket.socket, path: str = "/", body: bytes = b"") -> None:
    sock.sendall(f"POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)


def test_keep_alive_serves_many_requests_on_one_socket():
    with Echo() as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
        for number in range(5):
            client.request("POST", f"/{number}", body=b"hello")
            assert json.load(client.getresponse()) == {
                "method": "POST",
                "path": f"/{number}",
                "body": "hello",
            }
        assert server.connections_total == 1
        assert [one.path for one in server.requests] == [f"/{n}" for n in range(5)]
        assert all(one.finished is not None and not one.left for one in server.requests)
        client.close()
        server.wait_for(lambda s: s.open_sockets == 0, LONG)


def test_chunked_and_expected_bodies_are_read_whole():
    with Echo() as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
        client.request(
            "POST",
            "/",
            body=iter([b"one ", b"two"]),
            encode_chunked=True,
            headers={"transfer-encoding": "chunked"},
        )
        assert json.load(client.getresponse())["body"] == "one two"
        client.close()
        with connect(server) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
            sock.sendall(b"hi")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_comes_byte_by_byte_and_two_requests_in_one_packet():
    with Echo() as server, connect(server) as sock:
        one = b"POST /a HTTP/1.1\r\ncontent-length: 1\r\n\r\nA"
        for at in range(len(one)):
            sock.sendall(one[at : at + 1])
        server.wait_for(lambda s: s.requests_total == 1, LONG)
        sock.sendall(one + one)
        server.wait_for(lambda s: s.requests_total == 3, LONG)
        assert [r.body for r in server.requests] == [b"A"] * 3


@pytest.mark.parametrize(
    "junk",
    [
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(junk: bytes):
    with Echo() as server:
        with connect(server) as sock:
            sock.sendall(junk)
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
        with connect(server) as sock:
            ask(sock)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert server.failures == []


def test_the_moment_at_which_a_client_left_is_known():
    with Silent() as server:
        sock = connect(server)
        ask(sock)
        received = server.wait_for_request(timeout=LONG)
        assert received.closed is None
        before = time.monotonic()
        sock.close()
        server.wait_for(lambda _: received.closed is not None, LONG)
        assert received.closed is not None
        assert before <= received.closed <= time.monotonic()
        assert received.left
        server.wait_for(lambda s: s.open_sockets == 0, LONG)


def test_a_client_that_stops_reading_stops_the_server():
    with Flood(send_buffer=16 * 1024) as server, connect(server) as sock:
        ask(sock)
        received = server.wait_for_request(timeout=LONG)
        server.wait_for(lambda _: received.paused, LONG)
        stood = received.accepted
        assert 0 < stood < 64 * 1024 * 1024
        assert received.paused
        assert received.accepted == stood
        server.wait_for(lambda s: s.open_streams == 1, LONG)
        got = 0
        while got <= stood:
            got += len(sock.recv(65536))
        server.wait_for(lambda _: received.accepted > stood, LONG)


def test_leaving_while_held_back_ends_the_handler():
    with Flood(send_buffer=16 * 1024) as server:
        with connect(server) as sock:
            ask(sock)
            server.wait_for(lambda s: s.requests and s.requests[0].paused, LONG)
        server.wait_for(lambda s: s.open_streams == 0 and s.open_sockets == 0, LONG)
        assert server.last.left
        assert server.failures == []


def test_cut_is_told_apart_from_a_client_that_left():
    class Cut(HttpServer):
        async def answer(self, exchange: Exchange) -> None:
            await exchange.start(200)
            await exchange.send(b"half")
            exchange.cut()

    with Cut() as server, connect(server) as sock:
        ask(sock)
        data = b""
        while part := sock.recv(1000):
            data += part
        assert data.endswith(b"4\r\nhalf\r\n")
        server.wait_for(lambda s: s.open_sockets == 0, LONG)
        assert server.last.broken
        assert not server.last.left


def test_a_handler_that_raises_is_seen_by_the_test():
    class Broken(HttpServer):
        async def answer(self, exchange: Exchange) -> None:
            raise RuntimeError("a mistake in the test")

    with Broken() as server, connect(server) as sock:
        ask(sock)
        server.wait_for(lambda s: s.failures, LONG)
        assert "a mistake in the test" in str(server.failures[0])
        server.wait_for(lambda s: s.open_sockets == 0, LONG)


def test_the_wait_says_what_it_saw_when_it_gives_up():
    with (
        Echo() as server,
        pytest.raises(TimeoutError, match=r"0\.01 s: <Echo http://127\.0\.0\.1:\d+ requests=0"),
    ):
        server.wait_for(lambda s: s.requests_total, timeout=0.01)


def test_credentials_stand_in_no_repr():
    with Echo() as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
        headers = {
            "Authorization": "Bearer sk-secret",
            "X-Api-Key": "sk-secret",
            "x-goog-api-key": "sk-secret",
        }
        client.request("POST", "/v1?key=sk-secret&alt=sse", body=b"sk-secret", headers=headers)
        client.getresponse().read()
        client.close()
        received = server.last
        assert received.headers["authorization"] == "Bearer sk-secret"
        shown = f"{received!r} {received.headers!r} {server!r} {server.requests!r}"
        assert "sk-secret" not in shown
        assert "alt=sse" in shown


def test_a_taken_port_is_an_error_of_start():
    with Echo() as server, pytest.raises(OSError, match="in use"):
        Echo(port=server.port).start()


def test_stopping_closes_what_is_open_and_can_be_repeated():
    server = Flood().start()
    sock = connect(server)
    ask(sock)
    server.wait_for(lambda s: s.open_streams == 1, LONG)
    server.stop()
    server.stop()
    assert server.open_sockets == 0
    sock.close()
    assert server.failures == []


def test_a_thousand_streams_are_open_at_once_and_every_one_is_whole():
    async def read(url: str) -> bytes:
        place = urllib.parse.urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        body = json.dumps(
            {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        ).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % len(body)
            + body
        )
        data = await reader.read()
        writer.close()
        return data

    async def main() -> None:
        async with DemoServer(chunks=20, hold=3) as server:
            readers = [asyncio.create_task(read(server.url)) for _ in range(1000)]
            await server.await_for(lambda s: s.open_streams == 1000, 60)
            server.release()
            for data in await asyncio.gather(*readers):
                assert data.count(b'"content": "w') == 20
                assert data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            assert server.peak_streams == 1000
            await server.await_for(lambda s: s.open_streams == 0, LONG)
            assert server.failures == []

    asyncio.run(main())


def test_the_package_imports_nothing_beyond_the_standard_library():
    banned = ("litellm", "pydantic", "anyio", "typing_extensions", "httpx")
    code = f"import sys, omni_bridge.testing; print([name for name in {banned} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
