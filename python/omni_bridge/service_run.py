"""``omni serve``: reads the settings, listens, and stops in good order."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from . import service_rules as rules
from .errors import InvalidRequestError, OmniError
from .service import Settings, create_app
from .service_sessions import agent_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from fastapi import FastAPI

    from .service_calls import Calls
    from .service_sessions import SessionRoutes

__all__ = ["main"]

TOKEN_NAME = "OMNI_SERVE_TOKEN"  # noqa: S105  # the variable's name, not a token
LATE = 5.0  # seconds beyond the grace time in which cancelled calls tell their clients so
MEGABYTE = 1024 * 1024
LEAST_MB, MOST_MB = 0.001, 1_000_000
MOST_GRACE = 86_400  # seconds; a day


def parser() -> argparse.ArgumentParser:
    """The command line of ``omni serve``."""
    found = argparse.ArgumentParser(
        prog="omni serve",
        description="Serve chat over HTTP: POST /chat, POST /chat/stream, GET /models, GET /health; "
        "with --agent also an agent: POST /sessions/{session_id}/run and so on.",
        epilog=f"The token, if any, is read from {TOKEN_NAME} or from --token-file.",
    )
    add = found.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; others than loopback need a token")
    add("--port", type=int, default=8411, help="port; 0 takes a free one (default: 8411)")
    add("--token-file", type=Path, metavar="PATH", help="file whose first line is the token")
    add("--allowed-host", action="append", default=[], metavar="NAME", help="name allowed in Host and Origin")
    add("--agent", type=Path, metavar="PATH", help="TOML file of an agent, whose sessions are served too")
    add("--allow-endpoints", action="store_true", help="let requests set api_base, api_key and headers")
    add("--allow-private-images", action="store_true", help="fetch images from private addresses too")
    add("--max-body", type=float, default=32, metavar="MB", help="largest body (default: 32)")
    add(
        "--max-bodies",
        type=float,
        default=256,
        metavar="MB",
        help="requests of all running calls together (default: 256)",
    )
    add("--max-calls", type=int, default=1000, metavar="N", help="calls at once (default: 1000)")
    add(
        "--grace",
        type=float,
        default=30,
        metavar="S",
        help="seconds for running calls on SIGTERM (default: 30)",
    )
    add("--warm-up", action="store_true", help="load LiteLLM now and not with the first call")
    add("--json", action="store_true", help="say where it serves as one line of JSON")
    add(
        "--ready-fd", type=int, metavar="FD", help="write the URL to this descriptor when ready, and close it"
    )
    add("--quiet", action="store_true", help="log errors only, not every request")
    add("--echo", action="store_true", help="serve POST /echo too, for benchmarks")
    return found


def settings_of(options: argparse.Namespace, environment: dict[str, str]) -> Settings:
    """The settings that a command line and an environment say. Reads the token file.

    Raises:
        InvalidRequestError: a value that cannot be, with its option.
    """
    token = environment.get(TOKEN_NAME) or None
    if options.token_file is not None:
        try:
            token = options.token_file.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequestError(f"--token-file {options.token_file}: {error}") from None
        if not token:
            raise InvalidRequestError(f"--token-file {options.token_file}: its first line is empty")
    for name in ("max_body", "max_bodies"):
        # Also of nan no comparison holds.
        if not LEAST_MB <= getattr(options, name) <= MOST_MB:
            raise InvalidRequestError(
                f"--{name.replace('_', '-')}: give megabytes, a number from {LEAST_MB} to {MOST_MB:,}"
            )
    if options.max_body > options.max_bodies:
        raise InvalidRequestError("--max-body: above --max-bodies, so that such a body would never be taken")
    if options.max_calls <= 0:
        raise InvalidRequestError("--max-calls: give a number above 0")
    if not 0 <= options.port <= 65535:
        raise InvalidRequestError("--port: give a number from 0 to 65535")
    if not 0 <= options.grace <= MOST_GRACE:
        raise InvalidRequestError(f"--grace: give seconds, a number from 0 to {MOST_GRACE:,}")
    return Settings(
        host=options.host,
        port=options.port,
        token=token,
        allowed_hosts=frozenset(name.lower().rstrip(".") for name in options.allowed_host),
        allow_endpoints=options.allow_endpoints,
        allow_private_images=options.allow_private_images,
        max_body=int(options.max_body * MEGABYTE),
        max_bodies=int(options.max_bodies * MEGABYTE),
        max_calls=options.max_calls,
        grace=options.grace,
        echo=options.echo,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OmniError with what to do when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise InvalidRequestError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; try --host or --port"
        ) from None
    sock.set_inheritable(False)
    return sock


def url_of(sock: socket.socket) -> str:
    """Where a listening socket is reached from this machine."""
    host, port = sock.getsockname()[:2]
    if host in rules.WILDCARDS:
        host = "[::1]" if ":" in host else "127.0.0.1"
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn with our own order of stopping: new calls end at once, running ones get the grace time."""

    def __init__(
        self,
        config: uvicorn.Config,
        calls: Calls,
        sessions: SessionRoutes,
        grace: float,
        announce: list[Any],
    ) -> None:
        super().__init__(config)
        self._calls, self._sessions, self._grace, self._announce = calls, sessions, grace, announce
        self._latest = 0.0  # when what still runs is left alone

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Ours: uvicorn's own raises the signal again at the end, so that a clean stop looks like a crash."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for one in signals:
            loop.add_signal_handler(one, self._stop)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        if self.should_exit:
            # Asked twice: do not wait for the grace time.
            self._calls.cancel_all()
            return
        logging.getLogger("omni_bridge.service").info("stopping; %d calls run", self._calls.running)
        self.should_exit = True
        loop = asyncio.get_running_loop()
        self._latest = loop.time() + self._grace + LATE
        loop.call_later(self._grace, self._calls.cancel_all)
        self._sessions.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Also of what no connection waits for: turns whose clients have left, and the agent's servers."""
        await super().shutdown(sockets)
        for waits in (self._calls.idle(), self._sessions.aclose()):
            left = self._latest - asyncio.get_running_loop().time()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(waits, max(LATE, left))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._sessions.check()
        await super().startup(sockets)
        for say in self._announce:
            say()


