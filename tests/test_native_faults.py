"""What our native engine makes of all that goes wrong at a provider: the same as our LiteLLM engine."""

from __future__ import annotations

import time

import omni_bridge
import pytest
from omni_bridge.errors import OmniError, error_for
from omni_bridge.testing import FAULTS, FaultServer

from tests import fault_table
from tests.fault_table import ANSWERED, EXPECTED, KEY, PROMPT, RETRYABLE, TEXT, WIRES

WAITING = ("silent", "never", "stall")
IN_A_STREAM = ("error_event", "error_event_first")


@pytest.fixture(scope="module")
def faults():
    with FaultServer(drip=0.001) as server:
        yield server


def ask(base: str, wire: str, streamed: bool, **more):
    return fault_table.ask(base, wire, streamed, engine="native", **more)


def failed(base: str, wire: str, streamed: bool, **more) -> OmniError:
    with pytest.raises(OmniError) as caught:
        ask(base, wire, streamed, **more)
    error = caught.value
    assert type(error) is error_for(error.code)
    assert error.retryable is (error.code in RETRYABLE)
    assert error.provider == WIRES[wire][0].split("/")[0]
    assert error.model == WIRES[wire][0]
    assert 0 < len(error.message) <= 1000
    for private in (KEY, PROMPT):
        assert private not in repr(error) + str(error) + repr(vars(error))
    return error


def test_every_fault_of_the_server_is_asked_for_here():
    assert set(FAULTS) == {*EXPECTED, *ANSWERED, *IN_A_STREAM, *WAITING, "no_last_event"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", list(EXPECTED))
def test_a_fault_becomes_its_code_with_status_and_nothing_private(faults, fault, wire, streamed):
    error = failed(faults.url_of(fault), wire, streamed)
    assert (error.code, error.status) == EXPECTED[fault]
    assert error.retry_after is None
    assert error.request_id is not None
    assert error.request_id.startswith("req_fault_")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", ANSWERED)
def test_a_right_answer_in_an_odd_coat_is_read(faults, fault, wire, streamed):
    reply = ask(faults.url_of(fault), wire, streamed)
    assert (reply.content, reply.finish_reason, reply.engine) == (TEXT, "stop", "native")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", IN_A_STREAM)
def test_an_error_inside_a_200_stream_has_its_own_code(faults, fault, wire):
    assert failed(faults.url_of(fault), wire, streamed=True).code == "overloaded"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", ["error_event", "cut", "reset", "cut_clean", "no_finish", "not_json"])
def test_text_that_came_before_the_fault_is_not_lost(faults, fault, wire):
    model, suffix = WIRES[wire]
    asked = [{"role": "user", "content": PROMPT}]
    where = {"api_base": faults.url_of(fault) + suffix, "api_key": KEY, "retry": 0, "engine": "native"}
    with omni_bridge.stream_sync(asked, model, **where) as events:
        seen = list(events)
    text = "".join(event.text for event in seen if event.type == "text_delta")
    assert text.startswith("Hello")
    assert TEXT.startswith(text)
    assert [seen[0].type, seen[-1].type] == ["start", "error"]
    assert seen[-1].reply.content == text


@pytest.mark.parametrize("wire", ["anthropic", "openai_responses"])
def test_a_stream_without_its_last_event_is_not_taken_for_whole(faults, wire):
    assert failed(faults.url_of("no_last_event"), wire, streamed=True).code == "protocol"


@pytest.mark.parametrize("wire", ["openai_chat", "gemini"])
def test_a_stream_that_said_why_it_stopped_is_whole(faults, wire):
    # Some servers of the OpenAI protocol (Perplexity) never send [DONE]; Gemini has no last event at all.
    assert ask(faults.url_of("no_last_event"), wire, streamed=True).content == TEXT


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_of_which_a_half_came_is_no_answer(faults, wire):
    assert failed(faults.url_of("no_last_event"), wire, streamed=False).code == "protocol"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit"), (503, "overloaded"), (529, "overloaded")])
def test_retry_after_is_given_in_seconds(faults, status, code, wire, streamed):
    for after, least, most in ((3, 3, 3), ("date", 0, 2), (0.5, 0.5, 0.5)):
        error = failed(faults.url_of(status, retry_after=after), wire, streamed)
        assert (error.code, error.status) == (code, status)
        assert least <= error.retry_after <= most


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", WAITING)
def test_a_body_that_never_comes_ends_in_time_and_closes_its_socket(faults, fault, wire, streamed):
    began = time.monotonic()
    faults.forget()
    error = failed(faults.url_of(fault), wire, streamed, timeout={"total": 0.2})
    assert error.code == "timeout"
    assert 0.15 < time.monotonic() - began < 10
    faults.wait_for(lambda server: server.last.left)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("fault", "limit"), [("silent", "first_event"), ("never", "first_event"), ("stall", "idle")]
)
def test_the_limit_that_ended_a_stream_is_named(faults, fault, limit, wire):
    error = failed(faults.url_of(fault), wire, streamed=True, timeout={limit: 0.2, "total": 20})
    assert error.code == "timeout"
    assert f"timeout.{limit}" in error.message


def test_a_stream_that_has_begun_is_not_tried_again(faults):
    faults.forget()
    failed(faults.url_of("cut"), "openai_chat", streamed=True, retry=2)
    assert len(faults.requests) == 1


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
