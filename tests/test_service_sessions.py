"""The agent behind `omni serve --agent`: real HTTP, the offline provider, an MCP server of its file."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from omni_bridge.errors import InvalidRequestError, PermissionDeniedError
from omni_bridge.service_sessions import SESSION_ROUTES, read_approve, read_run, template_of
from omni_bridge.testing import DemoServer

from tests import serving
from tests.serving import KEY

LONG = 60.0  # a deadline, not a wait
PROMPT = "a-very-private-prompt"
SERVER = Path(__file__).parent / "mcp_servers" / "weather.py"

Event = dict[str, Any]
ENDS = ("agent.turn.completed", "agent.turn.failed", "agent.turn.cancelled")


def agent_file(folder: Path, *, approval: str = "approve", more: str = "") -> Path:
    """The configuration of an agent whose sessions are kept in the folder."""
    file = folder / "agent.toml"
    file.write_text(
        f"""\
model = "openai/demo"
titles = false
session_store = {json.dumps(str(folder / "sessions.db"))}
{more}
[approval]
default = "{approval}"
[mcp_servers.home]
command = {json.dumps(sys.executable)}
args = [{json.dumps(str(SERVER))}]
"""
    )
    return file


class Served(serving.Served):
    """With what these tests ask beside it."""

    def json(self, path: str, body: object = None, status: int = 200) -> Any:
        answer = self.ask(path, body)
        document = json.loads(answer.read())
        assert answer.status == status, document
        return document

    def refused(self, path: str, body: object = None) -> tuple[int, str, str]:
        answer = self.ask(path, body)
        document = json.loads(answer.read())
        assert list(document) == ["error"], document
        return answer.status, document["error"]["code"], document["error"]["message"]

    def events(self, path: str, body: object = None, **headers: str) -> Events:
        answer = self.ask(path, body, **headers)
        assert answer.status == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        return Events(answer)

    def run(self, text: str, session_id: str = "new", query: str = "") -> Events:
        return self.events(f"/sessions/{session_id}/run{query}", {"input": text})

    def turn(self, text: str, session_id: str = "new") -> list[Event]:
        """A turn, to its end."""
        found = list(self.run(text, session_id))
        assert found[-1]["event_type"] in ENDS, found
        return found

    def raw(self, path: str, body: object) -> socket.socket:
        """A request on a bare socket, which the test can then close."""
        data = json.dumps(body).encode()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
        )
        return sock

    def raw_get(self, path: str) -> socket.socket:
        """The same for a question."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        return sock


