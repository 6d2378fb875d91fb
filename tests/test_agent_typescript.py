"""The TypeScript types of an agent's events: they compile, and what a real run says is of these types."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools/mcp"

PROGRAM = """\
import type { AgentEvent, EventType } from "./events";

const events: AgentEvent[] = EVENTS;

function line(event: AgentEvent): string {
  switch (event.event_type) {
    case "assistant.stream.chunk":
      return event.payload.text;
    case "tool.execution.proposed":
      return `${event.call_id}: ${event.payload.call.name}`;
    case "agent.turn.completed":
      return `${event.seq}`;
    default: {
      const other: EventType = event.event_type;
      return other;
    }
  }
}

export const lines: string[] = events.map(line);
"""


def compiled(folder: Path, events: list[object]) -> subprocess.CompletedProcess[str]:
    (folder / "events.ts").write_text((ROOT / "rust/agent/schema/events.ts").read_text())
    (folder / "program.ts").write_text(PROGRAM.replace("EVENTS", json.dumps(events, indent=1)))
    compiler = [TOOLS / "bin/node", TOOLS / "node_modules/typescript/bin/tsc"]
    flags = ["--noEmit", "--strict", "--target", "es2022", "--ignoreConfig", "program.ts"]
    return subprocess.run(
        [*compiler, *flags], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def events(release_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What a turn with a tool call and a turn after it print."""
    folder = tmp_path_factory.mktemp("typescript")
    servers = folder / "servers.json"
    time = {"command": str(TOOLS / "venv/bin/mcp-server-time")}
    servers.write_text(json.dumps({"mcpServers": {"time": time}}))
    task = "What time is it in Europe/Paris?"
    words = ["run", task, "--mcp", str(servers), "--approve", "approve", "--json"]
    with DemoServer() as server:
        env = {
            "HOME": str(folder),
            "OPENAI_API_KEY": "demo",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OMNI_MODEL": "openai/demo",
        }
        done = subprocess.run(
            [release_dir / "omni", *words], env=env, cwd=folder, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_events_of_a_real_run_are_of_the_generated_types(events: list[object], tmp_path: Path):
    done = compiled(tmp_path, events)
    assert done.returncode == 0, done.stdout
    assert len(events) > 10


def test_an_event_of_another_shape_does_not_compile(events: list[object], tmp_path: Path):
    wrong = json.loads(json.dumps(events))
    del wrong[-1]["session_id"]
    done = compiled(tmp_path, wrong)
    assert done.returncode != 0
    assert "session_id" in done.stdout
