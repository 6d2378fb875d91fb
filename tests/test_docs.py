"""Every block of code in README.md and docs/ is run, against the offline provider.

How a fence is marked says what is done with it:
  python     run on its own; when a `text` fence follows, that is what it prints
  bash       run from the repository's root with `omni` on the path; the same
  rust, c    stand in examples/ as they stand in the page, and are built and run (tests/test_readme.py)
  sh         commands of the build (make, git): their make targets exist; CI runs them itself
  toml       read by the package itself, as an agent's configuration or as `omni.toml`
  json       parsed
  text       what the block before it prints
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from omni_bridge import InvalidRequestError
from omni_bridge._native import AgentHost
from omni_bridge.testing import DemoServer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The port that pages use for `omni serve`; a test takes a free one in its place.
PORT = "8411"
DEADLINE = 120


@dataclass(frozen=True)
class Block:
    """One fence, its place, and what it must print (None: nothing is said of that)."""

    page: Path
    line: int
    language: str
    code: str
    prints: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> list[Block]:
    found: list[Block] = []
    for page in PAGES:
        text = page.read_text()
        matches = list(FENCE.finditer(text))
        for match, following in itertools.zip_longest(matches, matches[1:]):
            between = "" if following is None else text[match.end() : following.start()]
            answers = following is not None and following[1] == "text" and not between.strip()
            found.append(
                Block(
                    page=page,
                    line=text.count("\n", 0, match.start()) + 1,
                    language=match[1],
                    code=match[2],
                    prints=following[2] if following is not None and answers else None,
                )
            )
    return found


BLOCKS = blocks()


def of(*languages: str) -> list:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


@pytest.fixture(scope="module")
def offline() -> Iterator[dict[str, str]]:
    """The environment that the pages tell a newcomer to set: the offline provider in OpenAI's place."""
    with DemoServer() as server:
        yield {
            **{k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_API_BASE", "_BASE_URL"))},
            "OPENAI_API_KEY": "demo",
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OMNI_BRIDGE_PYTHON": sys.executable,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def run(block: Block, argv: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(
        argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, f"{block} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    if block.prints is not None:
        assert done.stdout.strip() == block.prints.strip(), (
            f"{block} prints something else; it prints:\n{done.stdout}"
        )


@pytest.mark.parametrize("block", of("python"))
def test_python_block_runs(block: Block, offline: dict[str, str]) -> None:
    run(block, [sys.executable, "-c", block.code.replace(PORT, free_port())], offline)


@pytest.mark.parametrize("block", of("bash"))
def test_bash_block_runs(block: Block, offline: dict[str, str]) -> None:
    run(block, ["bash", "-euo", "pipefail", "-c", block.code.replace(PORT, free_port())], offline)


@pytest.mark.parametrize("block", [one for one in of("rust") if "README" not in one.id])
def test_rust_block_is_an_example_that_runs(block: Block, offline: dict[str, str], release_dir: Path) -> None:
    """README's own are run by tests/test_readme.py."""
    examples = [path for path in (ROOT / "examples").rglob("*.rs") if path.read_text() == block.code]
    assert examples, f"{block} is no file of examples/"
    env = {**offline, "ACME_API_KEY": "demo"}
    run(block, [str(release_dir / examples[0].stem), offline["OPENAI_API_BASE"]], env)


@pytest.mark.parametrize("block", of("sh"))
def test_build_commands_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in block.code.splitlines():
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", line):
            assert target in targets, f"{block}: the Makefile has no target {target}"


# Names that a reader chooses: an alias of a model.
FREE = {("providers.md", "quick")}
# Each agent's configuration of a page has one of these, and `omni.toml` has none.
AGENT_TABLES = {"mcp_servers", "approval", "session_store", "timeouts"}


def read_toml(code: str, folder: Path) -> str | None:
    """What the package says against it: as an agent's configuration, or as the user's `omni.toml`."""
    if AGENT_TABLES & tomllib.loads(code).keys():
        try:
            AgentHost.read_toml(code)
        except InvalidRequestError as error:
            return str(error)
        return None
    file = folder / "omni.toml"
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, "-c", "import omni_bridge; omni_bridge.models()"],
        env={**os.environ, "OMNI_CONFIG": str(file)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.stderr if done.returncode else None


@pytest.mark.parametrize("block", of("toml"))
def test_toml_block_is_what_the_package_reads(block: Block, tmp_path: Path) -> None:
    assert read_toml(block.code, tmp_path) is None
    # Each field is one that is looked at: under another name it is refused.
    for name in dict.fromkeys(re.findall(r"^(\w+) = ", block.code, re.MULTILINE)):
        if (block.page.name, name) in FREE:
            continue
        renamed = re.sub(rf"^{name} = ", f"{name}_of_old = ", block.code, count=1, flags=re.MULTILINE)
        assert read_toml(renamed, tmp_path) is not None, f"{block}: {name} may have any name"


@pytest.mark.parametrize("block", of("json"))
def test_json_block_parses(block: Block) -> None:
    json.loads(block.code)


def test_every_block_has_a_runner() -> None:
    known = {"python", "bash", "rust", "c", "sh", "toml", "json", "text"}
    assert not [str(b) for b in BLOCKS if b.language not in known]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = unquote(target).partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), f"{page.name}: {target} leads nowhere"
        if fragment and other.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            assert fragment in {anchor(h) for h in headings}, f"{page.name}: {target}: no such heading"


EXAMPLES = """
import doctest, importlib, inspect, sys
import omni_bridge
thing = getattr(omni_bridge, sys.argv[1], None) or importlib.import_module(sys.argv[1])
home = getattr(thing, "__module__", "omni_bridge")
module = thing if inspect.ismodule(thing) else importlib.import_module(home)
public = {name: getattr(omni_bridge, name) for name in omni_bridge.__all__}
finder = doctest.DocTestFinder(recurse=inspect.ismodule(thing))
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
for test in finder.find(thing, sys.argv[1], module=module, globs={**public, **vars(module)}):
    runner.run(test)
sys.exit(1 if runner.failures or not runner.tries else 0)
"""


def documented() -> list[str]:
    """What `omni_bridge` exports and shows an example of; and the modules that show some in themselves."""
    import omni_bridge

    def shows(thing: object) -> bool:
        return ">>>" in (getattr(thing, "__doc__", None) or "")

    names = [name for name in omni_bridge.__all__ if shows(getattr(omni_bridge, name))]
    return sorted({*names, "omni_bridge", "omni_bridge.errors", "omni_bridge.types"} - {"errors", "types"})


@pytest.mark.parametrize("name", documented())
def test_docstring_examples_run(name: str, offline: dict[str, str]) -> None:
    """In a process of its own, since an example may shut the engine down."""
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES, name], env=offline, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
