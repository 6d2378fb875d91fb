"""The HTTP/1.1 core of the test servers: standard library only, one thread and one asyncio loop for each server.

It is written for tests: it knows the moment at which a client closed its socket, how many bytes a slow reader let
through, how many answers are open, and lets a test wait for any of these without sleeping.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:  # typing has Self from 3.11 on; at run time nothing beyond the standard library is imported
    from typing_extensions import Self

__all__ = ["Exchange", "HttpServer", "Received"]

T = TypeVar("T")

REASONS = {
    200: "OK", 204: "No Content", 302: "Found", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 529: "Overloaded",
}  # fmt: skip

# Header and query names whose values are credentials: shown as *** wherever a request is printed.
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-amz-security-token"}
)
SECRET_QUERY = frozenset({"key", "api_key", "api-key", "token", "access_token"})

MAX_HEAD = 256 * 1024


class Headers(dict[str, str]):
    """Request headers by lower-case name; its repr hides the values that are credentials."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in SECRET_HEADERS else value for name, value in self.items()})


@dataclass(eq=False)
class Received:
    """One request as the server saw it, and how its answer went.

    Times are ``time.monotonic()`` seconds, so they compare with the times that a test in the same process takes.
    The repr shows neither the body nor a credential; `headers`, `body` and `json()` give both in full.
    """

    number: int
    method: str
    target: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    connection: int
    at: float
    status: int | None = None
    accepted: int = 0
    """Bytes of the answer that the socket took: it stands still when the client stops reading."""
    chunks: int = 0
    """Pieces of the answer handed to the socket so far."""
    paused: bool = False
    """True while the client reads too slowly and the server is kept waiting."""
    finished: float | None = None
    """When the answer was written whole."""
    closed: float | None = None
    """When the socket that carried this request was closed, if this was its last request."""
    broken: bool = False
    """True when the server itself broke the answer off."""

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query as a dict; of a repeated name the last value."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def left(self) -> bool:
        """True when the client closed its socket before the answer was written whole."""
        return self.closed is not None and self.finished is None and not self.broken

    @property
    def streaming(self) -> bool:
        """True while the answer is begun and neither finished nor left."""
        return self.status is not None and self.finished is None and self.closed is None

    def json(self) -> Any:
        """The body as JSON; ValueError when it is not."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        shown = "&".join(f"{k}={'***' if k.lower() in SECRET_QUERY else v}" for k, v in self.query.items())
        where = self.path + (f"?{shown}" if shown else "")
        state = "left" if self.left else "finished" if self.finished else "open"
        return (
            f"<Received #{self.number} {self.method} {where} body={len(self.body)}B status={self.status} "
            f"accepted={self.accepted}B chunks={self.chunks} {state}>"
        )


class ClientLeft(Exception):
    """The client closed its socket; ends the handler of its request."""


class _Connection(asyncio.Protocol):
    """One socket: parses requests, runs one handler at a time, notices at once when the client leaves."""

    def __init__(self, server: HttpServer, number: int) -> None:
        self.server = server
        self.number = number
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
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=self.server.write_buffer)
        sock = transport.get_extra_info("socket")
        # Pieces must leave as they are cut, not be joined by Nagle's algorithm.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server._opened(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.task is None:
            self._next()

    def eof_received(self) -> bool | None:
        self._gone()
        return None  # asyncio closes the transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self.server._closed(self)

    def pause_writing(self) -> None:
        self.writable = self.server.loop.create_future()
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
            self.server._changed()

    def _gone(self) -> None:
        if self.lost:
            return
        self.lost = True
        if self.last is not None:
            self.last.closed = time.monotonic()
        if self.writable is not None and not self.writable.done():
            self.writable.set_exception(ClientLeft())
            self.writable.exception()  # nobody may be waiting
        if self.task is not None:
            self.task.cancel()
        self.server._changed()

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
        self.server._received(received)
        self.task = self.server.loop.create_task(self._run(received, keep_alive))

    def _refuse(self, status: int, why: str) -> None:
        assert self.transport is not None
        body = json.dumps({"error": {"message": why}}).encode()
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def _parse(self) -> tuple[Received, bool] | None:
        assert self.transport is not None
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
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
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
        number = self.server._take_number()
        return Received(number, method, target, headers, body, self.number, time.monotonic()), keep_alive

    async def _run(self, received: Received, keep_alive: bool) -> None:
        exchange = Exchange(self, received, keep_alive)
        try:
            await self.server.answer(exchange)
            if exchange.open and not self.lost:
                await exchange.end()
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            if not self.lost:
                raise
        except Exception as error:
            # A mistake in a test's own handler must be seen by the test, not only by the client.
            self.server.failures.append(error)
            if self.transport is not None:
                self.transport.abort()
        finally:
            self.task = self.current = None
            self.server._ended(received)
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
            end = start if buffer[start : start + 2] == b"\r\n" else buffer.find(b"\r\n\r\n", start) + 2
            if end < start or len(buffer) < end + 2:
                return None
            return b"".join(parts), end + 2
        if len(buffer) < start + size + 2:
            return None
        parts.append(bytes(buffer[start : start + size]))
        start += size + 2


class Exchange:
    """One request with the means to answer it; handed to `HttpServer.answer`."""

    def __init__(self, connection: _Connection, received: Received, keep_alive: bool) -> None:
        self._connection = connection
        self.request = received
        self.keep_alive = keep_alive
        self.open = False
        self._chunked = False

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
        self._connection.server._begun()
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

    async def reply(self, status: int, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
        await self.start(status, {**kind, **(headers or {})}, length=len(data))
        await self.send(data)
        await self.end()

    async def raw(self, data: bytes) -> None:
        """Bytes as they are; waits while the client does not read, ends the handler when it left."""
        connection = self._connection
        if connection.lost or connection.transport is None:
            raise ClientLeft
        connection.transport.write(data)
        connection.count(len(data))
        if connection.writable is not None:
            await connection.writable

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


class HttpServer:
    """Base of the test servers; a subclass overrides `answer`.

    Use it as a context manager, plain or async, or call `start` and `stop`. It runs on a thread of its own.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        send_buffer: bytes of the kernel's send buffer for each socket (None: the system's choice); small values make
            a slow reader felt early.
        keep: how many of the latest requests the log keeps.

    >>> class Hello(HttpServer):
    ...     async def answer(self, exchange):
    ...         await exchange.reply(200, {"hello": exchange.request.path})
    >>> import urllib.request
    >>> with Hello() as server:
    ...     urllib.request.urlopen(server.url + "/you").read()
    ...     server.requests[0].path
    b'{"hello": "/you"}'
    '/you'
    """

    write_buffer = 32 * 1024
    """Bytes that wait in the process for one socket before its handler is held back."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, send_buffer: int | None = None, keep: int = 10_000
    ) -> None:
        self._host, self._port, self._send_buffer = host, port, send_buffer
        self._log: collections.deque[Received] = collections.deque(maxlen=keep)
        self._numbers = 0
        self._connections: set[_Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._condition = threading.Condition()
        self._waiters = 0
        self.connections_total = 0
        """Sockets accepted since the start."""
        self.open_streams = 0
        """Answers begun and not yet finished, left or broken off."""
        self.peak_streams = 0
        """The largest `open_streams` so far."""
        self.failures: list[BaseException] = []
        """What handlers raised; empty unless the server (or a test's handler) has a fault."""

    # --- what a subclass writes

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request; runs on the server's own loop."""
        await exchange.reply(404, {"error": {"message": f"{type(self).__name__} has no {exchange.request.path}"}})

    # --- start and stop

    def start(self) -> Self:
        """Listen; returns when the server is ready. OSError when the address is taken."""
        if self._thread is not None:
            raise RuntimeError(f"{type(self).__name__} was already started")
        ready: list[BaseException | None] = []
        begun = threading.Event()
        thread = threading.Thread(target=self._main, args=(ready, begun), name=type(self).__name__, daemon=True)
        thread.start()
        begun.wait()
        if ready[0] is not None:
            thread.join()
            raise ready[0]
        self._thread = thread
        return self

    def stop(self) -> None:
        """Close every socket and end the thread; calling it again does nothing."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop may have ended already
            loop.call_soon_threadsafe(stopping.set)
        thread.join(timeout=30)
        self._thread = None

    def _main(self, ready: list[BaseException | None], begun: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready, begun))
        except BaseException as error:
            if not begun.is_set():
                ready.append(error)
                begun.set()
            else:
                self.failures.append(error)

    async def _serve(self, ready: list[BaseException | None], begun: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)  # accepted sockets inherit it
        try:
            sock.bind((self._host, self._port))
        except OSError:
            sock.close()
            raise
        self._port = sock.getsockname()[1]
        server = await self._loop.create_server(self._connect, sock=sock, backlog=4096)
        await self.prepare()
        ready.append(None)
        begun.set()
        await self._stopping.wait()
        server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def prepare(self) -> None:
        """For subclasses: what has to be made on the server's loop before the first request."""

    def _connect(self) -> _Connection:
        self.connections_total += 1
        return _Connection(self, self.connections_total)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    # --- what a test reads

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The server's own loop."""
        if self._loop is None:
            raise RuntimeError(f"{type(self).__name__} is not started: use it in a with statement")
        return self._loop

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._port

    @property
    def url(self) -> str:
        """``http://host:port`` without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def requests(self) -> list[Received]:
        """The latest requests, oldest first, as they are now."""
        return list(self._log)

    @property
    def last(self) -> Received:
        """The latest request; LookupError when there was none."""
        log = self.requests
        if not log:
            raise LookupError(f"{type(self).__name__} has received no request yet")
        return log[-1]

    @property
    def requests_total(self) -> int:
        """Requests received since the start."""
        return self._numbers

    @property
    def open_sockets(self) -> int:
        """Sockets that are connected now."""
        return len(self._connections)

    def forget(self) -> None:
        """Empty the request log (the counters go on)."""
        self._log.clear()

    def wait_for(self, condition: Callable[[Self], T], timeout: float = 30.0) -> T:
        """Block until `condition(server)` is true and return its value; TimeoutError after `timeout` seconds.

        It is looked at again whenever a request comes, an answer makes progress, or a socket opens or closes.

        >>> with HttpServer() as server:
        ...     server.wait_for(lambda s: s.open_sockets == 0)
        True
        """
        deadline = time.monotonic() + timeout
        with self._condition:
            self._waiters += 1
            try:
                while True:
                    value = condition(self)
                    if value:
                        return value
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError(f"nothing fulfilled the condition within {timeout} s; {self!r}")
                    self._condition.wait(left)
            finally:
                self._waiters -= 1

    async def await_for(self, condition: Callable[[Self], T], timeout: float = 30.0) -> T:
        """`wait_for` for asyncio code: the caller's loop goes on meanwhile. (trio: run `wait_for` in a thread.)"""
        return await asyncio.get_running_loop().run_in_executor(None, self.wait_for, condition, timeout)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.url} requests={self.requests_total} sockets={self.open_sockets} "
            f"streams={self.open_streams} (peak {self.peak_streams})>"
        )

    # --- what the connections report (on the server's loop)

    def _changed(self) -> None:
        if self._waiters:
            with self._condition:
                self._condition.notify_all()

    def _take_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _opened(self, connection: _Connection) -> None:
        self._connections.add(connection)
        self._changed()

    def _closed(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._changed()

    def _received(self, received: Received) -> None:
        self._log.append(received)
        self._changed()

    def _begun(self) -> None:
        self.open_streams += 1
        self.peak_streams = max(self.peak_streams, self.open_streams)

    def _ended(self, received: Received) -> None:
        if received.status is not None:
            self.open_streams -= 1
        self._changed()
