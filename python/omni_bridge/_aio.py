"""The asynchronous doors, for asyncio; trio goes by `_anyio`.

A call runs in Rust. The loop is woken through one descriptor that it watches, once for as many calls as have
something to say by then: no thread of ours takes the GIL to do it. asyncio is not imported here: where its
loop runs, it is loaded already.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from ._native import (
    Call,
    Channel,
    Request,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._native import ChatReply
    from ._typing import AnyEvent, ChatParams, MessageLike, ToolLike

__all__ = ["Stream", "achat", "stream"]

_channels: dict[int, weakref.ref[Channel]] = {}
"""By the loop's id. The loop owns its channel; so an entry that is alive belongs to a loop that is alive."""


def _running_loop() -> asyncio.AbstractEventLoop | None:
    events = sys.modules.get("asyncio.events")
    if events is None:
        return None
    get: Callable[[], asyncio.AbstractEventLoop | None] = events._get_running_loop
    return get()


def _channel(loop: asyncio.AbstractEventLoop) -> Channel:
    key = id(loop)
    known = _channels.get(key)
    if known is not None and (channel := known()) is not None:
        return channel
    channel = Channel()
    loop.add_reader(channel.fileno(), channel.drain)

    def gone(reference: weakref.ref[Channel]) -> None:
        if _channels.get(key) is reference:
            del _channels[key]

    _channels[key] = weakref.ref(channel, gone)
    return channel


async def ready(call: Call) -> None:
    """Waits until the call has something to take. Whoever is cancelled here cancels the call."""
    loop = _running_loop()
    if loop is None:
        from . import _anyio  # noqa: PLC0415 - only where no asyncio loop runs

        await _anyio.ready(call)
        return
    future = loop.create_future()
    if call.wait(_channel(loop), future):
        try:
            await future
        except BaseException:
            # The traceback keeps the call alive, so that it must be told.
            call.close()
            raise


async def result(call: Call) -> Any:  # noqa: ANN401 - the reply or a document, as the call has it
    """The one thing that a call brings which is no stream."""
    while (found := call.pop()) is None and not call.ended:
        await ready(call)
    return found


async def achat(
    messages: Sequence[MessageLike],
    model: str,
    tools: Sequence[ToolLike] | None = None,
    **params: Unpack[ChatParams],
) -> ChatReply:
    """Asks a model and awaits the whole answer, under asyncio or trio. Cancelling the task cancels the call.

    Args:
        messages: The conversation, see `chat`.
        model: ``"provider/model"`` in LiteLLM's spelling.
        tools: Tools that the model may call.
        params: The other fields of a request, see `ChatParams`. Times are in seconds.

    Raises:
        InvalidRequestError: A field that does not exist, with a near match, or one of a wrong kind, with its
            path.
        OmniError: One class for each kind of failure, see `omni_bridge.errors`.

    >>> import asyncio
    >>> from omni_bridge.testing import DemoServer
    >>> with DemoServer(text="Four.") as server:
    ...     question = [{"role": "user", "content": "2 + 2?"}]
    ...     reply = asyncio.run(achat(question, "openai/demo", api_base=server.api_base, api_key="none"))
    >>> reply.content
    'Four.'
    """
    return await achat_request(Request(messages, model, tools, params))


async def achat_request(request: Request) -> ChatReply:
    """`achat` for a request that has been read already."""
    return await result(Call.chat(request))


def stream(
    messages: Sequence[MessageLike],
    model: str,
    tools: Sequence[ToolLike] | None = None,
    **params: Unpack[ChatParams],
) -> Stream:
    """Asks a model and gives the events of its answer as they come, under asyncio or trio.

    Args:
        messages: The conversation, see `chat`.
        model: ``"provider/model"`` in LiteLLM's spelling.
        tools: Tools that the model may call.
        params: The other fields of a request, see `ChatParams`. Times are in seconds.

    Raises:
        InvalidRequestError: At once, for a request that is not of the contract. What fails later comes as
            the last event, and is raised by `Stream.reply`.

    >>> import asyncio
    >>> from omni_bridge.testing import DemoServer
    >>> async def main(base: str) -> str:
    ...     question = [{"role": "user", "content": "2 + 2?"}]
    ...     async with stream(question, "openai/demo", api_base=base, api_key="none") as events:
    ...         return "".join([event.text async for event in events if event.type == "text_delta"])
    >>> with DemoServer(text="Four.") as server:
    ...     asyncio.run(main(server.api_base))
    'Four.'
    """
    return Stream(Request(messages, model, tools, params))


class Stream:
    """The events of one call: an async iterator and an async context manager.

    The call is sent when the first event is asked for. A reader that stops reading stops the provider, for
    only so much is kept. A call that has not ended is cancelled by leaving the ``async with`` block, by
    `aclose`, by cancelling the task that waits for its next event, and by dropping the last reference. None
    of these wait.
    """

    __slots__ = ("__weakref__", "_call")

    def __init__(self, request: Request) -> None:
        self._call = Call.stream(request)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyEvent:
        call = self._call
        event: AnyEvent | None = call.pop()
        while event is None:
            if call.ended:
                raise StopAsyncIteration
            await ready(call)
            event = call.pop()
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.close()

    def cancel(self) -> None:
        """Asks the call to stop, from any thread. The events that follow end in ``cancelled``."""
        self._call.cancel()

    async def aclose(self) -> None:
        """Cancels the call if it has not ended, and forgets what it has brought. Does not wait."""
        self._call.close()

    async def reply(self) -> ChatReply:
        """Reads what is left and gives the reply.

        Raises:
            OmniError: What the ``error`` event carries; `CancelledError` for a call that was cancelled.
        """
        call = self._call
        while True:
            if call.pop() is None:
                if call.ended:
                    return call.outcome()
                await ready(call)
