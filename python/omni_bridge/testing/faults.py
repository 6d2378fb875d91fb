"""Everything that goes wrong between a client and a provider, made on purpose."""

from __future__ import annotations

import email.utils
import gzip
import json
import re
import time
import zlib
from typing import TYPE_CHECKING

from . import _shapes
from ._http import Exchange, HttpServer
from .replay import asks_for_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from ._http import ServerOptions

__all__ = ["FAULTS", "FaultServer"]

FAULTS: dict[str, str] = {
    "ok": "a right answer",
    **{str(status): f"status {status}: {row[-1]}" for status, row in _shapes.ERRORS.items()},
    "context_length": "status 400: the prompt is too long, in OpenAI's words",
    "content_filter": "status 400: refused by the safety system, in OpenAI's words",
    "quota": "status 429 that no waiting mends: no quota is left",
    "error_event": "a stream that begins with 200, sends text, and then an error event",
    "error_event_first": "a stream that begins with 200 and whose first event is an error",
    "cut": "the socket is closed in the middle of an event (or of the JSON)",
    "cut_clean": "the body ends in the middle of an event (or of the JSON), the HTTP message is whole",
    "reset": "the socket is reset in the middle of an event (or of the JSON)",
    "no_last_event": "a stream without its last event ([DONE], message_stop, response.completed)",
    "no_finish": "a stream that ends after some text: neither a finish reason nor a last event",
    "html": "status 200 with a web page in place of JSON or events",
    "html_502": "status 502 with a web page, as a proxy sends it",
    "not_json": "status 200 with broken JSON (in a stream: an event that is not JSON)",
    "wrong_json": "status 200 with JSON of another shape",
    "empty": "status 200 with an empty body",
    "silent": "the request is read and nothing is ever answered",
    "never": "the head comes, the body never does",
    "stall": "some of the body comes, the rest never does",
    "gzip": "a right answer, compressed",
    "gzip_broken": "an answer that says it is gzip and is not",
    "redirect": "a redirect to the right answer on the same host",
    "redirect_foreign": "a redirect to the right answer under another host name",
    "drip": "a right answer, a few bytes at a time",
}
"""Every fault by name, with what happens."""

TEXT = ("Hello", ", ", "wörld", " 🌍", "!")
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


class FaultServer(HttpServer):
    """A provider with one chosen fault; its wire (OpenAI, Anthropic, Gemini) follows the path.

    `url_of(fault)` is the base URL under which everything has that fault; all of `FAULTS` are served at once.

    Args:
        drip: seconds between the pieces of ``drip``.
        drip_bytes: their size.
        options: those of `HttpServer`.

    >>> import urllib.error, urllib.request
    >>> with FaultServer() as server:
    ...     try:
    ...         urllib.request.urlopen(server.url_of(429, retry_after=2) + "/v1/chat/completions", data=b"{}")
    ...     except urllib.error.HTTPError as error:
    ...         (error.code, error.headers["retry-after"])
    (429, '2')
    """

    def __init__(
        self, *, drip: float = 0.005, drip_bytes: int = 16, **options: Unpack[ServerOptions]
    ) -> None:
        super().__init__(**options)
        self._drip, self._drip_bytes = drip, drip_bytes

    def url_of(self, fault: str | int, *, retry_after: float | str | None = None) -> str:
        """The base URL of a fault.

        Args:
            fault: a name of `FAULTS` or a status.
            retry_after: seconds for the Retry-After header, or ``"date"``: an HTTP date two seconds ahead.

        Raises:
            ValueError: for a fault that is not in `FAULTS`.
        """
        if str(fault) not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}: use one of {', '.join(FAULTS)}")
        return f"{self.url}/f/{fault}" + ("" if retry_after is None else f"-after-{retry_after}")

    async def answer(self, exchange: Exchange) -> None:
        """Do what the path names."""
        place = re.match(r"/f/([a-z_\d]+)(?:-after-([\d.]+|date))?(/.*)?$", exchange.request.target)
        if place is None or place[1] not in FAULTS:
            await super().answer(exchange)
            return
        fault, rest = place[1], place[3] or ""
        shape = _shapes.shape_of(exchange.request.target)
        headers = {"x-request-id": f"req_fault_{exchange.request.number}"}
        if place[2]:
            headers["retry-after"] = (
                email.utils.formatdate(time.time() + 2, usegmt=True) if place[2] == "date" else place[2]
            )
        if fault.isdigit() or fault in _shapes.KINDS:
            status = int(fault) if fault.isdigit() else _shapes.KINDS[fault][0]
            body = _shapes.error_body(shape, status, None if fault.isdigit() else fault)
            await exchange.reply(status, body, headers)
        elif fault.startswith("redirect"):
            # The other host is this server too, so the log shows which headers came along.
            host = f"http://localhost:{self.port}" if fault == "redirect_foreign" else self.url
            await exchange.reply(307, b"", {**headers, "location": f"{host}/f/ok{rest}"})
        elif fault.startswith("html"):
            status = 502 if fault == "html_502" else 200
            await exchange.reply(status, PAGE, {**headers, "content-type": "text/html; charset=utf-8"})
        elif fault == "silent":
            await exchange.gone()
        else:
            await self._body(exchange, fault, shape, headers)

    async def _body(
        self, exchange: Exchange, fault: str, shape: _shapes.Shape, headers: dict[str, str]
    ) -> None:
        streamed = asks_for_stream(exchange.request.target, exchange.request.body)
        headers["content-type"] = "text/event-stream" if streamed else "application/json"
        pieces, ending = _fault_body(fault, shape, streamed=streamed)
        if fault == "gzip":
            headers["content-encoding"] = "gzip"
            pieces = _compressed(pieces)
        elif fault == "gzip_broken":
            headers["content-encoding"] = "gzip"
        elif fault == "drip":
            whole, size = b"".join(pieces), self._drip_bytes
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        await exchange.start(200, headers)
        for piece in pieces:
            await exchange.send(piece)
            if fault == "drip":
                await exchange.sleep(self._drip)
        if ending == "cut":
            exchange.cut()
        elif ending == "reset":
            # What was sent must arrive before the reset overtakes it: a reset discards what the client has
            # not read.
            await exchange.sleep(0.05)
            exchange.reset()
        elif ending == "wait":
            await exchange.gone()
        else:
            await exchange.end()


