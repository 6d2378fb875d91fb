"""Calls behind the HTTP door: how many there are, how they end when the client leaves or the server stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from starlette.responses import Response

from .errors import CancelledError
from .service_rules import check_bytes, check_room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from starlette.types import Receive, Scope, Send

__all__ = [
    "Calls",
    "ClientLeftError",
    "Door",
    "EventStream",
    "Events",
    "Frame",
    "Running",
    "json_answer",
    "while_client_stays",
]

T = TypeVar("T")

Frame = tuple[str, str] | tuple[str, str, int]
"""One event as it goes over the wire: its type, its JSON text and, if clients may come back to it, its id."""

COMMENT: Final = b": still here\n\n"


class Events(Protocol):
    """An open stream of events. Closing it before its end cancels the call."""

    async def batch(self) -> Sequence[Frame]:
        """What has come since, at least one event; empty only at the end."""
        ...

    def cancel(self) -> None:
        """Ask the call to stop: its last event will be ``cancelled``."""
        ...

    async def aclose(self) -> None:
        """Cancel what still runs and let go of it."""
        ...


class Door(Protocol):
    """What stands behind the HTTP door: the Python door, or a test's own."""

    def check(self, body: bytes) -> Any:  # noqa: ANN401  # opaque here
        """The request that the JSON text is; InvalidRequestError when it is none."""
        ...

    async def chat(self, request: Any) -> str:  # noqa: ANN401  # what `check` gave
        """The reply as JSON text. Cancelling the task cancels the call."""
        ...

    def stream(self, request: Any) -> Events:  # noqa: ANN401  # what `check` gave
        """The events of a call."""
        ...

    async def models(self) -> str:
        """What is known of models, as JSON text."""
        ...

    async def echo(self, body: bytes) -> str:
        """The document as it came back from the engine."""
        ...

    def health(self) -> dict[str, Any]:
        """What ``/health`` says of the engine."""
        ...


class ClientLeftError(Exception):
    """The client closed its connection before it had its answer: there is nobody to tell."""


class Calls:
    """The calls that run now.

    Args:
        limit: how many may run at once.
        most_bytes: how many bytes the requests of all of them may hold.
    """

    def __init__(self, limit: int, most_bytes: int) -> None:
        self._limit, self._most_bytes = limit, most_bytes
        self._bytes = 0
        self._running: set[Running] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """How many calls run now."""
        return len(self._running)

    def begin(self) -> Running:
        """Take a place for one call; `OverloadedError` when there is none. The caller ends it."""
        check_room(len(self._running), self._limit)
        call = Running(self)
        self._running.add(call)
        self._idle.clear()
        return call

    def hold(self, size: int) -> None:
        """Count `size` bytes more as held; `BodiesFullError` when there is no room for them."""
        check_bytes(self._bytes, size, self._most_bytes)
        self._bytes += size

    def cancel_all(self) -> None:
        """Ask every running call to stop; each tells its client so."""
        for call in list(self._running):
            call.cancel()

    async def idle(self) -> None:
        """Wait until no call runs."""
        await self._idle.wait()

    def ended(self, call: Running) -> None:
        """A call is over; ending it twice is harmless."""
        self._running.discard(call)
        if not self._running:
            self._idle.set()
        self._bytes -= call.held
        call.held = 0


class Running:
    """The place of one call; `end` gives it back."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._canceller: Callable[[], object] | None = None
        self.cancelled = False
        self.held = 0
        """Bytes that its request takes, or is about to."""

    def hold(self, size: int) -> None:
        """Take room for `size` bytes in all, until `end`; `BodiesFullError` when there is none."""
        if size > self.held:
            self._calls.hold(size - self.held)
            self.held = size

    def on_cancel(self, canceller: Callable[[], object]) -> None:
        """What stops this call; called at once if it is to stop already."""
        self._canceller = canceller
        if self.cancelled:
            canceller()

    def cancel(self) -> None:
        """Ask the call to stop, because the server does."""
        self.cancelled = True
        if self._canceller is not None:
            self._canceller()

    def end(self) -> None:
        """Give the place back."""
        self._canceller = None
        self._calls.ended(self)


def json_answer(text: str, status: int = 200) -> Response:
    """JSON text as an answer."""
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stopped(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they have ended, whatever they end with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def while_client_stays(receive: Receive, work: Coroutine[Any, Any, T], running: Running) -> T:
    """Run `work` and give its result, unless the client leaves or the server stops first: that cancels it.

    Raises:
        ClientLeftError: the client left.
        CancelledError: the server stops and the grace time is over.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    running.on_cancel(task.cancel)
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            if task.cancelled():
                raise CancelledError("the server is stopping and did not wait for this call any longer")
            return task.result()
        raise ClientLeftError
    finally:
        await _stopped(task, gone)


class EventStream(Response):
    """Events as server-sent events, one frame each, with a comment whenever nothing has come for a while.

    The call is cancelled when the client leaves: also while it is held back because the client reads too
    slowly.

    Args:
        events: the open stream; closed here in any case.
        running: the call's place; given back here in any case. None: somebody else has it, and gives it back.
        quiet: seconds without an event after which a comment is sent, so that proxies keep the connection.
    """

    media_type = "text/event-stream"

    def __init__(self, events: Events, running: Running | None, quiet: float) -> None:
        # `no-transform` and `x-accel-buffering` keep proxies from gathering events until there are many.
        super().__init__(headers={"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._running, self._quiet = events, running, quiet
        self._sending = asyncio.Lock()
        self._last_sent = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        """Send the events until they end or the client leaves."""
        if self._running is not None:
            self._running.on_cancel(self._events.cancel)
        pump = asyncio.ensure_future(self._pump(send))
        others = [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._comment(send))]
        try:
            await asyncio.wait({pump, *others}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            try:
                await _stopped(pump, *others)
                await self._events.aclose()
            finally:
                if self._running is not None:
                    self._running.end()

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for frames in self._batches():
            await self._send(send, b"".join(_sse(frame) for frame in frames))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _batches(self) -> AsyncIterator[Sequence[Frame]]:
        self._last_sent = asyncio.get_running_loop().time()
        while frames := await self._events.batch():
            yield frames

    async def _send(self, send: Send, data: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            self._last_sent = asyncio.get_running_loop().time()

    async def _comment(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._last_sent = loop.time()
        while True:
            left = self._last_sent + self._quiet - loop.time()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self._send(send, COMMENT)


def _sse(frame: Frame) -> bytes:
    kind, text, *number = frame
    named = f"id: {number[0]}\n" if number else ""
    # JSON text has no line break outside an escape, so one data line holds it.
    return f"event: {kind}\n{named}data: {text}\n\n".encode("utf-8", "replace")
