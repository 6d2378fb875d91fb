"""What the HTTP door reads of an agent: turns on their way, and sessions that are followed."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from .agent_types import ENVELOPE
from .errors import InternalError, OmniError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from ._agent import Agent, Run
    from .agent_types import AgentEvent
    from .service_calls import Frame, Running

__all__ = ["Follower", "Turn", "TurnEvents", "frame_of"]

BATCH: Final = 64  # events that go out in one write when they come faster than the client reads
PAGE: Final = 256  # events that are read from the store at once


def frame_of(event: AgentEvent) -> Frame:
    """An event as it goes over the wire; a durable one with its `seq` as the id to come back to."""
    fields = {name: getattr(event, name) for name in ENVELOPE}
    # What is absent in the log is absent here; the payload keeps its nulls.
    document = {name: value for name, value in fields.items() if value is not None}
    text = json.dumps(document, ensure_ascii=False)
    return (event.event_type, text) if event.seq is None else (event.event_type, text, event.seq)


class _Frames:
    """Frames between who reads events and who sends them. Who reads waits while there are many."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._ended = self._left = False

    async def put(self, frame: Frame) -> None:
        await self._room.wait()
        if self._left:
            return
        self._frames.append(frame)
        self._arrived.set()
        if len(self._frames) >= BATCH:
            self._room.clear()

    def end(self, last: Frame | None = None) -> None:
        """Nothing more will come after `last`."""
        if last is not None:
            self._frames.append(last)
        self._ended = True
        self._arrived.set()

    def leave(self) -> None:
        """Nobody takes them any more."""
        self._left = True
        self._frames.clear()
        self._room.set()

    async def take(self) -> Sequence[Frame]:
        """What has come, at least one; empty only at the end."""
        await self._arrived.wait()
        taken, self._frames = self._frames, []
        if not self._ended:
            self._arrived.clear()
        self._room.set()
        return taken


class Turn:
    """A turn, read to its end whether or not somebody listens. It holds its place until then.

    Args:
        run: the turn, not begun.
        running: its place; given back at the end.
        begun: called with the turn once its session is known.
        ended: called with the turn after its last event.
    """

    def __init__(
        self, run: Run, running: Running, begun: Callable[[Turn], None], ended: Callable[[Turn], None]
    ) -> None:
        self.run, self.frames = run, _Frames()
        self.session_id = ""
        self.last_seq = 0
        self._running, self._on_begun, self._on_ended = running, begun, ended
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._read())

    async def begun(self) -> None:
        """Wait for the first event.

        Raises:
            OmniError: the turn cannot begin, and why.
        """
        await asyncio.shield(self._first)

    def cancel(self) -> None:
        """Stop the turn: its last event will be ``agent.turn.cancelled``."""
        self.run.cancel()

    async def _read(self) -> None:
        last: Frame | None = None
        try:
            async for event in self.run:
                if not self.session_id:
                    self.session_id = event.session_id
                    self._on_begun(self)
                    self._settle(None)
                self.last_seq = event.seq or self.last_seq
                await self.frames.put(frame_of(event))
        except Exception as error:  # noqa: BLE001  # told to whoever waits, or as the last frame
            if not self._settle(error):
                last = error_frame(error)
        finally:
            self._settle(InternalError("the turn ended before it began"))
            self._running.end()
            self.frames.end(last)
            self._on_ended(self)

    def _settle(self, error: Exception | None) -> bool:
        """Tell who waits for the first event; False if that was told before."""
        if self._first.done():
            return False
        if error is None:
            self._first.set_result(None)
        else:
            self._first.set_exception(error)
            self._first.exception()  # looked at: whoever waited may have left
        return True


class TurnEvents:
    """The events of a turn for the client that began it.

    Args:
        turn: the turn; it has begun.
        detach: whether it goes on when the client leaves.
    """

    def __init__(self, turn: Turn, *, detach: bool) -> None:
        self._turn, self._detach = turn, detach

    async def batch(self) -> Sequence[Frame]:
        """What has come."""
        return await self._turn.frames.take()

    def cancel(self) -> None:
        """Stop the turn."""
        self._turn.cancel()

    async def aclose(self) -> None:
        """The client has left, or has all."""
        self._turn.frames.leave()
        if not self._detach:
            self._turn.cancel()


class Follower:
    """The events of a session for one client, from a place on.

    Args:
        agent: whose session it is.
        session_id: the session.
        after: the last `seq` that the client has.
        follow: whether to go on with what comes; otherwise it ends after what is there.
        ended: called when it is over.
    """

    def __init__(
        self, agent: Agent, session_id: str, after: int, *, follow: bool, ended: Callable[[Follower], None]
    ) -> None:
        self.session_id = session_id
        self._agent, self._seq, self._follow, self._on_ended = agent, after, follow, ended
        self._until: int | None = None
        self._frames = _Frames()
        self._task = asyncio.ensure_future(self._read())

    async def batch(self) -> Sequence[Frame]:
        """What has come."""
        return await self._frames.take()

    def end_at(self, seq: int) -> None:
        """End after this event; at once if the client has it."""
        self._until = seq
        if self._seq >= seq:
            self.cancel()

    def cancel(self) -> None:
        """End now."""
        self._task.cancel()

    async def aclose(self) -> None:
        """The client has left, or has all."""
        self._frames.leave()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        last: Frame | None = None
        try:
            events = self._agent.follow(self.session_id, self._seq) if self._follow else self._stored()
            async with aclosing(events):
                async for event in events:
                    await self._frames.put(frame_of(event))
                    self._seq = event.seq or self._seq
                    if self._until is not None and self._seq >= self._until:
                        return
        except Exception as error:  # noqa: BLE001  # told as the last frame
            last = error_frame(error)
        finally:
            self._frames.end(last)
            self._on_ended(self)

    async def _stored(self) -> AsyncGenerator[AgentEvent]:
        after = self._seq
        while page := await self._agent.sessions.events(self.session_id, after, PAGE):
            for event in page:
                yield event
                after = event.seq or after


def error_frame(error: Exception) -> Frame:
    """Why a stream that has begun ends early. Of a fault of ours only its name: the text may quote."""
    if not isinstance(error, OmniError):
        error = InternalError(f"a fault in the server: {type(error).__name__}")
    document: dict[str, Any] = {"error": error.to_dict()}
    return ("error", json.dumps(document, ensure_ascii=False))
