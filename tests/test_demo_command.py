"""`omni demo-server`: the offline provider as a command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

LONG = 60.0
COMMAND = [sys.executable, "-m", "omni_bridge", "demo-server", "--port", "0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_where_it_says_and_stops_cleanly(number: signal.Signals):
    process = subprocess.Popen([*COMMAND, "--json", "--pace", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    where = json.loads(process.stdout.readline())
    assert where["pid"] == process.pid
    assert where["api_base"] == where["url"] + "/v1"
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}
    with urllib.request.urlopen(
        where["api_base"] + "/chat/completions", json.dumps(body).encode(), timeout=LONG
    ) as got:
        assert json.load(got)["choices"][0]["message"]["content"].startswith("You said: hi.")
    process.send_signal(number)
    assert process.wait(LONG) == 0
    process.stdout.close()


def test_it_tells_people_how_to_use_it():
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    process.terminate()
    assert process.wait(LONG) == 0
    assert lines[0].startswith("omni demo-server: http://127.0.0.1:")
    assert "export OPENAI_API_BASE=http://127.0.0.1:" in lines[1]
    process.stdout.close()


def test_a_taken_port_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, text=True, timeout=LONG, check=False
        )
    assert done.returncode == 2
    assert (
        done.stderr == f"omni demo-server: port {port}: Address already in use; choose another with --port\n"
    )


def test_it_needs_nothing_but_the_standard_library():
    banned = ("omni_bridge._native", "litellm", "pydantic", "fastapi")
    code = (
        "import sys; from omni_bridge.testing._command import parser; parser();"
        f"print([name for name in {banned} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert done.stdout.strip() == "[]"
