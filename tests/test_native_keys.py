"""Where the native engine sends a key, and that no key is said where it should not stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import omni_bridge
import pytest
from omni_bridge.testing import FaultServer, HttpServer, _shapes

HI = [{"role": "user", "content": "hi"}]
CANARY = "canary-of-the-environment-0123456789"
MINE = "the-callers-own-key-0123456789"
# The model, what stands behind the host, the variables of the key and of the base, and the header of the key.
WIRES = {
    "openai_chat": ("openai/gpt-4o", "/v1", "OPENAI_API_KEY", "OPENAI_API_BASE", "authorization"),
    "anthropic": ("anthropic/claude-sonnet-4-5", "", "ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE", "x-api-key"),
    "gemini": ("gemini/gemini-2.5-flash", "/v1beta", "GEMINI_API_KEY", "GEMINI_API_BASE", "x-goog-api-key"),
}
WIRES["openai_responses"] = ("openai/responses/gpt-5", *WIRES["openai_chat"][1:])
wires = pytest.mark.parametrize("wire", WIRES)
streams = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class Echo(HttpServer):
    """Refuses everything, and says back what it was sent as some providers do; or sends it elsewhere."""

    elsewhere: str | None = None

    async def answer(self, exchange):
        request = exchange.request
        if self.elsewhere is not None:
            await exchange.reply(307, b"", {"location": self.elsewhere + request.target})
            return
        said = " ".join([request.target, *request.headers.values()])
        shape = _shapes.shape_of(request.target)
        await exchange.reply(401, _shapes.error_body(shape, 401, message=f"Incorrect API key: {said}"))


@pytest.fixture
def server():
    with FaultServer() as faults:
        yield faults


def ask(wire, streamed=False, **options):
    options = {"model": WIRES[wire][0], "engine": "native", "retry": 0, "max_tokens": 50, **options}
    return omni_bridge.stream_sync(HI, **options).reply() if streamed else omni_bridge.chat(HI, **options)


def base_of(server, wire, fault="ok"):
    return server.url_of(fault) + WIRES[wire][1]


def carried(server):
    """Whatever the server was sent, as one text."""
    return "\n".join(
        "\n".join(
            [one.target, *(f"{name}: {value}" for name, value in one.headers.items()), one.body.decode()]
        )
        for one in server.requests
    )


def key_in(server, wire):
    return server.last.headers.get(WIRES[wire][4], "").removeprefix("Bearer ")


@wires
@streams
def test_a_key_of_the_environment_goes_to_no_foreign_base(server, wire, streamed, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    with pytest.raises(omni_bridge.AuthenticationError) as caught:
        ask(wire, streamed, api_base=base_of(server, wire))
    assert "127.0.0.1" in caught.value.message
    assert "api_key" in caught.value.message
    assert "allowed_hosts" in caught.value.message
    assert CANARY not in repr(caught.value) + caught.value.message
    assert server.connections_total == 0


@wires
@streams
def test_it_goes_to_the_base_that_the_environment_sets(server, wire, streamed, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    monkeypatch.setenv(WIRES[wire][3], base_of(server, wire))
    assert ask(wire, streamed).engine == "native"
    assert key_in(server, wire) == CANARY
    ask(wire, streamed, api_base=base_of(server, wire))  # the same place, said by the call
    assert key_in(server, wire) == CANARY


@wires
def test_it_goes_to_a_host_that_the_configuration_allows_and_not_to_another_port(server, wire, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    try:
        omni_bridge.configure(allowed_hosts=[f"127.0.0.1:{server.port}"])
        ask(wire, api_base=base_of(server, wire))
        assert key_in(server, wire) == CANARY
        with HttpServer() as other, pytest.raises(omni_bridge.AuthenticationError):
            ask(wire, api_base=other.url)
        assert other.connections_total == 0
    finally:
        omni_bridge.configure()


@wires
@streams
def test_the_calls_own_key_goes_anywhere_and_the_environments_stays(server, wire, streamed, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    ask(wire, streamed, api_base=base_of(server, wire), api_key=MINE)
    assert key_in(server, wire) == MINE
    assert CANARY not in carried(server)


@wires
def test_the_base_of_another_provider_is_foreign_too(server, wire, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    monkeypatch.setenv("GROQ_API_BASE", base_of(server, wire))
    with pytest.raises(omni_bridge.AuthenticationError):
        ask(wire, api_base=base_of(server, wire))
    assert server.connections_total == 0


@wires
def test_a_key_of_the_environment_is_not_smuggled_in_another_place(server, wire, monkeypatch):
    monkeypatch.setenv("SOMEBODYS_API_KEY", CANARY)
    base = base_of(server, wire)
    for smuggled in ({"api_base": f"{base}/{CANARY}"}, {"model": f"{WIRES[wire][0]}-{CANARY}"}):
        with pytest.raises(omni_bridge.AuthenticationError):
            ask(wire, **{"api_base": base, "api_key": MINE, **smuggled})
    assert server.connections_total == 0


@pytest.mark.parametrize(("wire", "name"), [("openai_chat", "OPENAI_API_KEY"), ("gemini", "GEMINI_API_KEY")])
def test_without_any_key_the_error_says_what_to_set_and_nothing_is_sent(server, wire, name):
    with pytest.raises(omni_bridge.AuthenticationError, match=f"set {name}"):
        ask(wire, api_base=base_of(server, wire))
    assert server.connections_total == 0


@wires
@streams
@pytest.mark.parametrize("mine", [True, False], ids=["the call's key", "the environment's"])
def test_a_redirect_to_another_host_carries_no_key(wire, streamed, mine, monkeypatch):
    with Echo() as first, Echo() as second:
        first.elsewhere = f"http://127.0.0.1:{second.port}"  # another port is another server
        base = first.url + WIRES[wire][1]
        monkeypatch.setenv(WIRES[wire][2], CANARY)
        monkeypatch.setenv(WIRES[wire][3], base)
        options = {"api_key": MINE, "headers": {"x-mine": "a-header-of-mine-0123"}} if mine else {}
        with pytest.raises(omni_bridge.OmniError):
            ask(wire, streamed, **options)
        assert (MINE if mine else CANARY) in carried(first)
        for secret in (MINE, CANARY, "a-header-of-mine-0123"):
            assert secret not in carried(second)


@wires
def test_a_provider_that_says_the_key_back_does_not_put_it_in_the_error(wire, monkeypatch):
    monkeypatch.setenv(WIRES[wire][2], CANARY)
    with Echo() as echo:
        monkeypatch.setenv(WIRES[wire][3], echo.url + WIRES[wire][1])
        for options in (
            {},
            {"api_key": MINE},
            {"api_key": MINE, "headers": {"x-token": "my-other-secret-1"}},
        ):
            with pytest.raises(omni_bridge.AuthenticationError) as caught:
                ask(wire, **options)
            error = caught.value
            assert error.message.startswith("Incorrect API key")
            said = repr(error) + str(error) + repr(error.args) + repr(vars(error)) + repr(error.__cause__)
            for secret in (CANARY, MINE, "my-other-secret-1"):
                assert secret not in said


def test_a_custom_provider_gets_the_key_of_another_only_when_that_is_said(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    base = server.url_of("ok") + "/v1"
    with pytest.raises(omni_bridge.InvalidRequestError) as caught:
        omni_bridge.register_provider("nkeys_thief", "openai_chat", base, key_env="OPENAI_API_KEY")
    assert "key_env" in caught.value.message
    assert "allow_key" in caught.value.message
    assert CANARY not in repr(caught.value)
    with pytest.raises(omni_bridge.OmniError):
        omni_bridge.chat(HI, "nkeys_thief/x", engine="native")
    assert server.connections_total == 0
    omni_bridge.register_provider(
        "nkeys_thief", "openai_chat", base, key_env="OPENAI_API_KEY", allow_key=True
    )
    omni_bridge.chat(HI, "nkeys_thief/x", engine="native")
    assert key_in(server, "openai_chat") == CANARY


def test_the_key_of_a_custom_provider_goes_to_its_own_place_only(server, monkeypatch):
    monkeypatch.setenv("NKEYS_ACME_API_KEY", CANARY)
    base = server.url_of("ok") + "/v1"
    omni_bridge.register_provider("nkeys_acme", "openai_chat", base, key_env="NKEYS_ACME_API_KEY")
    omni_bridge.chat(HI, "nkeys_acme/x", engine="native")
    assert key_in(server, "openai_chat") == CANARY
    with HttpServer() as other, pytest.raises(omni_bridge.AuthenticationError):
        omni_bridge.chat(HI, "nkeys_acme/x", engine="native", api_base=other.url)
    assert other.connections_total == 0


PROGRAM = """
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG)
import omni_bridge
hi = [{"role": "user", "content": "hi"}]
for options in json.loads(sys.argv[1]):
    try:
        reply = omni_bridge.chat(hi, engine="native", retry=1, max_tokens=5, **options)
        print("ANSWERED", repr(reply))
    except omni_bridge.OmniError as error:
        print("REFUSED", repr(error))
        traceback.print_exc()
"""


def test_a_process_that_logs_all_it_can_prints_no_key(server):
    with Echo() as echo:
        calls = [
            {"model": model, "api_base": base, **key}
            for model, suffix, *_ in WIRES.values()
            for base in (server.url_of("ok") + suffix, server.url_of("500") + suffix, echo.url + suffix)
            for key in ({}, {"api_key": MINE})
        ]
        keys = {name: CANARY for _, _, name, *_ in WIRES.values()}
        loud = {"RUST_LOG": "trace", "OMNI_LOG": "trace", "RUST_BACKTRACE": "1"}
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-c", PROGRAM, json.dumps(calls)],
            env={**os.environ, **keys, **loud},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (ran.stdout.count("ANSWERED"), ran.stdout.count("REFUSED")) == (4, 20)
    assert MINE in carried(server)
    assert MINE not in ran.stdout + ran.stderr
    assert CANARY not in ran.stdout + ran.stderr + carried(server) + carried(echo)
