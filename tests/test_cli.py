"""`omni`: the Rust binary and the console script are one command, with one behaviour.

Loading LiteLLM takes seconds. What does not depend on where the engine runs asks one bridge service, which
has loaded it; what does is asked embedded.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from omni_bridge.testing import DemoServer

LONG = 120.0


@pytest.fixture(params=["binary", "script"])
def omni(request: pytest.FixtureRequest, release_dir: Path) -> list[str]:
    """How the command is started: as the Rust binary, which embeds this Python, or hosted by this Python."""
    if request.param == "binary":
        return [str(release_dir / "omni")]
    return [sys.executable, "-m", "omni_bridge"]


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
def service(provider: DemoServer) -> Iterator[str]:
    """The address of a bridge service that has the provider's key."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--json"],
        env=environment(provider),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    yield json.loads(serving.stdout.readline())["url"]
    serving.terminate()
    # What SIGTERM ends by grace is a success.
    assert serving.wait(LONG) == 0
    serving.stdout.close()


@pytest.fixture
def bridged(service: str) -> dict[str, str]:
    """An environment without a key, in which calls go to the service."""
    return environment(OMNI_BRIDGE_URL=service)


def environment(server: DemoServer | None = None, **more: str) -> dict[str, str]:
    dropped = ("OMNI_MODEL", "OMNI_BRIDGE_URL", "OMNI_BRIDGE_TOKEN")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env["OMNI_BRIDGE_PYTHON"] = sys.executable
    if server is not None:
        env |= {"OPENAI_API_KEY": "demo-key", "OPENAI_API_BASE": server.api_base}
    return env | more


def run(
    omni: Sequence[str], *words: str | Path, env: dict[str, str], stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [*omni, *map(str, words)], env=env, capture_output=True, text=True, timeout=LONG, check=False, **given
    )


def asked(server: DemoServer) -> list[dict[str, Any]]:
    """The bodies of the chats that the provider was sent."""
    return [one.json() for one in server.requests if one.path.endswith("/chat/completions")]