class Events(Iterator[Event]):
    """Server-sent events as they come, checked: the lines of a frame say what its document says."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer

    def __next__(self) -> Event:
        while True:
            frame: dict[str, str] = {}
            while line := self.answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                frame[name] = value
            if not frame:
                raise StopIteration
            if "data" not in frame:  # a comment
                continue
            document = json.loads(frame["data"])
            assert frame["event"] == document["event_type"]
            assert frame.get("id") == (None if "seq" not in document else str(document["seq"]))
            return document

    def until(self, kind: str) -> Event:
        return next(event for event in self if event["event_type"] == kind)

    def close(self) -> None:
        self.answer.close()


def seqs(events: list[Event]) -> list[int]:
    return [event["seq"] for event in events if "seq" in event]


def kinds(events: list[Event]) -> list[str]:
    return [event["event_type"] for event in events]


def said(events: list[Event]) -> str:
    """The joined text of the answer, as a reader joins it: by offset."""
    text = b""
    for event in events:
        if event["event_type"] == "assistant.stream.chunk" and event["payload"]["kind"] == "text":
            assert event["payload"]["offset"] == len(text)
            text += event["payload"]["text"].encode()
        if event["event_type"] == "assistant.stream.started":
            text = b""
    return text.decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):
    file = agent_file(tmp_path_factory.mktemp("agent"))
    with DemoServer() as provider, Served(provider, "--agent", str(file)) as running:
        yield running
        assert running.stop() == 0
        log = "".join(running.log)
        assert KEY not in log
        assert PROMPT not in log
        assert "Traceback" not in log


@pytest.fixture
def asking(tmp_path: Path):
    """A server that asks before a tool runs."""
    file = agent_file(tmp_path, approval="ask")
    with DemoServer() as provider, Served(provider, "--agent", str(file)) as running:
        yield running
        assert running.stop() == 0


# --- a turn


def test_a_turn_with_a_tool_call_is_streamed(served: Served):
    found = served.turn(f"{PROMPT}: the weather in Paris?")
    assert seqs(found) == list(range(1, len(seqs(found)) + 1))
    named = kinds(found)
    assert named[0] == "session.created"
    assert named[-1] == "agent.turn.completed"
    wanted = ["tool.execution.started", "tool.execution.completed", "assistant.stream.chunk"]
    places = [named.index(kind) for kind in wanted[:2]]
    assert places == sorted(places)
    assert said(found) == "The tool says: 18 °C and sunny in Paris."
    assert {event["session_id"] for event in found} == {found[0]["session_id"]}


def test_the_next_turn_goes_on_in_the_session(served: Served):
    first = served.turn("Hello.")
    session_id = first[0]["session_id"]
    second = served.turn("And again.", session_id)
    assert seqs(second)[0] == seqs(first)[-1] + 1
    found = served.json(f"/sessions/{session_id}")
    assert found["session"]["turns"] == 2
    assert found["running"] is False
    assert [one["message"]["role"] for one in found["messages"]] == ["user", "assistant"] * 2
    assert len(served.json(f"/sessions/{session_id}?last=2")["messages"]) == 2


def test_an_edit_and_a_regeneration_make_siblings(served: Served):
    session_id = served.turn("First.")[0]["session_id"]
    user, answer = served.json(f"/sessions/{session_id}")["messages"]
    body = {"input": "Second.", "edit": user["message_id"]}
    assert list(served.events(f"/sessions/{session_id}/run", body))[-1]["event_type"] == ENDS[0]
    edited = served.json(f"/sessions/{session_id}")["messages"]
    assert edited[0]["message"]["content"] == "Second."
    assert edited[0]["parent_id"] == user["parent_id"]
    assert list(served.events(f"/sessions/{session_id}/run", {"regenerate": ""}))[-1]["event_type"] == ENDS[0]
    again = served.json(f"/sessions/{session_id}")["messages"]
    assert again[0]["message_id"] == edited[0]["message_id"]
    assert again[1]["message_id"] not in (edited[1]["message_id"], answer["message_id"])


def test_a_message_and_a_title_can_be_given(served: Served):
    message = {"role": "user", "content": [{"type": "text", "text": "In parts."}]}
    found = list(served.events("/sessions/new/run", {"input": message, "title": "Parts", "edit": None}))
    assert said(found).startswith("You said: In parts.")
    assert served.json(f"/sessions/{found[0]['session_id']}")["session"]["title"] == "Parts"


def test_sessions_are_listed_in_pages(served: Served):
    made = [served.turn(f"Number {number}.")[0]["session_id"] for number in range(3)]
    first = served.json("/sessions?limit=2")["sessions"]
    assert [one["session_id"] for one in first] == made[:0:-1]
    after = first[-1]["session_id"]
    assert served.json(f"/sessions?limit=1&after={after}")["sessions"][0]["session_id"] == made[0]


def test_a_turn_that_fails_says_why_in_its_last_event(tmp_path: Path):
    file = agent_file(tmp_path)
    file.write_text(file.read_text().replace("openai/demo", "openai/demo-error-401"))
    with DemoServer() as provider, Served(provider, "--agent", str(file)) as served:
        found = served.turn("Hello.")
        assert found[-1]["event_type"] == "agent.turn.failed"
        assert found[-1]["payload"]["error"]["code"] == "authentication"


def test_lone_surrogates_become_the_replacement_character(served: Served):
    found = list(served.events("/sessions/new/run", b'{"input": "a\\ud83dz"}'))
    assert said(found).startswith("You said: a?z.") or said(found).startswith("You said: a\ufffdz.")


# --- approval


def test_a_call_waits_for_its_approval_over_http(asking: Served):
    run = asking.run("The weather in Paris?")
    proposed = run.until("tool.execution.proposed")
    path = f"/sessions/{proposed['session_id']}/approve"
    call_id = proposed["call_id"]
    status, code, message = asking.refused(path, {"call_id": call_id[:-1] + "9", "decision": "approve"})
    assert (status, code) == (404, "not_found")
    assert call_id in message, "the one that is meant"
    told = asking.json(path, {"call_id": call_id, "decision": "approve"})
    assert told == {
        "session_id": proposed["session_id"],
        "call_id": call_id,
        "decision": "approve",
        "scope": "once",
    }
    rest = list(run)
    assert kinds(rest)[0] == "tool.execution.approved"
    assert said(rest) == "The tool says: 18 °C and sunny in Paris."
    assert asking.refused(path, {"call_id": call_id, "decision": "approve"})[0] == 404, "the turn is over"


def test_approved_for_the_session_is_not_asked_again(asking: Served):
    run = asking.run("The weather in Paris?")
    proposed = run.until("tool.execution.proposed")
    session_id = proposed["session_id"]
    decision = {"call_id": proposed["call_id"], "decision": "approve", "scope": "session"}
    asking.json(f"/sessions/{session_id}/approve", decision)
    list(run)
    assert kinds(asking.turn("The weather in Rome?", session_id))[-1] == "agent.turn.completed"


def test_a_call_that_is_denied_does_not_run_and_the_model_is_told_why(asking: Served):
    run = asking.run("The weather in Paris?")
    proposed = run.until("tool.execution.proposed")
    decision = {"call_id": proposed["call_id"], "decision": "deny", "reason": "not today"}
    asking.json(f"/sessions/{proposed['session_id']}/approve", decision)
    rest = list(run)
    assert "tool.execution.started" not in kinds(rest)
    assert rest[-1]["event_type"] == "agent.turn.completed"
    assert "not today" in said(rest)


# --- cancelling


def test_cancel_in_the_middle_closes_the_providers_socket(served: Served):
    with served_by("demo-chunks-6000-pace-20", served) as slow:
        run = slow.run("Tell me.")
        run.until("assistant.stream.chunk")
        session_id = slow.json("/sessions")["sessions"][0]["session_id"]
        assert slow.json(f"/sessions/{session_id}")["running"] is True
        assert slow.json(f"/sessions/{session_id}/cancel", {}, status=202) == {"session_id": session_id}
        rest = list(run)
        assert rest[-1]["event_type"] == "agent.turn.cancelled"
        assert rest[-1]["payload"]["during"] == "streaming"
        slow.provider.wait_for(lambda provider: provider.last.left, LONG)
        assert slow.json(f"/sessions/{session_id}")["running"] is False
        assert slow.refused(f"/sessions/{session_id}/cancel", {})[:2] == (404, "not_found")


def test_cancel_in_a_tool_leaves_a_session_that_goes_on(served: Served):
    run = served.run("Hold the door.")
    session_id = run.until("tool.execution.started")["session_id"]
    # A body is not needed.
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=LONG)
    client.request("POST", f"/sessions/{session_id}/cancel")
    assert client.getresponse().status == 202
    rest = list(run)
    assert rest[-1]["event_type"] == "agent.turn.cancelled"
    assert rest[-1]["payload"]["during"] == "running_tools"
    assert served.turn("Hello.", session_id)[-1]["event_type"] == "agent.turn.completed"


def test_a_client_that_leaves_cancels_its_turn(served: Served):
    with served_by("demo-chunks-6000-pace-20", served) as slow:
        sock = slow.raw("/sessions/new/run", {"input": "Tell me."})
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        slow.provider.wait_for(lambda provider: provider.requests and provider.last.chunks > 2, LONG)
        session_id = slow.json("/sessions")["sessions"][0]["session_id"]
        follower = slow.events(f"/sessions/{session_id}/events")
        sock.close()
        follower.until("agent.turn.cancelled")
        slow.provider.wait_for(lambda provider: provider.last.left, LONG)


def test_a_client_that_leaves_a_detached_turn_does_not(served: Served):
    with served_by("demo-chunks-6", served, hold=3) as slow:
        sock = slow.raw("/sessions/new/run?detach=true", {"input": "Tell me."})
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        slow.provider.wait_for(lambda provider: provider.requests and provider.last.chunks > 2, LONG)
        session_id = slow.json("/sessions")["sessions"][0]["session_id"]
        follower = slow.events(f"/sessions/{session_id}/events")
        follower.until("assistant.stream.chunk")
        sock.close()
        # That it has left is known to the server when another connection that closed later is.
        until(lambda: "POST /sessions/{session_id}/run" in "".join(slow.log))
        slow.provider.release()
        assert follower.until("agent.turn.completed")["session_id"] == session_id


@contextlib.contextmanager
def served_by(model: str, like: Served, hold: int | None = None) -> Iterator[Served]:
    """A server of its own, whose provider answers as the model's name says."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = agent_file(Path(folder))
        file.write_text(file.read_text().replace("openai/demo", f"openai/{model}"))
        options = {} if hold is None else {"hold": hold}
        with DemoServer(**options) as provider, Served(provider, "--agent", str(file)) as served:
            yield served
            assert served.stop() == 0


