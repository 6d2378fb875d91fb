"""What the guard refuses does not leave, however LiteLLM came to the address; nothing goes around it."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omni_bridge import _litellm, _litellm_http
from omni_bridge.errors import AuthenticationError, EngineUnavailableError, OmniError, PermissionDeniedError
from omni_bridge.testing import DemoServer, HttpServer

CANARY = "canary-of-the-environment-0001"
HELLO = [{"role": "user", "content": "hi"}]
PROVIDERS = {
    "ai21": "AI21_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "dashscope": "DASHSCOPE_API_KEY",
    "databricks": "DATABRICKS_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks_ai": "FIREWORKS_AI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "hosted_vllm": "HOSTED_VLLM_API_KEY",
    "huggingface": "HF_TOKEN",
    "mistral": "MISTRAL_API_KEY",
    "moonshot": "MOONSHOT_API_KEY",
    "nvidia_nim": "NVIDIA_NIM_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "xai": "XAI_API_KEY",
}
NAMES = ("authorization", "Authorization", "x-api-key", "X-Api-Key", "api-key", "Api-Key")
NAMES += ("x-goog-api-key", "X-Goog-Api-Key")


class Recorder(HttpServer):
    """Answers everything with a refusal, and remembers what it was asked."""

    async def answer(self, exchange):
        await exchange.reply(404, {"error": {"message": "no such model", "type": "not_found_error"}})


class Sink:
    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)
        return False

    async def drain(self):
        pass


def ask(request, config=None, stream=False):
    """One chat op on a loop of its own; its events, or one of our errors."""

    async def call():
        sink = Sink()
        try:
            doc = {"op": "chat", "stream": stream, "request": request, "config": config or {}}
            await asyncio.wait_for(_litellm.chat(doc, sink), 60)
        finally:
            await _litellm.aclose()
        return sink.events

    return asyncio.run(call())


@pytest.fixture(autouse=True)
def only_the_canary(monkeypatch):
    import os

    for name in [name for name in os.environ if re.search(r"_KEY$|_TOKEN$|_BASE$|_URL$", name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


@pytest.mark.parametrize("own", [False, True], ids=["environment", "call"])
def test_the_environments_key_does_not_go_under_a_host_of_the_callers_own(monkeypatch, own):
    with Recorder() as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)  # else it may go there
        request = {"model": "openai/m", "messages": HELLO, "headers": {"Host": "evil.example"}}
        if own:
            request["api_key"] = "the-callers-own-key-0001"
        with pytest.raises(OmniError) as caught:
            ask(request)
        if own:
            assert caught.value.code == "not_found"
            assert server.last.headers["host"] == "evil.example"
            return
        assert caught.value.code == "authentication"
        assert caught.value.message.startswith("headers.host: ")
        assert CANARY not in repr(caught.value)
        assert server.requests == []


async def ask_all(base: str) -> list[str]:
    """Every provider with every name of a header; which providers' calls were refused for a credential."""
    gate = asyncio.Semaphore(8)
    refused: list[str] = []

    async def one(provider: str, name: str) -> None:
        request = {
            "model": f"{provider}/m",
            "messages": HELLO,
            "api_base": base,
            "headers": {name: "foo"},
        }
        async with gate:
            try:
                await asyncio.wait_for(
                    _litellm.chat({"op": "chat", "request": request, "config": {}}, Sink()), 60
                )
            except AuthenticationError as error:
                if "a credential of the environment" in str(error):
                    refused.append(provider)
            except OmniError:
                pass  # what else may be wrong with it, the recorder tells

    await asyncio.gather(*(one(provider, name) for provider in PROVIDERS for name in NAMES))
    await _litellm.aclose()
    return sorted(set(refused))


def test_a_header_that_the_caller_set_takes_no_key_along():
    """LiteLLM writes its own key under the caller's name too: ``authorization: foo, Bearer KEY``."""
    import os

    canaries = {name: f"canary-{name.lower()}-0123456789" for name in PROVIDERS.values()}
    code = (
        "import asyncio, json, runpy, sys; module = runpy.run_path(sys.argv[1]); "
        "print('REFUSED ' + json.dumps(asyncio.run(module['ask_all'](sys.argv[2]))))"
    )
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    with Recorder() as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__)), server.url],
            env={**keep, **canaries},
            capture_output=True,
            text=True,
            timeout=240,
        )
        received = [(one.target, dict(one.headers), one.body) for one in server.requests]
    lines = [line for line in done.stdout.splitlines() if line.startswith("REFUSED ")]
    assert lines, done.stderr[-2000:]
    leaked = {
        name: target
        for target, headers, body in received
        for name, canary in canaries.items()
        if canary in target or canary.encode() in body or any(canary in value for value in headers.values())
    }
    assert leaked == {}
    assert len(json.loads(lines[0].removeprefix("REFUSED "))) > 15


