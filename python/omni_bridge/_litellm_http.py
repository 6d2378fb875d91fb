"""What one call puts on the wire and gets back: a hook around the HTTP transports that LiteLLM uses.

LiteLLM makes the call: it chooses the address, writes headers and body, and signs. The hook sees each
request of a
call just before it leaves (so that it can mend the body and hold credentials back from foreign hosts) and
each answer
as its bytes arrive (so that nothing which LiteLLM's own decoder drops is lost). Calls that are not ours pass
untouched.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import TYPE_CHECKING, Any

import httpx

from ._litellm_body import COMPRESSED, MAX_ERROR, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable

CURRENT: contextvars.ContextVar[Exchange | None] = contextvars.ContextVar(
    "omni_bridge_exchange", default=None
)

_HOOKED: list[tuple[type[Any], str]] = []
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Taken(BaseException):
    """We read the answer from its bytes: LiteLLM need not, and its part of the call ends here.

    No `Exception`: to LiteLLM and the clients under it that would be a failure, to be retried and reported.
    """


class Exchange:
    """One call of ours on the wire.

    ``before(request)`` may return another request or raise; ``wants(request)`` says which of a call's
    requests is the
    one whose answer we read (a call may also fetch tokens or images); ``reads(request)`` whether we know its
    wire, so that LiteLLM need not read it.
    """

    def __init__(
        self,
        before: Callable[[httpx.Request], httpx.Request],
        wants: Callable[[httpx.Request], bool],
        reads: Callable[[httpx.Request], bool] = lambda _: False,
    ) -> None:
        self._before = before
        self._wants = wants
        self._reads = reads
        self.taker: asyncio.Task[Any] | None = None
        """The task that waits for LiteLLM, while it does; an answer is taken in it alone."""
        self.url: httpx.URL | None = None
        self.status = 0
        self.headers: httpx.Headers = httpx.Headers()
        self.stream: Recorded | None = None
        self.failure: BaseException | None = None
        self.redirect: str | None = None
        self.followed: set[tuple[str, int]] = set()
        self.asked = 0
        self.answered = 0
        self.private_images = False
        self.session: Any = None
        self.connect: float | None = None
        """Seconds for reaching the provider; None for LiteLLM's own."""
        self._kept: list[Any] = []
        self._closed = False
        self.resolved: dict[tuple[str, int], Any] = {}

    def outgoing(self, request: httpx.Request) -> httpx.Request:
        encodings = request.headers.get("accept-encoding", "")
        if "br" in encodings or "zstd" in encodings:
            request.headers["accept-encoding"] = "gzip, deflate"
        try:
            request = self._before(request)
            self.asked += 1
            if self.connect is not None:
                timeout = request.extensions.get("timeout")
                request.extensions["timeout"] = {**(timeout or {}), "connect": self.connect}
            return request
        except BaseException as problem:
            self.failure = problem
            raise

    def note(self, request: httpx.Request, response: httpx.Response) -> bool:
        """Remember an answer's head; stop a redirect that would carry a key away. True if we read it."""
        if response.status_code in _REDIRECTS:
            target = request.url.join(response.headers.get("location", ""))
            here = (request.url.scheme, request.url.host, request.url.port)
            if request.method == "GET":
                self.followed.add((target.host, target.port or (443 if target.scheme == "https" else 80)))
            if request.method != "GET" and (
                (target.scheme, target.host, target.port) != here or response.status_code < 307
            ):
                # httpx would carry every header but Authorization to the other host, and repeat a 302
                # without its body.
                self.redirect = target.host
                response.headers.pop("location", None)
        if not self._wants(request):
            return False
        self.answered += 1
        self.url = request.url
        self.status = response.status_code
        self.headers = response.headers
        return True

    def incoming(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not self.note(request, response):
            return response
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if isinstance(response.stream, httpx.AsyncByteStream):
            # Of an error no more is read than a message needs.
            limit = MAX_ERROR if response.status_code >= 400 else None
            self.stream = Recorded(response.stream, encoding, limit)
            if encoding in COMPRESSED:
                del response.headers["content-encoding"]
                response.headers.pop("content-length", None)
            response.stream = self.stream
            self._take(request, response)
        return response

    def _take(self, request: httpx.Request, response: httpx.Response) -> None:
        """Ends LiteLLM's part of the call if nobody but us needs the answer: raises `Taken`.

        Its reading costs as much as ours several times over, and what it makes of the answer we do not use.
        What is no success stays with it, for it may ask again in another way; so does what it asks from a
        task or a loop of its own.
        """
        if (
            self.taker is not None
            and 200 <= response.status_code < 300
            and self._reads(request)
            and asyncio.current_task() is self.taker
        ):
            raise Taken

    def keep(self, coroutine: Any) -> None:
        """A coroutine that is to be awaited within the call, or else closed with it; from any thread."""
        if self._closed:
            coroutine.close()
        else:
            self._kept.append(coroutine)

    def abandon(self) -> None:
        """Close the coroutines that nobody began to await."""
        self._closed = True
        for coroutine in self._kept:
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                coroutine.close()
        self._kept.clear()

    async def close(self, seconds: float) -> None:
        """Close the socket under the answer, whatever state it is in; never longer than ``seconds``."""
        stream = self.stream
        if stream is None or stream.ended:
            return
        try:
            await asyncio.wait_for(stream.aclose(), seconds)
        except (Exception, asyncio.CancelledError):
            # The answer is not wanted any more: how closing it failed changes nothing for the caller.
            return


def hook_async(transport: type[Any]) -> None:
    """Wrap ``handle_async_request`` of a transport class, once."""
    _HOOKED.append((transport, "handle_async_request"))
    original = transport.handle_async_request
    if getattr(original, "_omni_bridge", False):
        return

    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        exchange = CURRENT.get()
        if exchange is None:
            return await original(self, request)
        request = exchange.outgoing(request)
        if exchange.connect is not None:
            # What httpx calls the pool is for aiohttp all of connecting: names, TCP and TLS. Our pool has no
            # limit that one could wait for.
            request.extensions["timeout"]["pool"] = exchange.connect
        shares = exchange.session is not None and hasattr(self, "client")  # httpx's own transport has none
        if shares and self.client is not exchange.session:
            # One pool of connections for all of LiteLLM's clients: it makes a client per provider, key and
            # address.
            self.client = exchange.session
            self._owns_session = False
        response = await original(self, request)
        return exchange.incoming(request, response)

    handle_async_request._omni_bridge = True  # type: ignore[attr-defined]
    transport.handle_async_request = handle_async_request


def hook_blocking(handler: type[Any]) -> None:
    """Guard the blocking clients that a LiteLLM handler class makes: the same rule, nothing recorded."""
    _HOOKED.append((handler, "create_client"))
    original = handler.create_client
    if getattr(original, "_omni_bridge", False):
        return

    def outgoing(request: httpx.Request) -> None:
        exchange = CURRENT.get()
        if exchange is not None:
            # A blocking client sends the request object itself: a mended copy would be lost, so only the
            # guard counts.
            exchange.outgoing(request)

    def incoming(response: httpx.Response) -> None:
        exchange = CURRENT.get()
        if exchange is not None:
            exchange.note(response.request, response)

    def create_client(self: Any) -> httpx.Client:
        client = original(self)
        client.event_hooks["request"].append(outgoing)
        client.event_hooks["response"].append(incoming)
        return client

    create_client._omni_bridge = True  # type: ignore[attr-defined]
    handler.create_client = create_client


def in_place() -> bool:
    """Whether all hooks are still where they were put."""
    return all(getattr(getattr(owner, name), "_omni_bridge", False) for owner, name in _HOOKED)


def is_no_address(one: BaseException) -> bool:
    """Whether httpx, or aiohttp below it, raises this where an address is none."""
    if isinstance(one, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return True
    return type(one).__name__ == "NonHttpUrlClientError" or (
        type(one) is ValueError and str(one).startswith("Port out of range")
    )


def left_unseen(problem: BaseException) -> bool:
    """Whether an exception shows that something was sent: a provider's answer, or a failed connection."""
    import openai

    sent = (httpx.HTTPStatusError, httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
    seen: set[int] = set()
    one: BaseException | None = problem
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        # LiteLLM's own classes derive from openai's, and it raises them before anything is sent.
        from_openai = isinstance(one, openai.APIError) and type(one).__module__.startswith("openai")
        if isinstance(one, sent) or from_openai:
            return True
        one = one.__cause__ or one.__context__
    return False
