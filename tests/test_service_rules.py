"""What the HTTP door allows, decided without a socket."""

from __future__ import annotations

import json

import pytest
from omni_bridge import service_rules as rules
from omni_bridge.errors import (
    AuthenticationError,
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_loopback_needs_no_token(host: str):
    rules.check_bind(host, None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org", "127.0.0.1.example.org", "1::1"]
)
def test_elsewhere_needs_a_token(host: str):
    rules.check_bind(host, "token")
    for token in (None, ""):
        with pytest.raises(PermissionDeniedError, match="without a token: set OMNI_SERVE_TOKEN"):
            rules.check_bind(host, token)


@pytest.mark.parametrize(
    "header",
    ["localhost", "LOCALHOST:99", "127.0.0.1:8411", "[::1]:8411", "localhost.", "my.name:1", "10.1.2.3"],
)
def test_our_own_names_are_hosts(header: str):
    rules.check_host(header, "10.1.2.3", {"my.name"})


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "evil.example",
        "evil.example:8411",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#localhost",
        "evil@localhost",
        "localhost:x",
        "localhost/evil",
        "localhost, evil.example",
        "192.168.1.5",
        "[::2]",
        "[localhost]",
        "2130706433",
    ],
)
def test_other_hosts_are_refused(header: str | None):
    with pytest.raises(PermissionDeniedError, match="--allowed-host"):
        rules.check_host(header, "127.0.0.1", {"my.name"})


def test_listening_everywhere_any_address_is_ours_but_no_foreign_name():
    for header in ("192.168.1.5:80", "[fe80::1]", "localhost"):
        rules.check_host(header, "0.0.0.0", ())
    with pytest.raises(PermissionDeniedError):
        rules.check_host("rebound.example", "0.0.0.0", ())


def test_programs_send_no_origin_and_pages_of_our_hosts_may_call():
    for origin in (None, "http://localhost:3000", "https://127.0.0.1", "http://my.name", "http://[::1]:5173"):
        rules.check_origin(origin, "127.0.0.1", {"my.name"})


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        "file://",
        "http://localhost@evil.example",
        "chrome-extension://localhost",
        "http://[::",
    ],
)
def test_pages_of_other_sites_may_not_call(origin: str):
    with pytest.raises(PermissionDeniedError, match="Origin"):
        rules.check_origin(origin, "127.0.0.1", {"my.name"})


def test_the_token_is_needed_whole():
    rules.check_token(None, None)
    rules.check_token("Bearer tökén", "tökén")
    rules.check_token("bearer  abc ", "abc")
    for given in (None, "", "abc", "Bearer", "Bearer ab", "Bearer abcd", "Basic abc", "Bearer ABC"):
        with pytest.raises(AuthenticationError) as refused:
            rules.check_token(given, "abc")
        assert "abc" not in str(refused.value)


def test_room_and_length_are_bounded():
    rules.check_room(9, 10)
    with pytest.raises(OverloadedError) as full:
        rules.check_room(10, 10)
    assert full.value.retry_after == 1.0
    assert full.value.retryable
    rules.check_length(10, 10)
    with pytest.raises(InvalidRequestError, match="larger than 10 bytes") as large:
        rules.check_length(11, 10)
    assert large.value.http_status == 413


ASK = {"model": "a/b", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, []),
        ({"api_base": "http://x"}, ["api_base"]),
        ({"api_key": "k", "headers": {"a": "b"}}, ["api_key", "headers"]),
        ({"headers": {}}, ["headers"]),
        ({"api_base": None, "headers": None}, []),
        ({"fallbacks": ["c/d", {"model": "e/f", "api_key": "k"}]}, ["fallbacks[1].api_key"]),
        (
            {"fallbacks": [{"model": "c/d", "fallbacks": [{"headers": {"a": "b"}}]}]},
            ["fallbacks[0].fallbacks[0].headers"],
        ),
        ({"provider_options": {"openai": {"base_url": "http://x"}}}, ["provider_options.openai.base_url"]),
        (
            {"provider_options": {"bedrock": {"aws_access_key_id": "k"}}},
            ["provider_options.bedrock.aws_access_key_id"],
        ),
        (
            {"provider_options": {"vertex_ai": {"vertex_credentials": "/etc/x"}}},
            ["provider_options.vertex_ai.vertex_credentials"],
        ),
        ({"provider_options": {"openai": {"extra_headers": {}}}}, ["provider_options.openai.extra_headers"]),
        (
            {"fallbacks": [{"provider_options": {"x": {"API_BASE": "http://x"}}}]},
            ["fallbacks[0].provider_options.x.API_BASE"],
        ),
        (
            {
                "provider_options": {
                    "openai": {"prompt_cache_key": "k", "metadata": {"headers": "x"}, "max_tokens": 5}
                }
            },
            [],
        ),
        ({"metadata": {"api_key": "of the user's own"}}, []),
        ({"model": "oobabooga/http://127.0.0.1:9/internal"}, ["model"]),
        (
            {"fallbacks": ["custom/https://x", {"model": "a/http://x"}]},
            ["fallbacks[0]", "fallbacks[1].model"],
        ),
        (
            {"provider_options": {"openai": {"extra_body": {"x": [{"base_url": "http://x"}]}}}},
            ["provider_options.openai.extra_body.x[0].base_url"],
        ),
        ({"extra": {"api_base": "http://x"}}, ["extra.api_base"]),
        (
            {"provider_options": {"gemini": {"schema": {"properties": {"api_key": {}, "client": {}}}}}},
            [],
        ),
        ({"messages": [{"role": "user", "content": 'what is "api_base"?'}]}, []),
        ({"tools": [{"type": "function", "function": {"name": "headers"}}]}, []),
    ],
)
def test_what_says_where_a_call_goes_is_found_wherever_it_stands(fields: dict[str, object], found: list[str]):
    assert rules.forbidden_fields(json.dumps({**ASK, **fields}).encode()) == found


def test_a_name_in_escapes_is_found_too():
    assert rules.forbidden_fields(rb'{"\u0061pi_base": "http://x"}') == ["api_base"]
    assert rules.forbidden_fields(rb'{"model": "custom/http:\/\/127.0.0.1"}') == ["model"]
    assert rules.forbidden_fields(rb'{"provider_options": {"x": {"b\u0061se_url": 1}}}') == [
        "provider_options.x.base_url"
    ]


@pytest.mark.parametrize(
    "body", [b'{"api_base": ', b'["api_base"]', b'{"api_base": ' + b"[" * 100_000, b"\xff\xfe api_base"]
)
def test_what_cannot_be_looked_into_is_refused(body: bytes):
    with pytest.raises(InvalidRequestError, match="not"):
        rules.forbidden_fields(body)
