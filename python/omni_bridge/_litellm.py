"""The ops that LiteLLM answers. The only file that imports litellm, at the first call that needs it.

LiteLLM makes every call: it picks the address, the headers and the body (`_litellm_call`). We read the
answer from
the bytes that it received where we know the wire, so that nothing is lost, and from its own chunks elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.metadata
import inspect
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from ._endpoints import current_environment
from ._engine_quiet import mute_this_thread
from ._litellm_call import Call, Sink
from ._native import engine_exit_hook
from ._translate import request_kwargs
from ._translate_mend import Mender
from .errors import EngineUnavailableError, NotFoundError, UnsupportedError

_SETTINGS = {
    # Prices, headers and tokenizers come with the package: nothing is fetched while a call waits.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # Its native extension and HTTP/2 would bypass the transport that we watch.
    "LITELLM_RUST": "0",
    "LITELLM_HTTP2": "False",
    "DISABLE_AIOHTTP_TRANSPORT": "False",
    # Otherwise it reads a .env file of the working directory into our environment.
    "LITELLM_MODE": "PRODUCTION",
    # 500 connections to a host by default; the caller's own limits are the bound.
    "AIOHTTP_CONNECTOR_LIMIT": "0",
    "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "0",
}

_lock = threading.Lock()


class _State:
    """What is made once for the process."""

    litellm: Any = None
    session: Any = None


def _litellm() -> Any:
    """The litellm module, imported and made quiet once."""
    with _lock:
        if _State.litellm is None:
            try:
                _State.litellm = _load()
            except ImportError as problem:
                raise EngineUnavailableError(
                    f"LiteLLM cannot be imported ({problem}); install it into this environment: pip "
                    f"install litellm"
                ) from problem
    return _State.litellm


def _load() -> Any:
    os.environ.update(_SETTINGS)
    with mute_this_thread():  # it prints advice at import; the program's own output goes on
        litellm: Any = importlib.import_module("litellm")
        importlib.import_module("litellm.main")  # most of it: without this the first call would wait for it
        aiohttp_transport: Any = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport")
        http_handler: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")

    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # It writes warnings, with pieces of requests in them, to the host's terminal.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # Its models warn on their way out of pydantic whenever a provider sends more than they foresaw.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
    warnings.filterwarnings("ignore", message=".*using the `ReadOnly` qualifier", category=UserWarning)
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.telemetry = False
    litellm.turn_off_message_logging = True
    litellm.num_retries = 0
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.disable_aiohttp_transport = False
    litellm.disable_hf_tokenizer_download = True
    litellm.disable_add_transform_inline_image_block = True
    litellm.user_url_validation = True

    from . import _litellm_http as http

    http.hook_async(aiohttp_transport.LiteLLMAiohttpTransport)
    http.hook_blocking(http_handler.HTTPHandler)
    _mend(litellm, http)
    # OpenSSL has come in by now, with an exit hook of its own that frees what our streams use: ours has to
    # run first.
    engine_exit_hook()
    return litellm


def _mend(litellm: Any, http: Any) -> None:
    """Where LiteLLM's defaults cost a call of ours something: only within such calls, or harmless outside."""
    utils: Any = importlib.import_module("litellm.utils")
    url_utils: Any = importlib.import_module("litellm.litellm_core_utils.url_utils")
    image_handling: Any = importlib.import_module(
        "litellm.litellm_core_utils.prompt_templates.image_handling"
    )

    native_streaming = utils.supports_native_streaming

    def supports_native_streaming(model: str, custom_llm_provider: str | None = None) -> bool:
        # LiteLLM says no for a responses model that its catalogue lacks, and then makes up a stream.
        if native_streaming(model, custom_llm_provider):
            return True
        try:
            litellm.get_model_info(model=model, custom_llm_provider=custom_llm_provider)
        except Exception:
            return True
        return False

    utils.supports_native_streaming = supports_native_streaming

    # Callbacks are off for our calls: one that raises, blocks or floods could hold up all others, and a
    # background task for each call would only cost time and memory. Nor is it worked out what to tell them.
    logging_class: Any = importlib.import_module("litellm.litellm_core_utils.litellm_logging").Logging
    for holder, names in (
        (logging_class, ("pre_call", "post_call", "success_handler", "failure_handler")),
        (logging_class, ("async_success_handler", "async_failure_handler", "dispatch_success_handlers")),
        (utils, ("_dispatch_success_logging", "update_response_metadata", "async_pre_call_deployment_hook")),
        (utils, ("async_post_call_success_deployment_hook", "async_post_call_failure_deployment_hook")),
    ):
        for name in names:
            setattr(holder, name, _not_for_us(getattr(holder, name), http.CURRENT))

    for module, name in (("litellm.main", "completion"), ("litellm.responses.main", "responses")):
        place: Any = importlib.import_module(module)
        setattr(place, name, _kept(getattr(place, name), http.CURRENT))

    blocked = url_utils._is_blocked_ip

    def is_blocked_ip(address: str) -> bool:
        exchange = http.CURRENT.get()
        return blocked(address) and not (exchange is not None and exchange.private_images)

    url_utils._is_blocked_ip = is_blocked_ip
    url_utils.socket = _Resolver(http.CURRENT)
    # A picture that one call may fetch from a private address must not be served to another that may not.
    image_handling.in_memory_cache = _NoCache()


