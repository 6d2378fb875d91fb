"""The compiled-in catalogue agrees with the rest of the repository: hosts, and the tool that writes it.

That it is what the installed LiteLLM gives is checked with all generated files (tests/test_repo.py).
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from omni_bridge._endpoints import OWN_HOSTS, Environment, Guard, family

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "rust/client/data"
PROVIDERS = json.loads((DATA / "providers.json").read_text())
NATIVE = {name: entry for name, entry in PROVIDERS.items() if "protocol" in entry}


@pytest.mark.parametrize("name", NATIVE)
def test_both_engines_know_the_same_hosts(name: str) -> None:
    assert tuple(NATIVE[name].get("hosts", ())) == OWN_HOSTS.get(family(name), ()), (
        "mend it with: python tools/catalogue.py --write"
    )


@pytest.mark.parametrize("name", NATIVE)
def test_a_key_may_go_to_its_own_providers_base(name: str) -> None:
    """Where a provider has a base URL of its own, its key is not refused there by our own rule."""
    base = NATIVE[name].get("base_url", "")
    if not base or NATIVE[name].get("local"):
        return
    base = base.replace("{VERTEXAI_LOCATION}", "europe-west1")
    guard = Guard(name, {}, {}, Environment({}))
    assert guard.trusted(base), f"{name}: add {urlsplit(base).hostname} to OWN_HOSTS in _endpoints.py"


def test_the_files_are_small_and_sorted() -> None:
    size = sum((DATA / name).stat().st_size for name in ("models.tsv", "providers.json"))
    assert size < 1 << 20
    keys = [line.split("\t")[0].encode() for line in (DATA / "models.tsv").read_text().splitlines()]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))


def test_a_stale_snapshot_is_found_and_the_mending_command_is_printed(tmp_path: Path) -> None:
    tool = [sys.executable, "tools/catalogue.py"]
    subprocess.run([*tool, "--write", "--to", tmp_path], cwd=ROOT, check=True)
    models = tmp_path / "models.tsv"
    models.write_text(models.read_text().replace("gpt-5\topenai", "gpt-5-gone\topenai", 1))
    done = subprocess.run(
        [*tool, "--check", "--to", tmp_path], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "gpt-5-gone" in done.stdout
    assert "python tools/catalogue.py --write" in done.stdout


FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CUSTOM = {"type": "custom", "custom": {"name": "look"}}
BASES = {
    "openai": (
        "https://api.openai.com/v1",
        "https://eu.api.openai.com/v1",
        "https://api.openai.com.evil.example/v1",
        "http://127.0.0.1:8000/v1",
    ),
    "azure": ("https://mine.openai.azure.com",),
}
# Names that no list has yet, and names that only look alike.
UNLISTED = (
    "gpt-5.3",
    "gpt-5.4-next",
    "gpt-5.10",
    "gpt-5.4x",
    "gpt-6",
    "gpt-6.9-mini",
    "gpt-7",
    "gpt-45",
    "gpt-5.4-search-api",
    "gpt-5-chat",
    "my-gpt-5.4",
    "team/gpt-5.4",
    "ft:gpt-5.4-2026-03-05:acme::1",
)
LITELLM = """
import json, sys
sys.path.insert(0, "tools")
from catalogue import load
litellm = load()
for line in sys.stdin:
    case = json.loads(line)
    provider, _, model = case["request"]["model"].partition("/")
    found, _ = litellm.main.responses_api_bridge_check(
        model, provider, tools=case["request"]["tools"], api_base=case["base_url"],
        reasoning_effort=case["request"].get("reasoning_effort"),
    )
    print("openai_responses" if found.get("mode") == "responses" else "openai_chat")
"""


def answers(program: list[str | Path], cases: list[dict[str, Any]]) -> list[str]:
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(program, cwd=ROOT, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_function_tools_are_asked_for_in_the_protocol_in_which_litellm_asks() -> None:
    """Every model that LiteLLM lists of OpenAI and Azure, with each effort, at each kind of base."""
    release = [] if os.environ.get("OMNI_TEST_PROFILE") == "dev" else ["--release"]
    build = ["cargo", "build", "--locked", "--quiet", *release, "-p", "omni-bridge", "--example", "protocols"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = target / ("release" if release else "debug") / "examples" / "protocols"
    lines = [line.split("\t") for line in (DATA / "models.tsv").read_text().splitlines()]
    cases = [
        {
            "request": {
                "model": f"{provider}/{model}",
                "messages": [{"role": "user", "content": "hi"}],
                "tools": tools,
                **({} if effort is None else {"reasoning_effort": effort}),
            },
            "base_url": base,
        }
        for provider, bases in BASES.items()
        for model in {
            *UNLISTED,
            *(key.removeprefix(f"{provider}/") for key, of, *_ in lines if of == provider),
        }
        for base, effort, tools in itertools.product(
            bases, (None, "none", "low"), ([FUNCTION], [CUSTOM], [CUSTOM, FUNCTION])
        )
    ]
    ours = answers([program], cases)
    theirs = answers([sys.executable, "-c", LITELLM], cases)
    assert len(ours) == len(theirs) == len(cases)
    compared = [pair for pair in zip(cases, ours, theirs, strict=True) if pair[1] != "none"]
    different = [
        (case["request"]["model"], case["request"].get("reasoning_effort"), case["base_url"], our, their)
        for case, our, their in compared
        if our != their
    ]
    assert not different, f"{len(different)} of {len(compared)}: {sorted(set(different), key=str)[:20]}"
    # It did differ by effort, by base and by tool.
    assert len(compared) > 2000
    assert {"openai_chat", "openai_responses"} == set(ours) - {"none"}
