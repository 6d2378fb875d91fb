"""Keeps what one thread prints from the terminal, and nothing of what the others print.

`contextlib.redirect_stdout` is for the whole process: what a program prints while LiteLLM is being imported
on a thread of ours would be lost.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class _Muted:
    """`stdout`, but silent for one thread."""

    def __init__(self, stdout: Any) -> None:  # noqa: ANN401 - whatever the program has put there
        self.stdout = stdout
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return len(text)
        return self.stdout.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the stream's own
        return getattr(self.stdout, name)


@contextlib.contextmanager
def mute_this_thread() -> Generator[None]:
    """What this thread prints inside goes nowhere."""
    muted = _Muted(sys.stdout)
    sys.stdout = muted  # pyright: ignore[reportAttributeAccessIssue] - as print() and everybody else uses it, it is one
    try:
        yield
    finally:
        # Unless the program has put another one there meanwhile.
        if sys.stdout is muted:
            sys.stdout = muted.stdout
