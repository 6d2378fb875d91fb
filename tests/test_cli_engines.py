"""`omni chat` with a key of OpenAI, Anthropic or Gemini goes native, and LiteLLM gives the same answer.

The base URL that the environment sets stands in for the provider: one server on loopback speaks each wire.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omni_bridge.testing import FaultServer

from tests.fault_table import TEXT
from tests.test_cli_without_python import PROVIDERS

LONG = 120.0
CANARY = "canary-of-the-environment-0123456789"
WHERE = {"openai": "/chat/completions", "anthropic": "/v1/messages", "gemini": "enerateContent"}
# What the engines may tell in words of their own: see docs/differences.md.
OWN = ("engine", "attempts", "id", "request_id", "created", "provider_data", "message")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as faults:
        yield faults


def run(release_dir: Path, name: str, base: str, *words: str) -> subprocess.CompletedProcess[str]:
    _, key, place, suffix = PROVIDERS[name]
    ours = ("OMNI_MODEL", "OMNI_BRIDGE_URL", "OMNI_BRIDGE_ENGINE")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {"OMNI_BRIDGE_PYTHON": sys.executable, key: CANARY, place: base + suffix}
    done = subprocess.run(
        [release_dir / "omni", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_key_goes_native_and_says_so_and_litellm_answers_the_same(
    release_dir: Path, server: FaultServer, name: str
):
    base = server.url_of("ok")
    model = f"{name}/{PROVIDERS[name][0]}"
    server.forget()
    native = run(release_dir, name, base, "chat", "Say hello.", "-v")
    assert native.stdout == TEXT + "\n"
    assert f"asking {model}" in native.stderr
    assert f"of {name}, engine native, " in native.stderr
    litellm = run(release_dir, name, base, "chat", "Say hello.", "-v", "--engine", "litellm")
    assert litellm.stdout == native.stdout
    assert f"of {name}, engine litellm, " in litellm.stderr
    # Both asked the provider itself, and once.
    asked = [one.target for one in server.requests]
    assert len(asked) == 2
    assert all(WHERE[name] in target for target in asked), asked


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_whole_reply_is_the_same(release_dir: Path, server: FaultServer, name: str):
    replies: list[dict[str, Any]] = []
    for engine in ("native", "litellm"):
        words = ["chat", "Say hello.", "--json", "--engine", engine]
        reply = json.loads(run(release_dir, name, server.url_of("ok"), *words).stdout)
        assert reply["engine"] == engine
        reply["usage"].pop("raw", None)
        replies.append({field: value for field, value in reply.items() if field not in OWN})
    assert replies[0] == replies[1]


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("model", "effort", "place"),
    [
        ("openai/gpt-5.4", "low", "/responses"),
        # This server is not OpenAI: without a word of reasoning it may take the tools.
        ("openai/gpt-5.4", None, "/chat/completions"),
        ("openai/gpt-5.4", "none", "/chat/completions"),
        ("openai/gpt-5", "low", "/chat/completions"),
    ],
)
def test_both_engines_ask_for_function_tools_in_the_same_protocol(
    release_dir: Path, server: FaultServer, model: str, effort: str | None, place: str
):
    server.forget()
    words = ["chat", "hi", "-m", model, "--set", f"tools={json.dumps([TOOL])}"]
    words += [] if effort is None else ["--set", f"reasoning_effort={effort}"]
    said = [
        run(release_dir, "openai", server.url_of("ok"), *words, "--engine", engine).stdout
        for engine in ("native", "litellm")
    ]
    assert said == [TEXT + "\n"] * 2
    targets = [one.target for one in server.requests]
    assert len(targets) == 2
    assert all(target.endswith(place) for target in targets), targets
    tools = [one.json()["tools"] for one in server.requests]
    assert [tool.get("name") or tool["function"]["name"] for (tool,) in tools] == ["look", "look"]
