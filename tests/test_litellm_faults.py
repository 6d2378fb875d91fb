"""What our LiteLLM engine makes of everything that goes wrong at a provider, on each of its wires."""

from __future__ import annotations

import email.utils
import time

import omni_bridge
import pytest
from omni_bridge.errors import OmniError, error_for
from omni_bridge.testing import DemoServer, FaultServer

from tests import fault_table
from tests.fault_table import ANSWERED, EXPECTED, KEY, PROMPT, RETRYABLE, TEXT, WIRES


@pytest.fixture(scope="module")
def faults():
    with FaultServer() as server:
        yield server


def ask(base: str, wire: str, streamed: bool):
    return fault_table.ask(base, wire, streamed, engine="litellm")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_becomes_its_code_with_status_and_nothing_private(faults, fault, wire, streamed):
    code, status = EXPECTED[fault]
    with pytest.raises(OmniError) as caught:
        ask(faults.url_of(fault), wire, streamed)
    error = caught.value
    assert (error.code, error.status) == (code, status)
    assert type(error) is error_for(code)
    assert error.provider == WIRES[wire][0].split("/")[0]
    assert error.model == WIRES[wire][0]
    assert error.retryable is (code in RETRYABLE)
    assert error.request_id is not None
    assert error.request_id.startswith("req_fault_")
    for private in (KEY, PROMPT):
        assert private not in repr(error)
    assert 0 < len(error.message) <= 1000


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", ANSWERED)
def test_a_right_answer_in_an_odd_coat_is_read(faults, fault, wire, streamed):
    reply = ask(faults.url_of(fault), wire, streamed)
    assert (reply.content, reply.finish_reason) == (TEXT, "stop")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", ["error_event", "error_event_first"])
def test_an_error_inside_a_200_stream_has_its_own_code(faults, fault, wire):
    with pytest.raises(OmniError) as caught:
        ask(faults.url_of(fault), wire, streamed=True)
    assert caught.value.code == "overloaded"
    assert caught.value.retryable


@pytest.mark.parametrize("wire", ["anthropic", "openai_responses"])
def test_a_stream_without_its_last_event_is_not_taken_for_whole(faults, wire):
    with pytest.raises(omni_bridge.ProtocolError):
        ask(faults.url_of("no_last_event"), wire, streamed=True)


@pytest.mark.parametrize("wire", ["openai_chat", "gemini"])
def test_a_stream_that_said_why_it_stopped_is_whole(faults, wire):
    # Some servers of the OpenAI protocol (Perplexity) never send [DONE]; Gemini has no last event at all.
    assert ask(faults.url_of("no_last_event"), wire, streamed=True).content == TEXT


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_retry_after_is_given_in_seconds(faults, streamed):
    for after, least, most in ((3, 3, 3), ("date", 0, 2)):
        with pytest.raises(omni_bridge.RateLimitError) as caught:
            ask(faults.url_of(429, retry_after=after), "openai_chat", streamed)
        assert least <= caught.value.retry_after <= most


def test_nobody_listens_is_a_connection_error(unused_address):
    with pytest.raises(omni_bridge.ConnectionFailedError) as caught:
        ask(unused_address, "openai_chat", streamed=False)
    assert caught.value.retryable


@pytest.fixture
def unused_address():
    import socket

    with socket.socket() as taken:  # bound but not listening: nobody else can get it, and it refuses
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_the_key_is_not_carried_to_the_other_host_of_a_redirect(faults):
    faults.forget()
    with pytest.raises(omni_bridge.ConnectionFailedError):
        ask(faults.url_of("redirect_foreign"), "anthropic", streamed=False)
    assert [request for request in faults.requests if "/f/ok" in request.target] == []


def test_retry_after_headers():
    from omni_bridge._litellm_errors import retry_after

    now = time.time()
    date = email.utils.formatdate(now + 30, usegmt=True)
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "2"}) == 2
    assert 28 <= (retry_after({"retry-after": date}, now) or 0) <= 30
    assert retry_after({"retry-after": email.utils.formatdate(now - 30, usegmt=True)}, now) == 0
    for nonsense in ("soon", "nan", "inf", ""):
        assert retry_after({"retry-after": nonsense}) is None


def test_text_that_came_before_an_error_in_the_stream_is_not_lost():
    with DemoServer() as server:
        asked = [{"role": "user", "content": "hi"}]
        where = {"api_base": f"{server.url}/v1", "api_key": KEY, "retry": 0}
        with omni_bridge.stream_sync(asked, "openai/demo-error-stream", **where) as events:
            seen = list(events)
    text = "".join(event.text for event in seen if event.type == "text_delta")
    assert text
    assert [seen[0].type, seen[-1].type] == ["start", "error"]
    assert seen[-1].reply.content == text
