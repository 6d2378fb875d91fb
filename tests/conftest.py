"""What all tests share: where things are, and that nothing is skipped unseen."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import omni_bridge
import pytest
from omni_bridge._endpoints import CREDENTIAL_NAME

# Where a provider is, which of its accounts is asked, and the proxies before it.
PLACE = re.compile(
    r"_(API_BASE|BASE_URL|API_URL|ENDPOINT|ENDPOINT_URL|API_VERSION|HOST|PROJECT|LOCATION|PROFILE|REGION|REGION_NAME)$"
    r"|^(AWS|AZURE|VERTEX|VERTEXAI|GOOGLE|GCLOUD|LITELLM|OLLAMA|DATABRICKS|WATSONX)_"
    r"|^(HTTPS?|ALL|NO)_PROXY$",
    re.IGNORECASE,
)

ROOT = Path(__file__).resolve().parent.parent

# The keys that a developer has kept are none of a test's business, and asking may open a window.
os.environ["OMNI_KEYCHAIN"] = "off"
os.environ["OMNI_CREDENTIALS"] = os.devnull + ".none"
os.environ["OMNI_CONFIG"] = ""

OF_LITELLM = re.compile(
    r"test_(engine|engine_\w+|litellm_\w+|keys|keys_guard|exit|fork|soak|capi|capi_ctypes|service_process|vectors_doors)"
)
"""Modules that hold the engine in Python: its loop, its process, LiteLLM. Others ask whom a user would."""

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


@pytest.fixture(autouse=True, scope="module")
def engine_in_python(request: pytest.FixtureRequest) -> Iterator[None]:
    """`OF_LITELLM` with LiteLLM as the default engine, also in the programs that they start."""
    if OF_LITELLM.fullmatch(request.module.__name__.rpartition(".")[2]) is None:
        yield
        return
    os.environ["OMNI_BRIDGE_ENGINE"] = "litellm"
    omni_bridge.configure()
    yield
    del os.environ["OMNI_BRIDGE_ENGINE"]
    omni_bridge.configure()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch):
    """No test reaches a real provider, or ends otherwise, by what a developer's environment holds."""
    for name in list(os.environ):
        if of_a_provider(name):
            monkeypatch.delenv(name)


def of_a_provider(name: str) -> bool:
    """Whether an environment variable may say with which credential, or where, a provider is asked."""
    if name.startswith(("OMNI_", "PYTEST", "CARGO", "SSH_")):
        return False  # ours and the tools'; a test that means one of these sets it
    return bool(CREDENTIAL_NAME.search(name) or PLACE.search(name))
