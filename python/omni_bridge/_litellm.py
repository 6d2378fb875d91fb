"""The ops that LiteLLM answers. The only file that imports litellm, at the first call that needs it.

LiteLLM makes every call: it picks the address, the headers and the body. We read the answer from the bytes that it
received where we know the wire (so that nothing is lost), and from its own chunks elsewhere.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ._litellm_errors import build, by_class, chain, classify
from ._litellm_errors import request_id as header_request_id
from ._translate import Answer, decoder_for, request_kwargs
from ._translate_parts import WireError
from .errors import InvalidRequestError, OmniError

CLOSE_SECONDS = 2.0
"""How long closing an answer may take before it is left to the garbage collector."""


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
    return litellm


async def _ready() -> Any:
    """The litellm module without blocking the loop while it is imported."""
    if _loaded is not None:
        return _loaded
    return await asyncio.get_running_loop().run_in_executor(None, _litellm)


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

    async def run(self) -> None:
        from . import _litellm_http as http

        exchange = http.Exchange(lambda request: request, lambda request: request.method == "POST")
        token = http.CURRENT.set(exchange)
        result: Any = None
        try:
            kwargs = request_kwargs(self.request, self.provider)
            kwargs["num_retries"] = 0
            kwargs["max_retries"] = 0
            if self.stream:
                kwargs["stream"] = True
                kwargs["stream_options"] = {"include_usage": True}
            result = await self.litellm.acompletion(**kwargs)
            if self.stream and getattr(result, "completion_stream", result) is None:
                await result.fetch_stream()
            await self._read(exchange, result)
        except OmniError:
            raise
        except Exception as problem:
            raise self._error(problem, exchange) from problem
        finally:
            http.CURRENT.reset(token)
            await exchange.close(CLOSE_SECONDS)

    async def _read(self, exchange: Any, result: Any) -> None:
        decoder = decoder_for(exchange.url.path, self.provider, {}) if exchange.url is not None else None
        if decoder is None or exchange.stream is None:
            raise InvalidRequestError("this wire is not read yet", provider=self.provider, model=self.model)
        answer = Answer(decoder)
        started = False
        emit, drain = self.sink.emit, self.sink.drain
        async for chunk in exchange.stream.read_on():
            events = answer.feed(chunk)
            if not started:
                started = True
                emit(self._start(exchange, decoder))
            for event in events:
                if emit(event):
                    await drain()
        for event in answer.end():
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
