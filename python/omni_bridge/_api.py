"""The blocking doors, and what is said once for the whole process.

They may be called from any thread, also from one that runs an asyncio loop: they block that loop then, and
nothing else. On the engine's own thread (in a LiteLLM callback) they raise `UnsupportedError`, for they
would wait for themselves. Ctrl-C is noticed within a twentieth of a second and cancels the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ._native import (
    Call,
    Request,
    engine_shutdown,
    models_call,
    warm_up_call,
)
from ._native import configure as configure_native
from ._native import register_provider as register_native

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._native import ChatReply
    from ._typing import (
        AnyEvent,
        BudgetParams,
        ChatParams,
        LimitParams,
        MessageLike,
        RetryParams,
        TimeoutParams,
        ToolLike,
    )

__all__ = ["SyncStream", "chat", "configure", "models", "shutdown", "stream_sync", "warm_up"]


def _wait(call: Call) -> Any:  # noqa: ANN401 - the reply or a document, as the call has it
    try:
        return call.next()
    except BaseException:
        # Ctrl-C, mostly. The traceback keeps the call alive, so that it must be told.
        call.close()
        raise


def chat(
    messages: Sequence[MessageLike],
    model: str,
    tools: Sequence[ToolLike] | None = None,
    **params: Unpack[ChatParams],
) -> ChatReply:
    """Asks a model and waits for the whole answer.

    Args:
        messages: The conversation in the OpenAI chat shape: dicts, the models of `omni_bridge.types`, or
            messages of earlier replies (``reply.message``), in any mix.
        model: ``"provider/model"`` in LiteLLM's spelling, for example ``"anthropic/claude-sonnet-4-5"``.
        tools: Tools that the model may call, in the OpenAI shape.
        params: The other fields of a request, see `ChatParams`. Times are in seconds.

    Raises:
        InvalidRequestError: A field that does not exist, with a near match, or one of a wrong kind, with its
            path.
        OmniError: One class for each kind of failure, see `omni_bridge.errors`.

    >>> from omni_bridge.testing import DemoServer
    >>> with DemoServer(text="Four.") as server:
    ...     reply = chat(
    ...         [{"role": "user", "content": "2 + 2?"}],
    ...         "openai/demo",
    ...         api_base=server.api_base,
    ...         api_key="none",
    ...     )
    >>> reply.content
    'Four.'
    """
    return _wait(Call.chat(Request(messages, model, tools, params)))


def stream_sync(
    messages: Sequence[MessageLike],
    model: str,
    tools: Sequence[ToolLike] | None = None,
    **params: Unpack[ChatParams],
) -> SyncStream:
    """As `stream`, for programs without an event loop: a blocking iterator of events.

    Raises:
        InvalidRequestError: At once, for a request that is not of the contract. What fails later comes as
            the last event, and is raised by `SyncStream.reply`.

    >>> from omni_bridge.testing import DemoServer
    >>> question = [{"role": "user", "content": "2 + 2?"}]
    >>> with DemoServer(text="Four.") as server:
    ...     with stream_sync(question, "openai/demo", api_base=server.api_base, api_key="none") as events:
    ...         text = "".join(event.text for event in events if event.type == "text_delta")
    >>> text, events.reply().finish_reason
    ('Four.', 'stop')
    """
    return SyncStream(Request(messages, model, tools, params))


class SyncStream:
    """The events of one call, blocking. The call is sent when the first event is asked for.

    Leaving the ``with`` block, `close` and dropping the last reference cancel a call that has not ended.
    """

    __slots__ = ("__weakref__", "_call")

    def __init__(self, request: Request) -> None:
        self._call = Call.stream(request)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AnyEvent:
        event: AnyEvent | None = self._call.next()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cancel(self) -> None:
        """Asks the call to stop, from any thread. The events that follow end in ``cancelled``."""
        self._call.cancel()

    def close(self) -> None:
        """Cancels the call if it has not ended, and forgets what it has brought. Does not wait."""
        self._call.close()

    def reply(self) -> ChatReply:
        """Reads what is left and gives the reply.

        Raises:
            OmniError: What the ``error`` event carries; `CancelledError` for a call that was cancelled.
        """
        while self._call.next() is not None:
            pass
        return self._call.outcome()


def models() -> list[dict[str, Any]]:
    """The models that are known, each with its ``id``: those of the catalogue, or of the bridge service.

    Raises:
        ConnectionError: The bridge service does not answer.
    """
    return _wait(models_call())


def register_provider(
    name: str,
    protocol: str,
    base_url: str,
    *,
    key_env: str | Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    persist: bool = False,
    **fields: object,
) -> None:
    """Adds a provider that the native engine can ask; a model of it is then ``name/model``.

    Args:
        name: How model ids begin.
        protocol: "openai_chat", "openai_responses", "anthropic" or "gemini".
        base_url: Where it is, for example ``https://llm.acme.example/v1``.
        key_env: The environment variable that holds its key, or several; none for a server without keys.
        headers: Headers for every call.
        persist: Whether it is written into the user's ``omni.toml`` too.
        **fields: Any other field of a provider in ``omni.toml``: ``auth``, ``dialect``, ``models`` ...

    Raises:
        InvalidRequestError: A field that cannot be, with its name and what was probably meant.

    >>> register_provider("acme", "openai_chat", "https://llm.acme.example/v1", key_env="ACME_API_KEY")
    """
    given = {"key_env": key_env, "headers": headers, "persist": persist or None, **fields}
    definition = {key: value for key, value in given.items() if value is not None}
    register_native({"name": name, "protocol": protocol, "base_url": base_url, **definition})


def warm_up() -> None:
    """Loads LiteLLM now (seconds) instead of with the first call that needs it; later it does nothing.

    Raises:
        EngineUnavailableError: LiteLLM cannot be loaded; the message says why.
    """
    _wait(warm_up_call())


def shutdown(timeout: float = 5.0) -> bool:
    """Cancels every call and stops the engine's thread; a later call starts it again.

    Nothing needs it: at exit the same happens by itself.

    Args:
        timeout: Seconds to wait at the most.

    Returns:
        Whether the engine had stopped in time.
    """
    return engine_shutdown(timeout)


def configure(
    *,
    timeout: float | TimeoutParams | None = None,
    retry: int | RetryParams | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    fallback_mid_stream: bool | None = None,
    limits: Mapping[str, LimitParams] | None = None,
    budget: BudgetParams | None = None,
    allowed_hosts: Sequence[str] | None = None,
    allow_endpoints: bool | None = None,
    allow_private_images: bool | None = None,
    engine: Literal["auto", "native", "litellm"] | None = None,
    bridge_url: str | None = None,
    bridge_token: str | None = None,
) -> None:
    """Sets the defaults of every call that begins from now on. What is not given has its own default again.

    Args:
        timeout: Seconds in all, or for each wait. A request's own wins, field by field.
        retry: Tries after the first, or a policy. A request's own wins.
        fallbacks: Models to go on with when one fails before its first event. A request's own win.
        fallback_mid_stream: Whether a fallback may also take over in the middle of an answer. A request's own
            wins.
        limits: What each provider may be asked at the most. Who must wait does so in the order of coming.
        budget: What all calls may spend from now on. A request's own holds beside it.
        allowed_hosts: Hosts, beside a provider's own, to which a key of the environment may be sent.
        allow_endpoints: Whether requests may set ``api_base``, ``api_key`` and ``headers`` (they may).
        allow_private_images: Whether images may be fetched from private addresses (they may not).
        engine: Who is to answer where a call does not say; else what ``OMNI_BRIDGE_ENGINE`` says, else
            "auto": the native engine where it can, else LiteLLM.
        bridge_url: A bridge service (``omni serve``) that answers instead of the engine in this process.
        bridge_token: Its token.

    Raises:
        InvalidRequestError: A value that cannot be, with its name.

    >>> configure(timeout={"first_event": 30, "total": 120}, retry=1)
    >>> configure()
    """
    given = {
        "timeout": timeout,
        "retry": retry,
        "fallbacks": fallbacks,
        "fallback_mid_stream": fallback_mid_stream,
        "limits": limits,
        "budget": budget,
        "allowed_hosts": allowed_hosts,
        "allow_endpoints": allow_endpoints,
        "allow_private_images": allow_private_images,
        "engine": engine,
        "bridge_url": bridge_url,
        "bridge_token": bridge_token,
    }
    configure_native(given)
