"""The agent over HTTP: turns of sessions, for ``omni serve --agent agent.toml``.

::

    POST /sessions/{session_id}/run      an input → server-sent events; `new` makes a session
    POST /sessions/{session_id}/cancel   stops the turn
    POST /sessions/{session_id}/approve  decides about a proposed tool call
    GET  /sessions/{session_id}/events   the events after a `seq`, and those that follow
    GET  /sessions/{session_id}          what is known of a session, and its messages
    GET  /sessions                       the sessions, the newest first

Which model is asked, which servers and tools there are and what may run says the configuration that the
server was started with; a request cannot.

>>> template_of("/sessions/0192f/events"), template_of("/sessions/a/b")
('/sessions/{session_id}/events', None)
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import Request  # noqa: TC002  # FastAPI reads the endpoints' annotations
from starlette.responses import Response  # noqa: TC002  # the same

from . import service_rules as rules
from .errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from .service_calls import EventStream, json_answer, while_client_stays
from .service_turns import Follower, Turn, TurnEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from ._agent import Agent
    from .service_calls import Calls, Running

__all__ = ["SESSION_ROUTES", "SessionRoutes", "agent_of", "read_approve", "read_run", "template_of"]

Json = dict[str, Any]

SESSION_ROUTES: Final = (
    "/sessions",
    "/sessions/{session_id}",
    "/sessions/{session_id}/run",
    "/sessions/{session_id}/cancel",
    "/sessions/{session_id}/approve",
    "/sessions/{session_id}/events",
)
NEW: Final = "new"
RUN_FIELDS: Final = ("input", "edit", "regenerate", "title")
APPROVE_FIELDS: Final = ("call_id", "decision", "scope", "reason")
SCOPES: Final = ("once", "session", "always")
# What the server's own configuration says, in the spellings that a request may try.
OF_THE_SERVER: Final = frozenset(
    {*rules.ENDPOINT_FIELDS, "approval", "bridge_url", "engine", "fallbacks", "mcpServers", "mcp_servers"}
    | {"model", "provider_options", "request", "session_store", "system", "tools", "extra"}
)
MOST_SESSIONS: Final = 1000
MOST_SEQ: Final = 2**63 - 1


def template_of(path: str) -> str | None:
    """The route that a path is of, without what only the client knows; None if it is none of these."""
    found = re.fullmatch(r"/sessions(/[^/]+(/run|/cancel|/approve|/events)?)?", path)
    if found is None:
        return None
    return "/sessions" + ("/{session_id}" + (found[2] or "") if found[1] else "")


def agent_of(path: str | Path, *, allow_endpoints: bool) -> Agent:
    """The agent that a TOML file describes.

    Raises:
        InvalidRequestError: The file cannot be read, or is no configuration.
        PermissionDeniedError: It says where calls go, which calls of this server may not.
    """
    from ._agent import Agent  # noqa: PLC0415  # only for servers that have one
    from ._native import AgentHost  # noqa: PLC0415  # the same

    try:
        document = AgentHost.read_toml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"--agent {path}: {error}") from None
    except InvalidRequestError as error:
        raise InvalidRequestError(f"--agent {path}: {error.message}") from None
    asked: Json = {**document.get("request", {}), "fallbacks": document.get("fallbacks")}
    found = [] if allow_endpoints or document.get("bridge_url") else rules.forbidden_in(asked)
    if found:
        raise PermissionDeniedError(
            f"--agent {path}: {', '.join(found)}: calls of this server may not say where they go; set the "
            "provider's variable, for example OPENAI_API_BASE, or start the server with --allow-endpoints"
        )
    return Agent(**document)


def read_run(body: bytes, session_id: str) -> Json:
    """What `Agent.run` is asked, from the body of a request.

    Raises:
        InvalidRequestError: With the field that is wrong.
        PermissionDeniedError: A field that only the server's configuration may say.

    >>> read_run(b'{"input": "Hello"}', "new")
    {'input': 'Hello'}
    >>> read_run(b'{"regenerate": ""}', "0192f")
    {'regenerate': '', 'session_id': '0192f'}
    """
    asked = _fields(body, RUN_FIELDS)
    if "input" in asked and not isinstance(asked["input"], (str, dict)):
        raise InvalidRequestError("input: expected a text or a message")
    for name in RUN_FIELDS[1:]:
        _text(asked, name)
    if "regenerate" in asked:
        for name in ("input", "edit"):
            if name in asked:
                raise InvalidRequestError(
                    f"{name}: not together with regenerate, which answers what is there"
                )
    elif "input" not in asked:
        raise InvalidRequestError("input: missing; give a text or a message, or regenerate")
    if session_id == NEW:
        for name in ("edit", "regenerate"):
            if name in asked:
                raise InvalidRequestError(
                    f"{name}: a new session has no messages; name the session in the path"
                )
        return asked
    if "title" in asked:
        raise InvalidRequestError(f"title: only a new session gets one; this is session {session_id}")
    return {**asked, "session_id": session_id}


def read_approve(body: bytes) -> Json:
    """A decision about a tool call, from the body of a request.

    Raises:
        InvalidRequestError: With the field that is wrong.

    >>> read_approve(b'{"call_id": "t1.1.1", "decision": "approve"}')
    {'call_id': 't1.1.1', 'decision': 'approve', 'scope': 'once'}
    """
    asked = _fields(body, APPROVE_FIELDS)
    for name in APPROVE_FIELDS:
        _text(asked, name)
    for name in ("call_id", "decision"):
        if name not in asked:
            raise InvalidRequestError(f"{name}: missing")
    if asked["decision"] == "approve":
        if "reason" in asked:
            raise InvalidRequestError("reason: only with the decision deny")
        if asked.setdefault("scope", "once") not in SCOPES:
            raise InvalidRequestError(f"scope: expected one of {', '.join(SCOPES)}")
    elif asked["decision"] == "deny":
        if "scope" in asked:
            raise InvalidRequestError("scope: only with the decision approve")
    else:
        raise InvalidRequestError("decision: expected approve or deny")
    return asked


def _fields(body: bytes, known: Sequence[str]) -> Json:
    """The object that a body is, without its nulls; only with known fields."""
    try:
        # Half a surrogate pair is no character: what it stood for is lost already.
        asked: Any = json.loads(body.decode("utf-8", "replace") or "{}", parse_constant=_no_number)
        asked = json.loads(json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidRequestError("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise InvalidRequestError("the body is not a JSON object")
    fields = cast("Json", asked)
    for name in fields:
        if name in OF_THE_SERVER:
            raise PermissionDeniedError(
                f"{name}: a request may not say that here; the configuration that the server was started "
                "with does"
            )
        _known(name, known, "field")
    return {name: value for name, value in fields.items() if value is not None}


def _no_number(_: str) -> object:
    raise ValueError


def _known(name: str, known: Sequence[str], what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1)
    meant = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}" if known else ""
    raise InvalidRequestError(f"{name[:100]}: no such {what}{meant}")


def _text(asked: Json, name: str) -> None:
    if not isinstance(asked.get(name, ""), str):
        raise InvalidRequestError(f"{name}: expected a text")


class _Query:
    """The parameters of a URL."""

    def __init__(self, request: Request, *known: str) -> None:
        self._given: Mapping[str, str] = request.query_params
        for name in self._given:
            _known(name, known, "parameter")

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def flag(self, name: str, *, default: bool) -> bool:
        given = self._given.get(name)
        if given is None:
            return default
        if given not in ("true", "false"):
            raise InvalidRequestError(f"{name}: expected true or false")
        return given == "true"

    def number(self, name: str, least: int, most: int) -> int | None:
        given = self._given.get(name)
        return None if given is None else number_of(name, given, least, most)


def number_of(name: str, given: str, least: int, most: int) -> int:
    """A whole number from outside.

    Raises:
        InvalidRequestError: It is none, or out of bounds.
    """
    if not re.fullmatch(r"[0-9]{1,19}", given) or not least <= int(given) <= most:
        raise InvalidRequestError(f"{name}: expected a whole number from {least} to {most:,}")
    return int(given)


class SessionRoutes:
    """The endpoints.

    Args:
        agent: who runs the turns; None: every route says how to get one.
        calls: the places of the server's calls, of which each turn and each reader takes one.
        body: reads the body of a request, within its bounds.
        quiet: seconds without an event after which a stream gets a comment.
    """

    def __init__(
        self,
        agent: Agent | None,
        calls: Calls,
        body: Callable[[Request, Running], Awaitable[bytes]],
        quiet: float,
    ) -> None:
        self._agent, self._calls, self._body, self._quiet = agent, calls, body, quiet
        self._turns: dict[str, Turn] = {}
        self._followers: set[Follower] = set()
        self._stopping = False

    @property
    def served(self) -> bool:
        """Whether there is an agent."""
        return self._agent is not None

    def routes(self) -> Sequence[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Method, path and endpoint of each."""
        every, one, run, cancel, approve, events = SESSION_ROUTES
        return (
            ("GET", every, self.sessions),
            ("GET", one, self.session),
            ("POST", run, self.run),
            ("POST", cancel, self.cancel),
            ("POST", approve, self.approve),
            ("GET", events, self.events),
        )

    async def check(self) -> None:
        """Open the store.

        Raises:
            OmniError: it cannot be used, and why.
        """
        if self._agent is not None:
            await self._agent.sessions.list(limit=1)

    def stop(self) -> None:
        """The server stops: who follows a session is told no more than the turn that runs."""
        self._stopping = True
        for follower in list(self._followers):
            if follower.session_id not in self._turns:
                follower.cancel()

    async def aclose(self) -> None:
        """Cancel what runs and end the MCP servers."""
        if self._agent is not None:
            await self._agent.aclose()

    async def run(self, request: Request) -> Response:
        """A turn, its events as they come."""
        agent = self._there()
        running = self._calls.begin()
        try:
            detach = _Query(request, "detach").flag("detach", default=False)
            asked = read_run(await self._body(request, running), _session_id(request))
            turn = Turn(agent.run(**asked), running, self._turn_begun, self._turn_ended)
        except BaseException:
            running.end()  # otherwise the turn ends it
            raise
        try:
            await while_client_stays(request.receive, turn.begun(), running)
        except BaseException:
            if not detach:
                turn.cancel()
            raise
        finally:
            running.on_cancel(turn.cancel)
        return EventStream(TurnEvents(turn, detach=detach), None, self._quiet)

    async def cancel(self, request: Request) -> Response:
        """Stop the turn of a session."""
        self._there()

        async def cancel(body: bytes) -> Json:
            _fields(body, ())
            turn = self._turn(request)
            turn.cancel()
            return {"session_id": turn.session_id}

        # 202: its last event, not this answer, tells that it has stopped.
        return await self._answer(request, cancel, status=202)

    async def approve(self, request: Request) -> Response:
        """Decide about a tool call that waits for it."""
        self._there()

        async def approve(body: bytes) -> Json:
            asked = read_approve(body)
            turn = self._turn(request)
            if asked["decision"] == "approve":
                turn.run.approve(asked["call_id"], asked["scope"])
            else:
                turn.run.deny(asked["call_id"], asked.get("reason"))
            return {"session_id": turn.session_id, **asked}

        return await self._answer(request, approve)

    async def events(self, request: Request) -> Response:
        """The events of a session after a place, and those that follow."""
        agent = self._there()
        session_id = _session_id(request)
        running = self._calls.begin()
        try:
            query = _Query(request, "after", "follow")
            after = query.number("after", 0, MOST_SEQ) or 0
            # A browser that comes back asks the same address, and says here how far it was.
            came = request.headers.get("last-event-id", "")
            after = number_of("Last-Event-ID", came, 0, MOST_SEQ) if came else after
            await while_client_stays(request.receive, agent.sessions.info(session_id), running)
            follow = query.flag("follow", default=True) and not (
                self._stopping and session_id not in self._turns
            )
            follower = Follower(agent, session_id, after, follow=follow, ended=self._followers.discard)
            self._followers.add(follower)
            return EventStream(follower, running, self._quiet)
        except BaseException:
            running.end()  # otherwise the answer ends it
            raise

    async def sessions(self, request: Request) -> Response:
        """The sessions, the newest first."""
        agent = self._there()

        async def listed(_: bytes) -> Json:
            query = _Query(request, "limit", "after")
            limit = query.number("limit", 1, MOST_SESSIONS) or 20
            return {"sessions": await agent.sessions.list(limit, query.text("after"))}

        return await self._answer(request, listed)

    async def session(self, request: Request) -> Response:
        """What is known of a session, and the messages up to its leaf."""
        agent = self._there()
        session_id = _session_id(request)

        async def known(_: bytes) -> Json:
            last = _Query(request, "last").number("last", 1, MOST_SEQ)
            info = await agent.sessions.info(session_id)
            messages = await agent.sessions.messages(session_id, last=last)
            return {"session": info, "running": session_id in self._turns, "messages": messages}

        return await self._answer(request, known)

    async def _answer(
        self, request: Request, work: Callable[[bytes], Coroutine[Any, Any, Json]], status: int = 200
    ) -> Response:
        """What `work` makes of the body, while the client stays."""
        running = self._calls.begin()
        try:
            body = await self._body(request, running)
            found = await while_client_stays(request.receive, work(body), running)
            return json_answer(json.dumps(found, ensure_ascii=False), status)
        finally:
            running.end()

    def _there(self) -> Agent:
        if self._agent is None:
            raise NotFoundError("this server has no agent; start it with: omni serve --agent agent.toml")
        return self._agent

    def _turn(self, request: Request) -> Turn:
        turn = self._turns.get(_session_id(request))
        if turn is None:
            raise NotFoundError(
                "no turn of this session runs in this server; its events tell how the last one ended"
            )
        return turn

    def _turn_begun(self, turn: Turn) -> None:
        self._turns[turn.session_id] = turn

    def _turn_ended(self, turn: Turn) -> None:
        if self._turns.get(turn.session_id) is not turn:
            return
        del self._turns[turn.session_id]
        if self._stopping:
            for follower in list(self._followers):
                if follower.session_id == turn.session_id:
                    follower.end_at(turn.last_seq)


def _session_id(request: Request) -> str:
    found: str = request.path_params["session_id"]
    return found
