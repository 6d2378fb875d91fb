"""The ops that LiteLLM answers. The only file that imports litellm, at the first call that needs it.

LiteLLM makes every call: it picks the address, the headers and the body (`_litellm_call`). We read the
answer from
the bytes that it received where we know the wire, so that nothing is lost, and from its own chunks elsewhere.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import importlib.metadata
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from . import _litellm_http as http
from . import _litellm_patch as patch
from ._endpoints import current_environment
from ._engine_quiet import mute_this_thread
from ._litellm_call import Call, Sink
from ._native import engine_exit_hook
from ._translate import request_kwargs
from ._translate_mend import Mender
from .errors import EngineUnavailableError, NotFoundError, UnsupportedError

_WHILE_IMPORTED = {
    # Prices, headers and tokenizers come with the package: nothing is fetched while a call waits.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    # Otherwise it reads a .env file of the working directory into our environment.
    "LITELLM_MODE": "PRODUCTION",
}
"""Environment variables that LiteLLM reads while it is imported; the program's own are put back after it."""

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


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _load() -> Any:
    find = importlib.import_module
    patch.hush(http.CURRENT)
    inside = http.CURRENT.set(http.Exchange(_nothing_leaves, lambda _: False))
    try:
        # It prints advice at import; the program's own output goes on.
        with _environment(_WHILE_IMPORTED), mute_this_thread():
            litellm: Any = importlib.import_module("litellm")
            find("litellm.main")  # most of it: without this the first call would wait for it
            with contextlib.suppress(ImportError, AttributeError):
                # It reads them when they are first wanted, and would fetch them then.
                find("litellm.anthropic_beta_headers_manager")._load_beta_headers_config()
        patch.check(find, _version("litellm") or "")
    finally:
        http.CURRENT.reset(inside)

    import httpx

    http.hook_async(find("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport)
    http.hook_async(httpx.AsyncHTTPTransport)  # a client of the host's own, or LiteLLM without aiohttp
    http.hook_blocking(find("litellm.llms.custom_httpx.http_handler").HTTPHandler)
    patch.apply(litellm, find, http.CURRENT)
    # At its end the interpreter would walk all of LiteLLM several times (2 s of an exit): nothing needs that.
    atexit.register(gc.freeze)
    # OpenSSL has come in by now, with an exit hook of its own that frees what our streams use: ours has to
    # run first.
    engine_exit_hook()
    return litellm


def _nothing_leaves(_request: Any) -> Any:
    raise UnsupportedError("nothing is fetched here")


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
    patch.hush(http.CURRENT)
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
    kwargs = request_kwargs(request, Mender(request, provider, lambda: "count"), markers=False)

    def count() -> int:
        return litellm.token_counter(
            model=request["model"],
            messages=kwargs["messages"],
            tools=kwargs.get("tools"),
            use_default_image_token_count=True,  # a picture is not fetched only to be counted
        )

    patch.hush(http.CURRENT)
    token = http.CURRENT.set(http.Exchange(_nothing_leaves, lambda _: False))
    try:
        counted = await asyncio.to_thread(count)  # which takes the context along
    finally:
        http.CURRENT.reset(token)
    _result(sink, {"input_tokens": counted, "exact": False})


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