@pytest.mark.parametrize("headers", [None, {"x-team": "blue"}, {"Authorization": "Bearer foo"}])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "mistral", "gemini", "groq"])
def test_a_refused_call_sends_nothing_at_all(monkeypatch, provider, headers):
    """Not the key, and not the prompt without a key either."""
    monkeypatch.setenv(PROVIDERS[provider], CANARY)
    request = {"model": f"{provider}/m", "messages": HELLO, "headers": headers}
    with Recorder() as server:
        try:
            ask({**request, "api_base": server.url + "/v1"})
        except AuthenticationError as error:
            assert "a credential of the environment" in str(error)  # noqa: PT017 - it may also be answered
            assert server.requests == []
        except OmniError:
            # The caller's own header stands in the key's place: then the call goes, without the key.
            assert headers is not None
            assert headers.get("Authorization")
        else:
            pytest.fail("the recorder answers nothing")
        assert CANARY not in str([(dict(one.headers), one.target) for one in server.requests])


OFF = {"allow_endpoints": False}


@pytest.mark.parametrize("model", ["oobabooga/{url}/internal", "custom/{url}", "huggingface/{url}/v1"])
def test_a_model_id_that_is_an_address_is_refused_where_calls_may_not_choose(model):
    with Recorder() as server:
        with pytest.raises(PermissionDeniedError, match="model"):
            ask({"model": model.format(url=server.url), "messages": HELLO}, OFF)
        assert server.requests == []


def test_no_call_reaches_a_host_that_nothing_names(monkeypatch):
    """However LiteLLM came to the address: the request itself is looked at as it leaves."""
    from omni_bridge import _litellm_call

    monkeypatch.setattr(_litellm_call, "forbidden_in", lambda request: [])
    with Recorder() as server:
        for request in (
            {"model": f"oobabooga/{server.url}/internal"},
            {"model": "openai/m", "api_base": server.url, "api_key": "mine-0001"},
            {"model": "ollama/m", "api_base": server.url},
        ):
            with pytest.raises(PermissionDeniedError, match="allowed_hosts"):
                ask({**request, "messages": HELLO}, OFF)
        assert server.requests == []


def test_hosts_that_the_environment_or_the_configuration_names_are_reached(monkeypatch):
    with DemoServer() as server:
        request = {"model": "openai/demo", "messages": HELLO}
        monkeypatch.setenv("OPENAI_API_BASE", server.url + "/v1")
        assert ask(request, OFF)[-1]["type"] == "finish"


def test_images_are_fetched_where_calls_may_not_choose_their_host(monkeypatch):
    """The host of an image is the message's business, and LiteLLM checks it."""

    class Pictures(HttpServer):
        async def answer(self, exchange):
            if exchange.request.target.endswith("/moved.png"):
                elsewhere = f"http://localhost:{self.url.rpartition(':')[2]}/p.png"
                await exchange.reply(302, b"", headers={"Location": elsewhere})
            else:
                await exchange.reply(200, b"\x89PNG\r\n\x1a\n", headers={"Content-Type": "image/png"})

    with Recorder() as server, Pictures() as pictures:
        monkeypatch.setenv("OLLAMA_API_BASE", server.url)
        content = [{"type": "image_url", "image_url": {"url": pictures.url + "/moved.png"}}]
        with pytest.raises(OmniError, match="no such model"):
            ask(
                {"model": "ollama/m", "messages": [{"role": "user", "content": content}]},
                {**OFF, "allow_private_images": True},
            )
        assert [one.target for one in pictures.requests] == ["/moved.png", "/p.png"]
        assert len(server.requests) >= 1


def test_nothing_is_asked_when_a_hook_is_gone(monkeypatch):
    transport = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport
    _litellm._litellm()

    async def unguarded(self, request):
        raise AssertionError("it left")

    monkeypatch.setattr(transport, "handle_async_request", unguarded)
    assert not _litellm_http.in_place()
    with pytest.raises(EngineUnavailableError, match=r"LiteLLM \d+\.\d+.* past the hook"):
        ask(
            {"model": "openai/m", "messages": HELLO, "api_key": "mine-0001", "api_base": "http://127.0.0.1:9"}
        )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_to_a_request_that_we_never_saw_is_an_error(monkeypatch, stream, fails):
    """LiteLLM has found another way to send: fail closed instead of trusting it with keys."""
    from omni_bridge import _litellm_http as http

    transport = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport
    _litellm._litellm()
    hooked = transport.handle_async_request

    async def around(self, request):
        token = http.CURRENT.set(None)
        try:
            return await hooked(self, request)
        finally:
            http.CURRENT.reset(token)

    around._omni_bridge = True
    monkeypatch.setattr(transport, "handle_async_request", around)
    with (Recorder if fails else DemoServer)() as server:
        request = {"model": "openai/demo", "messages": HELLO, "api_key": "mine-0001"}
        with pytest.raises(EngineUnavailableError, match="past the hook"):
            ask({**request, "api_base": server.url + "/v1"}, stream=stream)


def test_a_client_of_the_hosts_own_is_watched_too(monkeypatch):
    """A program may give LiteLLM a client: its transport is httpx's own."""
    import httpx

    litellm = _litellm._litellm()
    with Recorder() as server:
        client = httpx.AsyncClient()
        monkeypatch.setattr(litellm, "aclient_session", client)
        monkeypatch.setattr(
            litellm, "in_memory_llm_clients_cache", type(litellm.in_memory_llm_clients_cache)()
        )
        request = {"model": "openai/m", "messages": HELLO, "headers": {"x-team": "blue"}}
        with pytest.raises(AuthenticationError, match="a credential of the environment"):
            ask({**request, "api_base": server.url + "/v1"})
        assert server.requests == []
