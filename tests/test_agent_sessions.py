"""docs/reference/agent-sessions.md is what a real store holds and answers, and goes stale with its source."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import omni_bridge
import pytest
from omni_bridge import Agent
from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent
PAGE = "docs/reference/agent-sessions.md"
SOURCES = [
    "rust/agent/src/session.rs",
    "rust/agent/src/protocol.rs",
    *(f"rust/agent/src/session/{name}.rs" for name in ("schema", "rebuild", "transfer")),
]


def section(heading: str) -> dict[str, str]:
    """The rows of a section's table: the first cell without its marks, and the second."""
    text = (ROOT / PAGE).read_text()
    found = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return dict(re.findall(r"^\| `(\w+)\??` \| ([^|]+) \|", found[1], re.MULTILINE))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A store with a session, its fork, and what was answered of them."""
    path = tmp_path_factory.mktemp("sessions") / "s.db"

    async def main(base: str) -> dict[str, Any]:
        omni_bridge.register_provider("sessions-page", "openai_chat", base)
        async with Agent("sessions-page/demo", session_store=str(path), titles=False) as agent:
            run = agent.run("The password is swordfish.")
            await run.outcome()
            assert run.session_id is not None
            fork = await agent.sessions.fork(run.session_id, "m1")
            [message, *_] = await agent.sessions.tree(run.session_id)
            [hit, *_] = await agent.sessions.search("swordfish")
            return {
                "SessionInfo": fork,
                "StoredMessage": message,
                "SearchHit": hit,
                "TurnUsage": fork["usage"],
                "ForkOrigin": fork["forked_from"],
            }

    with DemoServer() as server:
        return path, asyncio.run(main(server.api_base))


@pytest.mark.parametrize("name", ["SessionInfo", "StoredMessage", "SearchHit", "TurnUsage", "ForkOrigin"])
def test_a_document_has_the_fields_of_the_page(store: tuple[Path, dict[str, Any]], name: str):
    assert list(section(name)) == list(store[1][name])


@pytest.mark.parametrize("name", ["events", "sessions", "messages", "leases"])
def test_a_table_has_the_columns_of_the_page(store: tuple[Path, dict[str, Any]], name: str):
    file = sqlite3.connect(f"file:{store[0]}?mode=ro", uri=True)
    columns = {row[1]: row[2] for row in file.execute(f"PRAGMA table_info({name})")}
    file.close()
    said = {column: kind.strip("`").split()[0] for column, kind in section(f"`{name}`").items()}
    assert said == columns


def test_the_tables_of_the_source_are_made_with_what_is_said_of_them():
    source = (ROOT / "rust/agent/src/session/schema.rs").read_text()
    made = sqlite3.connect(":memory:")
    for name, body in re.findall(r"CREATE TABLE (\w+) (\(.*?\n +\)) STRICT", source, re.DOTALL):
        made.execute(f"CREATE TABLE {name} {body}")
        columns = [row[1] for row in made.execute(f"PRAGMA table_info({name})")]
        assert columns == list(section(f"`{name}`"))
    made.close()


def test_a_stale_page_fails_the_check_with_the_command_that_mends_it(tmp_path: Path):
    for path in ["tools/gen_agent_sessions.py", "tools/_written.py", *SOURCES]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    (tmp_path / PAGE).parent.mkdir(parents=True)

    def run(mode: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/gen_agent_sessions.py", mode]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    stale = run("--check")
    assert stale.returncode == 1
    assert "mend it with: python tools/gen_agent_sessions.py --write" in stale.stdout
    assert run("--write").returncode == 0
    assert run("--check").returncode == 0
    assert (tmp_path / PAGE).read_text() == (ROOT / PAGE).read_text()
    schema = tmp_path / "rust/agent/src/session/schema.rs"
    schema.write_text(schema.read_text().replace("leaf TEXT, --", "tip TEXT, --"))
    assert "+| `tip` | `TEXT`" in run("--check").stdout
    schema.write_text(schema.read_text().replace(" -- the message at the active end", ""))
    untold = run("--check")
    assert untold.returncode == 1
    assert "nothing says what this column of sessions is: tip TEXT," in untold.stdout
