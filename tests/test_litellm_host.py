"""A program that uses LiteLLM itself does not notice ours, and a LiteLLM that has changed is told apart."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import subprocess
import sys
import textwrap
import types
import warnings

import pytest
from omni_bridge import _litellm, _litellm_patch
from omni_bridge._litellm_http import CURRENT, Exchange
from omni_bridge.errors import EngineUnavailableError


@pytest.fixture
def ours():
    """Within it one is in a call of ours."""
    litellm = _litellm._litellm()
    token = None

    class Inside:
        def __enter__(self):
            nonlocal token
            token = CURRENT.set(Exchange(lambda request: request, lambda _: True))
            return litellm

        def __exit__(self, *_):
            CURRENT.reset(token)

    return Inside()


def test_the_settings_of_litellm_are_the_programs_own_outside_our_calls(ours, monkeypatch):
    litellm = _litellm._litellm()
    theirs = {
        "drop_params": True,
        "modify_params": True,
        "num_retries": 7,
        "set_verbose": True,
        "suppress_debug_info": False,
        "disable_aiohttp_transport": True,
        "cache": object(),
    }
    for name, value in theirs.items():
        monkeypatch.setattr(litellm, name, value)
    handler = importlib.import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler
    clients = litellm.in_memory_llm_clients_cache
    assert {name: getattr(litellm, name) for name in theirs} == theirs
    assert handler.should_use_aiohttp_transport() is False
    with ours:
        assert [litellm.drop_params, litellm.num_retries, litellm.cache] == [False, None, None]
        assert litellm.in_memory_llm_clients_cache is not clients
        assert handler.should_use_aiohttp_transport() is True
        litellm.num_retries = None  # LiteLLM does this itself when it fails
    assert {name: getattr(litellm, name) for name in theirs} == theirs


def test_its_native_extension_is_off_in_our_calls_alone(ours, monkeypatch):
    monkeypatch.setenv("LITELLM_RUST", "1")
    rust = importlib.import_module("litellm.rust_bridge.configuration")
    optional = rust.Rollout.RUST_OPT_OUT
    assert rust.decision(optional) is rust.Decision.RUST_WITH_FALLBACK
    with ours:
        assert rust.decision(optional) is rust.Decision.PYTHON


def test_its_log_lines_are_kept_back_in_our_calls_alone(ours, caplog):
    log = logging.getLogger("litellm.llms.some.module")
    with caplog.at_level(logging.WARNING):
        log.warning("theirs")
        with ours:
            log.warning("ours")
            logging.getLogger("LiteLLM").warning("ours")
        logging.getLogger("elsewhere").warning("elsewhere")
    assert [record.getMessage() for record in caplog.records] == ["theirs", "elsewhere"]


def test_warnings_are_kept_back_in_our_calls_alone(ours):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _litellm_patch.hush(CURRENT)
        _litellm_patch.hush(CURRENT)
        warnings.warn("theirs", stacklevel=1)
        with ours:
            warnings.warn("ours", stacklevel=1)
    assert [str(one.message) for one in caught] == ["theirs"]


PROGRAM = """
    import asyncio, json, os, warnings
    before, filters = dict(os.environ), list(warnings.filters)
    import omni_bridge
    from omni_bridge.testing import FaultServer
    with FaultServer() as server:
        base = server.url_of("ok")
        for model, suffix in (
            ("openai/demo", "/v1"), ("anthropic/claude-sonnet-4-5", ""), ("gemini/gemini-2.5", "/v1beta"),
            ("openai/responses/gpt-5", "/v1"), ("huggingface/org/demo", "/v1/chat/completions"),
            ("mistral/demo", "/v1"), ("groq/demo", "/v1"), ("xai/demo", "/v1"), ("openrouter/demo", "/v1"),
        ):
            more = {"engine": "litellm", "api_base": base + suffix, "api_key": "k", "retry": 0}
            reply = omni_bridge.chat([{"role": "user", "content": "hi"}], model, user="u", **more)
            assert reply.content, model
            with omni_bridge.stream_sync([{"role": "user", "content": "hi"}], model, **more) as stream:
                assert [event for event in stream], model
        try:
            omni_bridge.chat([{"role": "user", "content": "hi"}], "no-such-provider/x", engine="litellm")
        except omni_bridge.NotFoundError:
            pass
    omni_bridge.shutdown()
    changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
    import logging
    print(json.dumps({"changed": sorted(changed), "level": logging.getLogger("LiteLLM").level}))
"""


def test_nothing_is_printed_and_the_environment_is_left_alone(tmp_path):
    (tmp_path / ".env").write_text("FROM_A_DOT_ENV=1\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "HF_"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={**clean, "HF_HUB_OFFLINE": "0", "LITELLM_MODE": "DEV"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    # LiteLLM itself names the tokenizers that it comes with, whoever imports it.
    assert json.loads(line)["changed"] == ["TIKTOKEN_CACHE_DIR"]


def test_a_litellm_without_what_guards_calls_is_unavailable(monkeypatch):
    handler = importlib.import_module("litellm.llms.custom_httpx.http_handler")

    def find(name):
        return types.SimpleNamespace() if name == handler.__name__ else importlib.import_module(name)

    with pytest.raises(EngineUnavailableError, match=r"LiteLLM 9\.9\.9 .*tested with LiteLLM 1\.") as caught:
        _litellm_patch.check(find, "9.9.9")
    assert "create_client" in caught.value.message
    _litellm_patch.check(importlib.import_module, "any")


def test_loading_again_after_a_failure_says_the_same(monkeypatch):
    _litellm._litellm()
    monkeypatch.setattr(_litellm._State, "litellm", None)
    monkeypatch.setattr(_litellm_patch, "GUARDED_BY", (("litellm", "gone_tomorrow"),))
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match="gone_tomorrow"):
            asyncio.run(_litellm.chat({"op": "chat", "request": {"model": "openai/x"}}, None))
    monkeypatch.undo()


def test_other_names_may_go_and_nothing_is_patched_twice(monkeypatch):
    class Holder:
        pass

    holder = Holder()
    _litellm_patch._swap(holder, "gone", lambda original: original)
    assert not hasattr(holder, "gone")
    holder.here = lambda: 1
    for _ in range(2):
        _litellm_patch._swap(holder, "here", lambda original: lambda: original() + 1)
    assert holder.here() == 2
    litellm = _litellm._litellm()
    kind = type(litellm)
    _litellm_patch.apply(litellm, importlib.import_module, CURRENT)
    assert type(litellm) is kind


def test_the_version_that_was_tested_is_the_one_here():
    assert importlib.metadata.version("litellm") == _litellm_patch.TESTED
