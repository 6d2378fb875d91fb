"""What LiteLLM does otherwise within a call of ours, and only there: its own users see no difference.

Every change looks at `CURRENT`. LiteLLM's private names may change: a change that calls are guarded by must
find its name, any other is left out where the name is gone.
"""

from __future__ import annotations

import functools
import inspect
import logging
import socket
import warnings
from typing import TYPE_CHECKING, Any

from .errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

TESTED = "1.106.2"
"""The version of LiteLLM that the tests ran with."""

GUARDED_BY = (
    ("litellm", "acompletion"),
    ("litellm.llms.custom_httpx.aiohttp_transport", "LiteLLMAiohttpTransport.handle_async_request"),
    ("litellm.llms.custom_httpx.http_handler", "HTTPHandler.create_client"),
    ("litellm.llms.custom_httpx.http_handler", "AsyncHTTPHandler.should_use_aiohttp_transport"),
    ("litellm.litellm_core_utils.prompt_templates.image_handling", "in_memory_cache"),
)
"""Without these a key could leave unseen, or a private picture be served to another call."""

_SETTINGS: dict[str, Any] = {
    "suppress_debug_info": True,
    "set_verbose": False,
    "turn_off_message_logging": True,
    "log_raw_request_response": False,
    "num_retries": None,
    "num_retries_per_request": None,
    "default_fallbacks": None,
    "context_window_fallbacks": None,
    "content_policy_fallbacks": None,
    "model_fallbacks": None,
    "max_budget": 0.0,
    "cache": None,
    "drop_params": False,
    "modify_params": False,
    "add_function_to_prompt": False,
    "enable_json_schema_validation": False,
    "http2": False,
    "disable_aiohttp_transport": False,
    "disable_hf_tokenizer_download": True,
    "disable_add_transform_inline_image_block": True,
    "user_url_validation": True,
    "client_session": None,
    "aclient_session": None,
}
"""LiteLLM's settings for the whole process, as our calls find them."""


def check(find: Callable[[str], Any], version: str) -> None:
    """Raise EngineUnavailableError if LiteLLM has lost a name that calls are guarded by."""
    for module, path in GUARDED_BY:
        if not _there(find, module, path):
            raise EngineUnavailableError(
                f"LiteLLM {version} has no {module}.{path}, by which calls are guarded; omni_bridge was "
                f"tested with LiteLLM {TESTED}: pip install litellm=={TESTED}"
            )


def _there(find: Callable[[str], Any], module: str, path: str) -> bool:
    try:
        holder = find(module)
    except ImportError:
        return False
    for name in path.split("."):
        holder = getattr(holder, name, None)
    return holder is not None


def apply(litellm: Any, find: Callable[[str], Any], current: Any) -> None:
    """Make all changes; those that are made already stay. `check` comes first."""

    def place(name: str) -> Any:
        try:
            return find(name)
        except ImportError:
            return None

    handler = find("litellm.llms.custom_httpx.http_handler")
    _swap(handler, "http2_enabled", _answer(current, value=False))
    _swap(handler.AsyncHTTPHandler, "should_use_aiohttp_transport", _answer(current, value=True), static=True)
    # Its native extension would bypass the transport that we watch.
    rust = place("litellm.rust_bridge.configuration")
    if rust is not None and hasattr(rust, "Decision") and hasattr(rust, "Rollout"):
        _swap(rust, "decide", lambda original: _decide(original, rust, current))

    utils = place("litellm.utils")
    _swap(utils, "supports_native_streaming", lambda original: _streams(original, litellm, current))
    # Callbacks are off for our calls: one that raises, blocks or floods could hold up all others, and a
    # background task for each call would only cost time and memory. Nor is it worked out what to tell them.
    logs = getattr(place("litellm.litellm_core_utils.litellm_logging"), "Logging", None)
    for holder, names in (
        (logs, ("pre_call", "post_call", "success_handler", "failure_handler")),
        (logs, ("async_success_handler", "async_failure_handler", "dispatch_success_handlers")),
        (utils, ("_dispatch_success_logging", "update_response_metadata", "async_pre_call_deployment_hook")),
        (utils, ("async_post_call_success_deployment_hook", "async_post_call_failure_deployment_hook")),
    ):
        for name in names:
            _swap(holder, name, lambda original: _not_for_us(original, current))
    timing = place("litellm.litellm_core_utils.logging_utils")
    _swap(timing, "_get_service_logger", lambda original: _none_for_us(original, current))
    for module, name in (("litellm.main", "completion"), ("litellm.responses.main", "responses")):
        _swap(place(module), name, lambda original: _kept(original, current))

    # LiteLLM drops max_retries = 0 for some providers, and OpenAI's client then asks three times.
    sdk = getattr(place("openai._models"), "FinalRequestOptions", None)
    _swap(sdk, "get_max_retries", _answer(current, value=0))

    urls = place("litellm.litellm_core_utils.url_utils")
    _swap(urls, "_is_blocked_ip", lambda original: _blocked(original, current))
    if hasattr(urls, "socket") and not isinstance(urls.socket, _Resolver):
        urls.socket = _Resolver(current)
    images = find("litellm.litellm_core_utils.prompt_templates.image_handling")
    if not isinstance(images.in_memory_cache, _NoCache):
        # A picture that one call may fetch from a private address must not be served to another that may not.
        images.in_memory_cache = _NoCache(images.in_memory_cache, current)

    settings = {name: value for name, value in _SETTINGS.items() if hasattr(litellm, name)}
    clients = getattr(litellm, "in_memory_llm_clients_cache", None)
    if clients is not None:
        # A client that the program made for itself may have another transport, which nobody watches.
        settings["in_memory_llm_clients_cache"] = type(clients)()
    _lay_over(litellm, settings, current)


