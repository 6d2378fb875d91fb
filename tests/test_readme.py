"""README.md: the same chat in several languages, each block the very file that is built and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
FENCE = re.compile(
    r"^```(\w+)\n(.*?)^```$\n*(?:<!-- \w+:end -->\n*)?(?:^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL
)


def block(language: str) -> tuple[str, str]:
    """The one block of a language, and what the README says that it prints."""
    found = [(m[2], m[3]) for m in FENCE.finditer(README) if m[1] == language]
    assert len(found) == 1, f"README.md has {len(found)} {language} blocks, not one"
    return found[0]


@pytest.fixture
def offline() -> Iterator[dict[str, str]]:
    with DemoServer() as server:
        yield {
            **os.environ,
            "OPENAI_API_KEY": "demo",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OMNI_BRIDGE_PYTHON": sys.executable,
        }


def output(argv: list[str | Path], env: dict[str, str]) -> str:
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def test_rust_block_is_the_example_and_prints_what_it_says(
    release_dir: Path, offline: dict[str, str]
) -> None:
    code, prints = block("rust")
    assert code == (ROOT / "examples/rust_host/src/main.rs").read_text(), "README.md and rust_host differ"
    assert output([release_dir / "rust_host"], offline).strip() == prints.strip()


def test_c_block_is_the_example_and_prints_what_it_says(
    release_dir: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    code, prints = block("c")
    source = ROOT / "examples/c/chat.c"
    assert code == source.read_text(), "README.md and examples/c/chat.c differ"
    program = tmp_path / "chat"
    said = re.search(r"^cc examples/c/chat\.c .* -o chat$", README, re.MULTILINE)
    assert said, "README.md does not say how the C program is built"
    build = said[0].replace("target/release", str(release_dir)).replace("$PWD/", "")
    build = f"{build.removesuffix('chat')}{program} -Wall -Wextra -Werror"
    subprocess.run(["sh", "-c", build], check=True, timeout=120, cwd=ROOT)
    assert output([program], offline).strip() == prints.strip()


def test_all_four_doors_give_the_same_answer() -> None:
    """The README shows the same chat everywhere: each shown output ends with the same sentence."""
    shown = [m[3] for m in FENCE.finditer(README) if m[1] in {"python", "rust", "c"} and m[3]]
    assert len(shown) >= 3
    assert len({text.strip().splitlines()[-1] for text in shown}) == 1


def test_pictures_are_in_the_repository() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
