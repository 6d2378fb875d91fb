"""One socket of a test server: HTTP/1.1 in, answers out, and the moment at which the client left."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, cast

from ._received import Headers, Received

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ._ledger import Ledger

__all__ = ["Connection", "Exchange"]

REASONS = {
    200: "OK", 204: "No Content", 302: "Found", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 529: "Overloaded",
}  # fmt: skip

MAX_HEAD = 256 * 1024
TURN = 64 * 1024  # bytes that one answer may send before the others get their turn


class ClientLeftError(Exception):
    """The client closed its socket; ends the handler of its request."""


class Connection(asyncio.Protocol):
    """One socket: parses requests, runs one handler at a time, notices at once when the client leaves.

    Args:
        loop: the server's loop.
        ledger: where everything is noted.
        answer: the handler of one request.
        write_buffer: bytes that wait in the process before the handler is held back.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        answer: Callable[[Exchange], Awaitable[None]],
        write_buffer: int,
    ) -> None:
        ledger.connections_total += 1
        self.loop, self.ledger, self.answer, self.write_buffer = loop, ledger, answer, write_buffer
        self.number = ledger.connections_total
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.task: asyncio.Task[None] | None = None
        self.current: Received | None = None
        self.last: Received | None = None
        self.writable: asyncio.Future[None] | None = None
        self.lost = False
        self.told_continue = False
        self.handed = 0

    # --- what asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = tcp = cast("asyncio.Transport", transport)
        tcp.set_write_buffer_limits(high=self.write_buffer)
        sock = tcp.get_extra_info("socket")
        # Pieces must leave as they are cut, not be joined by Nagle's algorithm.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ledger.opened(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.task is None:
            self._next()

    def eof_received(self) -> bool | None:
        self._gone()
        return None  # asyncio closes the transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the name is asyncio's
        self._gone()
        self.ledger.closed(self)

    def pause_writing(self) -> None:
        self.writable = self.loop.create_future()
        if self.current is not None:
            self.current.paused = True
            self.count(0)

    def resume_writing(self) -> None:
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)
        self.writable = None
        if self.current is not None:
            self.current.paused = False
            self.count(0)

    # --- ours

    def count(self, handed: int) -> None:
        """Note what the socket took: all that was handed over less what still stands in our buffer."""
        if self.current is not None and self.transport is not None:
            self.handed += handed
            self.current.accepted = self.handed - self.transport.get_write_buffer_size()
            self.ledger.changed()

    def _gone(self) -> None:
        if self.lost:
            return
        self.lost = True
        if self.last is not None:
            self.last.closed = time.monotonic()
        if self.writable is not None and not self.writable.done():
            self.writable.set_exception(ClientLeftError())
            self.writable.exception()  # nobody may be waiting
        if self.task is not None:
            self.task.cancel()
        self.ledger.changed()

    def _next(self) -> None:
        """Take one whole request from the buffer, if there is one, and start its handler."""
        try:
            parsed = self._parse()
        except ValueError as error:
            self._refuse(400, str(error))
            return
        if parsed is None or self.lost:
            return
        received, keep_alive = parsed
        self.current = self.last = received
        self.handed = 0
        self.told_continue = False
        self.ledger.received(received)
        self.task = self.loop.create_task(self._run(received, keep_alive=keep_alive))

    def _refuse(self, status: int, why: str) -> None:
        transport = cast("asyncio.Transport", self.transport)  # a request came over it
        body = json.dumps({"error": {"message": why}}).encode()
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        )
        transport.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        transport.close()

    def _parse(self) -> tuple[Received, bool] | None:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MAX_HEAD:
                raise ValueError("the request head is too long")
            return None
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        try:
            method, target, version = lines[0].split(" ")
        except ValueError:
            raise ValueError("the request line is not HTTP/1.1") from None
        headers = Headers()
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue" and not self.told_continue:
            self.told_continue = True
            cast("asyncio.Transport", self.transport).write(b"HTTP/1.1 100 Continue\r\n\r\n")
        start = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            found = _unchunk(self.buffer, start)
            if found is None:
                return None
            body, used = found
        else:
            length = int(headers.get("content-length", "0"))
            if length < 0:
                raise ValueError("content-length is negative")
            if len(self.buffer) < start + length:
                return None
            body, used = bytes(self.buffer[start : start + length]), start + length
        del self.buffer[:used]
        connection = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in connection if version == "HTTP/1.0" else "close" not in connection
        number = self.ledger.take_number()
        return Received(number, method, target, headers, body, self.number, time.monotonic()), keep_alive

    async def _run(self, received: Received, *, keep_alive: bool) -> None:
        exchange = Exchange(self, received, keep_alive=keep_alive)
        try:
            await self.answer(exchange)
            if exchange.open and not self.lost:
                await exchange.end()
        except ClientLeftError:
            pass
        except asyncio.CancelledError:
            if not self.lost:
                raise
        except Exception as error:  # noqa: BLE001  # kept in `failures`
            # A mistake in a test's own handler must be seen by the test, not only by the client.
            self.ledger.failures.append(error)
            if self.transport is not None:
                self.transport.abort()
        finally:
            self.task = self.current = None
            self.ledger.ended(received)
        if self.transport is None or self.lost:
            return
        if exchange.keep_alive and received.finished is not None:
            self._next()
        else:
            self.transport.close()


