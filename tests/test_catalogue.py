"""The compiled-in catalogue agrees with the rest of the repository: hosts, and the tool that writes it.

That it is what the installed LiteLLM gives is checked with all generated files (tests/test_repo.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
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
