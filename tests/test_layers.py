"""The rooms of design section 1: an arrow may only point left, and what may not be in a room is not in it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "omni_bridge"

# Which of our crates each crate may use. A new crate must be entered here, with the arrows that it may have.
ARROWS: dict[str, set[str]] = {
    "omni-core": set(),
    "omni-transport": {"omni-core"},
    "omni-providers": {"omni-core", "omni-transport"},
    "omni-bridge-py": {"omni-core", "omni-transport"},
    "omni-bridge": {"omni-core", "omni-transport", "omni-providers", "omni-bridge-py"},
    "omni-agent": {"omni-core"},
    # the shells: only these compose
    "omni-cli": {"omni-core", "omni-agent", "omni-bridge", "omni-bridge-py"},
    "omni-capi": {"omni-core", "omni-bridge", "omni-bridge-py"},
    "omni-pyext": {"omni-core", "omni-agent", "omni-bridge", "omni-bridge-py", "omni-cli"},
    # users of the public crate, as any program outside would be
    "rust_host": {"omni-bridge"},
    "rust_agent": {"omni-agent", "omni-bridge"},
    # measures the bare hop and the bare decoders too, below the client
    "omni-bench": {"omni-core", "omni-providers", "omni-bridge", "omni-bridge-py"},
}

# What only the tests of a crate look at, from outside.
OF_TESTS = {
    # Whether providers would take a session that was cut short; the agent itself knows none.
    ("omni-agent", "omni-providers", "dev"),
}

# What a room and everything below it may not contain, and why.
BANNED: dict[str, tuple[set[str], str]] = {
    "omni-core": (
        {"tokio", "pyo3", "pyo3-ffi", "hyper", "reqwest", "futures-util"},
        "core is the contract: no I/O, no runtime, no Python",
    ),
    "omni-transport": ({"pyo3", "pyo3-ffi"}, "the HTTP client knows no Python"),
    "omni-providers": ({"pyo3", "pyo3-ffi"}, "the native engine needs no Python"),
    "omni-bridge-py": (
        {"pyo3", "pyo3-ffi"},
        "the embedding opens libpython at run time: no pyo3 (design section 3)",
    ),
    "omni-bridge": ({"pyo3", "pyo3-ffi"}, "a Rust user needs no Python to build"),
    "omni-agent": ({"pyo3", "pyo3-ffi"}, "the agent knows no engine and no Python"),
    "omni-cli": ({"pyo3", "pyo3-ffi"}, "the omni binary builds without Python"),
    "omni-capi": ({"pyo3", "pyo3-ffi"}, "libomni_bridge builds without Python"),
    "rust_host": ({"pyo3", "pyo3-ffi"}, "a Rust user needs no Python to build"),
}


@pytest.fixture(scope="module")
def metadata() -> dict:
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.+)$", version, re.MULTILINE)
    assert host
    # For this platform only: others' crates would have to be downloaded first.
    out = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={host[1]}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(out)


def members(metadata: dict) -> dict[str, dict]:
    ours = set(metadata["workspace_members"])
    return {package["name"]: package for package in metadata["packages"] if package["id"] in ours}


def below(metadata: dict, name: str) -> set[str]:
    """Every crate that `name` is built from, ours and others', without what only tests use."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    todo = [next(i for i, n in names.items() if n == name and i in metadata["workspace_members"])]
    seen: set[str] = set()
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        todo += [
            dep["pkg"] for dep in nodes[here]["deps"] if any(k["kind"] != "dev" for k in dep["dep_kinds"])
        ]
    return {names[i] for i in seen} - {name}


def test_arrows_point_left(metadata: dict) -> None:
    ours = members(metadata)
    assert set(ours) == set(ARROWS), "a crate came or went: enter it in ARROWS with the arrows it may have"
    wrong = [
        f"{name} → {dep['name']}"
        for name, package in ours.items()
        for dep in package["dependencies"]
        if dep["name"] in ours and dep["name"] not in ARROWS[name]
        if (name, dep["name"], dep["kind"]) not in OF_TESTS
    ]
    assert not wrong, f"arrows that point right (design section 1): {wrong}"


@pytest.mark.parametrize("name", sorted(BANNED))
def test_rooms_do_not_hold_what_they_may_not(metadata: dict, name: str) -> None:
    banned, why = BANNED[name]
    found = below(metadata, name) & banned
    assert not found, f"{name} is built from {sorted(found)}: {why}"


def test_pyext_alone_uses_pyo3(metadata: dict) -> None:
    users = {n for n, p in members(metadata).items() if any(d["name"] == "pyo3" for d in p["dependencies"])}
    assert users == {"omni-pyext"}


def test_core_names_no_provider() -> None:
    """Outside its comments and tests: a provider's quirk belongs into a protocol or into `_translate.py`."""
    names = re.compile(
        r"openai|anthropic|gemini|mistral|deepseek|groq|cohere|ollama|perplexity|xai\b", re.IGNORECASE
    )
    found = []
    for path in sorted((ROOT / "rust/core/src").rglob("*.rs")):
        if path.name == "tests.rs":
            continue
        code = path.read_text().split("#[cfg(test)]", 1)[0]
        for number, line in enumerate(code.splitlines(), 1):
            if names.search(re.sub(r"(?<!:)//.*", "", line)) and "for example" not in line:
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def imports(path: Path) -> set[str]:
    """The top-level names of everything that a file imports, at whatever depth it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.args[0] if node.args else None, ast.Constant):
            # the two functions that import by a name given as text
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"}:
                found.add(str(node.args[0].value).split(".")[0])
    return found


def test_only_the_litellm_room_imports_litellm() -> None:
    users = {p.name for p in PACKAGE.rglob("*.py") if "litellm" in imports(p)}
    assert users, "nothing imports litellm any more: then this test and ruff's TID251 want a new name"
    assert users == {"_litellm.py"}


def test_translate_is_pure() -> None:
    """Contract ↔ LiteLLM is a function of its arguments: neither LiteLLM nor I/O."""
    banned = {"litellm", "asyncio", "anyio", "httpx", "aiohttp", "socket", "ssl", "threading", "subprocess"}
    found = {p.name: imports(p) & banned for p in PACKAGE.glob("_translate*.py")}
    assert found, "no _translate*.py: the translation has moved, and this test with it"
    assert not any(found.values()), found


def test_import_loads_nothing_heavy() -> None:
    """`import omni_bridge` is paid by every program, also by those that never make a call."""
    heavy = ["litellm", "pydantic", "asyncio", "anyio", "trio", "fastapi", "httpx", "aiohttp", "mcp"]
    code = f"import sys, omni_bridge; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT / "tests"
    )
    assert out.stdout.strip() == "[]"


def artefacts(release: Path) -> list[Path]:
    return [
        release / "omni",
        release / "libomni_bridge.so",
        release / "rust_host",
        PACKAGE / "_native.abi3.so",
    ]


def test_no_binary_of_ours_links_libpython(release_dir: Path) -> None:
    """A linked libpython is whatever the loader finds, or death before main (design section 3)."""
    for path in artefacts(release_dir):
        assert path.exists(), f"{path} is not built: make build"
        dynamic = subprocess.run(
            ["readelf", "--dynamic", path], check=True, capture_output=True, text=True
        ).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
        assert needed, f"{path}: readelf shows no dynamic section"
        assert not [lib for lib in needed if "python" in lib], f"{path} links {needed}"
