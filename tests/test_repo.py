"""The repository as a whole: generated files, forbidden content, one version, one licence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)


def test_generated_files_are_up_to_date() -> None:
    # The C header is not among them here: its check is a Rust test.
    done = run(sys.executable, "tools/generated.py", "--check", "--without-cargo")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_no_forbidden_content_and_no_unsafe_outside_its_rooms() -> None:
    done = run(sys.executable, "tools/check_repo.py")
    assert done.returncode == 0, done.stdout


def test_the_check_for_forbidden_content_finds_it(tmp_path: Path) -> None:
    """The check itself is checked: in a repository of its own, each kind of finding once."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/check_repo.py").write_bytes((ROOT / "tools/check_repo.py").read_bytes())
    bad = {
        "a.txt": "pip install --" + "index" + "-url somewhere",
        "b.txt": "see " + "/" + "work/main/x.py",
        "c.txt": "key = sk-" + "a1" * 20,
        "d.py": "# TO" + "DO later",
        "rust/core/src/lib.rs": "pub fn f() { un" + "safe { g() } }",
        "rust/capi/src/lib.rs": "pub fn f() { un" + "safe { g() } }  // allowed in this room",
        "rust/core/src/ok.rs": "// un" + 'safe in a comment\npub const S: &str = "un' + 'safe in a string";',
    }
    for name, text in bad.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "tools/check_repo.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    places = {line.split(":")[0] for line in done.stdout.splitlines()[:-1]}
    assert places == {"a.txt", "b.txt", "c.txt", "d.py", "rust/core/src/lib.rs"}, done.stdout


def test_one_version_everywhere() -> None:
    cargo = re.search(r'^version = "(.+?)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    project = re.search(r'^version = "(.+?)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert cargo
    assert project
    assert cargo[1] == project[1]
    assert f"## {cargo[1]}" in (ROOT / "CHANGELOG.md").read_text(), (
        "CHANGELOG.md has no entry for this version"
    )


def test_locks_hold_hashes_and_no_address() -> None:
    for name in ("runtime.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text()
        packages = re.findall(r"^[A-Za-z0-9].*(?:\n    --hash=.*)*", text, re.MULTILINE)
        assert len(packages) > 20
        assert all("--hash=sha256:" in package for package in packages)
        assert "://" not in text


def test_makefile_targets_all_say_what_they_do() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    said = set(re.findall(r"^([a-z-]+):.*## .+$", makefile, re.MULTILINE))
    assert said == set(phony[1].split())
    help_text = run("make", "--no-print-directory", "help").stdout
    assert all(f"  {target} " in help_text for target in said)


def test_committed_results_have_the_agreed_form() -> None:
    """benches/results/*.json: each a list of records {name, value, unit, baseline, ratio}."""
    files = sorted((ROOT / "benches/results").glob("*.json"))
    assert files, "no committed results: make bench"
    for path in files:
        records = json.loads(path.read_text())
        assert isinstance(records, list)
        assert records, path.name
        names = [record["name"] for record in records]
        assert len(names) == len(set(names)), f"{path.name}: a name twice"
        for record in records:
            assert set(record) == {"name", "value", "unit", "baseline", "ratio"}, (path.name, record)
