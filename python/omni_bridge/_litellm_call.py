"""One chat call through LiteLLM: what goes in, what is watched, how its answer is read and closed.

Takes the litellm module as an argument: importing it is `_litellm`'s business alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import json
import re
import secrets
import socket
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from . import _litellm_http as http
from ._endpoints import PLACEHOLDER, Guard, current_environment, family, refusal
from ._litellm_errors import UNSENDABLE, build, by_class, chain, classify, lacks_key
from ._litellm_errors import request_id as header_request_id
from ._translate import (
    Answer,
    UnknownWireError,
    looks_textual,
    remote_images,
    request_kwargs,
    wire_of_path,
    wire_of_request,
)
from ._translate_chunks import ChunkDecoder
from ._translate_mend import Mender
from ._translate_parts import Decoder, WireError, as_dict, is_list, is_object, objects
from .errors import (
    AuthenticationError,
    EngineUnavailableError,
    NotFoundError,
    OmniError,
    PermissionDeniedError,
    UnsupportedError,
)
from .service_rules import forbidden_in

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSE_SECONDS = 2.0
"""How long closing an answer may take before it is left to the garbage collector."""
DRAIN_SECONDS = 0.05
"""How long to wait for the end of a connection whose answer is whole, so that it can be used again."""
NO_LIMIT_SECONDS = 6000.0
"""LiteLLM's own limit when the request sets none; the contract's limits are kept by the client above us."""

# Their bodies are signed before we see them: what LiteLLM wrote has to stay.
SIGNED = frozenset({"bedrock", "bedrock_converse", "sagemaker", "sagemaker_chat", "sagemaker_nova", "oci"})
IN_PROCESS = frozenset({"vllm", "petals"})
"""Providers whose models LiteLLM runs itself, in this process."""
_NO_RETRIES = frozenset({"gradient_ai", "huggingface", "bytez"})
"""Providers that fail on ``max_retries``, warn of it or put it into the body; they never retry."""
_TOKEN_PATHS = ("/token", "/oauth", "/oauth2/v2.0/token", "/identity/token", "/copilot_internal/v2/token")


class Sink(Protocol):
    """Where a handler's events go. ``emit`` says True when the reader is behind: then await ``drain``."""

    def emit(self, event: dict[str, Any], /) -> bool: ...

    async def drain(self) -> None: ...


