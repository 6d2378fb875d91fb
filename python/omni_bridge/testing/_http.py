"""The core of the test servers: HTTP/1.1 from the standard library, one thread and one loop for each.

It is written for tests: it knows the moment at which a client closed its socket, how many bytes a slow reader
let through, how many answers are open, and lets a test wait for any of these without sleeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, TypedDict, TypeVar

from ._connection import Connection, Exchange
from ._ledger import Ledger
from ._received import Received

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    # typing has these from 3.11 on; at run time nothing beyond the standard library is imported.
    from typing_extensions import Self, Unpack

__all__ = ["Exchange", "HttpServer", "Received", "ServerOptions"]

T = TypeVar("T")


class ServerOptions(TypedDict, total=False):
    """What every test server takes.

    host: the address to listen on (127.0.0.1).
    port: the port; 0 (the default) takes a free one.
    send_buffer: bytes of the kernel's send buffer for each socket (None: the system's choice); small values
    make a
        slow reader felt early.
    keep: how many of the latest requests the log keeps (10,000).
    """

    host: str
    port: int
    send_buffer: int | None
    keep: int


class HttpServer:
    """Base of the test servers; a subclass overrides `answer`.

    Use it as a context manager, plain or async, or call `start` and `stop`. It runs on a thread of its own.

    Args:
        options: see `ServerOptions`.

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

    def __init__(self, **options: Unpack[ServerOptions]) -> None:
        self._host, self._port = options.get("host", "127.0.0.1"), options.get("port", 0)
        self._send_buffer = options.get("send_buffer")
        self._ledger = Ledger(options.get("keep", 10_000))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    # --- what a subclass writes

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request; runs on the server's own loop."""
        await exchange.reply(
            404, {"error": {"message": f"{type(self).__name__} has no {exchange.request.path}"}}
        )

    # --- start and stop

    def start(self) -> Self:
        """Listen; returns when the server is ready. OSError when the address is taken."""
        if self._thread is not None:
            raise RuntimeError(f"{type(self).__name__} was already started")
        ready: list[BaseException | None] = []
        begun = threading.Event()
        thread = threading.Thread(
            target=self._main, args=(ready, begun), name=type(self).__name__, daemon=True
        )
        thread.start()
        begun.wait()
        if ready[0] is not None:
            thread.join()
            raise ready[0]
        self._thread = thread
        return self

    def stop(self) -> None:
        """Close every socket and end the thread, once. RuntimeError when a handler blocks the loop."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop may have ended already
            loop.call_soon_threadsafe(stopping.set)
        thread.join(timeout=30)
        self._thread = None
        if thread.is_alive():
            raise RuntimeError(
                f"{type(self).__name__} did not stop within 30 s: does a handler block its loop?"
            )

    def _main(self, ready: list[BaseException | None], begun: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready, begun))
        except BaseException as error:  # noqa: BLE001  # raised by start() or kept in `failures`
            if not begun.is_set():
                ready.append(error)
                begun.set()
            else:
                self._ledger.failures.append(error)

    async def _serve(self, ready: list[BaseException | None], begun: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._send_buffer is not None:
            # The sockets that it accepts inherit it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)
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
        connections = list(self._ledger.connections)
        tasks = [connection.task for connection in connections if connection.task is not None]
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def prepare(self) -> None:
        """For subclasses: what has to be made on the server's loop before the first request."""

    def _connect(self) -> Connection:
        return Connection(self.loop, self._ledger, self.answer, self.write_buffer)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
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
        return list(self._ledger.log)

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
        return self._ledger.requests_total

    @property
    def open_sockets(self) -> int:
        """Sockets that are connected now."""
        return len(self._ledger.connections)

    @property
    def connections_total(self) -> int:
        """Sockets accepted since the start."""
        return self._ledger.connections_total

    @property
    def open_streams(self) -> int:
        """Answers begun and not yet finished, left or broken off."""
        return self._ledger.open_streams

    @property
    def peak_streams(self) -> int:
        """The largest `open_streams` so far."""
        return self._ledger.peak_streams

    @property
    def failures(self) -> list[BaseException]:
        """What handlers raised; empty unless the server, or a handler that a test wrote, has a fault."""
        return self._ledger.failures

    def forget(self) -> None:
        """Empty the request log (the counters go on)."""
        self._ledger.log.clear()

    def wait_for(self, condition: Callable[[Self], T], timeout: float = 30.0) -> T:
        """Block until `condition(server)` is true and return its value; TimeoutError after `timeout` seconds.

        It is looked at again whenever a request comes, an answer makes progress, or a socket opens or closes.

        >>> with HttpServer() as server:
        ...     server.wait_for(lambda s: s.open_sockets == 0)
        True
        """
        return self._ledger.wait(lambda: condition(self), timeout, lambda: repr(self))

    def wait_for_request(
        self, condition: Callable[[Received], object] | None = None, timeout: float = 30.0
    ) -> Received:
        """Block until the log has a request for which `condition` (None: any) is true; return the last such.

        >>> import urllib.request
        >>> with HttpServer() as server:
        ...     try:
        ...         urllib.request.urlopen(server.url + "/here")
        ...     except OSError:
        ...         server.wait_for_request(lambda request: request.status == 404).path
        '/here'
        """
        found = self.wait_for(
            lambda server: [one for one in server.requests if condition is None or condition(one)], timeout
        )
        return found[-1]

    async def await_for(self, condition: Callable[[Self], T], timeout: float = 30.0) -> T:
        """`wait_for` for asyncio: the caller's loop goes on meanwhile (trio: run `wait_for` in a thread)."""
        return await asyncio.get_running_loop().run_in_executor(None, self.wait_for, condition, timeout)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.url} requests={self.requests_total} sockets={self.open_sockets} "
            f"streams={self.open_streams} (peak {self.peak_streams})>"
        )
