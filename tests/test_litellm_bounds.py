"""What a broken or hostile provider may send cannot fill the memory or hold up the other calls."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib

import httpx
import pytest
from omni_bridge import _litellm, _litellm_body
from omni_bridge._litellm_body import MAX_ERROR, PIECE, Recorded
from omni_bridge.errors import OmniError
from omni_bridge.testing import HttpServer


class Body(httpx.AsyncByteStream):
    def __init__(self, *chunks):
        self.chunks = chunks
        self.given = 0
        self.closed = False

    async def __aiter__(self):
        for chunk in self.chunks:
            self.given += 1
            yield chunk

    async def aclose(self):
        self.closed = True


async def pieces_of(recorded):
    return [chunk async for chunk in recorded]


def read(recorded):
    return b"".join(asyncio.run(pieces_of(recorded)))


def raw_deflate(text):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


TEXT = b"hello, world\n" * 20_000
ENCODED = {
    "gzip": [("gzip", gzip.compress(TEXT))],
    "two members": [("gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]))],
    "padded": [("gzip", gzip.compress(TEXT) + b"\x00" * 8)],
    "zlib": [("deflate", zlib.compress(TEXT))],
    "raw": [("deflate", raw_deflate(TEXT))],
}


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("name", ENCODED)
def test_every_kind_of_compressed_body_is_read_whole(name, size):
    for encoding, body in ENCODED[name]:
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        assert read(Recorded(Body(*chunks), encoding)) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_that_was_cut_off_is_an_error(encoding):
    body = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    for end in (1, len(body) // 2, len(body) - 1):
        recorded = Recorded(Body(body[:end]), encoding)
        with pytest.raises(httpx.DecodingError):
            read(recorded)
        assert recorded.failure is not None
    assert read(Recorded(Body(), encoding)) == b""


def test_a_bomb_is_unpacked_in_small_pieces_while_others_have_their_turn():
    bomb = gzip.compress(b"\x00" * 50_000_000)
    assert len(bomb) < 100_000

    async def main():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        recorded = Recorded(Body(bomb), "gzip")
        total = 0
        async for piece in recorded.read_on():
            assert len(piece) <= PIECE
            total += len(piece)
        assert total == 50_000_000
        assert turns > 500
        task.cancel()

    asyncio.run(main())


def test_of_an_error_only_the_beginning_is_read_and_the_connection_closed():
    body = Body(*[b"x" * 10_000] * 5000)
    recorded = Recorded(body, "", MAX_ERROR)
    assert len(read(recorded)) == MAX_ERROR
    assert body.given == 7
    assert body.closed
    assert recorded.ended


def test_what_litellm_alone_reads_on_is_not_kept_for_us():
    recorded = Recorded(Body(b"a", b"b", b"c"), "")

    async def main():
        stream = recorded.__aiter__()
        assert await stream.__anext__() == b"a"
        assert recorded.seen == [b"a"]
        recorded.forget()
        assert [chunk async for chunk in stream] == [b"b", b"c"]
        assert recorded.seen == []

    asyncio.run(main())


def test_an_unstreamed_answer_that_is_held_has_a_bound(monkeypatch):
    monkeypatch.setattr(_litellm_body, "MAX_KEPT", 1000)
    recorded = Recorded(Body(*[b"x" * 600] * 3), "")
    with pytest.raises(httpx.DecodingError, match="larger"):
        read(recorded)
    assert recorded.seen == []


class Nothing:
    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)
        return False

    async def drain(self):
        pass


def chat(base, *, model="openai/gpt-4o", stream=False, sink=None, **more):
    request = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": base,
        "api_key": "k",
        **more,
    }
    document = {"op": "chat", "stream": stream, "request": request, "config": {}}
    return _litellm.chat(document, sink or Nothing())


class HugeError(HttpServer):
    """A 500 with 50 MB of text in which there is much to redact."""

    async def answer(self, exchange):
        await exchange.start(500, {"content-type": "application/json"})
        await exchange.send(b'{"error":{"message":"it broke. ')
        for _ in range(50):
            await exchange.send(b"key=abc token: xyz sk-abc " * 40_000)
        await exchange.end()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "ollama_chat/x"]
)
def test_a_huge_error_does_not_hold_up_the_loop(model, stream):
    async def main():
        await _litellm._ready()
        longest = 0.0

        async def ticking():
            nonlocal longest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)

        with HugeError() as server:
            ticker = asyncio.ensure_future(ticking())
            with pytest.raises(OmniError) as caught:
                await asyncio.wait_for(chat(server.url, model=model, stream=stream), 60)
            ticker.cancel()
        await _litellm.aclose()
        assert (caught.value.code, caught.value.status) == ("provider", 500)
        assert longest < 3

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_connecting_has_a_limit_of_its_own(stream):
    """A listener whose queue is full answers nothing to who wants to connect."""

    async def main():
        await _litellm._ready()
        started = time.monotonic()
        with pytest.raises(OmniError) as caught:
            await chat(address, stream=stream, timeout={"connect": 0.3})
        await _litellm.aclose()
        assert caught.value.code == "timeout"
        assert time.monotonic() - started < 20

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
                waiting.append(one)
            asyncio.run(main())
        finally:
            for one in waiting:
                one.close()


class Late(HttpServer):
    """Answers later than connecting may take: only the clock can tell the two limits apart."""

    async def answer(self, exchange):
        await asyncio.sleep(0.6)
        await exchange.reply(
            200,
            {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "late"}}]},
        )


def test_the_limit_for_connecting_is_none_for_answering():
    async def main():
        sink = Nothing()
        with Late() as server:
            await chat(server.url, sink=sink, timeout={"connect": 0.3})
        await _litellm.aclose()
        assert [e["text"] for e in sink.events if e["type"] == "text_delta"] == ["late"]

    asyncio.run(main())


def test_json_of_an_error_still_says_what_the_provider_said():
    class Small(HttpServer):
        async def answer(self, exchange):
            body = json.dumps({"error": {"message": "no such thing", "type": "not_found_error"}}).encode()
            await exchange.reply(404, gzip.compress(body), {"content-encoding": "gzip"})

    async def main():
        with Small() as server, pytest.raises(OmniError) as caught:
            await chat(server.url)
        await _litellm.aclose()
        assert (caught.value.code, caught.value.message) == ("not_found", "no such thing")

    asyncio.run(main())
