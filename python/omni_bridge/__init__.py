"""One LLM call, ``chat(messages, model, tools)``, for every provider, with one contract.

>>> import omni_bridge
>>> from omni_bridge.testing import DemoServer
>>> with DemoServer(text="Hello!") as server:
...     reply = omni_bridge.chat(
...         [{"role": "user", "content": "Say hello."}],
...         "openai/gpt-4o-mini",
...         api_base=server.api_base,
...         api_key="none",
...     )
>>> reply.content, reply.finish_reason
('Hello!', 'stop')

Everything here is loaded when it is first used: importing the package costs next to nothing, and neither
LiteLLM nor pydantic nor asyncio come with it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would bring typing in, which costs more than all the rest
if TYPE_CHECKING:
    from . import agent_types as agent_types
    from . import errors as errors
    from . import testing as testing
    from . import types as types
    from ._agent import Agent, Run, Sessions
    from ._aio import Stream, achat, stream
    from ._api import SyncStream, chat, configure, models, register_provider, shutdown, stream_sync, warm_up
    from ._native import (
        CONTRACT,
        Attempt,
        CacheCreation,
        CancelledEvent,
        ChatReply,
        Custom,
        DoneEvent,
        ErrorEvent,
        Event,
        FallbackEvent,
        Function,
        MediaDeltaEvent,
        MediaEndEvent,
        MediaStartEvent,
        Message,
        Part,
        ProviderPartEvent,
        ReasoningDeltaEvent,
        ReasoningEndEvent,
        ReasoningStartEvent,
        RefusalDeltaEvent,
        StartEvent,
        TextDeltaEvent,
        TextEndEvent,
        TextStartEvent,
        ToolCall,
        ToolCallDeltaEvent,
        ToolCallEndEvent,
        ToolCallStartEvent,
        Usage,
        UsageEvent,
        __version__,
    )
    from ._typing import AnyEvent, ChatParams
    from .errors import (
        AuthenticationError,
        BudgetError,
        CancelledError,
        ConnectionFailedError,
        ContentFilterError,
        ContextLengthError,
        EngineUnavailableError,
        InternalError,
        InvalidRequestError,
        NotFoundError,
        OmniError,
        OverloadedError,
        PermissionDeniedError,
        ProtocolError,
        ProviderError,
        QuotaError,
        RateLimitError,
        RequestTimeoutError,
        UnsupportedError,
    )

__all__ = [
    "CONTRACT",
    "Agent",
    "AnyEvent",
    "Attempt",
    "AuthenticationError",
    "BudgetError",
    "CacheCreation",
    "CancelledError",
    "CancelledEvent",
    "ChatParams",
    "ChatReply",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextLengthError",
    "Custom",
    "DoneEvent",
    "EngineUnavailableError",
    "ErrorEvent",
    "Event",
    "FallbackEvent",
    "Function",
    "InternalError",
    "InvalidRequestError",
    "MediaDeltaEvent",
    "MediaEndEvent",
    "MediaStartEvent",
    "Message",
    "NotFoundError",
    "OmniError",
    "OverloadedError",
    "Part",
    "PermissionDeniedError",
    "ProtocolError",
    "ProviderError",
    "ProviderPartEvent",
    "QuotaError",
    "RateLimitError",
    "ReasoningDeltaEvent",
    "ReasoningEndEvent",
    "ReasoningStartEvent",
    "RefusalDeltaEvent",
    "RequestTimeoutError",
    "Run",
    "Sessions",
    "StartEvent",
    "Stream",
    "SyncStream",
    "TextDeltaEvent",
    "TextEndEvent",
    "TextStartEvent",
    "ToolCall",
    "ToolCallDeltaEvent",
    "ToolCallEndEvent",
    "ToolCallStartEvent",
    "UnsupportedError",
    "Usage",
    "UsageEvent",
    "__version__",
    "achat",
    "agent_types",
    "chat",
    "configure",
    "errors",
    "models",
    "register_provider",
    "shutdown",
    "stream",
    "stream_sync",
    "testing",
    "types",
    "warm_up",
]

_MODULES = frozenset({"agent_types", "errors", "testing", "types"})
_ELSEWHERE = {
    "Agent": "_agent",
    "AnyEvent": "_typing",
    "ChatParams": "_typing",
    "Run": "_agent",
    "Sessions": "_agent",
    "Stream": "_aio",
    "SyncStream": "_api",
    "achat": "_aio",
    "chat": "_api",
    "configure": "_api",
    "models": "_api",
    "register_provider": "_api",
    "shutdown": "_api",
    "stream": "_aio",
    "stream_sync": "_api",
    "warm_up": "_api",
}


def __getattr__(name: str) -> object:
    """Loads a public name when it is first asked for (PEP 562), and keeps it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - part of being lazy

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _ELSEWHERE.get(name) or ("errors" if name.endswith("Error") else "_native")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