def _not_for_us(function: Any, current: Any) -> Any:
    """``function``, doing nothing within a call of ours; one that may change the response hands it back."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs) if current.get() is None else kwargs.get("response")

        return later

    @functools.wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if current.get() is None else None

    return now


def _kept(function: Any, current: Any) -> Any:
    """``function``, whose coroutine the exchange keeps.

    LiteLLM prepares a call on a thread, which hands a coroutine back. Nobody awaits that of a cancelled call:
    it is closed with its exchange, for Python warns of it otherwise.
    """

    @functools.wraps(function)
    def prepare(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        exchange = current.get()
        if exchange is not None and inspect.iscoroutine(result):
            exchange.keep(result)
        return result

    return prepare


class _Resolver:
    """In place of ``socket`` in LiteLLM's check of image addresses: names that the call has resolved already.

    LiteLLM resolves on the loop's thread, where a slow name server would hold up every other call.
    """

    def __init__(self, current: Any) -> None:
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        exchange = self._current.get()
        known = exchange.resolved.get((host, port)) if exchange is not None else None
        return known or socket.getaddrinfo(host, port, **options)


class _NoCache:
    """In place of LiteLLM's cache of fetched pictures."""

    def get_cache(self, *_: Any, **__: Any) -> None:
        return None

    def set_cache(self, *_: Any, **__: Any) -> None:
        return None


async def _ready() -> Any:
    """The litellm module, without blocking the loop while it is imported."""
    if _State.litellm is not None:
        return _State.litellm
    return await asyncio.get_running_loop().run_in_executor(None, _litellm)


def _shared_session() -> Any:
    """One pool of connections for all of LiteLLM's clients: it makes a client per key and address."""
    loop = asyncio.get_running_loop()
    session = _State.session
    if session is None or session.closed or session._loop is not loop:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=60, ttl_dns_cache=60)
        _State.session = session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        )
    return session


async def aclose() -> None:
    """Close the pool of connections; to be awaited on the loop that the calls ran on."""
    session, _State.session = _State.session, None
    if session is not None and session._loop is asyncio.get_running_loop():
        await session.close()


