"""The HTTP door: `chat` over FastAPI, for programs in other languages (``omni serve``).

::

    POST /chat         a request → the reply
    POST /chat/stream  a request → server-sent events: ``event: <type>``, ``data: <event>``
    GET  /models       what is known of models
    GET  /health       contract, version, engine
    GET  /openapi.json the documents as OpenAPI

and, with an agent (``omni serve --agent agent.toml``), the sessions: see `service_sessions`.

It converts, calls and converts: what may be asked is decided in `service_rules`, what a valid request is by
serde.

>>> from omni_bridge.service import Settings, create_app
>>> app = create_app(Settings())
>>> sorted(route.path for route in app.routes)[:5]
['/chat', '/chat/stream', '/health', '/models', '/openapi.json']
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from . import service_rules as rules
from .errors import (
    AuthenticationError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OmniError,
    PermissionDeniedError,
    RequestTimeoutError,
)
from .service_calls import Calls, ClientLeftError, EventStream, json_answer, while_client_stays
from .service_sessions import SESSION_ROUTES, SessionRoutes, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._agent import Agent
    from .service_calls import Door, Running

__all__ = ["Settings", "create_app"]

ROUTES: Final = ("/chat", "/chat/stream", "/models", "/health", "/openapi.json")
LEFT: Final = 499  # nobody reads it: the client has gone

log = logging.getLogger("omni_bridge.service")


@dataclass(frozen=True)
class Settings:
    """How the server behaves.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        token: what clients must send as ``Authorization: Bearer …``; None: nothing.
        allowed_hosts: names besides our own that may stand in Host and Origin, in lower case.
        allow_endpoints: whether requests may say where a call goes and with which key.
        allow_private_images: whether images are fetched from private addresses.
        max_body: bytes of the largest body.
        max_bodies: bytes that the requests of all running calls may take together.
        max_calls: how many calls may run at once.
        grace: seconds that running calls get when the server stops.
        quiet: seconds without an event after which a stream gets a comment.
        body_timeout: seconds in which a body must have come.
        echo: whether ``POST /echo`` is there, for benchmarks.
    """

    host: str = "127.0.0.1"
    port: int = 8411
    token: str | None = field(default=None, repr=False)
    allowed_hosts: frozenset[str] = frozenset()
    allow_endpoints: bool = False
    allow_private_images: bool = False
    max_body: int = 32 * 1024 * 1024
    max_bodies: int = 256 * 1024 * 1024
    max_calls: int = 1000
    grace: float = 30.0
    quiet: float = 15.0
    body_timeout: float = 60.0
    echo: bool = False


def create_app(settings: Settings, door: Door | None = None, agent: Agent | None = None) -> FastAPI:
    """The ASGI application.

    Args:
        settings: how it behaves.
        door: what stands behind it; None: the Python door of this process, whose defaults
            (`omni_bridge.configure`) are those of the settings from then on.
        agent: who runs the turns of sessions, with all the servers and tools that there are; None: nobody. It
            stays the caller's, who closes it.

    Raises:
        PermissionDeniedError: it would listen where other machines can reach it, without a token.
    """
    rules.check_bind(settings.host, settings.token)
    if door is None:
        from .service_door import PythonDoor  # noqa: PLC0415  # a test with a door of its own needs no engine

        door = PythonDoor(settings)
    service = _Service(settings, door, agent)
    # No documentation pages: they would load scripts from another host.
    app = FastAPI(title="omni_bridge", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.calls = service.calls
    app.state.door = door
    app.state.sessions = service.sessions
    app.add_api_route("/chat", service.chat, methods=["POST"])
    app.add_api_route("/chat/stream", service.chat_stream, methods=["POST"])
    app.add_api_route("/models", service.models, methods=["GET"])
    app.add_api_route("/health", service.health, methods=["GET", "HEAD"])
    app.add_api_route("/openapi.json", service.openapi, methods=["GET"])
    for method, path, endpoint in service.sessions.routes():
        app.add_api_route(path, endpoint, methods=[method])
    if settings.echo:
        app.add_api_route("/echo", service.echo, methods=["POST"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_middleware(_Guard, settings=settings)
    return app


class _Service:
    """The endpoints."""

    def __init__(self, settings: Settings, door: Door, agent: Agent | None) -> None:
        self.settings, self.door = settings, door
        self.calls = Calls(settings.max_calls, settings.max_bodies)
        self.sessions = SessionRoutes(agent, self.calls, self._body, settings.quiet)

    async def chat(self, request: Request) -> Response:
        """One call, answered when it is done."""
        return await self._answer(request, lambda body: self.door.chat(self._accepted(body)))

    async def chat_stream(self, request: Request) -> Response:
        """One call, its events as they come."""
        running = self.calls.begin()
        try:
            asked = self._accepted(await self._body(request, running))
            return EventStream(self.door.stream(asked), running, self.settings.quiet)
        except BaseException:
            running.end()  # otherwise the answer ends it
            raise

    async def models(self, request: Request) -> Response:
        """What is known of models."""
        return await self._answer(request, lambda _: self.door.models())

    async def health(self) -> Response:
        """That the server is up, and what it speaks."""
        return json_answer(json.dumps({"status": "ok", **self.door.health()}))

    async def openapi(self) -> Response:
        """The documents as OpenAPI; the first call imports the pydantic models."""
        from .service_docs import openapi  # noqa: PLC0415  # pydantic models, for those who ask

        version = str(self.door.health().get("version", ""))
        return json_answer(openapi(version, sessions=self.sessions.served))

    async def echo(self, request: Request) -> Response:
        """A document to the engine and back, for benchmarks."""
        return await self._answer(request, self.door.echo)

    async def _answer(self, request: Request, work: Callable[[bytes], Coroutine[Any, Any, str]]) -> Response:
        """What `work` makes of the body: a call from before it is read until the client leaves or has it."""
        running = self.calls.begin()
        try:
            body = await self._body(request, running)
            return json_answer(await while_client_stays(request.receive, work(body), running))
        finally:
            running.end()

    def _accepted(self, body: bytes) -> object:
        """The request, if this server takes it."""
        asked = self.door.check(body)
        found = [] if self.settings.allow_endpoints else rules.forbidden_fields(body)
        if found:
            raise PermissionDeniedError(
                f"{', '.join(found)}: requests may not say where a call goes or with which key here; "
                "leave it out, or start the server with --allow-endpoints"
            )
        return asked

    async def _body(self, request: Request, running: Running) -> bytes:
        """The whole body, within the bounds of size and time; its room is taken before it is read."""
        limit = self.settings.max_body
        try:
            announced = int(request.headers.get("content-length", "0"))
        except ValueError:
            raise InvalidRequestError("the Content-Length header is not a number") from None
        rules.check_length(announced, limit)
        running.hold(announced)
        try:
            return await asyncio.wait_for(_read(request, limit, running), self.settings.body_timeout)
        except asyncio.TimeoutError:  # another class than TimeoutError in Python 3.10
            raise RequestTimeoutError(
                f"the body did not come within {self.settings.body_timeout:g} s"
            ) from None
        except ClientDisconnect:
            raise ClientLeftError from None


async def _read(request: Request, limit: int, running: Running) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        rules.check_length(size, limit)
        running.hold(size)
        parts.append(part)
    return b"".join(parts)


class _Guard:
    """Asks the rules before anything else, and lets no exception out: a server would print its stack."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # websockets: there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = time.monotonic()
        status: int | None = None

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, receive, noted)
        except OmniError as error:
            await self._say(error, scope, receive, noted, begun=status is not None)
        except ClientLeftError:
            status = LEFT
        except Exception as error:  # noqa: BLE001  # logged by its name alone: its text may quote a prompt
            log.error("internal error: %s", type(error).__name__)  # noqa: TRY400  # no stack in the log
            why = InternalError("a fault in the server; its log names the kind")
            await self._say(why, scope, receive, noted, begun=status is not None)
        finally:
            # Of the path only what is known: a path can be anything, also a secret.
            path: str = scope["path"]
            route = path if path in ROUTES else template_of(path) or "(another path)"
            seconds = time.monotonic() - begun
            log.info("%s %s %s %.3f s", _method(scope["method"]), route, status or "cancelled", seconds)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        settings = self.settings
        rules.check_host(headers.get("host"), settings.host, settings.allowed_hosts)
        rules.check_origin(headers.get("origin"), settings.host, settings.allowed_hosts)
        rules.check_token(headers.get("authorization"), settings.token)

    async def _say(
        self, error: OmniError, scope: Scope, receive: Receive, send: Send, *, begun: bool
    ) -> None:
        if not begun:
            await error_response(error)(scope, receive, send)


def error_response(error: OmniError, status: int | None = None) -> Response:
    """An error of the contract as an HTTP answer; the status is that of its code unless given."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after)))
    if isinstance(error, (rules.BodyTooLargeError, rules.BodiesFullError)):
        headers["connection"] = "close"  # the rest of the body is not read
    if isinstance(error, AuthenticationError) and error.provider is None:
        headers["www-authenticate"] = "Bearer"
    text = json.dumps({"error": error.to_dict()}, ensure_ascii=False)
    return Response(
        text.encode("utf-8", "replace"), status or error.http_status, headers, media_type="application/json"
    )


async def _no_such_route(_: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the shape of every other error."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        there = ", ".join((*ROUTES, *SESSION_ROUTES))
        return error_response(NotFoundError(f"there is no such path here; there are {there}"))
    return error_response(InvalidRequestError("this path takes another method"), status)


def _method(method: str) -> str:
    return (
        method
        if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH")
        else "(another method)"
    )
