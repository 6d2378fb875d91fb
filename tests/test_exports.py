"""What `import omni_bridge` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import omni_bridge
import pytest
from omni_bridge import _native, errors

DOORS = ["Stream", "SyncStream", "achat", "chat", "configure", "models", "shutdown", "stream", "stream_sync"]
DOORS += ["register_provider", "warm_up", "Agent", "Run", "Sessions"]
CLASSES = ["Attempt", "CacheCreation", "ChatReply", "Custom", "Event", "Function", "Message", "Part"]
CLASSES += ["ToolCall", "Usage"]
CLASSES += ["StartEvent", "TextStartEvent", "TextDeltaEvent", "TextEndEvent", "RefusalDeltaEvent"]
CLASSES += ["ReasoningStartEvent", "ReasoningDeltaEvent", "ReasoningEndEvent", "ToolCallStartEvent"]
CLASSES += ["ToolCallDeltaEvent", "ToolCallEndEvent", "MediaStartEvent", "MediaDeltaEvent", "MediaEndEvent"]
CLASSES += ["ProviderPartEvent", "FallbackEvent", "UsageEvent", "DoneEvent", "ErrorEvent", "CancelledEvent"]
TYPING = ["AnyEvent", "ChatParams"]
MODULES = ["agent_types", "errors", "testing", "types"]
ERRORS = [name for name in errors.__all__ if name.endswith("Error")]


def fresh(code: str, *options: str) -> str:
    ran = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_public_names():
    pinned = sorted([*DOORS, *CLASSES, *TYPING, *MODULES, *ERRORS, "CONTRACT", "__version__"])
    assert sorted(omni_bridge.__all__) == pinned
    for name in pinned:
        assert getattr(omni_bridge, name) is not None


def test_dir_lists_them_all():
    assert dir(omni_bridge) == sorted(omni_bridge.__all__)


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'chta'"):
        omni_bridge.chta  # noqa: B018


def test_the_exceptions_are_those_of_errors():
    assert omni_bridge.OmniError is errors.OmniError
    assert omni_bridge.RateLimitError is errors.RateLimitError


def test_every_native_class_of_the_contract_is_public():
    private = {"AgentHost", "AgentRun", "Call", "Channel", "Request", "EngineHub", "EngineSink"}
    native = {name for name, value in vars(_native).items() if isinstance(value, type)}
    assert native - private == set(CLASSES)


@pytest.mark.parametrize("use", ["", "omni_bridge.chat", "omni_bridge.achat", "omni_bridge.DoneEvent"])
def test_nothing_heavy_is_imported(use: str):
    heavy = ["litellm", "pydantic", "asyncio", "anyio", "trio", "httpx"]
    code = f"import omni_bridge, sys; {use or None}; print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code).strip() == "[]"


def test_importing_the_package_does_not_load_the_library():
    assert fresh("import omni_bridge, sys; print('omni_bridge._native' in sys.modules)").strip() == "False"


def test_a_fresh_import_takes_at_most_25_ms_over_a_bare_interpreter():
    # The best of several, in one process each, and the time of the CPU: not what else the machine does.
    clock = "time.process_time()"
    code = f"import time; t = {clock}; import omni_bridge; omni_bridge.chat; print({clock} - t)"
    assert min(float(fresh(code)) for _ in range(5)) < 0.025


def test_version_and_contract():
    assert omni_bridge.CONTRACT == 1
    assert omni_bridge.__version__.count(".") == 2