async def chat(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``chat``: contract events, then ``finish``; raises one of our errors."""
    litellm = await _ready()
    await Call(litellm, doc, sink, _shared_session()).run()


def _result(sink: Sink, data: Any) -> None:
    sink.emit({"type": "result", "data": data})


async def warm_up(_doc: dict[str, Any], sink: Sink) -> None:
    """Op ``warm_up``: imports LiteLLM and what its first call imports."""
    litellm = await _ready()
    # A call that is stopped where it would leave: LiteLLM imports much of itself when it is first called.
    request = {
        "model": "openai/warm-up",
        "messages": [{"role": "user", "content": "hi"}],
        "api_key": "no-key",
    }
    call = Call(litellm, {"request": request}, sink, _shared_session())
    call.rehearse = True
    with contextlib.suppress(UnsupportedError):
        await call.run()
    _result(sink, {"ready": True})


def _model_entry(key: str, entry: dict[str, Any]) -> dict[str, Any]:
    provider = entry.get("litellm_provider")
    model_id = key if provider is None or key.startswith(f"{provider}/") else f"{provider}/{key}"
    return {
        "id": model_id,
        "provider": provider,
        "max_input_tokens": _whole(entry.get("max_input_tokens") or entry.get("max_tokens")),
        "max_output_tokens": _whole(entry.get("max_output_tokens") or entry.get("max_tokens")),
        "input_cost_per_token": entry.get("input_cost_per_token"),
        "output_cost_per_token": entry.get("output_cost_per_token"),
        "supports_tools": entry.get("supports_function_calling"),
        "supports_vision": entry.get("supports_vision"),
        "supports_reasoning": entry.get("supports_reasoning"),
    }


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


async def models(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``models``: what LiteLLM's own catalogue knows of models that chat."""
    litellm = await _ready()
    wanted = doc.get("provider")
    found: dict[str, dict[str, Any]] = {}
    for key, entry in litellm.model_cost.items():
        if entry.get("mode") not in ("chat", "responses", "completion", None) or key == "sample_spec":
            continue
        if not wanted or entry.get("litellm_provider") == wanted:
            # Some models stand in it with and without their provider's name.
            model = _model_entry(key, entry)
            found.setdefault(model["id"], model)
    _result(sink, list(found.values()))


async def model_info(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``model_info``: what the catalogue knows of one model.

    Raises:
        NotFoundError: The catalogue does not know it (it may work all the same).
    """
    litellm = await _ready()
    model = doc.get("model") or ""
    plain = model.split("/", 1)[1] if "/" in model else model
    provider = model.split("/", 1)[0] if "/" in model else None
    for key in (model, plain, plain.removeprefix("responses/")):
        entry = litellm.model_cost.get(key)
        if entry is not None and (
            key == model or provider is None or entry.get("litellm_provider") == provider
        ):
            _result(
                sink,
                {
                    **_model_entry(key, entry),
                    "id": model,
                    "provider": provider or entry.get("litellm_provider"),
                },
            )
            return
    raise NotFoundError(
        f"LiteLLM's catalogue has no model {model[:100]!r}; it may work all the same", model=model
    )


async def count_tokens(doc: dict[str, Any], sink: Sink) -> None:
    """Op ``count_tokens``: input tokens as LiteLLM's tokenizers count them, without the provider."""
    litellm = await _ready()
    request = doc["request"]
    provider = request["model"].split("/", 1)[0]
    kwargs = request_kwargs(request, Mender(request, provider, "count"), markers=False)

    def count() -> int:
        return litellm.token_counter(
            model=request["model"],
            messages=kwargs["messages"],
            tools=kwargs.get("tools"),
            use_default_image_token_count=True,  # a picture is not fetched only to be counted
        )

    _result(
        sink, {"input_tokens": await asyncio.get_running_loop().run_in_executor(None, count), "exact": False}
    )


async def doctor(_doc: dict[str, Any], sink: Sink) -> None:
    """Op ``doctor``: versions, and which credential names are set; never a value."""
    litellm = await _ready()
    import platform

    _result(
        sink,
        {
            "litellm": importlib.metadata.version("litellm"),
            "python": platform.python_version(),
            "interpreter": sys.executable,
            "providers": len(litellm.provider_list),
            "keys": sorted({*current_environment().secrets.values(), *_credential_files()}),
            "mcp": _version("mcp"),
        },
    )


def _credential_files() -> list[str]:
    return [name for name, value in os.environ.items() if value and name.endswith("_CREDENTIALS")]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


Handler = Callable[[dict[str, Any], Sink], Awaitable[None]]

HANDLERS: dict[str, Handler] = {
    "chat": chat,
    "models": models,
    "model_info": model_info,
    "count_tokens": count_tokens,
    "doctor": doctor,
    "warm_up": warm_up,
}
