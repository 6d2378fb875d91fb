"""What all tests share: where things are, and that nothing is skipped unseen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# In CI a test that did not run is a test that failed: a green run must mean that everything was checked.
NO_SKIP = os.environ.get("OMNI_CI_NO_SKIP") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if NO_SKIP and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and OMNI_CI_NO_SKIP=1 forbids that: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    if NO_SKIP and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and OMNI_CI_NO_SKIP=1 forbids that: {reason}"
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def release_dir() -> Path:
    """Where `make build` puts the Rust artefacts; cargo's own variable moves it."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


@pytest.fixture(scope="session")
def need():
    """`need("valgrind")` gives the program's path; without it the test ends in one line that says why.

    A skip, because a machine without root cannot mend it; CI installs the packages and forbids skips.
    """

    def find(program: str, package: str | None = None) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is missing: as root, apt-get install {package or program}")
        return path

    return find


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch):
    """No test may reach a real provider by a key that happens to be in the environment."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_TOKEN")) or name in {"OPENAI_API_BASE", "OPENAI_BASE_URL"}:
            monkeypatch.delenv(name)
