"""Credentials of the environment go only where they belong, over every provider that LiteLLM knows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omni_bridge._endpoints import OWN_HOSTS, Environment, Guard, current_environment
from omni_bridge.testing import HttpServer

CREDENTIAL = re.compile(
    r"(_KEY|_TOKEN|_SECRET|_PASSWORD|APIKEY|_CREDENTIALS|_KEY_ID|_ORGANIZATION|_PAT|_SESSION_TOKEN|"
    r"_AUTH_TOKEN)$"
)
NOT_FOR_CALLS = re.compile(r"^(LITELLM_|REDIS|VALKEY|OMNI_|MINIMUM_|LENGTH_|ISSUER_)")
CALLERS_KEY = "the-callers-own-key-0001"


class Recorder(HttpServer):
    """Answers everything with a refusal, and remembers what it was asked."""

    async def answer(self, exchange):
        await exchange.reply(404, {"error": {"message": "no such model", "type": "not_found_error"}})


def names_in_litellm() -> list[str]:
    """Every environment name in LiteLLM's source that holds a credential."""
    import importlib.util

    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    found: set[str] = set()
    for path in Path(spec.origin).parent.rglob("*"):
        if path.suffix in (".py", ".json") and "proxy" not in path.parts and path.stat().st_size < 3_000_000:
            found.update(re.findall(r'["\']([A-Z][A-Z0-9_]{3,60})["\']', path.read_text("utf-8", "replace")))
    return sorted(name for name in found if CREDENTIAL.search(name) and not NOT_FOR_CALLS.search(name))


async def ask_every_provider(base: str, key: str | None) -> dict[str, str]:
    from omni_bridge import _litellm

    class Sink:
        def emit(self, event):
            return False

        async def drain(self):
            pass

    litellm = _litellm._litellm()
    outcome: dict[str, str] = {}
    gate = asyncio.Semaphore(8)

    async def one(model: str, with_base: bool) -> None:
        request = {
            "model": model,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 5,
            "timeout": 20,
        }
        if with_base:
            request["api_base"] = base
        if key:
            request["api_key"] = key
        async with gate:
            try:
                await asyncio.wait_for(
                    _litellm.chat({"op": "chat", "request": request, "config": {}}, Sink()), 30
                )
                outcome[model] = "answered"
            except Exception as error:  # noqa: BLE001 - whatever comes: the server's log is the judge
                outcome[model] = getattr(error, "code", type(error).__name__)

    providers = sorted(str(getattr(one, "value", one)) for one in litellm.provider_list)
    calls = [one(f"{provider}/some-model", with_base=True) for provider in providers]
    by_model_id = ("huggingface", "openai", "replicate", "custom", "predibase", "azure", "ollama", "triton")
    calls += [
        one(f"{provider}/{base}/v1", with_base=False) for provider in by_model_id
    ]  # a model id that is an address
    calls += [one("bedrock/converse/anthropic.claude-3-haiku-20240307-v1:0", with_base=True)]
    calls += [one("bedrock/anthropic.claude-3-haiku-20240307-v1:0", with_base=True)]
    calls += [one("openai/responses/gpt-5", with_base=True), one("azure/responses/gpt-5", with_base=True)]
    await asyncio.gather(*calls)
    await _litellm.aclose()
    return outcome


