"""Callbacks that the host gave LiteLLM are not for our calls: none can hold one up, break it or see it."""

from __future__ import annotations

import asyncio
import importlib

import pytest
from omni_bridge import _litellm
from omni_bridge.errors import OmniError
from omni_bridge.testing import DemoServer, FaultServer


class Events(list):
    def emit(self, event):
        self.append(event)
        return False

    async def drain(self):
        pass


@pytest.fixture
def seen(monkeypatch):
    """What the callbacks were told; every one of them raises."""
    litellm = _litellm._litellm()
    told: list[str] = []
    base = importlib.import_module("litellm.integrations.custom_logger").CustomLogger

    class Spy(base):
        def __getattribute__(self, name):
            found = base.__getattribute__(self, name)
            if callable(found) and not name.startswith("__"):
                told.append(name)
                raise RuntimeError(f"a callback raised in {name}")
            return found

    def function(*args, **kwargs):
        told.append("function")
        raise RuntimeError("a callback raised")

    for name in ("callbacks", "input_callback", "success_callback", "failure_callback"):
        monkeypatch.setattr(litellm, name, [Spy() if name == "callbacks" else function])
    for name in ("_async_success_callback", "_async_failure_callback"):
        monkeypatch.setattr(litellm, name, [function])
    return told


def ask(base, stream):
    request = {
        "model": "openai/demo",
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": base + "/v1",
        "api_key": "k",
        "timeout": 30,
    }
    events = Events()

    async def main():
        try:
            await _litellm.chat({"op": "chat", "stream": stream, "request": request, "config": {}}, events)
        finally:
            await _litellm.aclose()

    asyncio.run(main())
    return events


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_callback_neither_breaks_nor_sees_a_call(seen, stream):
    with DemoServer() as server:
        assert ask(server.url, stream)[-1]["type"] == "finish"
    assert "function" not in seen
    assert [name for name in seen if "log" in name or "hook" in name] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_callback_does_not_see_a_failure_either(seen, stream):
    with FaultServer() as server, pytest.raises(OmniError) as caught:
        ask(server.url_of(429), stream)
    assert caught.value.code == "rate_limit"
    assert "function" not in seen
    assert [name for name in seen if "log" in name or "hook" in name] == []
