"""The one asyncio loop of the process, on a daemon thread of its own, and the calls that run on it.

Rust starts it with the first call and speaks to it through an `EngineHub`: the loop watches the hub's
descriptor and takes everything that is to be done at once. A call is one task; its handler writes events to
an `EngineSink`, which gathers them in Rust and hands them over once a turn.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from ._engine_executor import DaemonExecutor
from ._native import __version__, engine_exit_hook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from ._native import EngineHub, EngineSink

    Handler = Callable[[dict[str, Any], EngineSink], Awaitable[None]]

CANCEL_GRACE: Final = 5.0
"""Seconds that a cancelled handler may take to close what it opened; then its call ends without it."""

STOP_GRACE: Final = 1.5
"""The same when the loop is to stop: the exit of a process waits for it."""

EXIT_GRACE: Final = 1.0
"""Seconds that the exit of a process waits for an import that it has interrupted."""

_log = logging.getLogger("omni_bridge.engine")
_executor: DaemonExecutor | None = None


class _Call:
    """One call on the loop."""

    __slots__ = ("cancelled_at", "giving_up", "sink", "started", "task")

    def __init__(self, sink: EngineSink) -> None:
        self.sink = sink
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.cancelled_at: float | None = None
        self.giving_up: asyncio.TimerHandle | None = None


class _Engine:
    """The loop's side: everything here runs on the loop's thread."""

    def __init__(self, hub: EngineHub) -> None:
        self.hub = hub
        # A plain selector loop, whatever policy the host has set: its behaviour is what the tests know.
        self.loop = asyncio.SelectorEventLoop()
        self.calls: dict[int, _Call] = {}
        self.orphans: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.stopper: asyncio.Task[None] | None = None

    def run(self) -> None:
        global _executor  # noqa: PLW0603 - one loop at a time, and the exit of the process must find its threads
        loop = self.loop
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(_report)
        loop.set_default_executor(executor := DaemonExecutor())
        _executor = executor
        try:
            loop.add_reader(self.hub.fileno(), self.wake)
            self.hub.began(loop.call_soon, _drain)
            loop.call_soon(self.wake)
            while not self.stopping:
                try:
                    loop.run_forever()
                except BaseException as error:  # noqa: BLE001, PERF203 - the loop outlives a callback's SystemExit
                    _report(
                        loop,
                        {"message": "a callback wanted to end the loop, which goes on", "exception": error},
                    )
        finally:
            loop.remove_reader(self.hub.fileno())
            asyncio.set_event_loop(None)
            loop.close()

    def wake(self) -> None:
        for what, which in self.hub.take():
            if what == "cancel":
                self.cancel(which)
            elif what == "resume":
                call = self.calls.get(which)
                if call is not None:
                    call.sink.resume()
            elif what == "stop":
                self.stopper = self.loop.create_task(self.stop())
            else:
                call = _Call(what)
                self.calls[what.id] = call
                call.task = self.loop.create_task(self.serve(call, which))

    async def serve(self, call: _Call, document: dict[str, Any]) -> None:
        """One call, from its first step to its last event."""
        last: dict[str, Any] | None = None
        call.started = True
        try:
            await (await _handler(document.get("op")))(document, call.sink)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is the end of its call alone
            last = _last_event(error, cancelled=call.cancelled_at is not None)
        self.end(call, last)

    def cancel(self, which: int) -> None:
        call = self.calls.get(which)
        if call is None or call.task is None or call.cancelled_at is not None:
            return
        call.cancelled_at = self.loop.time()
        call.task.cancel()
        if call.started:
            call.giving_up = self.loop.call_later(CANCEL_GRACE, self.give_up, call)
        else:
            # A task that is cancelled before its first step never runs: nobody else would end the call.
            self.end(call, {"type": "cancelled"})

    def give_up(self, call: _Call) -> None:
        """The handler does not end: its call does, without it."""
        if call.task is not None:
            self.orphans.add(call.task)
            call.task.add_done_callback(self.orphans.discard)
            call.task.cancel()
        call.cancelled_at = None
        self.end(call, {"type": "cancelled", "closed_ms": None})

    def end(self, call: _Call, last: dict[str, Any] | None) -> None:
        if self.calls.pop(call.sink.id, None) is None:
            return
        if call.giving_up is not None:
            call.giving_up.cancel()
        if last is not None and last["type"] == "cancelled" and call.cancelled_at is not None:
            last["closed_ms"] = round((self.loop.time() - call.cancelled_at) * 1000)
        call.sink.finish(last)

    async def stop(self) -> None:
        """Cancels every call and everything else that runs, then ends the loop."""
        calls = [call.task for call in self.calls.values() if call.task is not None]
        for which in list(self.calls):
            self.cancel(which)
        # Not the calls' own tasks: a second cancel would interrupt them while they close what they opened.
        others = asyncio.all_tasks() - {asyncio.current_task(), *calls}
        for task in others:
            task.cancel()
        if calls or others:
            await asyncio.wait([*calls, *others], timeout=STOP_GRACE)
        litellm = sys.modules.get("omni_bridge._litellm")
        if litellm is not None:
            try:
                await asyncio.wait_for(litellm.aclose(), STOP_GRACE / 2)
            except Exception as error:  # noqa: BLE001 - the loop ends, whatever its connections do
                _report(self.loop, {"message": "the pool of connections did not close", "exception": error})
        for call in list(self.calls.values()):
            self.give_up(call)
        self.stopping = True
        self.loop.stop()


async def _drain(sink: EngineSink) -> None:
    while sink.full:
        sink.waiter = waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            sink.waiter = None


def _last_event(error: BaseException, *, cancelled: bool) -> dict[str, Any]:
    from omni_bridge.errors import EngineUnavailableError, InternalError, OmniError  # noqa: PLC0415 - only when needed

    if isinstance(error, asyncio.CancelledError) and cancelled:
        return {"type": "cancelled"}
    if isinstance(error, OmniError):
        return {"type": "error", "error": error.to_dict()}
    if isinstance(error, asyncio.CancelledError):
        error = EngineUnavailableError("the call was stopped from inside the engine, not by its caller")
        return {"type": "error", "error": error.to_dict()}
    # The text of an unknown exception may carry a prompt or a key: its type and place have to do.
    place = _place(error)
    text = f"{type(error).__name__} in the engine{place}"
    if place.startswith(" (omni_bridge."):
        text += ": this is a bug; please report it with what was asked"
    return {"type": "error", "error": InternalError(text).to_dict()}


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" ({trace.tb_frame.f_globals.get('__name__', '?')}.{code.co_name}, line {trace.tb_lineno})"


async def _echo(document: dict[str, Any], sink: EngineSink) -> None:
    """Answers `data` back, in `chunks` events if that is given; for tests and benchmarks of the crossing."""
    data = document.get("data")
    chunks = document.get("chunks")
    if chunks is None:
        sink.emit({"type": "echo", "data": data})
        return
    every = document.get("yield_every")
    for n in range(chunks):
        if sink.emit({"type": "echo", "n": n, "data": data}):
            await sink.drain()
        elif every and n % every == every - 1:
            await asyncio.sleep(0)


HANDLERS: Final[dict[str, Handler]] = {"echo": _echo}
"""The ops by name. Those of LiteLLM (`_litellm.HANDLERS`) are added when one of them is first asked for."""


async def _handler(op: object) -> Handler:
    name = str(op)
    handler = HANDLERS.get(name)
    if handler is None:
        # Not on the loop: an import that takes long would hold up every other call.
        module = "_engine_debug" if name == "debug" else "_litellm"
        loop = asyncio.get_running_loop()
        imported = await loop.run_in_executor(None, _import, f"omni_bridge.{module}")
        HANDLERS.update(imported.HANDLERS)
        handler = HANDLERS.get(name)
    if handler is None:
        from omni_bridge.errors import UnsupportedError  # noqa: PLC0415 - only when needed

        raise UnsupportedError(
            f"the engine knows no op {name[:40]!r}; it knows {', '.join(sorted(HANDLERS))}"
        )
    return handler


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        from omni_bridge.errors import EngineUnavailableError  # noqa: PLC0415 - only when needed

        raise EngineUnavailableError(
            f"{error.name or module} is missing or broken in the environment of {sys.executable} ({error}): "
            f"{sys.executable} -m pip install --force-reinstall omni-bridge=={__version__}"
        ) from error


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong outside of any call: kind and place only, for a text may carry a prompt or a key."""
    if loop.is_closed():
        return  # only tasks that ignored their cancel when it ended, and that has been dealt with
    error = context.get("exception")
    what = f"{type(error).__name__}{_place(error)}" if isinstance(error, BaseException) else "no exception"
    _log.warning("%s: %s", context.get("message", "in the engine's loop"), what)


def quiet() -> None:
    """The process exits: interrupts what still runs Python code on our threads. Rust calls it."""
    if _executor is not None:
        _executor.interrupt(EXIT_GRACE)


def start(hub: EngineHub) -> None:
    """Starts the loop's thread. Called once for each loop, by Rust."""
    engine_exit_hook()
    threading.Thread(target=_main, args=(hub,), name="omni-engine", daemon=True).start()


def _main(hub: EngineHub) -> None:
    reason: str | None = None
    try:
        _Engine(hub).run()
    except BaseException as error:  # noqa: BLE001 - the calls are told, as there is nobody else
        reason = f"{error!r}{_place(error)}"
    finally:
        hub.over(reason)
