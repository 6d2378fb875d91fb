"""Everything in the repository that a program wrote, in one place.

    python tools/generated.py --check    nothing is stale, else the command that mends it
    python tools/generated.py --write    writes them anew

`make check` and `make fix` call it; tests/test_repo.py runs the check, so that nobody can forget it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# (what, the command that writes it, the command that checks it): the commands are programs of ours, each with
# a check mode that touches nothing and exits non-zero with a diff.
HEADER = ["cargo", "test", "--quiet", "--release", "--locked", "-p", "omni-capi", "--test", "header"]
AGENT = ["cargo", "run", "--quiet", "--release", "--locked", "-p", "omni-agent", "--example", "agent_schema"]
GENERATORS: list[tuple[str, list[str], list[str]]] = [
    (
        "python/omni_bridge/schema.json (from types.py)",
        [sys.executable, "tools/gen_schema.py", "--write"],
        [sys.executable, "tools/gen_schema.py", "--check"],
    ),
    (
        "rust/capi/include/omni_bridge.h (from rust/capi/src)",
        [*HEADER, "--", "--write"],
        HEADER,
    ),
    (
        "rust/agent/schema/*.json (from rust/agent/src)",
        [*AGENT, "--", "--write"],
        ["cargo", "test", "--quiet", "--release", "--locked", "-p", "omni-agent", "--test", "schema"],
    ),
    (
        "omni_bridge/agent_types.py, events.ts, docs/reference/agent-events.md (from rust/agent/schema)",
        [sys.executable, "tools/gen_agent_types.py", "--write"],
        [sys.executable, "tools/gen_agent_types.py", "--check"],
    ),
    (
        "docs/reference/agent-sessions.md (from rust/agent/src/session)",
        [sys.executable, "tools/gen_agent_sessions.py", "--write"],
        [sys.executable, "tools/gen_agent_sessions.py", "--check"],
    ),
    (
        "docs/demo.svg (from a run of the demo)",
        [sys.executable, "tools/terminal_picture.py", "--write"],
        [sys.executable, "tools/terminal_picture.py", "--check"],
    ),
    (
        "rust/client/data (from the installed LiteLLM)",
        [sys.executable, "tools/catalogue.py", "--write"],
        [sys.executable, "tools/catalogue.py", "--check"],
    ),
    (
        "tests/vectors (from tools/vectors_data.py and vectors_events.py)",
        [sys.executable, "tools/gen_vectors.py", "--write"],
        [sys.executable, "tools/gen_vectors.py", "--check"],
    ),
    (
        "the tables and programs in README.md and docs (from benches/results and examples)",
        [sys.executable, "tools/tables.py", "--write"],
        [sys.executable, "tools/tables.py", "--check"],
    ),
]


def check_lock() -> list[str]:
    """Each dependency that pyproject.toml names stands in the lock, and dev.txt holds all of runtime.txt."""
    name = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)", re.MULTILINE)
    runtime = set(name.findall((ROOT / "requirements/runtime.txt").read_text()))
    dev = set(name.findall((ROOT / "requirements/dev.txt").read_text()))
    found = [f"requirements/dev.txt lacks {n}=={v} of runtime.txt" for n, v in sorted(runtime - dev)]
    project = (ROOT / "pyproject.toml").read_text()
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    names = {normal(n) for n, _ in dev}
    wanted: list[str] = re.findall(r'"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?(?:[<>=!~][^"]*)?"', block)
    return found + [
        f"requirements/dev.txt lacks {want}, which pyproject.toml asks for"
        for want in wanted
        if normal(want) not in names | {"omni-bridge"}
    ]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    parser.add_argument("--without-cargo", action="store_true", help="leave out what `cargo test` checks too")
    options = parser.parse_args()
    write: bool = options.write
    stale = 0
    for what, writer, checker in GENERATORS:
        if options.without_cargo and checker[0] == "cargo":
            continue
        code = subprocess.run(writer if write else checker, cwd=ROOT, check=False).returncode
        if code != 0:
            stale += 1
            print(
                f"generated: {what}: {'could not be written' if write else 'stale; mend it with: make fix'}"
            )
        else:
            print(f"generated: {what}: {'written' if write else 'up to date'}")
    for line in check_lock():
        stale += 1
        print(f"generated: {line}; mend it with: make lock")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