def run_child(base: str, key: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Asks every provider from an environment full of canaries; (canary → name, model → outcome)."""
    canaries = {f"canary{number:04}{'x' * 24}": name for number, name in enumerate(names_in_litellm())}
    keep = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH")
        if name in os.environ
    }
    outside = {  # nothing but the recorder can be reached, however many hosts LiteLLM thinks of
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    environment = {**keep, **{name: canary for canary, name in canaries.items()}, **outside}
    code = (
        "import asyncio, json, runpy, sys; module = runpy.run_path(sys.argv[1]); "
        "print('OUTCOME ' + json.dumps(asyncio.run(module['ask_every_provider'](sys.argv[2], sys.argv[3] "
        "or None))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, __file__, base, key or ""],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("OUTCOME ")), None)
    assert line is not None, done.stderr[-2000:]
    for canary, name in canaries.items():
        assert canary not in done.stdout + done.stderr, f"{name} was printed"
    return canaries, json.loads(line.removeprefix("OUTCOME "))


@pytest.mark.parametrize("key", [None, CALLERS_KEY], ids=["without a key", "with the caller's key"])
def test_no_canary_of_any_provider_arrives_at_a_foreign_host(key):
    with Recorder() as server:
        canaries, outcome = run_child(server.url, key)
        received = [(request.target, dict(request.headers), request.body) for request in server.requests]
    assert len(canaries) > 150
    assert len(outcome) > 120
    arrived = {
        name: target
        for target, headers, body in received
        for canary, name in canaries.items()
        if canary in target or canary.encode() in body or any(canary in value for value in headers.values())
    }
    assert arrived == {}
    if key:
        assert sum(any(key in value for value in headers.values()) for _, headers, _ in received) > 60
    else:
        assert outcome["openai/some-model"] == "authentication"
        assert outcome["anthropic/some-model"] == "authentication"
        assert outcome["gemini/some-model"] == "authentication"
        # Credentials that are no API keys: AWS signs with them, Azure and watsonx make tokens of them.
        for model in ("bedrock/converse/anthropic.claude-3-haiku-20240307-v1:0", "azure/some-model"):
            assert outcome[model] == "authentication"


def guard(provider, *, request=None, config=None, environment=None):
    return Guard(provider, request or {}, config or {}, Environment(environment or {}))


@pytest.mark.parametrize(
    ("provider", "url", "config", "environment", "trusted"),
    [
        ("openai", "https://api.openai.com/v1/chat/completions", {}, {}, True),
        ("openai", "http://api.openai.com/v1/chat/completions", {}, {}, False),
        ("openai", "https://api.openai.com.evil.example/v1", {}, {}, False),
        ("openai", "https://api.groq.com/openai/v1", {}, {}, False),
        ("groq", "https://api.groq.com/openai/v1", {}, {}, True),
        ("openai", "http://10.0.0.5:8000/v1", {}, {"OPENAI_API_BASE": "http://10.0.0.5:8000/v1"}, True),
        ("openai", "http://10.0.0.5:8001/v1", {}, {"OPENAI_API_BASE": "http://10.0.0.5:8000/v1"}, False),
        ("openai", "http://10.0.0.5:8000/v1", {}, {"GROQ_API_BASE": "http://10.0.0.5:8000/v1"}, False),
        ("openai", "https://llm.corp.example/v1", {"allowed_hosts": ["llm.corp.example"]}, {}, True),
        ("openai", "https://llm.corp.example:444/v1", {"allowed_hosts": ["llm.corp.example:443"]}, {}, False),
        # Anybody can have one of these: only what the environment or the configuration names is ours.
        ("azure", "https://mine.openai.azure.com/openai", {}, {}, False),
        (
            "azure",
            "https://mine.openai.azure.com/openai",
            {},
            {"AZURE_API_BASE": "https://mine.openai.azure.com"},
            True,
        ),
        ("azure", "https://mine.openai.azure.com/x", {"allowed_hosts": ["mine.openai.azure.com"]}, {}, True),
        ("azure_ai", "https://x.services.ai.azure.com/models", {}, {}, False),
        ("databricks", "https://x.cloud.databricks.com/serving-endpoints", {}, {}, False),
        ("snowflake", "https://evil.snowflakecomputing.com/api", {}, {"SNOWFLAKE_ACCOUNT_ID": "mine"}, False),
        ("snowflake", "https://mine.snowflakecomputing.com/api", {}, {"SNOWFLAKE_ACCOUNT_ID": "mine"}, True),
        ("snowflake", "https://mine.snowflakecomputing.com/api", {}, {"SNOWFLAKE_ACCOUNT_ID": ".*"}, False),
        ("bedrock", "https://x.execute-api.us-east-1.amazonaws.com/model", {}, {}, False),
        ("bedrock", "https://bedrock-runtime.s3.amazonaws.com/model", {}, {}, False),
        ("bedrock", "https://bedrock-runtime.s3-us-west-2.amazonaws.com/model", {}, {}, False),
        ("bedrock", "https://x.bedrock-runtime.us-east-1.amazonaws.com/model", {}, {}, False),
        ("bedrock", "https://sts.eu-west-3.amazonaws.com/", {}, {}, True),
        ("sagemaker", "https://runtime.sagemaker.us-east-1.amazonaws.com/endpoints/x", {}, {}, True),
        ("sap", "https://evil.cfapps.eu10.hana.ondemand.com/v2", {}, {}, False),
        ("sap", "https://api.ai.prod.eu-central-1.aws.ml.hana.ondemand.com/v2", {}, {}, True),
        (
            "sap",
            "https://mine.authentication.eu10.hana.ondemand.com/oauth/token",
            {},
            {"AICORE_SERVICE_KEY": '{"url": "https://mine.authentication.eu10.hana.ondemand.com"}'},
            True,
        ),
        ("huggingface", "https://evil.endpoints.huggingface.cloud/v1", {}, {}, False),
        ("baseten", "https://model-evil.api.baseten.co/v1", {}, {}, False),
        ("gradient_ai", "https://evil.agents.do-ai.run/api", {}, {}, False),
        ("volcengine", "https://ark.tos-cn-beijing.volces.com/api/v3", {}, {}, False),
        ("volcengine", "https://ark.cn-beijing.volces.com/api/v3", {}, {}, True),
        ("oci", "https://x.objectstorage.us-ashburn-1.oci.oraclecloud.com/v1", {}, {}, False),
        ("vertex_ai", "https://us-central1-aiplatform.googleapis.com/v1", {}, {}, True),
        ("vertex_ai", "https://bucket.storage.googleapis.com/v1", {}, {}, False),
        # A base that cannot be read is nowhere, and does not end the call either.
        ("openai", "https://e.example/v1", {}, {"OPENAI_API_BASE": "http://h:port/v1"}, False),
        ("openai", "https://e.example/v1", {}, {"OPENAI_BASE_URL": "http://[::1"}, False),
        ("bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com/model/x/converse", {}, {}, True),
        ("bedrock", "https://amazonaws.com.evil.example/model/x/converse", {}, {}, False),
    ],
)
def test_which_addresses_are_trusted(provider, url, config, environment, trusted):
    assert guard(provider, config=config, environment=environment).trusted(url) is trusted


def test_a_credential_that_the_caller_gave_may_go_anywhere():
    there = guard("openai", request={"api_key": "mine-1234", "headers": {"X-Team": "blue"}})
    headers = [
        ("authorization", "Bearer mine-1234"),
        ("x-team", "blue"),
        ("content-type", "application/json"),
    ]
    assert there.verdict("http://elsewhere.example/v1", headers, b"{}") == (None, [])


def test_a_piece_of_a_callers_value_does_not_open_the_door():
    there = guard(
        "openai", request={"headers": {"X-Any": "B"}}, environment={"OPENAI_API_KEY": "Bnvironment-key"}
    )
    problem, _ = there.verdict(
        "http://elsewhere.example/v1", [("authorization", "Bearer Bnvironment-key")], b""
    )
    assert problem == "the header authorization"


@pytest.mark.parametrize(
    ("url", "headers", "body", "problem"),
    [
        ("http://e.example/v1", [("x-goog-api-key", "unknown-to-us")], b"", "the header x-goog-api-key"),
        ("http://e.example/v1?key=unknown-to-us", [], b"", "the query field key"),
        ("http://e.example/env-secret-123456/v1", [], b"", "the address"),
        ("http://e.example/v1", [("x-other", "env-secret-123456")], b"", "the header x-other"),
        ("http://e.example/v1", [], b'{"apikey": "env-secret-123456"}', "the body"),
        ("http://e.example/v1", [("authorization", "Bearer None"), ("x-api-key", "")], b"", None),
    ],
)
def test_every_place_a_credential_can_stand_in(url, headers, body, problem):
    there = guard("openai", environment={"MY_API_KEY": "env-secret-123456"})
    assert there.verdict(url, headers, body)[0] == problem


def test_what_identifies_the_account_is_left_out_of_a_foreign_call():
    there = guard(
        "openai", request={"api_key": "mine-1234"}, environment={"OPENAI_ORGANIZATION": "org-canary-1"}
    )
    headers = [("authorization", "Bearer mine-1234"), ("openai-organization", "org-canary-1")]
    assert there.verdict("http://elsewhere.example/v1", headers, b"") == (None, ["openai-organization"])


def test_names_and_bases_of_the_environment():
    environment = {
        "OPENAI_API_KEY": "k" * 10,
        "HOME": "/root",
        "VERTEXAI_API_BASE": "https://v.example",
        "CI_URL": "https://c",
    }
    known = Environment(environment)
    assert known.secrets == {"k" * 10: "OPENAI_API_KEY"}
    assert known.bases_of("vertex_ai") == ["https://v.example"]
    assert known.bases_of("openai") == []


def test_a_change_of_the_environment_is_seen(monkeypatch):
    assert "fresh-secret-1" not in current_environment().secrets
    monkeypatch.setenv("SOME_API_KEY", "fresh-secret-1")
    assert current_environment().secrets["fresh-secret-1"] == "SOME_API_KEY"


def test_own_hosts_are_hosts_that_no_stranger_can_have():
    piece = r"([a-z0-9-]|\*)+|\{region\}|\{[A-Z_]+\}"
    for provider, hosts in OWN_HOSTS.items():
        for host in hosts:
            assert re.fullmatch(rf"({piece})(\.({piece}))+", host), (provider, host)
            fixed = [one for one in host.split(".") if re.fullmatch("[a-z0-9-]+", one)]
            assert host.endswith(".".join(fixed[-2:])), (provider, host)
            # A whole piece that may be anything comes first only where the provider gives the names out.
            assert not host.startswith("*.") or host in ("*.githubcopilot.com", "*.ml.cloud.ibm.com")


def test_a_keyless_local_server_needs_no_key(monkeypatch):
    import omni_bridge
    from omni_bridge.testing import DemoServer

    for name in [name for name in os.environ if CREDENTIAL.search(name)]:
        monkeypatch.delenv(name)
    with DemoServer() as server:
        reply = omni_bridge.chat(
            [{"role": "user", "content": "hi"}],
            "openai/demo",
            api_base=server.url + "/v1",
            engine="litellm",
            timeout=60,
        )
    assert reply.content