def _fault_body(fault: str, shape: _shapes.Shape, *, streamed: bool) -> tuple[list[bytes], str]:
    """The pieces to send and how the answer ends: ``end``, ``cut``, ``reset`` or ``wait``."""
    text = "".join(TEXT)
    whole = json.dumps(_shapes.whole_answer(shape, text), ensure_ascii=False).encode()
    begun, finish, last = _shapes.stream_events(shape, TEXT)
    right = [*begun, *finish, *last] if streamed else [whole]
    half = _in_the_middle(begun) if streamed else [whole[: len(whole) // 2]]
    table: dict[str, tuple[list[bytes], str]] = {
        "cut": (half, "cut"),
        "cut_clean": (half, "end"),
        "reset": (half, "reset"),
        "stall": (begun[:-1] if streamed else half, "wait"),
        "never": ([], "wait"),
        "empty": ([], "end"),
        # An answer that is not streamed has no events: there its JSON is cut short.
        "no_last_event": ([*begun, *finish] if streamed else half, "end"),
        "no_finish": (begun if streamed else half, "end"),
        "error_event": (
            [*begun, _shapes.error_event(shape)] if streamed else [_plain_error(shape)],
            "end",
        ),
        "error_event_first": ([_shapes.error_event(shape)] if streamed else [_plain_error(shape)], "end"),
        "not_json": ([*begun, b"data: {not json\n\n"] if streamed else [b"{not json"], "end"),
        "wrong_json": ([_shapes.sse([{"hello": 1}])] if streamed else [b'[{"hello": 1}]'], "end"),
        "gzip_broken": ([b"\x1f\x8bnot gzip at all"], "end"),
    }
    return table.get(fault, (right, "end"))


def _plain_error(shape: _shapes.Shape) -> bytes:
    return json.dumps(_shapes.error_body(shape, 529)).encode()


def _in_the_middle(events: Sequence[bytes]) -> list[bytes]:
    """All of the events, the last of them only by half."""
    return [*events[:-1], events[-1][: len(events[-1]) // 2]]


def _compressed(pieces: Sequence[bytes]) -> list[bytes]:
    """Each piece compressed and flushed, so that a stream stays a stream."""
    if len(pieces) == 1:
        return [gzip.compress(pieces[0])]
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()]
