"""`omni run`, `sessions`, `mcp`, `replay` and `test-run`, as people and pipes see them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omni_bridge.testing import DemoServer

from tests.serving import Served
from tests.terminal import on_a_terminal


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


class Omni:
    """The Rust binary with a store of its own; the offline provider stands in OpenAI's place."""

    def __init__(self, program: Path, server: DemoServer, folder: Path, root: Path) -> None:
        self.program, self.folder, self.root = program, folder, root
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OPENAI_API_KEY": "demo",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OMNI_SESSIONS": str(folder / "sessions.db"),
            "OMNI_MODEL": "openai/demo",
        }
        time = {"command": str(root / ".tools/mcp/venv/bin/mcp-server-time")}
        self.servers = folder / "servers.json"
        self.servers.write_text(json.dumps({"mcpServers": {"time": time}}))

    def __call__(
        self, *words: object, code: int = 0, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *map(str, words)],
            env=self.env,
            cwd=self.folder,
            input="" if text is None else text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)

    def turn(self, *words: object) -> str:
        """Runs a turn and gives its session."""
        return self("run", *words).stderr.rstrip().rsplit("session ", 1)[1]


@pytest.fixture
def omni(release_dir: Path, server: DemoServer, tmp_path: Path, root: Path) -> Omni:
    return Omni(release_dir / "omni", server, tmp_path, root)


def test_the_answer_goes_to_standard_output_and_all_else_beside_it(omni: Omni):
    done = omni("run", "What time is it in Europe/Paris?", "--mcp", omni.servers, "--approve", "approve")
    assert done.stdout.startswith("The tool says: ")
    assert '"timezone": "Europe/Paris"' in done.stdout
    lines = done.stderr.splitlines()
    assert any("→ time__get_current_time" in line for line in lines)
    assert any("✓ time__get_current_time in " in line for line in lines)
    assert "2 rounds" in lines[-1]
    assert "session " in lines[-1]


def test_the_last_line_tells_tokens_cost_rounds_time_and_session_as_the_log_has_them(omni: Omni):
    # A model whose price is known; the offline provider answers in its place.
    done = omni("run", "Say hello.", "-m", "openai/gpt-5-mini")
    last = done.stderr.splitlines()[-1]
    said = re.fullmatch(
        r"omni: (\d+) tokens in, (\d+) out, \$(\d\.\d{6}), 1 round, (.+ m?s), session (\w+)", last
    )
    assert said, last
    log = [json.loads(line) for line in omni("sessions", "export", said[5]).stdout.splitlines()]
    [end] = [event["payload"] for event in log if event.get("event_type") == "agent.turn.completed"]
    usage = end["usage"]
    assert (int(said[1]), int(said[2])) == (usage["input_tokens"], usage["output_tokens"])
    assert min(usage["input_tokens"], usage["output_tokens"]) > 0
    assert said[3] == f"{usage['cost_usd']:.6f}" != "0.000000"
    time = end["duration_ms"]
    assert said[4] == (f"{time} ms" if time < 1000 else f"{time / 1000:.1f} s")