def test_chat_prints_the_text_and_nothing_else(omni: list[str], server: DemoServer):
    done = run(omni, "chat", "Say hello.", "-m", "openai/demo", env=environment(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("You said: Say hello.")
    assert done.stdout.endswith("\n")
    assert not done.stdout.endswith("\n\n")
    (body,) = asked(server)
    assert body["stream"] is True
    assert body["messages"] == [{"role": "user", "content": "Say hello."}]


def test_what_is_piped_in_follows_the_prompt_and_options_reach_the_provider(
    omni: list[str], server: DemoServer, bridged: dict[str, str]
):
    options = ["--system", "Be brief.", "--no-stream", "--set", "temperature=0.5", "--set", "seed=7"]
    env = bridged | {"OMNI_MODEL": "openai/demo"}
    done = run(omni, "chat", "Sum up", *options, env=env, stdin="one\ntwo\n")
    assert (done.returncode, done.stderr) == (0, "")
    (body,) = asked(server)
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Sum up\n\none\ntwo\n"]
    assert (body["model"], body["temperature"], body["seed"]) == ("demo", 0.5, 7)
    assert not body.get("stream")


def test_files_go_along_as_what_they_are(
    omni: list[str], server: DemoServer, bridged: dict[str, str], tmp_path: Path
):
    picture, notes = tmp_path / "a.png", tmp_path / "notes.md"
    picture.write_bytes(b"\x89PNG")
    notes.write_text("# Notes")
    files = ["--file", picture, "--file", notes]
    done = run(omni, "chat", "What is this?", "-m", "openai/demo", *files, env=bridged)
    assert (done.returncode, done.stderr) == (0, "")
    (body,) = asked(server)
    parts = body["messages"][0]["content"]
    assert parts[0]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert [part["text"] for part in parts[1:]] == ["notes.md:\n\n# Notes", "What is this?"]


def test_json_is_the_reply_or_the_events_one_a_line(
    omni: list[str], server: DemoServer, bridged: dict[str, str]
):
    reply = run(omni, "chat", "hi", "-m", "openai/demo", "--json", env=bridged)
    assert (reply.returncode, reply.stderr) == (0, "")
    assert json.loads(reply.stdout)["message"]["role"] == "assistant"
    events = run(omni, "chat", "hi", "-m", "openai/demo", "--json", "--stream", env=bridged)
    documents = [json.loads(line) for line in events.stdout.splitlines()]
    assert documents[0]["type"] == "start"
    assert documents[-1]["type"] == "done"
    assert documents[-1]["reply"]["content"] == json.loads(reply.stdout)["content"]
    assert [bool(body.get("stream")) for body in asked(server)] == [False, True]


def test_a_tool_call_is_shown(omni: list[str], bridged: dict[str, str]):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    words = ["chat", "Use get_weather", "-m", "openai/demo", "--set", f"tools={json.dumps([tool])}"]
    done = run(omni, *words, env=bridged)
    assert done.returncode == 0
    assert "get_weather {" in done.stdout


@pytest.mark.parametrize(
    ("model", "code", "name"),
    [
        ("demo-error-401", 12, "authentication"),
        ("demo-error-404", 15, "not_found"),
        ("demo-error-429", 19, "rate_limit"),
        ("demo-error-500", 21, "provider"),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(
    omni: list[str], bridged: dict[str, str], model: str, code: int, name: str
):
    done = run(omni, "chat", "hi", "-m", f"openai/{model}", "--set", "retry=0", env=bridged)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith(f"omni: {name}: ")
    assert done.stderr.count("\n") == 1
    assert f"openai/{model}" in done.stderr
    assert "demo-key" not in done.stderr


def test_an_error_as_json_and_in_the_middle_of_a_stream(omni: list[str], bridged: dict[str, str]):
    words = ["chat", "hi", "--set", "retry=0", "--json", "-m"]
    done = run(omni, *words, "openai/demo-error-401", env=bridged)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (12, "authentication")
    done = run(omni, *words, "openai/demo-error-stream", "--stream", env=bridged)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "error"
    assert done.returncode != 0
    assert done.stderr.startswith(f"omni: {last['error']['code']}: ")


def test_usage_errors_say_what_to_write(omni: list[str], tmp_path: Path):
    env = environment()
    for words, said, code in [
        (["chat"], "nothing to ask", 2),
        (["chat", "hi"], "no model", 2),
        (["chat", "hi", "-m", "a/b", "--set", "x"], "FIELD=VALUE", 2),
        (["chat", "hi", "-m", "a/b", "--set", "temprature=1"], '"temperature"', 11),
        (["chat", "hi", "-m", "a/b", "--file", tmp_path / "gone.txt"], "gone.txt", 3),
        (["chat", "hi", "-m", "a/b", "--bridge-url", "no address"], "http://127.0.0.1:8411", 11),
    ]:
        done = run(omni, *words, env=env)
        assert (done.returncode, done.stdout) == (code, ""), (words, done.stderr)
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_the_model_of_the_first_key_is_taken_and_verbose_says_so(omni: list[str], server: DemoServer):
    done = run(omni, "-v", "chat", "hi", env=environment(server))
    assert done.returncode == 0, done.stderr
    assert asked(server)[0]["model"] == "gpt-5-mini"
    assert "OPENAI_API_KEY is set: asking openai/gpt-5-mini" in done.stderr
    assert "finish_reason stop" in done.stderr
    assert "demo-key" not in done.stderr


def test_text_comes_while_it_is_written(omni: list[str]):
    with DemoServer(chunks=4, size=6, hold=2) as server:
        words = [*omni, "chat", "hi", "-m", "openai/demo"]
        env = environment(server)
        process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        # The server holds the rest back until it is told: what can be read now was not waited for.
        first = os.read(process.stdout.fileno(), 1)
        server.release()
        rest = process.stdout.read()
        assert process.wait(LONG) == 0
        assert len(first + rest) == 4 * 6 + 1
        process.stdout.close()


def test_a_reader_that_leaves_ends_the_command_and_the_call(
    omni: list[str], server: DemoServer, bridged: dict[str, str]
):
    process = subprocess.Popen(
        [*omni, "chat", "hi", "-m", "openai/demo-chunks-1000000-size-1000"],
        env=bridged,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    assert process.wait(LONG) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    # Neither is read to its end nor left running.
    server.wait_for(lambda here: here.open_streams == 0, LONG)
    assert server.last.json()["model"] == "demo-chunks-1000000-size-1000"


@pytest.mark.parametrize("at", ["answer", 2], ids=["before-the-answer", "in-the-middle"])
def test_ctrl_c_cancels_closes_the_socket_and_exits_130(omni: list[str], at: Any):
    with DemoServer(chunks=4, size=6, hold=at) as server:
        words = [*omni, "chat", "hi", "-m", "openai/demo"]
        process = subprocess.Popen(
            words,
            env=environment(server),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        server.wait_for_request(timeout=LONG)
        if at != "answer":
            os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 130
        assert process.stderr.read() == b""
        server.wait_for(lambda here: here.open_sockets == 0, LONG)
        process.stdout.close()
        process.stderr.close()


def test_ctrl_c_is_heard_while_standard_input_is_read(omni: list[str]):
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*omni, "-v", "chat", "-m", "a/b"], env=environment(), stdin=reading, stderr=subprocess.PIPE
    )
    os.close(reading)
    assert process.stderr is not None
    # More than a pipe holds: when all is written, the command has begun to read.
    os.write(writing, b"x" * 65536)
    os.write(writing, b"x" * 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(LONG) == 130
    assert process.stderr.read() == b""
    process.stderr.close()
    os.close(writing)


def test_a_terminal_gets_no_control_characters_of_a_model(omni: list[str], bridged: dict[str, str]):
    words = [*omni, "chat", "a\x1b]0;title\x07b", "-m", "openai/demo"]  # the offline provider says it again
    mine, theirs = pty.openpty()
    process = subprocess.Popen(words, env=bridged, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    assert process.wait(LONG) == 0
    seen = os.read(mine, 1000)
    os.close(mine)
    assert "a\ufffd]0;title\ufffdb".encode() in seen
    assert "a\x1b]0;title\x07b" in run(words, env=bridged).stdout


def test_doctor_names_keys_and_never_their_values(omni: list[str], server: DemoServer):
    env = environment(server, ANTHROPIC_API_KEY="hunter2")
    page = run(omni, "doctor", env=env)
    assert page.returncode == 0, page.stdout
    assert "ANTHROPIC_API_KEY, " in page.stdout
    report = json.loads(run(omni, "doctor", "--json", env=env).stdout)
    assert report["keys"] == ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]
    assert report["problems"] == []
    assert Path(report["engine"]["interpreter"]) == Path(sys.executable)
    assert report["engine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "hunter2" not in page.stdout + json.dumps(report)


def test_doctor_says_what_is_missing_and_how_to_mend_it(release_dir: Path, tmp_path: Path):
    env = environment(OMNI_BRIDGE_PYTHON=str(tmp_path / "gone"))
    done = run([str(release_dir / "omni")], "doctor", "--json", env=env)
    assert done.returncode == 25
    (problem,) = json.loads(done.stdout)["problems"]
    assert str(tmp_path / "gone") in problem["what"] + problem["mend"]
    assert problem["mend"]
    chat = run([str(release_dir / "omni")], "chat", "hi", "-m", "a/b", env=env)
    assert (chat.returncode, chat.stdout) == (25, "")
    assert "omni doctor" in chat.stderr


def test_models_lists_what_is_asked_for(omni: list[str], bridged: dict[str, str]):
    table = run(omni, "models", "gpt-5-mini", "--provider", "openai", "--tools", env=bridged)
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert lines[0].startswith("MODEL")
    assert all("gpt-5-mini" in line and "tools" in line for line in lines[1:])
    found = json.loads(
        run(omni, "models", "gpt-5-mini", "--provider", "openai", "--tools", "--json", env=bridged).stdout
    )
    assert len(found) == len(lines) - 1 > 0
    assert {model["provider"] for model in found} == {"openai"}


def test_the_embedded_engine_and_a_bridge_url_give_the_same_answer(
    omni: list[str], server: DemoServer, bridged: dict[str, str]
):
    direct = run(omni, "chat", "hi", "-m", "openai/demo", env=environment(server))
    over = run(omni, "chat", "hi", "-m", "openai/demo", env=bridged)
    assert (over.returncode, over.stdout, over.stderr) == (0, direct.stdout, "")
    whole = run(omni, "chat", "hi", "-m", "openai/demo", "--no-stream", env=bridged)
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, direct.stdout, "")
    url = bridged["OMNI_BRIDGE_URL"]
    doctor = json.loads(run(omni, "doctor", "--json", env=bridged).stdout)
    assert doctor["engine"] == {"bridge_url": url, "reached": True}


def test_no_service_at_a_bridge_url_is_told_with_the_address(omni: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = ["chat", "hi", "-m", "a/b", "--set", "retry=0", "--bridge-url", url]
    done = run(omni, *words, env=environment())
    assert done.returncode == 23
    assert url in done.stderr
    assert "omni serve" in done.stderr


def test_demo_server_is_handed_over_with_its_arguments_and_its_help(omni: list[str]):
    serving = subprocess.Popen(
        [*omni, "demo-server", "--port", "0", "--json"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    where = json.loads(serving.stdout.readline())
    assert where["pid"] == serving.pid, "the command has become the server: signals reach it"
    serving.terminate()
    assert serving.wait(LONG) == 0
    serving.stdout.close()
    assert "--pace" in run(omni, "demo-server", "--help", env=environment()).stdout
