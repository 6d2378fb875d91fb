"""The ops that LiteLLM answers. The only file that imports litellm, at the first call that needs it.

LiteLLM makes every call: it picks the address, the headers and the body. We read the answer from the bytes that it
received where we know the wire (so that nothing is lost), and from its own chunks elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ._litellm_errors import build, by_class, chain, classify
from ._litellm_errors import request_id as header_request_id
from ._translate import Answer, UnknownWire, looks_textual, request_kwargs, wire_of_path
from ._translate_chunks import ChunkDecoder
from ._translate_parts import WireError
from .errors import OmniError

CLOSE_SECONDS = 2.0
"""How long closing an answer may take before it is left to the garbage collector."""


DRAIN_SECONDS = 0.05
"""How long to wait for the end of a connection whose answer is whole, so that it can be used again."""


class Sink(Protocol):
    """Where a handler's events go."""

    def emit(self, event: dict[str, Any]) -> bool: ...

    async def drain(self) -> None: ...


_SETTINGS = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_RUST": "0",
    "LITELLM_MODE": "PRODUCTION",  # otherwise it reads a .env file of the working directory
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "AIOHTTP_CONNECTOR_LIMIT": "0",
    "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "0",
}

_lock = threading.Lock()
_loaded: Any = None


def _litellm() -> Any:
    """The litellm module, imported and made quiet once."""
    global _loaded
    if _loaded is not None:
        return _loaded
    with _lock:
        if _loaded is None:
            _loaded = _load()
    return _loaded


def _load() -> Any:
    from . import _litellm_http as http

    for name, value in _SETTINGS.items():
        os.environ[name] = value
    import litellm
    from litellm.llms.custom_httpx import aiohttp_transport

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.num_retries = 0
    litellm.drop_params = True
    http.hook_async(aiohttp_transport.LiteLLMAiohttpTransport)
    _mend(litellm, http)
    return litellm


def _mend(litellm: Any, http: Any) -> None:
    """What LiteLLM does for every call and we do without, and where its defaults lose something."""
    from litellm import utils

    known = utils.supports_native_streaming

    def supports_native_streaming(model: str, custom_llm_provider: str | None = None) -> bool:
        # LiteLLM says no for a responses model that its catalogue lacks, and then makes up a stream.
        if known(model, custom_llm_provider):
            return True
        try:
            litellm.get_model_info(model=model, custom_llm_provider=custom_llm_provider)
        except Exception:
            return True
        return False

    utils.supports_native_streaming = supports_native_streaming
    logged = utils._dispatch_success_logging

    def dispatch(*args: Any, **kwargs: Any) -> None:
        # Callbacks are off for our calls: a background task for each would only cost time and memory.
        if http.CURRENT.get() is None:
            logged(*args, **kwargs)

    utils._dispatch_success_logging = dispatch


async def _ready() -> Any:
    """The litellm module without blocking the loop while it is imported."""
    if _loaded is not None:
        return _loaded
    return await asyncio.get_running_loop().run_in_executor(None, _litellm)


_session: Any = None


def _shared_session() -> Any:
    """One pool of connections for all of LiteLLM's clients: it makes a client per key and address."""
    global _session
    loop = asyncio.get_running_loop()
    if _session is None or _session.closed or _session._loop is not loop:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=60, ttl_dns_cache=60)
        _session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    return _session


async def aclose() -> None:
    """Close the pool of connections; on the loop that the calls ran on."""
    global _session
    session, _session = _session, None
    if session is not None and session._loop is asyncio.get_running_loop():
        await session.close()


