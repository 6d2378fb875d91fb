"""Keys, headers and addresses that cannot be sent: both engines say so in the same words, and ask nobody."""

from __future__ import annotations

from typing import Any

import omni_bridge
import pytest
from omni_bridge.errors import AuthenticationError, InvalidRequestError, OmniError, RequestTimeoutError
from omni_bridge.testing import DemoServer

HI = [{"role": "user", "content": "hi"}]
ENGINES = pytest.mark.parametrize("engine", ["native", "litellm"])
NO_ADDRESS = ["http://127.0.0.1:99999/v1", "http://127.0.0.1:port/v1", "ftp://host", "not a url", "host/v1"]


def refused(engine: str, **fields: Any) -> OmniError:
    with pytest.raises(OmniError) as caught:
        omni_bridge.chat(HI, "openai/demo", engine=engine, retry=0, **fields)
    return caught.value


@ENGINES
@pytest.mark.parametrize("base", NO_ADDRESS)
def test_an_api_base_that_is_none_goes_to_nobody(engine: str, base: str):
    error = refused(engine, api_base=base, api_key="test-key")
    assert type(error) is InvalidRequestError
    assert error.message.startswith("the address ")
    assert error.message.endswith("give one such as http://127.0.0.1:8411 or https://host/path")


@ENGINES
@pytest.mark.parametrize("key", ["sk-canary-0001\n", "sk-canary\u201c0001", "sk-\x7fcanary-0001"])
def test_a_key_that_no_header_can_carry_is_an_authentication_error_without_a_letter_of_it(
    engine: str, key: str, monkeypatch: pytest.MonkeyPatch
):
    with DemoServer() as server:
        error = refused(engine, api_base=server.api_base, api_key=key)
        monkeypatch.setenv("OPENAI_API_KEY", key)
        monkeypatch.setenv("OPENAI_API_BASE", server.api_base)
        of_the_environment = refused(engine)
        assert server.requests == []
    assert error.message.startswith("the key from the call has characters that cannot stand in a header")
    for one in (error, of_the_environment):
        assert type(one) is AuthenticationError
        assert "has characters that cannot stand in a header" in one.message
        assert not one.retryable
        assert "canary" not in repr(one)
        assert "\u201c" not in repr(one)


@ENGINES
def test_a_header_that_would_be_two_is_refused(engine: str):
    with DemoServer() as server:
        error = refused(engine, api_base=server.api_base, api_key="k", headers={"x-a": "a\r\nx-b: c"})
        assert server.requests == []
    assert type(error) is InvalidRequestError
    assert error.message.startswith("headers.x-a: ")


@ENGINES
@pytest.mark.parametrize("base", ["http://127.0.0.1:99999/v1", "http://127.0.0.1:port/v1", "ftp://host"])
def test_an_address_of_the_environment_that_is_none_is_told_as_that(
    engine: str, base: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_API_BASE", base)
    error = refused(engine)
    assert type(error) is InvalidRequestError
    assert "address" in error.message
    assert "http://127.0.0.1:8411" in error.message


@ENGINES
def test_a_body_that_never_comes_ends_in_time(engine: str):
    with DemoServer() as server:
        server.hold("answer")
        error = refused(engine, api_base=server.api_base, api_key="k", timeout=1.0)
        assert type(error) is RequestTimeoutError
        server.wait_for(lambda server: server.open_streams == 0)
        server.release()
