"""A program on a terminal of its own, and a person who types when he is asked."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def on_a_terminal(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    asked: bytes,
    answers: Sequence[bytes],
    cwd: Path | None = None,
) -> tuple[int, str]:
    """The exit code and what the terminal showed; each answer is typed when `asked` stands there again."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd or os.curdir)
        os.execve(argv[0], list(argv), dict(env))
    shown, typed = b"", 0
    while True:
        try:
            more = os.read(terminal, 1000)
        except OSError:  # how Linux says that nobody holds the other end
            break
        if not more:
            break
        shown += more
        if typed < len(answers) and shown.count(asked) > typed:
            os.write(terminal, answers[typed])
            typed += 1
    assert termios.tcgetattr(terminal)[3] & termios.ECHO, "the terminal is as it was"
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()