def test_json_prints_the_events_one_a_line(omni: Omni):
    done = omni("run", "Say hello.", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event_type"] == "session.created"
    assert events[-1]["event_type"] == "agent.turn.completed"
    assert done.stderr == ""


def test_what_is_piped_in_follows_the_task(omni: Omni):
    omni("run", "Sum this up", text="a long text")
    [session] = omni.json("sessions", "list")
    assert "a long text" in omni("sessions", "show", session["session_id"]).stdout


def test_unattended_what_must_be_asked_is_denied(omni: Omni):
    done = omni("run", "What time is it in Europe/Paris?", "--mcp", omni.servers)
    assert "was not run" in done.stderr


def test_a_session_is_resumed_forked_renamed_searched_exported_imported_and_deleted(omni: Omni):
    session = omni.turn("The password is swordfish.")
    omni("sessions", "resume", session, "Say hello.")
    shown = omni("sessions", "show", session).stdout
    assert shown.count("user: ") == 2
    fork = omni("sessions", "fork", session, "--at", "m1").stdout.strip()
    omni("sessions", "rename", fork, "Only the beginning")
    assert "Only the beginning" in omni("sessions", "list").stdout
    assert session in omni("sessions", "search", "swordfish").stdout
    log = omni.folder / "log.jsonl"
    log.write_text(omni("sessions", "export", session).stdout)
    copy = omni("sessions", "import", log).stdout.strip()
    first = omni("sessions", "show", session).stdout.splitlines()[1:]
    assert omni("sessions", "show", copy).stdout.splitlines()[1:] == first
    messages = omni.folder / "messages.json"
    messages.write_text(omni("sessions", "export", session, "--format", "openai").stdout)
    assert [message["role"] for message in json.loads(messages.read_text())] == ["user", "assistant"] * 2
    other = omni("sessions", "import", messages).stdout.strip()
    omni("sessions", "rm", session, fork, copy, other)
    assert omni.json("sessions", "list") == []
    assert b"swordfish" not in (omni.folder / "sessions.db").read_bytes()


def test_an_unknown_session_is_not_found_with_the_exit_code_of_it(omni: Omni):
    omni.turn("Say hello.")
    assert "not_found" in omni("sessions", "show", "s-nowhere", code=15).stderr


def test_servers_are_listed_and_checked(omni: Omni):
    assert omni.json("mcp", "list", "--mcp", omni.servers)[0]["name"] == "time"
    [checked] = omni.json("mcp", "check", "--mcp", omni.servers)
    assert checked["ok"] is True
    assert "get_current_time" in checked["tools"]
    bad = omni.folder / "bad.json"
    bad.write_text('{"mcpServers": {"gone": {"command": "no-such-program"}}}')
    failed = omni("mcp", "check", "--mcp", bad, code=23)
    assert "✗ gone: " in failed.stdout
    assert "no-such-program" in failed.stdout


def test_a_log_is_played_and_run_again(omni: Omni):
    session = omni.turn("What time is it in Europe/Paris?", "--mcp", omni.servers, "--approve", "approve")
    played = omni("replay", session, "--speed", "inf")
    assert played.stdout.startswith("The tool says: ")
    log = omni.folder / "log.jsonl"
    log.write_text(omni("sessions", "export", session).stdout)
    omni("test-run", log, "--approve", "approve")
    different = omni("test-run", log, "--approve", "deny", code=1)
    assert "+tool.execution.denied" in different.stdout.replace(" ", "")


def test_ctrl_c_cancels_and_leaves_a_valid_session(omni: Omni, server: DemoServer):
    argv = [omni.program, "run", "Go on.", "-m", "openai/demo-chunks-5000-pace-20"]
    with subprocess.Popen(
        argv, env=omni.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        run.stdout.read(1)
        run.send_signal(signal.SIGINT)
        _, notes = run.communicate(timeout=60)
    assert run.returncode == 130, notes
    server.wait_for(lambda s: s.open_streams == 0)
    session = notes.rstrip().rsplit("session ", 1)[1]
    assert "user: Go on." in omni("sessions", "show", session).stdout
    omni("sessions", "resume", session, "Say hello.")


def test_a_wrong_configuration_is_told_with_its_file_and_a_near_match(omni: Omni):
    (omni.folder / "agent.toml").write_text('model = "openai/demo"\nmax_tool_round = 3\n')
    failed = omni("run", "Say hello.", "--config", "agent.toml", code=11)
    assert "agent.toml" in failed.stderr
    assert "max_tool_rounds" in failed.stderr


def test_an_agent_works_through_litellm_and_says_so(omni: Omni):
    omni.env["OMNI_BRIDGE_PYTHON"] = sys.executable
    done = omni("run", "What time is it in Europe/Paris?", "--mcp", omni.servers, "--approve", "approve",
                "--engine", "litellm", "--json")  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ended = [one["payload"] for one in events if one["event_type"] == "assistant.stream.completed"]
    assert [one["engine"] for one in ended] == ["litellm", "litellm"]
    assert events[-1]["event_type"] == "agent.turn.completed"


def test_an_agent_works_through_a_bridge_service(omni: Omni, server: DemoServer):
    with Served(server) as service:
        # Its own environment names no provider: the service asks.
        for name in ("OPENAI_API_KEY", "OPENAI_API_BASE"):
            del omni.env[name]
        ask = ["run", "What time is it in Europe/Paris?", "--mcp", omni.servers, "--approve", "approve"]
        done = omni(*ask, "--bridge-url", service.url)
        assert '"timezone": "Europe/Paris"' in done.stdout
        (omni.folder / "agent.toml").write_text(f'model = "openai/demo"\nbridge_url = "{service.url}"\n')
        again = omni(*ask, "--config", "agent.toml")
        assert '"timezone": "Europe/Paris"' in again.stdout


def asked(omni: Omni, *words: str, answers: list[bytes]) -> tuple[int, str]:
    """The exit code and what the terminal showed to a person who decides so about tools."""
    return on_a_terminal(
        [str(omni.program), *words], omni.env, asked=b"[n]o: ", answers=answers, cwd=omni.folder
    )


def test_always_holds_for_the_sessions_that_follow(omni: Omni):
    words = ("run", "What time is it in Europe/Paris?", "--mcp", str(omni.servers))
    code, shown = asked(omni, *words, answers=[b"a\n"])
    assert (code, shown.count("[n]o: ")) == (0, 1), shown
    assert json.loads((omni.folder / "approvals.json").read_text()) == {"always": ["time__get_current_time"]}
    code, shown = asked(omni, *words, answers=[])
    assert (code, shown.count("[n]o: ")) == (0, 0), shown
    assert "The tool says: " in shown


def test_one_question_stands_on_the_terminal_at_a_time(omni: Omni):
    weather = {"command": sys.executable, "args": [str(omni.root / "tests/mcp_servers/weather.py")]}
    omni.servers.write_text(json.dumps({"mcpServers": {"w": weather}}))
    task = "What is the weather in Paris and Rome?"
    code, shown = asked(omni, "run", task, "--mcp", str(omni.servers), answers=[b"n\n", b"y\n"])
    assert code == 0, shown
    session = shown.rstrip().rsplit("session ", 1)[1]
    events = [json.loads(line) for line in omni("sessions", "show", session, "--json").stdout.splitlines()]
    calls = {
        event["call_id"]: json.loads(event["payload"]["call"]["function"]["arguments"])["city"]
        for event in events
        if event["event_type"] == "tool.execution.proposed"
    }
    decided = {
        calls[event["call_id"]]: event["event_type"].rsplit(".", 1)[1]
        for event in events
        if event["event_type"] in {"tool.execution.approved", "tool.execution.denied"}
    }
    first, second = (shown.index(f'"city": "{city}"', shown.index("omni: may")) for city in calls.values())
    assert first < second
    assert list(decided.values()) == ["denied", "approved"]
    assert list(decided) == list(calls.values())


def test_servers_are_checked_before_they_are_started_and_told_without_their_secrets(omni: Omni):
    servers = {
        "old": {"type": "sse", "url": "http://127.0.0.1:9/sse"},
        "none": {},
        "host": {"command": "sh"},
        "time": json.loads(omni.servers.read_text())["mcpServers"]["time"],
        "web": {"type": "http", "url": "http://me:sk-canary@127.0.0.1:9/mcp?key=sk-canary"},
    }
    omni.servers.write_text(json.dumps({"mcpServers": servers}))
    listed = omni("mcp", "list", "--mcp", omni.servers).stdout
    assert "web  http  http://127.0.0.1:9/mcp\n" in listed
    checked = omni("mcp", "check", "--mcp", omni.servers, "--json", code=23)
    told = {one["name"]: one for one in json.loads(checked.stdout)}
    assert told["time"]["ok"]
    assert "retired HTTP+SSE" in told["old"]["error"]["message"]
    assert 'give either "command"' in told["none"]["error"]["message"]
    assert 'is not "host"' in told["host"]["error"]["message"]
    assert "canary" not in listed + checked.stdout + checked.stderr


def test_the_options_of_a_store_and_a_configuration_stand_after_the_command_too(omni: Omni, tmp_path: Path):
    omni("run", "Say hello.", "--store", tmp_path / "other.db")
    (session,) = omni.json("sessions", "list", "--store", tmp_path / "other.db")
    assert session["turns"] == 1
    assert omni.json("sessions", "list") == []
    config = tmp_path / "agent.toml"
    config.write_text("[timeouts]\ntol = 5\n")
    done = omni("mcp", "check", "--config", config, code=11)
    assert f'{config}: timeouts.tol: there is no such field; did you mean "tool"?' in done.stderr