class Call:
    """One call; `run` is its whole life."""

    def __init__(self, litellm: Any, doc: dict[str, Any], sink: Sink, session: Any) -> None:
        self.litellm = litellm
        self.request: dict[str, Any] = doc["request"]
        self.config: dict[str, Any] = doc.get("config") or {}
        if self.config.get("allow_endpoints") is False and (found := forbidden_in(self.request)):
            raise PermissionDeniedError(
                f"{', '.join(found)}: requests may not say where a call goes or with which key here; "
                "leave it out, or configure allow_endpoints"
            )
        self.stream = bool(doc.get("stream"))
        self.sink = sink
        self.model: str = self.request["model"]
        # Weakly, or each call would be a circle: its messages would stay until Python looks for such.
        self.exchange = http.Exchange(
            _weakly(self._before, _nothing_leaves),
            _weakly(self._wants, lambda _: False),
            _weakly(self._reads, lambda _: False),
        )
        inside = http.CURRENT.set(self.exchange)
        try:
            self.provider = self._provider()
        finally:
            http.CURRENT.reset(inside)
        self.mender = Mender(self.request, self.provider, lambda: secrets.token_hex(8))
        self.exchange.private_images = bool(self.config.get("allow_private_images"))
        self.exchange.session = session
        timeout = self.request.get("timeout")
        if is_object(timeout) and timeout.get("connect"):
            self.exchange.connect = float(timeout["connect"])
        self._guard: Guard | None = None
        self._images: set[tuple[str, int]] = set()
        self._driven: Any = None
        self._started = False
        self._request_id: str | None = None
        self.rehearse = False

    def _provider(self) -> str:
        head, _, rest = self.model.partition("/")
        if rest and head in _providers(self.litellm):
            return head
        try:
            return self.litellm.get_llm_provider(model=self.model)[1]
        except Exception as problem:
            raise NotFoundError(
                f"LiteLLM knows no provider for the model id {self.model[:100]!r}; write it as "
                f"provider/model",
                model=self.model,
            ) from problem

    # -- the life of a call --

    async def run(self) -> None:
        token = http.CURRENT.set(self.exchange)
        try:
            await self._ask()
        except OmniError:
            raise
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            raise self._error(problem) from None  # its traceback and causes may quote the request
        finally:
            http.CURRENT.reset(token)
            await self._close()

    def _check_key(self) -> None:
        """Refuse a call whose key could go astray before LiteLLM sees it; the hook would see it leave."""
        if not http.in_place():
            raise self._unwatched()
        base = self.request.get("api_base")
        if base and self._guarded().misses_key(base) and not self._is_default(base):
            host = base.partition("://")[2] or base
            raise AuthenticationError(
                refusal(self.provider, re.split(r"[/?#]", host)[0].rpartition("@")[2], "a header"),
                provider=self.provider,
                model=self.model,
            )

    def _unseen(self, problem: BaseException) -> bool:
        return not self.exchange.asked and not self._local() and http.left_unseen(problem)

    def _local(self) -> bool:
        """Whether LiteLLM asks this provider without the network, or a provider of the host's own making."""
        own = getattr(self.litellm, "custom_provider_map", None) or ()
        return self.provider in IN_PROCESS or any(one.get("provider") == self.provider for one in own)

    def _unwatched(self) -> OmniError:
        return EngineUnavailableError(
            f"LiteLLM {importlib.metadata.version('litellm')} asks {self.provider} past the hook "
            f"that keeps keys where they belong: install the version that omni_bridge asks for",
            provider=self.provider,
            model=self.model,
        )

    async def _ask(self) -> None:
        self._check_key()
        kwargs = self._kwargs()
        addresses = remote_images(self.request)
        self._images = addresses
        if addresses:
            await self._resolve(addresses)
        result: Any = None
        try:
            try:
                result = await self._send(kwargs)
            except Exception as problem:
                if self.exchange.failure is not None or self._unseen(problem):
                    raise  # we stopped it ourselves: it must not leave by another way
                if not self.exchange.asked and self.mender.insist(str(problem), kwargs):
                    # LiteLLM knows better than the caller what the model takes: the provider shall decide.
                    result = await self._send({**kwargs, "drop_params": True})
                elif self.exchange.asked or self.request.get("api_key") or not self.request.get("api_base"):
                    raise
                else:
                    # Nothing has left: LiteLLM may only miss a key, which a local server does not need.
                    result = await self._send({**kwargs, "api_key": PLACEHOLDER})
        except Exception:
            # LiteLLM fails on answers that we can read.
            stream = self.exchange.stream
            broken = self.exchange.failure is not None or (stream is not None and stream.failure is not None)
            if broken or not await self._read():
                raise
            return
        if not await self._read():
            await self._drive(result)

    def _kwargs(self) -> dict[str, Any]:
        kwargs = request_kwargs(
            self.request,
            self.mender,
            markers=self.provider not in SIGNED,
            supported=lambda: self.litellm.get_supported_openai_params(
                model=self.model.partition("/")[2] or self.model, custom_llm_provider=self.provider
            ),
        )
        if self.provider == "aiohttp_openai":
            # The same protocol by a client of its own that the transport's guard does not see.
            kwargs["model"] = "openai/" + self.model.partition("/")[2]
        if self.provider not in _NO_RETRIES:
            kwargs["num_retries"] = 0
            kwargs["max_retries"] = 0
        timeout = self.request.get("timeout")
        if is_object(timeout):
            timeout = timeout.get("total")
        kwargs["timeout"] = float(timeout) if timeout else NO_LIMIT_SECONDS
        if self.stream:
            kwargs["stream"] = True
            kwargs["stream_options"] = {"include_usage": True}
        return kwargs

    async def _resolve(self, addresses: set[tuple[str, int]]) -> None:
        """Look the hosts of images up off the loop, for LiteLLM's check of what may be fetched."""
        loop = asyncio.get_running_loop()
        for host, port in addresses:
            with contextlib.suppress(OSError):  # LiteLLM says so itself when it wants to fetch it
                self.exchange.resolved[host, port] = await loop.getaddrinfo(
                    host, port, proto=socket.IPPROTO_TCP
                )

    async def _send(self, kwargs: dict[str, Any]) -> Any:
        """What LiteLLM has for an answer; None where the exchange has it and LiteLLM has not read it."""
        self.exchange.taker = asyncio.current_task()
        try:
            result = await self.litellm.acompletion(**kwargs)
            if self.stream and getattr(result, "completion_stream", result) is None:
                self._driven = result
                await result.fetch_stream()  # some providers ask only when the first chunk is wanted
        except http.Taken:
            return None
        finally:
            self.exchange.taker = None
        return result

    async def _close(self) -> None:
        exchange = self.exchange
        exchange.abandon()
        if exchange.stream is not None and not exchange.stream.ended:
            await exchange.close(CLOSE_SECONDS)
        closing = getattr(self._driven, "aclose", None)
        if closing is not None:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(closing(), CLOSE_SECONDS)

    # -- what leaves --

    def _wants(self, request: Any) -> bool:
        return request.method == "POST" and not request.url.path.endswith(_TOKEN_PATHS)

    def _reads(self, request: Any) -> bool:
        """Whether the answer to this request is the call's, on a wire that we know by its path.

        Messages are also what a thread of an assistant is given, one at a time before it runs. A provider of
        the host's own making may ask several times, and of whom it likes.
        """
        path = request.url.path
        wire = wire_of_path(path)
        if wire is None or (wire == "anthropic" and not path.endswith("/v1/messages")):
            return False
        return not self._local()

    def _before(self, request: Any) -> Any:
        if self.rehearse:
            raise UnsupportedError("a rehearsal: nothing leaves")
        url = str(request.url)
        guard = self._guarded()
        if (why := guard.renamed(url, request.headers.multi_items())) is not None:
            raise AuthenticationError(why, provider=self.provider, model=self.model)
        if not guard.trusted(url):
            if self.config.get("allow_endpoints") is False and not self._may_ask(request):
                raise PermissionDeniedError(
                    f"the call would go to {request.url.host}, which is no host of {self.provider!r}, and "
                    f"requests may not say where a call goes here: name the host in allowed_hosts, or "
                    f"configure allow_endpoints",
                    provider=self.provider,
                    model=self.model,
                )
            problem, drop = guard.verdict(url, request.headers.multi_items(), _content(request))
            if problem is not None and not self._is_default(url):
                raise AuthenticationError(
                    refusal(self.provider, request.url.host, problem),
                    provider=self.provider,
                    model=self.model,
                )
            for name in drop:
                del request.headers[name]
        if self.mender.needed and self._wants(request) and self.provider not in SIGNED:
            return self._mended(request)
        return request

    def _guarded(self) -> Guard:
        if self._guard is None:
            self._guard = Guard(self.provider, self.request, self.config, current_environment())
        return self._guard

    def _may_ask(self, request: Any) -> bool:
        """Whether a request may go to a host that is not the provider's where calls may not choose theirs."""
        if self._is_default(str(request.url), plain=True):
            return True
        # LiteLLM has an image's host looked up and asks the address with the host's name in the header.
        host, _, port = request.headers.get("host", "").rpartition(":")
        if not port.isdigit():
            host, port = request.headers.get("host", ""), "443" if request.url.scheme == "https" else "80"
        known = self._images | self.exchange.followed
        return request.method == "GET" and (host.strip("[]").lower(), int(port)) in known

    def _is_default(self, url: str, *, plain: bool = False) -> bool:
        """Whether LiteLLM's catalogue names this host for the provider (new there is new here).

        ``plain`` takes one without TLS as well: a server on this machine, to which no key may go.
        """
        import httpx

        with contextlib.suppress(Exception):
            name = family(self.provider)
            base = self.litellm.get_llm_provider(model=f"{name}/x", api_key=PLACEHOLDER)[3]
            if base:
                ours, theirs = httpx.URL(url), httpx.URL(base)
                safe = ours.scheme == "https" or (plain and ours.scheme == theirs.scheme)
                return safe and (ours.host, ours.port) == (theirs.host, theirs.port)
        return False

    def _mended(self, request: Any) -> Any:
        content = _content(request)
        try:
            body = json.loads(content)
        except ValueError:
            return request
        if not is_object(body):
            return request
        body = self.mender.mend(body, wire_of_request(request.url.path, body), request.url.host)
        fresh = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        import httpx

        headers = [
            (k, v)
            for k, v in request.headers.multi_items()
            if k.lower() not in ("content-length", "transfer-encoding")
        ]
        return httpx.Request(
            request.method, request.url, headers=headers, content=fresh, extensions=request.extensions
        )

    # -- what comes back --

    async def _read(self) -> bool:
        """Read the answer from its bytes; False, with nothing emitted, if we do not know its wire."""
        exchange = self.exchange
        stream = exchange.stream
        if stream is None or not 200 <= exchange.status < 300 or exchange.url is None:
            return False
        wire = wire_of_path(exchange.url.path)
        if wire is None and not looks_textual(await stream.peek(), exchange.headers.get("content-type", "")):
            return False
        answer = Answer(wire, self.provider, self._context())
        try:
            async for chunk in stream.read_on(keep=wire is None):
                events = answer.feed(chunk)
                if answer.decoder is None:
                    continue
                stream.settle()
                await self._hand_out(answer.decoder, events)
                if answer.decoder.last_seen:
                    break
            events = answer.end()
        except UnknownWireError:
            return False
        except WireError:
            # What came before the failure counts: the caller gets it, and then the error.
            if answer.decoder is not None and (before := answer.decoder.parts.take()):
                await self._hand_out(answer.decoder, before)
            raise
        if answer.decoder is None:
            raise WireError("protocol", "the provider's answer is empty")
        await self._hand_out(answer.decoder, events)
        self._finish(answer.decoder)
        if not stream.ended:
            await stream.drain(DRAIN_SECONDS)
        return True

    async def _drive(self, result: Any) -> None:
        """Read the answer from LiteLLM's own response or chunks."""
        self._driven = result
        if self.exchange.stream is not None:
            self.exchange.stream.forget()
        decoder = ChunkDecoder(self.provider, self._context())
        if hasattr(result, "__aiter__"):
            async for chunk in result:
                if not self._started:
                    self._check_asked(result)
                decoder.chunk("", chunk.model_dump(exclude_none=True))
                await self._hand_out(decoder, decoder.parts.take())
        else:
            self._check_asked(result)
            decoder.body(result.model_dump(exclude_none=True))
        decoder.end()
        await self._hand_out(decoder, decoder.parts.take())
        self._finish(decoder)

    def _check_asked(self, result: Any) -> None:
        """Fail where LiteLLM has an answer to a request that we never saw."""
        cached = as_dict(getattr(result, "_hidden_params", None)).get("cache_hit")
        if not self.exchange.asked and not cached and not self._local():
            raise self._unwatched()

    async def _hand_out(self, decoder: Decoder, events: list[dict[str, Any]]) -> None:
        """``events``, and ``start`` before the first of them."""
        emit, drain = self.sink.emit, self.sink.drain
        if not self._started:
            self._started = True
            emit(self._start(decoder))
        for event in events:
            if emit(event):
                await drain()

    def _context(self) -> dict[str, Any]:
        names = [as_dict(tool.get("function")).get("name") for tool in objects(self.request.get("tools"))]
        own = as_dict(as_dict(self.request.get("provider_options")).get(self.provider))
        audio = as_dict(own.get("audio"))
        return {
            "format_tool": bool(self.request.get("response_format")) and "json_tool_call" not in names,
            "audio_format": audio.get("format"),
        }

    def _start(self, decoder: Decoder) -> dict[str, Any]:
        event = {"type": "start", "model": self.model, "provider": self.provider, "engine": "litellm"}
        if decoder.meta.get("id"):
            event["id"] = decoder.meta["id"]
        self._request_id = header_request_id(self.exchange.headers)
        if self._request_id:
            event["request_id"] = self._request_id
        return event

    def _finish(self, decoder: Decoder) -> None:
        usage = decoder.parts.last_usage
        if usage is not None and usage.get("cost_usd") is None:
            cost = self._cost(usage)
            if cost is not None:
                self.sink.emit({"type": "usage", "usage": {**usage, "cost_usd": cost}})
        finish = {key: value for key, value in decoder.finish.items() if value is not None}
        if self._request_id:
            finish["request_id"] = self._request_id
        self.sink.emit(finish)

    def _cost(self, usage: dict[str, Any]) -> float | None:
        """Dollars by LiteLLM's price list; None for a model that it does not price."""
        litellm = self.litellm
        name = self.model.partition("/")[2].removeprefix("responses/") or self.model
        if self.model not in litellm.model_cost and name not in litellm.model_cost:
            return None
        incoming, outgoing = usage.get("input_tokens"), usage.get("output_tokens")
        if incoming is None or outgoing is None:
            return None
        created = as_dict(usage.get("cache_creation_input_tokens"))
        try:
            prompt, completion = litellm.cost_per_token(
                model=name,
                custom_llm_provider=self.provider,
                usage_object=litellm.Usage(
                    prompt_tokens=incoming,
                    completion_tokens=outgoing,
                    total_tokens=incoming + outgoing,
                    cache_read_input_tokens=usage.get("cached_input_tokens") or 0,
                    cache_creation_input_tokens=(created.get("5m") or 0) + (created.get("1h") or 0),
                    reasoning_tokens=usage.get("reasoning_tokens"),
                ),
            )
        except Exception:  # a price list without a price for this: the cost is unknown, the answer is not
            return None
        return float(prompt + completion)

    # -- what went wrong --

    def _secrets(self) -> list[str]:
        given = [self.request.get("api_key"), *as_dict(self.request.get("headers")).values()]
        return [value for value in given if isinstance(value, str) and value] + list(
            current_environment().secrets
        )

    def _prompts(self) -> list[str]:
        texts: list[str] = []
        for message in self.request.get("messages") or ():
            content = message.get("content") if is_object(message) else None
            if isinstance(content, str):
                texts.append(content)
            elif is_list(content):
                texts.extend(
                    part["text"] for part in content if is_object(part) and isinstance(part.get("text"), str)
                )
        return texts

    def _error(self, problem: BaseException) -> OmniError:
        exchange = self.exchange
        for one in (exchange.failure, *chain(problem)):
            if isinstance(one, OmniError):
                return one
        no_address = any(map(http.is_no_address, chain(problem)))
        if not no_address and self._unseen(problem):
            return self._unwatched()
        status = exchange.status or None
        headers = exchange.headers

        def fail(
            code: str, message: str, *, of: int | None = status, retryable: bool | None = None
        ) -> OmniError:
            return build(
                code,
                message,
                provider=self.provider,
                model=self.model,
                status=of,
                headers=headers,
                secrets=self._secrets(),
                prompts=self._prompts(),
                retryable=retryable,
            )

        if exchange.redirect is not None:
            return fail(
                "connection",
                f"the provider answered with a redirect to {exchange.redirect}, which is not followed: a "
                f"key would go "
                f"with it. If that is where the call belongs, set api_base to it.",
                retryable=False,
            )
        if no_address:
            return fail(
                "invalid_request",
                f"the address that is set for {self.provider} is none of a web server: give one such as "
                f"http://127.0.0.1:8411 or https://host/path",
                retryable=False,
            )
        if not status and any(UNSENDABLE.search(str(one)) for one in chain(problem)):
            return fail(
                "authentication",
                f"a key or a header for {self.provider} has characters that cannot stand in a header: set it "
                f"again, without blanks or line ends",
                retryable=False,
            )
        wire = next((one for one in chain(problem) if isinstance(one, WireError)), None)
        if wire is not None:
            if wire.kind == "protocol":
                return fail("protocol", f"{wire.message} (HTTP {status})")
            code, message = classify(None, wire.body)
            return fail(code or "provider", message or wire.message, of=_status_of(wire.body))
        if status is not None and status >= 400:
            body = exchange.stream.body() if exchange.stream is not None else b""
            code, message = classify(status, body)
            if not message:
                message = f"{self.provider} answered with HTTP {status}" + (
                    " and HTML" if body.lstrip()[:1] == b"<" else ""
                )
            hint = by_class(problem)
            if hint in ("context_length", "content_filter") and code in ("invalid_request", None):
                code = hint
            return fail(code or "provider", message)
        if exchange.stream is not None and exchange.stream.failure is not None:
            return fail(*_broken(exchange.stream.failure))
        code = self._code_without_answer(problem)
        return fail(code, _said(problem, code, self.provider))

    def _code_without_answer(self, problem: BaseException) -> str:
        """The code of a failure of which the provider said nothing."""
        exchange = self.exchange
        code = by_class(problem)
        for one in chain(problem):
            # LiteLLM wraps what the transport said in classes of its own; the innermost one is the truth.
            inner = by_class(one)
            if inner in ("timeout", "connection"):
                code = inner
        if not exchange.asked and any(lacks_key(one) for one in chain(problem)):
            return "authentication"
        if not exchange.asked and code in ("overloaded", "provider", "connection", "internal"):
            return "invalid_request"  # LiteLLM could not even write the request
        if code in ("overloaded", "provider") and not exchange.answered:
            return "connection"
        if code is None:
            return "internal" if exchange.answered else "invalid_request"
        return code


