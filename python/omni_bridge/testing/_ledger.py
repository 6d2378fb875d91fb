"""What a test server knows about itself, and how a test in another thread waits for it to change."""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._connection import Connection
    from ._received import Received

__all__ = ["Ledger"]

T = TypeVar("T")


class Ledger:
    """Counters and the request log. The server's thread writes, any thread reads and waits.

    Args:
        keep: how many of the latest requests the log keeps.
    """

    def __init__(self, keep: int) -> None:
        self.log: collections.deque[Received] = collections.deque(maxlen=keep)
        self.connections: set[Connection] = set()
        self.failures: list[BaseException] = []
        self.connections_total = 0
        self.requests_total = 0
        self.open_streams = 0
        self.peak_streams = 0
        self._condition = threading.Condition()
        self._waiters = 0

    # --- the server's thread

    def changed(self) -> None:
        """Wake those who wait; almost free when nobody does."""
        if self._waiters:
            with self._condition:
                self._condition.notify_all()

    def take_number(self) -> int:
        """The next request's number, from 1 on."""
        self.requests_total += 1
        return self.requests_total

    def opened(self, connection: Connection) -> None:
        """A socket was accepted."""
        self.connections.add(connection)
        self.changed()

    def closed(self, connection: Connection) -> None:
        """A socket is gone."""
        self.connections.discard(connection)
        self.changed()

    def received(self, received: Received) -> None:
        """A request is there whole."""
        self.log.append(received)
        self.changed()

    def begun(self) -> None:
        """The head of an answer is about to be written."""
        self.open_streams += 1
        self.peak_streams = max(self.peak_streams, self.open_streams)

    def ended(self, received: Received) -> None:
        """A handler is done, whether its answer is whole or not."""
        if received.status is not None:
            self.open_streams -= 1
        self.changed()

    # --- any thread

    def wait(self, condition: Callable[[], T], timeout: float, describe: Callable[[], str]) -> T:
        """Block until the condition is true; TimeoutError with the description after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._condition:
            self._waiters += 1
            try:
                while not (value := condition()):
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError(
                            f"the condition did not come true within {timeout} s: {describe()}"
                        )
                    self._condition.wait(left)
                return value
            finally:
                self._waiters -= 1