def until(condition: Callable[[], object]) -> None:
    """Wait for a state of the server, which has no event of its own to wait for."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- events


def test_events_after_a_seq_are_replayed_and_end_without_follow(served: Served):
    ran = served.turn("The weather in Paris?")
    path = f"/sessions/{ran[0]['session_id']}/events"
    everything = list(served.events(f"{path}?follow=false"))
    assert everything == [event for event in ran if "seq" in event], "the durable ones, as they were told"
    last = everything[-1]["seq"]
    assert list(served.events(f"{path}?after={last - 3}&follow=false")) == everything[-3:]
    assert list(served.events(f"{path}?after={last}&follow=false")) == []


def test_a_browser_that_comes_back_says_where_it_was(served: Served):
    ran = served.turn("Hello.")
    path = f"/sessions/{ran[0]['session_id']}/events?after=1&follow=false"
    found = list(served.events(path, **{"Last-Event-ID": "4"}))
    assert seqs(found)[0] == 5


def followed(follower: Events, turns: int) -> list[Event]:
    """What a follower is told, to the end of so many turns."""
    found: list[Event] = []
    while sum(kind in ENDS for kind in kinds(found)) < turns:
        found.append(next(follower))
    return found


def durable(events: list[Event]) -> list[Event]:
    return [event for event in events if "seq" in event]


def test_a_follower_sees_the_turns_that_come_with_their_text(served: Served):
    before = served.turn("Hello.")
    session_id, last = before[0]["session_id"], seqs(before)[-1]
    follower = served.events(f"/sessions/{session_id}/events?after={last}")
    ran = served.turn("Tell me more.", session_id) + served.turn("And more.", session_id)
    found = followed(follower, 2)
    assert durable(found) == durable(ran)
    assert said(found) == said(ran), "the text too, without gaps and without anything twice"
    follower.close()


def test_a_follower_sees_turns_of_other_processes_and_then_the_text_of_ours(tmp_path: Path):
    file = str(agent_file(tmp_path))
    with (
        DemoServer() as provider,
        Served(provider, "--agent", file) as ours,
        Served(provider, "--agent", file) as theirs,
    ):
        session_id = ours.turn("Hello.")[0]["session_id"]
        follower = ours.events(f"/sessions/{session_id}/events")
        followed(follower, 1)
        # A process has a session for itself for a moment after its turn.
        by_them = eventually(theirs, session_id)
        found = followed(follower, 1)
        assert found == durable(by_them)
        assert said(by_them)
        # By then only the store tells the follower of the session: the turn must make it look nearer.
        by_us = eventually(ours, session_id)
        found = followed(follower, 1)
        assert durable(found) == durable(by_us)
        assert said(found) == said(by_us) != ""
        follower.close()


def eventually(served: Served, session_id: str) -> list[Event]:
    """A turn of a session, once another process has given it back."""
    found: list[Event] = []

    def ran() -> bool:
        answer = served.ask(f"/sessions/{session_id}/run", {"input": "Tell me more."})
        if answer.status == 200:
            found.extend(Events(answer))
        return bool(found)

    until(ran)
    return found


def test_one_who_reconnects_in_a_part_gets_its_text_from_the_beginning(served: Served):
    with served_by("demo-chunks-6", served, hold=3) as slow:
        run = slow.run("Tell me.")
        begun: list[Event] = []
        while len(said(begun)) < len("w0......w1......w2......"):
            begun.append(next(run))
        session_id, last = begun[0]["session_id"], seqs(begun)[-1]
        follower = slow.events(f"/sessions/{session_id}/events", **{"Last-Event-ID": str(last)})
        slow.provider.release()
        found: list[Event] = []
        while not found or found[-1]["event_type"] not in ENDS:
            found.append(next(follower))
        assert said(found) == "".join(f"w{number}......" for number in range(6))
        assert seqs(found) == seqs(list(run)), "and the durable ones each once"


def test_a_follower_of_a_quiet_session_leaves_nothing_behind(tmp_path: Path):
    file = agent_file(tmp_path)
    with (
        DemoServer() as provider,
        Served(provider, "--agent", str(file), "--max-calls", "1") as served,
    ):
        session_id = served.turn("Hello.")[0]["session_id"]
        until(lambda: served.ask("/sessions").status == 200)
        follower = served.raw_get(f"/sessions/{session_id}/events")
        assert follower.recv(100).startswith(b"HTTP/1.1 200 ")
        status, code, _ = served.refused(f"/sessions/{session_id}/run", {"input": "Hello."})
        assert (status, code) == (503, "overloaded"), "it takes a place, as a call does"
        follower.close()
        until(lambda: served.ask("/sessions").status == 200)


# --- what is refused


def test_a_session_that_is_not_there_is_not_found(served: Served):
    for path, body in (
        ("/sessions/none", None),
        ("/sessions/new", None),
        ("/sessions/none/events", None),
        ("/sessions/none/run", {"input": "Hello."}),
        ("/sessions/none/cancel", {}),
        ("/sessions/none/approve", {"call_id": "t1.1.1", "decision": "approve"}),
        (f"/sessions/{quote('../x y', safe='')}", None),
    ):
        status, code, _ = served.refused(path, body)
        assert (status, code) == (404, "not_found"), path


@pytest.mark.parametrize(
    "field",
    ["mcp_servers", "mcpServers", "tools", "model", "fallbacks", "api_base", "api_key", "headers", "system"],
)
def test_a_request_names_no_servers_tools_endpoints_or_keys(served: Served, field: str):
    before = served.provider.requests_total
    status, code, message = served.refused("/sessions/new/run", {"input": "Hello.", field: {"a": "s3cret"}})
    assert (status, code) == (403, "permission")
    assert message.startswith(f"{field}: ")
    assert "s3cret" not in message
    assert served.provider.requests_total == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "input: missing"),
        ({"input": 7}, "input: expected a text or a message"),
        ({"input": ""}, "empty"),
        ({"input": {"role": "assistant", "content": "x"}}, "role"),
        ({"input": "x", "edit": 1}, "edit: expected a text"),
        ({"input": "x", "edit": "m"}, "edit: a new session"),
        ({"regenerate": ""}, "regenerate: a new session"),
        ({"input": "x", "regenerate": ""}, "input: not together with regenerate"),
        ({"input": "x", "titel": "t"}, 'titel: no such field; did you mean "title"?'),
        ([], "not a JSON object"),
        (b"{", "not JSON"),
        (b'{"input": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field(served: Served, body: object, says: str):
    status, code, message = served.refused("/sessions/new/run", body)
    assert (status, code) == (400, "invalid_request"), message
    assert says in message


def test_wrong_parameters_are_refused_with_their_name(served: Served):
    session_id = served.turn("Hello.")[0]["session_id"]
    for path in (
        "/sessions?limit=0",
        "/sessions?limit=1001",
        "/sessions?limt=1",
        f"/sessions/{session_id}?last=x",
        f"/sessions/{session_id}/events?after=-1",
        f"/sessions/{session_id}/events?after=99999999999999999999",
        f"/sessions/{session_id}/events?follow=maybe",
    ):
        status, code, message = served.refused(path)
        assert (status, code) == (400, "invalid_request"), path
        assert path.partition("?")[2].partition("=")[0] in message
    status, _, message = served.refused("/sessions/new/run?detach=1", {"input": "x"})
    assert (status, message) == (400, "detach: expected true or false")
    answer = served.ask(f"/sessions/{session_id}/events", **{"Last-Event-ID": "x"})
    assert (answer.status, "Last-Event-ID" in answer.read().decode()) == (400, True)


def test_a_second_turn_of_a_session_waits_for_no_end(served: Served):
    run = served.run("Hold the door.")
    session_id = run.until("tool.execution.started")["session_id"]
    status, code, message = served.refused(f"/sessions/{session_id}/run", {"input": "Hello."})
    assert (status, code) == (400, "invalid_request")
    assert "is running" in message
    served.json(f"/sessions/{session_id}/cancel", {}, status=202)
    assert list(run)[-1]["event_type"] == "agent.turn.cancelled", "the first one is as it was"


def test_the_guards_of_the_server_are_those_of_these_routes(tmp_path: Path):
    file = agent_file(tmp_path)
    options = ("--agent", str(file), "--max-body", "0.001")
    with DemoServer() as provider, Served(provider, *options, OMNI_SERVE_TOKEN="t0ken") as served:
        token = {"authorization": "Bearer t0ken"}
        bodies: dict[str, object] = {"run": {"input": "x"}, "cancel": {}, "approve": {}}
        for route in SESSION_ROUTES:
            path = route.replace("{session_id}", "x")
            body = bodies.get(route.rpartition("/")[2])
            assert served.ask(path, body).status == 401, route
            assert served.ask(path, body, **token, host="evil.example").status == 403, route
            assert served.ask(path, body, **token, origin="https://evil.example").status == 403, route
            if body is not None:
                assert served.ask(path, {"input": "x" * 2000}, **token).status == 413, route
        assert served.ask("/sessions", **token).status == 200
        assert provider.requests_total == 0


def test_without_an_agent_the_routes_say_how_to_get_one():
    with DemoServer() as provider, Served(provider) as served:
        for route in SESSION_ROUTES:
            path = route.replace("{session_id}", "new")
            body = {} if route.endswith(("run", "cancel", "approve")) else None
            status, code, message = served.refused(path, body)
            assert (status, code) == (404, "not_found")
            assert "omni serve --agent agent.toml" in message
        assert not [path for path in served.json("/openapi.json")["paths"] if path.startswith("/sessions")]


def test_the_log_names_the_routes_and_no_session(served: Served):
    session_id = served.turn("Hello.")[0]["session_id"]
    served.json(f"/sessions/{session_id}")
    until(lambda: "GET /sessions/{session_id} 200" in "".join(served.log))
    assert "POST /sessions/{session_id}/run 200" in "".join(served.log)
    assert session_id not in "".join(served.log)


def test_openapi_documents_every_route_and_every_kind_of_event(served: Served):
    document = served.json("/openapi.json")
    assert set(SESSION_ROUTES) <= set(document["paths"])
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for reference in {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in schemas
    kinds_there = set(schemas["AgentEvent"]["properties"]["event_type"]["enum"])
    assert {"agent.turn.started", "tool.execution.proposed", "message.saved"} <= kinds_there
    assert len(kinds_there) > 30
    assert set(kinds(served.turn("The weather in Paris?"))) <= kinds_there


# --- stopping


def test_sigterm_lets_a_running_turn_finish_and_ends_its_followers(tmp_path: Path):
    file = agent_file(tmp_path)
    file.write_text(file.read_text().replace("openai/demo", "openai/demo-chunks-6"))
    with DemoServer() as provider, Served(provider, "--agent", str(file), "--grace", "60") as served:
        idle = served.turn("Hello.")[0]["session_id"]
        quiet = served.events(f"/sessions/{idle}/events")
        quiet.until("agent.turn.completed")
        provider.hold(3)
        run = served.run("Tell me.")
        session_id = run.until("assistant.stream.chunk")["session_id"]
        follower = served.events(f"/sessions/{session_id}/events")
        follower.until("assistant.stream.chunk")
        served.process.send_signal(signal.SIGTERM)
        assert list(quiet) == [], "nothing more can come of it"
        provider.release()
        assert list(run)[-1]["event_type"] == "agent.turn.completed"
        assert list(follower)[-1]["event_type"] == "agent.turn.completed"
        assert served.stop() == 0


def test_sigterm_lets_a_detached_turn_finish(tmp_path: Path):
    file = agent_file(tmp_path)
    file.write_text(file.read_text().replace("openai/demo", "openai/demo-chunks-6"))
    with DemoServer(hold=3) as provider, Served(provider, "--agent", str(file), "--grace", "60") as served:
        sock = served.raw("/sessions/new/run?detach=true", {"input": "Tell me."})
        provider.wait_for(lambda one: one.requests and one.last.chunks > 2, LONG)
        session_id = served.json("/sessions")["sessions"][0]["session_id"]
        sock.close()
        until(lambda: "POST /sessions/{session_id}/run" in "".join(served.log))
        served.process.send_signal(signal.SIGTERM)
        until_refused(served)
        provider.release()
        assert served.process.wait(LONG) == 0
    assert ended_as(file, session_id) == "agent.turn.completed"


@pytest.mark.parametrize("detach", ["false", "true"])
def test_after_the_grace_time_turns_are_cancelled(tmp_path: Path, detach: str):
    file = agent_file(tmp_path, approval="ask")
    with DemoServer() as provider, Served(provider, "--agent", str(file), "--grace", "0.2") as served:
        run = served.run("The weather in Paris?", query=f"?detach={detach}")
        session_id = run.until("tool.execution.proposed")["session_id"]
        if detach == "true":
            run.close()
        begun = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - begun < 20
        if detach == "false":
            assert list(run)[-1]["event_type"] == "agent.turn.cancelled"
    assert ended_as(file, session_id) == "agent.turn.cancelled"


def ended_as(file: Path, session_id: str) -> str:
    """The last event of a session, as the next server on the same store tells it."""
    with DemoServer() as provider, Served(provider, "--agent", str(file)) as served:
        return list(served.events(f"/sessions/{session_id}/events?follow=false"))[-1]["event_type"]


def until_refused(served: Served) -> None:
    """Wait until the server takes no connection any more."""

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", served.port), timeout=LONG).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused)


# --- starting


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("model = ", "no TOML document"),
        ('model = "openai/demo"\nmax_tool_round = 3', '"max_tool_rounds"'),
        ('model = "openai/demo"\n[request]\napi_base = "http://127.0.0.1:1"', "api_base"),
        ('model = "openai/demo"\nsession_store = "/dev/null/x.db"', "/dev/null"),
    ],
)
def test_a_file_that_cannot_be_is_said_before_it_serves(tmp_path: Path, text: str | None, says: str):
    file = tmp_path / "agent.toml"
    if text is not None:
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--agent", str(file)],
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("omni serve: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


# --- the pure parts


def test_what_a_decision_may_say():
    for body, says in (
        ({}, "call_id: missing"),
        ({"call_id": "c"}, "decision: missing"),
        ({"call_id": "c", "decision": "maybe"}, "decision: expected"),
        ({"call_id": "c", "decision": "approve", "scope": "ever"}, "scope: expected"),
        ({"call_id": "c", "decision": "approve", "reason": "r"}, "reason: only"),
        ({"call_id": "c", "decision": "deny", "scope": "once"}, "scope: only"),
        ({"call_id": 1, "decision": "deny"}, "call_id: expected a text"),
        ({"call": "c", "decision": "deny"}, '"call_id"'),
    ):
        with pytest.raises(InvalidRequestError, match=says):
            read_approve(json.dumps(body).encode())
    assert read_approve(b'{"call_id": "c", "decision": "deny"}') == {"call_id": "c", "decision": "deny"}


def test_a_field_of_the_server_is_refused_however_it_is_spelled():
    with pytest.raises(PermissionDeniedError, match="mcp_servers"):
        read_run(b'{"input": "x", "mcp\\u005fservers": null}', "new")


def test_the_route_of_a_path_is_known_and_nothing_else():
    assert [template_of(route.replace("{session_id}", "x")) for route in SESSION_ROUTES] == list(
        SESSION_ROUTES
    )
    for path in ("/sessions/", "/sessions/x/", "/sessions/x/y", "/session", "/sessions//run", "/x/sessions"):
        assert template_of(path) is None, path