def _broken(failure: BaseException) -> tuple[str, str]:
    """Code and message of an answer that broke off."""
    if "imeout" in type(failure).__name__:
        return "timeout", "the provider stopped answering in the middle of its answer"
    if type(failure).__name__ == "DecodingError":
        return "protocol", str(failure)
    return "protocol", "the provider's answer was cut off in the middle"


def _status_of(body: Any) -> int | None:
    code = body.get("code") if is_object(body) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None


_SAID = {
    "connection": "the provider {p} could not be reached",
    "timeout": "the provider {p} did not answer in time",
    "internal": "LiteLLM failed on the answer of {p}",
}
_STOPS = (
    "Received Messages",
    "Traceback (most",
    "{'role'",
    '{"role"',
    "messages=",
    "Messages=",
    "completion_kwargs",
    "[{",
)


def _said(problem: BaseException, code: str, provider: str) -> str:
    """LiteLLM's words without the request that it likes to quote in them."""
    try:
        text = str(problem)
    except Exception:  # some of LiteLLM's classes cannot print themselves when an attribute is missing
        text = ""
    for stop in _STOPS:
        at = text.find(stop)
        if at >= 0:
            text = text[:at]
    text = text.removeprefix("litellm.").strip()
    unsupported = re.search(r"does not support param\w*:? \[?([^\]]{1,200})\]?, for model", text)
    if unsupported:
        return (
            f"{provider} does not take {unsupported[1]} for this model: leave it out, or give what it "
            f"takes in provider_options"
        )
    if code in ("connection", "timeout"):
        text = str(chain(problem)[-1])  # what the socket said, below all that was wrapped around it
    if code in _SAID:
        return f"{_SAID[code].format(p=provider)}: {type(problem).__name__}" + (
            f": {text[:300]}" if text else ""
        )
    return text or f"{type(problem).__name__} for {provider}"


def _weakly(method: Callable[[Any], Any], ended: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``method``, and ``ended`` when its object is no more: a call that has ended."""
    reference = weakref.WeakMethod(method)

    def ask(request: Any) -> Any:
        return (reference() or ended)(request)

    return ask


def _nothing_leaves(_request: Any) -> Any:
    raise UnsupportedError("the call has ended: nothing leaves in its name any more")


def _content(request: Any) -> bytes:
    try:
        return request.content
    except Exception:  # a body that is streamed out has no text for us to look at
        return b""


@functools.cache
def _providers(litellm: Any) -> frozenset[str]:
    return frozenset(str(getattr(one, "value", one)) for one in litellm.provider_list)
