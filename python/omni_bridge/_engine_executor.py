"""Threads for what would block the loop: imports, name look-ups, reading files.

The standard executor's threads are joined when the process exits, however long a name look-up takes. These
are not: they are daemons, and one that runs Python code at exit (an import takes seconds) is interrupted
first, because the interpreter kills threads that come back to it while it is being finalised.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from ._native import engine_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    _Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_P = ParamSpec("_P")
_R = TypeVar("_R")

THREADS: Final = 16
"""As many as the standard executor has on a small machine, with room for slow name look-ups."""


class DaemonExecutor(ThreadPoolExecutor):
    """An executor whose threads do not hold up the exit (asyncio wants this base)."""

    def __init__(self) -> None:
        super().__init__(max_workers=THREADS)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._guard = threading.Lock()
        self._workers = 0
        self._busy: dict[int, threading.Event] = {}
        self._closed = False

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        future: Future[_R] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError("the engine's threads have ended")
            self._jobs.put((future, fn, args, kwargs))
            if not self._free.acquire(blocking=False) and self._workers < THREADS:
                self._workers += 1
                threading.Thread(target=self._work, name="omni-worker", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as the base has it
        """Lets the threads end with their current jobs; waits for none, whatever `wait` says."""
        del wait, cancel_futures
        with self._guard:
            self._closed = True
            for _ in range(self._workers):
                self._jobs.put(None)

    def _work(self) -> None:
        me = threading.get_ident()
        while (job := self._jobs.get()) is not None:
            future, fn, args, kwargs = job
            if future.set_running_or_notify_cancel():
                self._busy[me] = threading.Event()
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
                    future.set_exception(error)
                else:
                    future.set_result(result)
                finally:
                    self._busy.pop(me).set()
            del job, future, fn, args, kwargs
            self._free.release()

    def interrupt(self, seconds: float) -> None:
        """Ends the jobs that run Python code, and waits for them at most so long."""
        deadline = time.monotonic() + seconds
        for ident, done in list(self._busy.items()):
            engine_interrupt(ident)
            done.wait(max(0.0, deadline - time.monotonic()))