def _unchunk(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """A chunked body from `start` on and where it ends, or None while it is not whole."""
    if not buffer.endswith(b"\r\n\r\n"):  # so that a long body is taken apart once, not at every read
        return None
    parts: list[bytes] = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(bytes(buffer[start:line_end]).split(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            # Trailers, if any, end with an empty line as the head does.
            end = start if buffer.startswith(b"\r\n", start) else buffer.find(b"\r\n\r\n", start) + 2
            if end < start or len(buffer) < end + 2:
                return None
            return b"".join(parts), end + 2
        if len(buffer) < start + size + 2:
            return None
        parts.append(bytes(buffer[start : start + size]))
        start += size + 2


class Exchange:
    """One request with the means to answer it; handed to `HttpServer.answer`."""

    def __init__(self, connection: Connection, received: Received, *, keep_alive: bool) -> None:
        self._connection = connection
        self.request = received
        self.keep_alive = keep_alive
        self.open = False
        self._chunked = False
        self._yielded = 0

    async def start(
        self, status: int = 200, headers: Mapping[str, str] | None = None, *, length: int | None = None
    ) -> None:
        """Write the head of the answer; without `length` (bytes) the body is sent chunked."""
        head = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        if not self.keep_alive:
            head.append("connection: close")
        self.request.status = status
        self.open, self._chunked = True, length is None
        self._connection.ledger.begun()
        await self.raw("\r\n".join([*head, "", ""]).encode("latin-1"))

    async def send(self, data: bytes) -> None:
        """Write one piece of the body (one HTTP chunk) and wait while the client does not read."""
        if data:
            self.request.chunks += 1
            await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def send_all(self, pieces: Iterable[bytes], *, at_once: int = 64) -> None:
        """Write many pieces, each an HTTP chunk of its own, `at_once` of them in one write to the socket."""
        batch: list[bytes] = []
        for piece in pieces:
            if piece:
                self.request.chunks += 1
                batch.append(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
            if len(batch) >= at_once:
                await self.raw(b"".join(batch))
                batch.clear()
                await asyncio.sleep(0)  # other streams get their turn
        if batch:
            await self.raw(b"".join(batch))

    async def end(self) -> None:
        """Finish the body."""
        if self._chunked:
            await self.raw(b"0\r\n\r\n")
        self.open = False
        self.request.finished = time.monotonic()

    async def reply(self, status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
        await self.start(status, {**kind, **(headers or {})}, length=len(data))
        await self.send(data)
        await self.end()

    async def raw(self, data: bytes) -> None:
        """Bytes as they are; waits while the client does not read, ends the handler when it left."""
        connection = self._connection
        # A socket that fails is closing some turns of the loop before `connection_lost` says so.
        if connection.lost or connection.transport is None or connection.transport.is_closing():
            raise ClientLeftError
        connection.transport.write(data)
        connection.count(len(data))
        if connection.writable is not None:
            await connection.writable
        elif connection.handed - self._yielded > TURN:
            self._yielded = connection.handed
            await asyncio.sleep(0)  # a reader that keeps up must not take all the turns

    async def sleep(self, seconds: float) -> None:
        """Wait; ends at once when the client leaves."""
        await asyncio.sleep(seconds)

    async def gone(self) -> None:
        """Wait until the client leaves (or the server stops)."""
        await asyncio.get_running_loop().create_future()

    def cut(self) -> None:
        """Close the socket after what was written, without finishing the body."""
        self.open = self.keep_alive = False
        self.request.broken = True
        if self._connection.transport is not None:
            self._connection.transport.close()

    def reset(self) -> None:
        """Close the socket at once with a TCP reset."""
        self.open = self.keep_alive = False
        self.request.broken = True
        transport = self._connection.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            transport.abort()
