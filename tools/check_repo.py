"""What must not stand in a tracked file, and where `unsafe` may stand. Prints each finding with its place.

    python tools/check_repo.py

Only tracked files are read (`git ls-files`), so caches and build products do not matter.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

# Each pattern is put together from pieces, so that this file does not contain what it looks for.
FORBIDDEN: list[tuple[str, re.Pattern[str], str]] = [
    (
        "an index address or a registry host",
        re.compile(
            "|".join(
                [
                    "index" + r"[-_]url",
                    "extra" + "-index",
                    r"pypi\.org/" + "simple",
                    r"files\.python" + r"hosted\.org",
                    r"registry\.npm" + r"js\.org",
                    r"(static|index)\.crates" + r"\.io",
                    r"proxy\.go" + r"lang\.org",
                    r"repo1?\.maven\." + r"(org|apache\.org)",
                    r"deb\.debian" + r"\.org",
                ]
            )
        ),
        "builds use the registries as the machine is set up: leave the address out",
    ),
    (
        "a path of one machine",
        re.compile(r"(?<![\w.\-/$}~])/(?:work|root|farm|home/[a-z]\w*|Users/[A-Za-z]\w*)/[\w.]"),
        "write it relative to the repository, or take it from the environment",
    ),
    (
        "a credential",
        re.compile(
            "|".join(
                [
                    r"\bsk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_-]{32,}",
                    r"\bAIza[0-9A-Za-z_-]{35}",
                    r"\bgsk_[A-Za-z0-9]{40,}",
                    r"\bxai-[A-Za-z0-9]{40,}",
                    r"\bAKIA(?!\w*EXAMPLE)[0-9A-Z]{16}\b",
                    r"\bgh[pousr]_[A-Za-z0-9]{36}",
                    "-----BEGIN " + r"(?:RSA |EC |OPENSSH )?PRIVATE KEY-----",
                ]
            )
        ),
        "keys come from the environment; a test makes one up that reads as made up (test-key)",
    ),
    (
        "unfinished work",
        re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|\bto" + r"do!\(|\bunimple" + r"mented!\("),
        "finish it, or file an issue",
    ),
]

# Others' text, locked or recorded: not ours to word.
NOT_OURS = re.compile(r"^(?:Cargo\.lock|requirements/.*\.txt|benches/results/.*\.svg|LICENSE)$")

# The two rooms that may hold `unsafe` (design section 3): the C ABI and the two halves of the embedding.
UNSAFE_ROOMS = (
    re.compile(r"^rust/capi/"),
    re.compile(r"^rust/bridge/(?:src/embedded(?:/|\.rs)|tests/)"),
    re.compile(r"^rust/pyext/src/engine"),
)
UNSAFE = re.compile(r"\bunsafe\b(?!_)")
MAX_BYTES = 1 << 20


def tracked() -> list[PurePosixPath]:
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [PurePosixPath(name) for name in out.decode().split("\0") if name]


def code_only(line: str) -> str:
    """A Rust line without its comment and its string literals, so that prose may say the word."""
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', line).split("//", 1)[0]


def check_unsafe(path: PurePosixPath, lines: list[str]) -> list[str]:
    room = any(rule.search(str(path)) for rule in UNSAFE_ROOMS)
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        if not UNSAFE.search(code_only(line)):
            continue
        if not room:
            found.append(f"{path}:{number}: `unsafe` outside rust/capi and the embedding: move it there")
    return found


def check_text(path: PurePosixPath, lines: list[str]) -> list[str]:
    return [
        f"{path}:{number}: {what}: {line.strip()[:80]!r}; {advice}"
        for number, line in enumerate(lines, 1)
        for what, pattern, advice in FORBIDDEN
        if pattern.search(line)
    ]


def main() -> int:
    found: list[str] = []
    files = tracked()
    for path in files:
        full = ROOT / path
        if not full.is_file():
            continue
        data = full.read_bytes()
        if len(data) > MAX_BYTES and not NOT_OURS.search(str(path)):
            found.append(f"{path}: {len(data):,} bytes: a tracked file stays under 1 MiB")
        if b"\0" in data[:8192] or NOT_OURS.search(str(path)):
            continue
        lines = data.decode("utf-8", "replace").splitlines()
        found += check_text(path, lines)
        if path.suffix == ".rs":
            found += check_unsafe(path, lines)
    for line in found:
        print(line)
    print(f"check_repo: {len(files)} files, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
