"""Where a key may go: the rule of each engine gives the same answers to one table."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from omni_bridge._endpoints import OWN_HOSTS, Environment, Guard, family, refusal
from omni_bridge.service_rules import forbidden_in

ROOT = Path(__file__).resolve().parent.parent
SECRET = "canary-of-the-environment-0001"
SHORT = "shorty1"
GIVEN = "the-callers-own-key-0001"

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "empty": {},
    "keys": {
        "OPENAI_API_KEY": SECRET,
        "OTHER_TOKEN": SHORT,
        "OPENAI_ORGANIZATION": "org-of-mine",
        "HOME": "/home/me",
    },
    "bases": {
        "OPENAI_API_BASE": "https://eu.gateway.example/v1",
        "OPENAI_BASE_URL_V2": "http://second.example:8080",
        "AZURE_API_BASE": "https://mine.openai.azure.com",
        "OLLAMA_HOST": "ollama.local:11434",
        "TOGETHERAI_API_BASE": "https://together.example",
        "HF_ENDPOINT": "http://hf.example",
        "SNOWFLAKE_ACCOUNT_ID": "My-Account_1",
        "AICORE_SERVICE_KEY": '{"url": "https://auth.sap.example", "api": "https://api.sap.example/v2"}',
        "EMPTY_API_BASE": "",
        "BROKEN_API_BASE": "http://[::1",
    },
    "traps": {
        "SNOWFLAKE_ACCOUNT_ID": "evil.example",
        "OPENAI_API_BASE": "not an address",
        "OPENAI_API_KEY": SECRET,
    },
}

URLS = (
    "https://api.openai.com/v1/chat/completions",
    "https://API.OPENAI.COM/v1",
    "https://api.openai.com./v1",
    "https://api.openai.com:8443/v1",
    "https://user@api.openai.com/v1",
    "http://api.openai.com/v1",
    "https://api.openai.com@evil.example/v1",
    "https://api.openai.com.evil.example/v1",
    "https://evil.example/api.openai.com",
    "https://evil.example/?u=https://api.openai.com",
    "https://evil.example/#@api.openai.com",
    "https://eu.gateway.example/v1/chat/completions",
    "https://eu.gateway.example:444/v1",
    "http://eu.gateway.example/v1",
    "http://second.example:8080/x",
    "http://second.example/x",
    "https://mine.openai.azure.com/openai/deployments/x",
    "https://other.openai.azure.com/openai",
    "https://login.microsoftonline.com/x",
    "http://ollama.local:11434/api/chat",
    "http://ollama.local/api/chat",
    "https://together.example/v1",
    "http://hf.example/v1",
    "https://my-account_1.snowflakecomputing.com/api",
    "https://other.snowflakecomputing.com/api",
    "https://evil.example.snowflakecomputing.com/api",
    "https://auth.sap.example/token",
    "https://api.sap.example/v2/x",
    "https://bedrock-runtime.eu-west-1.amazonaws.com/model/x",
    "https://bedrock-runtime.us-gov-east-1.amazonaws.com/model/x",
    "https://bedrock-runtime.us-east-100.amazonaws.com/model/x",
    "https://bedrock-runtime.s3.amazonaws.com/model/x",
    "https://bedrock-runtime.a.b-c-1.amazonaws.com/model/x",
    "https://us-east5-aiplatform.googleapis.com/v1",
    "https://aiplatform.eu.rep.googleapis.com/v1",
    "https://us_east5-aiplatform.googleapis.com/v1",
    "https://-aiplatform.googleapis.com/v1",
    "https://ark.cn-beijing.volces.com/api",
    "https://ark.cn-.volces.com/api",
    "https://ark.cn-a.b.volces.com/api",
    "https://api.individual.githubcopilot.com/chat",
    "https://api.ai.prod.eu-central-1.aws.ml.hana.ondemand.com/v2",
    "http://127.0.0.1:8000/v1",
    "http://127.0.0.1:8001/v1",
    "http://[::1]:8000/v1",
    "https://named.example/v1",
    "http://named.example:81/v1",
    "https://deep.suffix.example/v1",
    "https://suffix.example/v1",
    "https://notsuffix.example/v1",
    "https://whole.example/v1",
    "http://whole.example/v1",
)
ALLOWED: tuple[list[str], ...] = (
    [],
    ["named.example", ".suffix.example", "127.0.0.1:8000", "https://whole.example"],
    ["NAMED.example", "[::1]:8000", "http://whole.example/path", "http://[broken", "", ":80", "."],
)
PROVIDERS = (
    "openai",
    "azure",
    "azure_ai",
    "ollama_chat",
    "together_ai",
    "huggingface",
    "snowflake",
    "sap",
    "bedrock_converse",
    "vertex_ai",
    "volcengine",
    "github_copilot",
    "text-completion-openai",
    "made-up",
)

FOREIGN = "https://foreign.example/v1"
REQUESTS: tuple[dict[str, Any], ...] = (
    {},
    {"api_key": GIVEN},
    {"api_key": SECRET},
    {"headers": {"x-mine": SECRET, "authorization": f"Bearer {GIVEN}", "x-number": 7}},
)
HEADERS: tuple[list[tuple[str, str]], ...] = (
    [],
    [("Authorization", f"Bearer {SECRET}")],
    [("authorization", f"Bearer {GIVEN}")],
    [("authorization", f"bearer {GIVEN[:-1]}")],
    [("x-api-key", "no-key")],
    [("x-api-key", "Bearer ")],
    [("x-api-key", "tokenish")],
    [("x-api-key", f"{GIVEN}, none")],
    [("x-api-key", f"{GIVEN}, other")],
    [("x-anything", f"a{SECRET}b")],
    [("x-anything", SHORT)],
    [("user-agent", f"x{SHORT}"), ("openai-organization", "org-of-mine")],
    [("user-agent", SECRET)],
    [("x-stainless-lang", SHORT)],
    [("cookie", "a=b")],
    [("x-mine", SECRET)],
    [("x-home", "/home/me")],
)
QUERIES = (
    "",
    "?key=abc",
    f"?key={GIVEN}",
    "?key=none",
    "?Token=x",
    "?q=1&api_key=",
    f"?q={SECRET}",
    f"/{SECRET}",
    "/%63anary-of-the-environment-0001",
    "?q=%63anary-of-the-environment-0001",
    "?a=x+y",
)
BODIES = ("", f'{{"a": "{SECRET}"}}', f'{{"a": "{SHORT}"}}')

OPTIONS: tuple[dict[str, Any], ...] = (
    {"headers": {}, "api_base": "http://x.example"},
    {"model": "http://x.example/m"},
    {"provider_options": {"openai": {"AZURE_AD_token": 1}}},
    {
        "provider_options": {
            "p": dict.fromkeys(("organization", "Client", "my_api_key", "myapi_key", "api_version"), 1)
        }
    },
    {
        "provider_options": {
            "p": dict.fromkeys(("endpoint_url", "secret", "secrets", "x_credentials_path", "user"), 1)
        }
    },
    {
        "provider_options": {
            "p": {"a": {"headers": 1, "extra_headers": 1, "base_url": 1, "secret": 1, "litellm_x": 1}}
        }
    },
    {"provider_options": {"p": [{"api_key": 1}, [{"x_api_base": 1}]], "q": {"metadata": {"api_key": 1}}}},
    {"provider_options": {"p": {"schema": {"properties": {"api_key": 1}}, "b": {"c": [{"api_base": 1}]}}}},
    {"fallbacks": ["a/b", "http://x.example/m", {"model": "a/b", "api_key": "k", "headers": None}]},
    {"fallbacks": [{"model": "x://y", "provider_options": {"p": {"proxy": 1}}, "extra": {"proxies": 1}}, 7]},
)


@pytest.fixture(scope="module")
def program() -> Path:
    """The example that answers for the Rust rule."""
    release = [] if os.environ.get("OMNI_TEST_PROFILE") == "dev" else ["--release"]
    built = subprocess.run(
        ["cargo", "build", "--locked", "--quiet", *release, "-p", "omni-bridge", "--example", "endpoints"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("release" if release else "debug") / "examples" / "endpoints"


def rust(program: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def case(provider: str, url: str, environment: str, **more: Any) -> dict[str, Any]:
    own = list(OWN_HOSTS.get(family(provider), ()))
    return {"provider": provider, "own": own, "url": url, "environment": ENVIRONMENTS[environment], **more}


def guard(one: dict[str, Any]) -> Guard:
    config = {"allowed_hosts": one.get("allowed_hosts", [])}
    return Guard(one["provider"], one.get("request", {}), config, Environment(one["environment"]))


def test_the_same_hosts_are_trusted(program: Path):
    cases = [
        case(provider, url, environment, allowed_hosts=allowed)
        for provider, url, environment, allowed in itertools.product(PROVIDERS, URLS, ENVIRONMENTS, ALLOWED)
    ]
    answers = rust(program, cases)
    assert len(answers) == len(cases)
    trusted = [guard(one).trusted(one["url"]) for one in cases]
    different = [
        one | {"python": want}
        for one, got, want in zip(cases, answers, trusted, strict=True)
        if got["trusted"] != want
    ]
    assert not different, f"{len(different)} of {len(cases)}: {different[:5]}"
    assert {True, False} == set(trusted)


def test_each_providers_own_hosts_are_its_own_in_both(program: Path):
    """Every pattern of the table, with its stars and variables filled in, and with one letter too much."""
    cases = []
    for provider, patterns in OWN_HOSTS.items():
        for pattern in patterns:
            host = pattern.replace("*", "a-1").replace("{region}", "eu-west-1")
            host = host.replace("{SNOWFLAKE_ACCOUNT_ID}", "my-account_1")
            urls = (
                f"https://{host}/v1",
                f"https://x{host}/v1",
                f"https://{host}x/v1",
                f"http://{host}/v1",
            )
            cases.extend(case(provider, url, "bases") for url in urls)
    answers = [answer["trusted"] for answer in rust(program, cases)]
    assert answers == [guard(one).trusted(one["url"]) for one in cases]
    assert all(answers[::4])


def test_the_same_requests_are_refused_in_the_same_words(program: Path):
    cases = [
        case("openai", FOREIGN + query, "keys", request=request, headers=headers, body=body)
        for request, headers, query, body in itertools.product(REQUESTS, HEADERS, QUERIES, BODIES)
    ]
    seen = set()
    for one, answer in zip(cases, rust(program, cases), strict=True):
        wrong, drop = guard(one).verdict(one["url"], one["headers"], one["body"].encode())
        want: dict[str, Any] = {"drop": drop}
        if wrong is not None:
            host = urlsplit(one["url"]).hostname
            assert host is not None
            want = {"refused": refusal("openai", host, wrong), "code": "authentication"}
        assert answer["verdict"] == want, one
        seen.add(wrong and wrong.split()[-2])
    assert seen >= {None, "the", "header", "field"}


def test_a_key_that_the_call_did_not_bring_is_held_back_in_the_same_words(program: Path):
    trusted, foreign = rust(
        program, [case("openai", "https://api.openai.com/v1", "keys"), case("openai", FOREIGN, "keys")]
    )
    assert trusted["may_send"] is None
    assert foreign["may_send"] == refusal("openai", "foreign.example", "a header")


NAMED: tuple[tuple[dict[str, Any], bool], ...] = (
    ({}, False),
    ({"headers": {"x-team": "blue"}}, False),
    ({"headers": {"Host": "evil.example"}}, True),
    ({"headers": {"host": "api.openai.com", "x-team": "blue"}}, True),
)


def test_a_host_of_the_callers_own_keeps_the_environments_key_back_in_the_same_words(program: Path):
    """Also where the address is the provider's own."""
    url = "https://api.openai.com/v1"
    answers = rust(program, [case("openai", url, "keys", request=request) for request, _ in NAMED])
    for (request, refused), answer in zip(NAMED, answers, strict=True):
        one = case("openai", url, "keys", request=request)
        sent = [("authorization", f"Bearer {SECRET}"), *request.get("headers", {}).items()]
        assert guard(one).renamed(url, sent) == answer["host"], request
        assert guard(one).renamed(f"{url}?key={SECRET}", []) == answer["host"], request
        assert (answer["host"] is not None) is refused
        # The call's own key may go along, and so may none.
        for own, headers in (({"api_key": GIVEN}, f"Bearer {GIVEN}"), ({}, "")):
            other = case("openai", url, "keys", request=request | own)
            assert guard(other).renamed(url, [("authorization", headers), *sent[1:]]) is None


def test_a_base_of_the_configuration_is_named_for_that_provider_alone(program: Path):
    base = "https://llm.acme.example:8443/v1"
    named, other = rust(
        program,
        [case("acme", base + "/chat", "keys", base_url=base), case("acme", FOREIGN, "keys", base_url=base)],
    )
    assert (named["trusted"], other["trusted"]) == (True, False)


def test_the_same_fields_say_where_a_call_goes(program: Path):
    answers = rust(program, [case("openai", FOREIGN, "empty", request=request) for request in OPTIONS])
    for request, answer in zip(OPTIONS, answers, strict=True):
        assert answer["forbidden"] == forbidden_in(request), request
        assert answer["forbidden"]
