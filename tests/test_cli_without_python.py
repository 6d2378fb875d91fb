"""The `omni` binary where there is no Python: all but LiteLLM, `serve` and `demo-server` works.

The environment of each command has nothing but a home of its own and a `PATH` that leads nowhere.
"""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from omni_bridge.testing import CUTS, Cassette, DemoServer, FaultServer, ReplayServer
from omni_bridge.types import ErrorCode

from tests.fault_table import EXPECTED, TEXT, WIRES
from tests.replay import own

LONG = 60.0
CANARY = "canary-of-this-machine-0123456789"
ENGINE_UNAVAILABLE = 25
# The model, the variables of the key and of the base, and the base's path.
PROVIDERS = {
    "openai": ("gpt-5-mini", "OPENAI_API_KEY", "OPENAI_API_BASE", "/v1"),
    "anthropic": ("claude-haiku-4-5", "ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE", ""),
    "gemini": ("gemini-2.5-flash", "GEMINI_API_KEY", "GEMINI_API_BASE", "/v1beta"),
}


class Machine:
    """A machine without Python: the binary, a home, and no more."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary, self.home = binary, home
        (home / "bin").mkdir(parents=True)
        self.environment = {"HOME": str(home), "PATH": str(home / "bin"), "OMNI_KEYCHAIN": "off"}

    def omni(
        self, *words: str | Path, stdin: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [self.binary, *map(str, words)],
            cwd=self.home,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
            **given,
        )
        assert CANARY not in done.stdout + done.stderr
        return done

    def chat(self, *words: str, stdin: str | None = None, **variables: str) -> str:
        """What `omni chat` prints, with nothing to complain of."""
        done = self.omni("chat", *words, stdin=stdin, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def machine(release_dir: Path, tmp_path: Path) -> Machine:
    return Machine(release_dir / "omni", tmp_path / "home")


@pytest.fixture(scope="module")
def provider() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
def server(provider: DemoServer) -> DemoServer:
    """The offline provider, with an empty log."""
    provider.forget()
    return provider


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultServer]:
    with FaultServer(drip=0.001) as server:
        yield server


def key_and_base(server: DemoServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": CANARY, "OPENAI_API_BASE": server.api_base}


def test_there_is_no_python_on_this_machine(machine: Machine):
    """Otherwise the other tests would say nothing."""
    assert not list((machine.home / "bin").iterdir())
    assert {"OMNI_BRIDGE_PYTHON", "VIRTUAL_ENV", "PYTHONPATH"}.isdisjoint(machine.environment)
    assert "libpython" not in subprocess.run(["ldd", machine.binary], capture_output=True, text=True).stdout


def test_a_chat_is_answered_streamed_and_not(machine: Machine, server: DemoServer):
    streamed = machine.chat("Say hello.", "-m", "openai/demo", **key_and_base(server))
    whole = machine.chat("Say hello.", "-m", "openai/demo", "--no-stream", **key_and_base(server))
    assert streamed == whole
    assert streamed.startswith("You said: Say hello.")
    assert [bool(one.json().get("stream")) for one in server.requests] == [True, False]
    assert {one.headers["authorization"] for one in server.requests} == {f"Bearer {CANARY}"}


def test_what_is_piped_in_is_asked_with_the_options(machine: Machine, server: DemoServer):
    notes = machine.home / "notes.md"
    notes.write_text("# Notes")
    words = ["Sum up", "-m", "openai/demo", "--system", "Be brief.", "--file", str(notes), "--set", "seed=7"]
    machine.chat(*words, stdin="one\ntwo\n", **key_and_base(server))
    body = server.last.json()
    texts = [part["text"] for part in body["messages"][1]["content"]]
    assert texts == ["notes.md:\n\n# Notes", "Sum up\n\none\ntwo\n"]
    assert (body["messages"][0]["content"], body["seed"]) == ("Be brief.", 7)
    machine.chat("-m", "openai/demo", stdin="all of it", **key_and_base(server))
    assert server.last.json()["messages"] == [{"role": "user", "content": "all of it"}]


def test_json_is_the_reply_and_the_events(machine: Machine, server: DemoServer):
    reply = json.loads(machine.chat("hi", "-m", "openai/demo", "--json", **key_and_base(server)))
    assert (reply["engine"], reply["finish_reason"]) == ("native", "stop")
    lines = machine.chat("hi", "-m", "openai/demo", "--json", "--stream", **key_and_base(server))
    events = [json.loads(line) for line in lines.splitlines()]
    assert [events[0]["type"], events[-1]["type"]] == ["start", "done"]
    assert events[-1]["reply"]["content"] == reply["content"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_key_alone_chooses_the_provider_and_verbose_says_who_answered(
    machine: Machine, faults: FaultServer, name: str
):
    model, key, base, suffix = PROVIDERS[name]
    variables = {key: CANARY, base: faults.url_of("ok") + suffix}
    done = machine.omni("-v", "chat", "hi", **variables)
    assert (done.returncode, done.stdout) == (0, TEXT + "\n"), done.stderr
    assert f"{key} is set: asking {name}/{model}" in done.stderr
    assert "engine native" in done.stderr


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", EXPECTED)
def test_what_goes_wrong_has_its_exit_code_and_one_line(
    machine: Machine, faults: FaultServer, wire: str, fault: str
):
    model, suffix = WIRES[wire]
    _, key, base, _ = PROVIDERS[model.split("/")[0]]
    variables = {key: CANARY, base: faults.url_of(fault) + suffix}
    done = machine.omni("chat", "hi", "-m", model, "--set", "retry=0", **variables)
    code, _ = EXPECTED[fault]
    assert done.returncode == 11 + get_args(ErrorCode).index(code), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"omni: {code}: ")


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("endpoint", own.WIRES)
def test_an_answer_is_read_however_its_bytes_are_cut(machine: Machine, endpoint: str, cut: str):
    cases = [
        one
        for one in own.own_cases()
        if one.name.endswith(" text streamed") and one.file == own.FILES[endpoint]
    ]
    kind = "streamGenerateContent" if endpoint == "generateContent" else endpoint
    (case,) = [one for one in cases if one.endpoint == kind]
    model = {"responses": "openai/responses/gpt-5", "chat/completions": "openai/gpt-4o"}.get(
        endpoint, "/".join((case.file, PROVIDERS[case.file][0]))
    )
    _, key, base, suffix = PROVIDERS[case.file]
    with ReplayServer([Cassette("own", case.file, [case.interaction])], cut=cut) as replay:
        variables = {key: CANARY, base: replay.url_of(0) + suffix}
        reply = machine.chat("hi", "-m", model, "--json", "--set", "max_tokens=50", "--stream", **variables)
        assert replay.problems == []
    last = json.loads(reply.rstrip("\n").split("\n")[-1])
    assert (last["type"], last["reply"]["content"]) == ("done", own.HARD)


def test_models_come_from_the_catalogue_and_from_a_provider(machine: Machine, server: DemoServer):
    listed = machine.omni("models", "gpt-5-mini", "--provider", "openai", "--tools", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {one["provider"] for one in json.loads(listed.stdout)} == {"openai"}
    table = machine.omni("models", "--provider", "anthropic", "--max-price", "100")
    assert (table.returncode, table.stdout.splitlines()[0].split()[0]) == (0, "MODEL")
    assert len(table.stdout.splitlines()) > 1
    live = machine.omni("models", "--live", "--provider", "openai", **key_and_base(server))
    assert (live.returncode, live.stderr) == (0, "")
    assert "demo" in live.stdout


def test_a_provider_of_ones_own_needs_no_python(machine: Machine, server: DemoServer):
    (machine.home / "omni.toml").write_text(
        '[providers.acme]\nprotocol = "openai_chat"\nkey_env = "ACME_API_KEY"\n'
        f'base_url = "{server.api_base}"\n'
    )
    assert machine.chat("hi", "-m", "acme/fast", ACME_API_KEY=CANARY).startswith("You said: hi")
    assert server.last.headers["authorization"] == f"Bearer {CANARY}"


def test_keys_are_kept_listed_used_and_removed(machine: Machine, server: DemoServer):
    done = machine.omni("auth", "set", "openai", "--file", stdin=CANARY + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    file = Path(done.stdout.rpartition(" ")[2].strip())
    assert file.is_relative_to(machine.home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = machine.omni("auth", "list")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "openai  file\n", "")
    machine.chat("hi", "-m", "openai/demo", OPENAI_API_BASE=server.api_base)
    assert server.last.headers["authorization"] == f"Bearer {CANARY}"
    removed = machine.omni("auth", "remove", "openai")
    assert (removed.returncode, removed.stderr) == (0, "")
    asked = machine.omni("chat", "hi", "-m", "openai/demo", OPENAI_API_BASE=server.api_base)
    assert asked.returncode == 12
    assert "omni auth set openai" in asked.stderr


def test_a_missing_key_is_named_as_the_providers_own(machine: Machine):
    for model, name in [
        ("openai/gpt-5", "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-2.5-flash", "GEMINI_API_KEY"),
        ("mistral/mistral-small-latest", "MISTRAL_API_KEY"),
    ]:
        # Where LiteLLM could find other credentials the call would be left to it.
        done = machine.omni("chat", "hi", "-m", model, "--engine", "native")
        assert done.returncode == 12, done.stderr
        assert f"set {name}, or run `omni auth set {model.split('/')[0]}`" in done.stderr


def test_doctor_names_the_keys_who_is_asked_all_the_same_and_what_is_missing(machine: Machine):
    machine.omni("auth", "set", "groq", "--file", stdin=CANARY)
    variables = {"OPENAI_API_KEY": CANARY, "COHERE_API_KEY": CANARY[::-1]}
    report = machine.omni("doctor", "--json", **variables)
    assert report.returncode == ENGINE_UNAVAILABLE
    found = json.loads(report.stdout)
    assert found["keys"] == ["COHERE_API_KEY", "OPENAI_API_KEY"]
    assert found["native"] == ["openai", "groq"]
    assert found["kept"] == [{"provider": "groq", "source": "file"}]
    (problem,) = found["problems"]
    assert "Python" in problem["what"]
    assert "Install Python" in problem["mend"]
    page = machine.omni("doctor", **variables)
    assert page.returncode == ENGINE_UNAVAILABLE
    assert "Without it the native engine still asks openai, groq." in page.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["chat", "hi", "-m", "openai/gpt-4o", "--engine", "litellm"],
        ["chat", "hi", "-m", "cohere/command-r"],
        ["serve"],
        ["serve", "--help"],
        ["demo-server", "--port", "0"],
        ["catalogue", "check"],
        ["catalogue", "update"],
    ],
    ids=" ".join,
)
def test_what_needs_python_says_so_and_how_to_get_it(machine: Machine, words: list[str]):
    done = machine.omni(*words, OPENAI_API_KEY=CANARY)
    assert (done.returncode, done.stdout) == (ENGINE_UNAVAILABLE, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("omni: engine_unavailable: no Python was found: ")
    assert "Install Python 3.10 or newer with the package omni-bridge" in said
    assert "bridge_url" in said
    assert not list(machine.home.rglob("catalogue*"))


@pytest.mark.parametrize("command", ["serve", "demo-server"])
def test_a_python_without_the_package_is_told_with_what_to_install(
    machine: Machine, tmp_path: Path, command: str
):
    bare = tmp_path / "venv"
    venv.create(bare, with_pip=False)
    done = machine.omni(command, OMNI_BRIDGE_PYTHON=str(bare / "bin/python"))
    assert (done.returncode, done.stdout) == (ENGINE_UNAVAILABLE, "")
    (said,) = done.stderr.splitlines()
    assert "has no package omni_bridge" in said
    assert "-m pip install omni-bridge==" in said


def test_why_a_call_was_left_to_litellm_is_told_with_it(machine: Machine):
    done = machine.omni("chat", "hi", "-m", "cohere/command-r")
    assert "the native engine does not ask cohere" in done.stderr
    no_engine = machine.omni("chat", "hi", "-m", "cohere/command-r", "--engine", "native")
    assert no_engine.returncode == 26
    assert 'ask for "litellm"' in no_engine.stderr


def test_a_bridge_service_is_asked_without_python_here(machine: Machine):
    """Another machine may have it: what is missing is told by that address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = ["chat", "hi", "-m", "cohere/command-r", "--bridge-url", url, "--set", "retry=0"]
    done = machine.omni(*words)
    assert done.returncode == 23
    assert url in done.stderr


def test_help_and_version_need_nothing(machine: Machine):
    for words in (["--help"], ["--version"], ["chat", "--help"]):
        done = machine.omni(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "omni" in done.stdout
    assert [path.name for path in machine.home.iterdir()] == ["bin"]
