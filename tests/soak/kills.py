"""`kill -9` at random moments of an agent's run, then on in the same session.

Nothing that was acknowledged (printed as a durable event) is missing or there twice, and what the next turn
sends is a valid list of messages.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent.parent
OMNI = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/omni"
PER_SESSION = 8
"""Kills in one session; then a turn that nobody kills, and its messages are checked."""


@dataclass
class Kills:
    """What came of a run."""

    kills: int = 0
    acknowledged: int = 0
    """Durable events that the killed processes had printed."""
    in_a_turn: int = 0
    """Kills that came after a turn's first event and before its last."""
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises AssertionError if something was lost, doubled or left invalid."""
        assert not self.wrong, self.wrong[:5]
        assert self.in_a_turn >= self.kills // 10, (
            f"only {self.in_a_turn} of {self.kills} kills came within a turn"
        )


def measure(kills: int, seed: int = 1, tell: Callable[[str], None] = lambda line: None) -> Kills:
    """Kills `kills` turns, each with a call of an MCP server's tool, of sessions in one store."""
    moments = random.Random(seed)
    found = Kills()
    with DemoServer(pace=120) as server, tempfile.TemporaryDirectory() as folder:
        one = _Sessions(Path(folder), server)
        # How long a whole turn takes here is measured, so that the moments lie within it on any machine.
        begin = time.monotonic()
        one.whole(None)
        whole = time.monotonic() - begin
        session_id: str | None = None
        within = 0
        while found.kills < kills:
            seen = one.killed(session_id, moments.uniform(0.35 * whole, whole))
            found.kills += 1
            within += 1
            session_id = session_id or next((event["session_id"] for event in seen), None)
            durable = [event for event in seen if event.get("seq") is not None]
            found.acknowledged += len(durable)
            kinds = [event["event_type"] for event in durable]
            found.in_a_turn += "agent.turn.started" in kinds and "agent.turn.completed" not in kinds
            if session_id is not None:
                found.wrong += one.log(session_id, durable)
                if within >= PER_SESSION:
                    one.whole(session_id)
                    found.wrong += one.log(session_id, []) + one.messages(session_id)
                    session_id, within = None, 0
            if found.kills % 50 == 0:
                wrong = len(found.wrong)
                tell(f"kills: {found.kills}, {found.acknowledged} events acknowledged, {wrong} wrong")
    return found


class _Sessions:
    """The command line on one store, and what its sessions held when they were last looked at."""

    def __init__(self, folder: Path, server: DemoServer) -> None:
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OPENAI_API_KEY": "demo",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OMNI_SESSIONS": str(folder / "sessions.db"),
        }
        self.servers = folder / "servers.json"
        echo = {
            "command": sys.executable,
            "args": ["-S", "-E", str(ROOT / "tests/mcp_servers/bad.py"), "good"],
        }
        self.servers.write_text(json.dumps({"mcpServers": {"tools": echo}}))
        self.before: dict[str, list[Any]] = {}

    def argv(self, session_id: str | None) -> list[str]:
        argv = [str(OMNI), "run", "Please echo this.", "-m", "openai/demo", "--json"]
        argv += ["--approve", "approve", "--mcp", str(self.servers)]
        return [*argv, "--session", session_id] if session_id else argv

    def killed(self, session_id: str | None, after: float) -> list[Any]:
        """Begins a turn, kills it, and gives the events that it had printed."""
        argv = self.argv(session_id)
        with subprocess.Popen(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
            try:
                printed, _ = run.communicate(timeout=after)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                printed, _ = run.communicate()
        # A line without an end was not acknowledged.
        return [json.loads(line) for line in printed.split(b"\n")[:-1]]

    def whole(self, session_id: str | None) -> None:
        """A turn that nobody kills."""
        subprocess.run(
            self.argv(session_id), env=self.env, stdout=subprocess.DEVNULL, check=True, timeout=120
        )

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            [OMNI, *words], env=self.env, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    def log(self, session_id: str, acknowledged: list[Any]) -> list[str]:
        """What is wrong with a session's log."""
        stored = [
            json.loads(line) for line in self.ask("sessions", "show", session_id, "--json").splitlines()
        ]
        wrong: list[str] = []
        if [event["seq"] for event in stored] != list(range(1, len(stored) + 1)):
            wrong.append(f"{session_id}: the log has gaps or doubles")
        before = self.before.get(session_id, [])
        if stored[: len(before)] != before:
            wrong.append(f"{session_id}: what was stored before has changed")
        wrong += [
            f"{session_id}: event {event['seq']} was acknowledged and is not there"
            for event in acknowledged
            if event not in stored[event["seq"] - 1 : event["seq"]]
        ]
        self.before[session_id] = stored
        return wrong

    def messages(self, session_id: str) -> list[str]:
        """What is wrong with the messages that a provider would be sent."""
        messages = json.loads(self.ask("sessions", "export", session_id, "--format", "openai"))
        waiting: list[str] = []
        for message in messages:
            if message["role"] == "tool":
                if message["tool_call_id"] not in waiting:
                    return [f"{session_id}: a result without its call"]
                waiting.remove(message["tool_call_id"])
                continue
            if waiting:
                return [f"{session_id}: a call without its result"]
            waiting = [call["id"] for call in message.get("tool_calls") or []]
        return [f"{session_id}: the last calls have no result"] if waiting else []