def _swap(holder: Any, name: str, make: Callable[[Any], Any], *, static: bool = False) -> None:
    """``make(original)`` in place of ``holder.name``, once; nothing where the name is gone."""
    original = getattr(holder, name, None)
    if original is None or getattr(original, "_omni_bridge", False):
        return
    ours = make(original)
    ours._omni_bridge = True
    setattr(holder, name, staticmethod(ours) if static else ours)


def _lay_over(module: Any, values: dict[str, Any], current: Any) -> None:
    """Attributes of a module that are ``values`` within our calls, and what they were everywhere else."""
    kind: Any = module.__class__
    if getattr(kind, "_omni_bridge", False):
        return

    def seen(name: str, value: Any) -> property:
        def get(self: Any) -> Any:
            if current.get() is not None:
                return value
            try:
                return self.__dict__[name]
            except KeyError:
                raise AttributeError(name) from None  # the module's own __getattr__ is asked then

        def put(self: Any, fresh: Any) -> None:
            if current.get() is None:
                self.__dict__[name] = fresh

        def drop(self: Any) -> None:
            del self.__dict__[name]

        return property(get, put, drop)

    members = {name: seen(name, value) for name, value in values.items()}
    module.__class__ = type("LiteLLM", (kind,), {**members, "_omni_bridge": True})


def _answer(current: Any, *, value: Any) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def answer(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs) if current.get() is None else value

        return answer

    return make


def _decide(original: Any, rust: Any, current: Any) -> Any:
    @functools.wraps(original)
    def decide(rollout: Any, **kwargs: Any) -> Any:
        if current.get() is None or rollout is rust.Rollout.RUST_REQUIRED:
            return original(rollout, **kwargs)
        return rust.Decision.PYTHON

    return decide


def _streams(original: Any, litellm: Any, current: Any) -> Any:
    @functools.wraps(original)
    def supports_native_streaming(model: str, custom_llm_provider: str | None = None) -> bool:
        # LiteLLM says no for a responses model that its catalogue lacks, and then makes up a stream.
        if original(model, custom_llm_provider) or current.get() is None:
            return original(model, custom_llm_provider)
        try:
            litellm.get_model_info(model=model, custom_llm_provider=custom_llm_provider)
        except Exception:  # however it says that it does not know the model
            return True
        return False

    return supports_native_streaming


def _blocked(original: Any, current: Any) -> Any:
    @functools.wraps(original)
    def is_blocked_ip(address: str) -> bool:
        exchange = current.get()
        return original(address) and not (exchange is not None and exchange.private_images)

    return is_blocked_ip


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


def _none_for_us(function: Any, current: Any) -> Any:
    """``function``, failing within a call of ours: LiteLLM goes on without what it could not get.

    It asks for a logger when a provider has answered, to tell it in a task of its own how long that took.
    """

    @functools.wraps(function)
    def get(*args: Any, **kwargs: Any) -> Any:
        if current.get() is not None:
            raise LookupError("calls of omni_bridge are not timed")
        return function(*args, **kwargs)

    return get


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
    """In place of LiteLLM's cache of fetched pictures: empty for our calls."""

    def __init__(self, cache: Any, current: Any) -> None:
        self._cache = cache
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def get_cache(self, *args: Any, **kwargs: Any) -> Any:
        return self._cache.get_cache(*args, **kwargs) if self._current.get() is None else None

    def set_cache(self, *args: Any, **kwargs: Any) -> Any:
        return self._cache.set_cache(*args, **kwargs) if self._current.get() is None else None


# -- what reaches the host's terminal --


class _InOurCalls:
    """Stands where a warnings filter has a pattern: it matches whatever is said within a call of ours."""

    def __init__(self, current: Any) -> None:
        self._current = current

    def match(self, _: str) -> bool:
        return self._current.get() is not None


def _silent(logger: logging.Logger, current: Any) -> None:
    """Nothing goes on from this logger and those below it within our calls.

    Filters are not inherited by the loggers of LiteLLM's modules; where they lead to is.
    """

    def get(self: logging.Logger) -> bool:
        return current.get() is None and self.__dict__["propagate"]

    def put(self: logging.Logger, value: bool) -> None:  # noqa: FBT001 - an attribute is set so
        self.__dict__["propagate"] = value

    logger.__class__ = type("Logger", (type(logger),), {"propagate": property(get, put)})
    logger.addHandler(logging.NullHandler())  # else what has no handler is printed as a last resort


_filter: list[Any] = []


def hush(current: Any) -> None:
    """No log line and no warning from within our calls: LiteLLM's and pydantic's quote requests.

    Cheap, and to be called before each call: `warnings.catch_warnings` of the program takes filters away.
    """
    if not _filter:
        _filter.append(("ignore", _InOurCalls(current), Warning, None, 0))
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).addFilter(lambda _: current.get() is None)
        _silent(logging.getLogger("litellm"), current)
    if _filter[0] not in warnings.filters:
        warnings.filters.insert(0, _filter[0])  # type: ignore[attr-defined] - typed as a sequence, and is a list