class _Call:
    """One chat call."""

    def __init__(self, litellm: Any, doc: dict[str, Any], sink: Sink) -> None:
        self.litellm = litellm
        self.request: dict[str, Any] = doc["request"]
        self.config: dict[str, Any] = doc.get("config") or {}
        self.stream = bool(doc.get("stream"))
        self.sink = sink
        self.model: str = self.request["model"]
        self.provider = self.model.split("/", 1)[0]
        self.format_tool = bool(self.request.get("response_format"))
        self.driven = False

    async def run(self) -> None:
        from . import _litellm_http as http

        exchange = http.Exchange(lambda request: request, lambda request: request.method == "POST")
        token = http.CURRENT.set(exchange)
        result: Any = None
        try:
            kwargs = request_kwargs(self.request, self.provider)
            kwargs["num_retries"] = 0
            kwargs["max_retries"] = 0
            kwargs["shared_session"] = _shared_session()
            if self.stream:
                kwargs["stream"] = True
                kwargs["stream_options"] = {"include_usage": True}
            try:
                result = await self.litellm.acompletion(**kwargs)
                if self.stream and getattr(result, "completion_stream", result) is None:
                    await result.fetch_stream()
            except Exception:
                # LiteLLM may fail to read an answer that we can.
                if not await self._read(exchange, None):
                    raise
            else:
                if not await self._read(exchange, result):
                    await self._drive(exchange, result)
        except OmniError:
            raise
        except Exception as problem:
            raise self._error(problem, exchange) from problem
        finally:
            http.CURRENT.reset(token)
            await self._close(exchange, result)

    async def _close(self, exchange: Any, result: Any) -> None:
        await exchange.close(CLOSE_SECONDS)
        if result is not None and self.driven:
            closing = getattr(result, "aclose", None)
            if closing is not None:
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    await asyncio.wait_for(closing(), CLOSE_SECONDS)

    async def _read(self, exchange: Any, result: Any) -> bool:
        """Read the answer from its bytes. False, with nothing emitted, if it is of a wire that we do not know."""
        stream = exchange.stream
        if stream is None or not 200 <= exchange.status < 300:
            return False
        wire = wire_of_path(exchange.url.path)
        if wire is None and not looks_textual(await stream.peek(), exchange.headers.get("content-type", "")):
            return False
        answer = Answer(wire, self.provider, {"format_tool": self.format_tool})
        emit, drain = self.sink.emit, self.sink.drain
        started = False
        try:
            async for chunk in stream.read_on(keep=wire is None):
                events = answer.feed(chunk)
                if not started and answer.decoder is not None:
                    started = True
                    emit(self._start(exchange, answer.decoder))
                for event in events:
                    if emit(event):
                        await drain()
                if answer.decoder is not None and answer.decoder.last_seen:
                    break
            events = answer.end()
        except UnknownWire:
            return False
        assert answer.decoder is not None
        if not started:
            emit(self._start(exchange, answer.decoder))
        for event in events:
            if emit(event):
                await drain()
        finish = answer.decoder.finish
        finish.setdefault("request_id", header_request_id(exchange.headers))
        emit({key: value for key, value in finish.items() if value is not None})
        if not stream.ended:
            await stream.drain(DRAIN_SECONDS)
        return True

    async def _drive(self, exchange: Any, result: Any) -> None:
        """Read the answer from LiteLLM's own response or chunks."""
        self.driven = True
        decoder = ChunkDecoder(self.provider, {})
        emit, drain = self.sink.emit, self.sink.drain
        started = False
        if hasattr(result, "__aiter__"):
            async for chunk in result:
                decoder.chunk("", chunk.model_dump(exclude_none=True))
                if not started:
                    started = True
                    emit(self._start(exchange, decoder))
                for event in decoder.parts.take():
                    if emit(event):
                        await drain()
        else:
            decoder.body(result.model_dump(exclude_none=True))
        decoder.end()
        if not started:
            emit(self._start(exchange, decoder))
        for event in decoder.parts.take():
            if emit(event):
                await drain()
        finish = decoder.finish
        finish.setdefault("request_id", header_request_id(exchange.headers))
        emit({key: value for key, value in finish.items() if value is not None})

    def _start(self, exchange: Any, decoder: Any) -> dict[str, Any]:
        event = {"type": "start", "model": self.model, "provider": self.provider, "engine": "litellm"}
        if decoder.meta.get("id"):
            event["id"] = decoder.meta["id"]
        request = header_request_id(exchange.headers)
        if request:
            event["request_id"] = request
        return event

    def _error(self, problem: BaseException, exchange: Any) -> OmniError:
        for one in chain(problem):
            if isinstance(one, OmniError):
                return one
        where = {"provider": self.provider, "model": self.model, "headers": exchange.headers}
        if isinstance(problem, WireError):
            if problem.kind == "protocol":
                return build("protocol", problem.message, status=exchange.status, **where)
            code, message = classify(None, problem.body)
            return build(code or "provider", message or problem.message, **where)
        if exchange.status >= 400:
            body = exchange.stream.body() if exchange.stream is not None else b""
            code, message = classify(exchange.status, body)
            return build(code or "provider", message or str(problem), status=exchange.status, **where)
        return build(by_class(problem) or "internal", str(problem), **where)


async def chat(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``chat``: contract events, then ``finish``."""
    litellm = await _ready()
    await _Call(litellm, doc, sink).run()


async def warm_up(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``warm_up``: imports LiteLLM."""
    await _ready()
    sink.emit({"type": "result", "data": {"ready": True}})


Handler = Callable[[dict[str, Any], Sink], Awaitable[None]]

HANDLERS: dict[str, Handler] = {"chat": chat, "warm_up": warm_up}
