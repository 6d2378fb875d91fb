"""What the tests stand on is itself tested: no machine's environment and no old toolchain goes unnoticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import of_a_provider

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "name",
    [
        *("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION_NAME"),
        *(
            "HF_TOKEN",
            "DATABRICKS_TOKEN",
            "GITHUB_TOKEN",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "VERTEXAI_PROJECT",
        ),
        *("OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "AZURE_API_VERSION"),
        *("HTTPS_PROXY", "http_proxy", "LITELLM_PROXY_API_BASE"),
    ],
)
def test_what_would_change_where_a_call_goes_is_taken_away(name: str):
    assert of_a_provider(name)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "VIRTUAL_ENV", "OMNI_BRIDGE_PYTHON", "CARGO_TARGET_DIR", "LANG", "SSH_AUTH_SOCK"]
)
def test_what_the_tests_need_stays(name: str):
    assert not of_a_provider(name)


def test_nothing_of_the_kind_is_left_in_a_test():
    assert [name for name in os.environ if of_a_provider(name)] == []


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("cargo 1.87.0 (99624be96 2025-05-06)", "cargo 1.87.0 is too old: omni_bridge needs 1."),
        ("error: no default toolchain", "cargo is on the path but does not run"),
        ("cargo 1.100.0 (0 2030-01-01)", None),
    ],
)
def test_an_old_cargo_is_told_before_the_build(version: str, says: str | None, tmp_path: Path):
    cargo = tmp_path / "cargo"
    cargo.write_text(f"#!/bin/sh\necho '{version}'\n")
    cargo.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", ROOT / "tools/check_toolchain.sh", sys.executable],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if says is None else 1), done.stderr
    assert (says or "") in done.stderr
    assert len(done.stderr.splitlines()) <= 1
