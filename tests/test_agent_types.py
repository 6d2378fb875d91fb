"""The Python types of an agent's events, generated from the Rust types; documents become frozen events."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from omni_bridge import agent_types

ROOT = Path(__file__).resolve().parent.parent
EVENTS = json.loads((ROOT / "rust/agent/schema/events.json").read_text())["$defs"]
VARIANTS = EVENTS["AgentEvent"]["oneOf"]
TYPES = [variant["properties"]["event_type"]["const"] for variant in VARIANTS]


def document(event_type: str, **more: Any) -> dict[str, Any]:
    head = {"v": 1, "timestamp_ms": 5, "session_id": "s"}
    return {**head, "event_type": event_type, "payload": {"some": "thing"}, **more}


def test_the_literal_the_union_and_the_schema_name_the_same_events():
    classes = [get_args(one.__annotations__["event_type"]) for one in get_args(agent_types.AgentEventDict)]
    assert list(get_args(agent_types.EventType)) == TYPES
    assert len(classes) == len(get_args(agent_types.AgentEvent)) == len(TYPES)


@pytest.mark.parametrize("event_type", TYPES)
def test_a_document_becomes_a_frozen_event(event_type: str):
    event = agent_types.event_of(document(event_type, seq=3, novel="of a later version"))
    assert (event.event_type, event.seq, event.turn_id, event.payload) == (
        event_type,
        3,
        None,
        {"some": "thing"},
    )
    assert type(event) in get_args(agent_types.AgentEvent)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.seq = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    "bad", [{}, document("agent.turn.begun"), document("log", payload=None), {"event_type": 1}]
)
def test_what_is_no_event_is_refused_by_name(bad: dict[str, Any]):
    with pytest.raises(ValueError, match="no event that this version knows"):
        agent_types.event_of(bad)


def test_a_stale_file_fails_the_check_with_the_command_that_mends_it(tmp_path: Path):
    for name in ["gen_agent_types.py", "agent_schema.py", "agent_python.py", "_written.py"]:
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / name).write_text((ROOT / "tools" / name).read_text())
    for path in ["rust/agent/schema", "python/omni_bridge", "docs/reference"]:
        (tmp_path / path).mkdir(parents=True)
    for path in ["rust/agent/schema/events.json", "rust/agent/schema/config.json", "pyproject.toml"]:
        (tmp_path / path).write_text((ROOT / path).read_text())

    def run(mode: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/gen_agent_types.py", mode]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    stale = run("--check")
    assert stale.returncode == 1
    assert stale.stdout.count("mend it with: python tools/gen_agent_types.py --write") == 3
    assert run("--write").returncode == 0
    assert run("--check").returncode == 0
    for path in [
        "python/omni_bridge/agent_types.py",
        "rust/agent/schema/events.ts",
        "docs/reference/agent-events.md",
    ]:
        assert (tmp_path / path).read_text() == (ROOT / path).read_text()