class _NoStacks(logging.Filter):
    """Takes the stack out of a record: it may show what a prompt or a header held."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _log_to_stderr(*, quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_NoStacks())
    for name, level in (
        ("omni_bridge.service", logging.WARNING if quiet else logging.INFO),
        ("uvicorn.error", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def serve(
    settings: Settings,
    *,
    agent_file: Path | None = None,
    as_json: bool = False,
    ready_fd: int | None = None,
    warm_up: bool = False,
    quiet: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code.

    Raises:
        OmniError: it may not or cannot listen there.
    """
    rules.check_bind(settings.host, settings.token)
    sock = listen(settings.host, settings.port)
    agent = agent_of(agent_file, allow_endpoints=settings.allow_endpoints) if agent_file else None
    app: FastAPI = create_app(settings, agent=agent)
    url = url_of(sock)

    def announce() -> None:
        line = (
            json.dumps({"url": url, "pid": os.getpid(), "contract": 1})
            if as_json
            else _welcome(url, settings)
        )
        print(line, flush=True)  # noqa: T201  # this is the command's output
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w", encoding="ascii") as pipe:
                pipe.write(url + "\n")

    announcements: list[Any] = [announce]
    if warm_up:
        tasks: list[asyncio.Task[None]] = []  # a task that nobody holds may vanish
        announcements.append(lambda: tasks.append(asyncio.ensure_future(app.state.door.warm_up())))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours names only known paths
        server_header=False,
        lifespan="off",
        timeout_keep_alive=120,  # longer than clients keep an idle connection: they never meet a closed one
        timeout_graceful_shutdown=int(settings.grace + LATE),
    )
    _log_to_stderr(quiet=quiet)
    server = _Server(config, app.state.calls, app.state.sessions, settings.grace, announcements)
    server.run([sock])
    return 0


def _welcome(url: str, settings: Settings) -> str:
    token = "with its token" if settings.token else "for programs on this machine"
    return (
        f"omni serve: {url} ({token}); Ctrl-C stops it\n"
        f"  curl {url}/chat -H 'content-type: application/json' "
        """-d '{"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}'"""
    )


def main(arguments: Sequence[str]) -> int:
    """``omni serve``: gives the exit code, 2 when it cannot start."""
    options = parser().parse_args(arguments)
    try:
        settings = settings_of(options, dict(os.environ))
        # Not for the children, nor for what prints its environment.
        os.environ.pop(TOKEN_NAME, None)
        return serve(
            settings,
            agent_file=options.agent,
            as_json=options.json,
            ready_fd=options.ready_fd,
            warm_up=options.warm_up,
            quiet=options.quiet,
        )
    except OmniError as error:
        print(f"omni serve: {error.message}", file=sys.stderr)  # noqa: T201  # this is the command's output
        return 2
