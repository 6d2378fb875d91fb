"""What the test servers log of each request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Headers", "Received"]

# Header and query names whose values are credentials: shown as *** wherever a request is printed.
SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "x-amz-security-token",
    }
)
SECRET_QUERY = frozenset({"key", "api_key", "api-key", "token", "access_token"})


class Headers(dict[str, str]):
    """Request headers by lower-case name; its repr hides the values that are credentials."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in SECRET_HEADERS else value for name, value in self.items()})


@dataclass(eq=False)
class Received:
    """One request as the server saw it, and how its answer went.

    Times are ``time.monotonic()`` seconds, so they compare with the times that a test in the same process
    takes. The repr shows neither the body nor a credential; `headers`, `body` and `json()` give both in full.
    """

    number: int
    method: str
    target: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    connection: int
    at: float
    status: int | None = None
    accepted: int = 0
    """Bytes of the answer that the socket took: it stands still when the client stops reading."""
    chunks: int = 0
    """Pieces of the answer handed to the socket so far."""
    paused: bool = False
    """True while the client reads too slowly and the server is kept waiting."""
    finished: float | None = None
    """When the answer was written whole."""
    closed: float | None = None
    """When the socket that carried this request was closed, if this was its last request."""
    broken: bool = False
    """True when the server itself broke the answer off."""

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query as a dict; of a repeated name the last value."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def left(self) -> bool:
        """True when the client closed its socket before the answer was written whole."""
        return self.closed is not None and self.finished is None and not self.broken

    @property
    def streaming(self) -> bool:
        """True while the answer is begun and neither finished nor left."""
        return self.status is not None and self.finished is None and self.closed is None

    def json(self) -> Any:  # noqa: ANN401  # as json.loads
        """The body as JSON; ValueError when it is not."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        shown = "&".join(f"{k}={'***' if k.lower() in SECRET_QUERY else v}" for k, v in self.query.items())
        where = self.path + (f"?{shown}" if shown else "")
        state = "left" if self.left else "finished" if self.finished else "open"
        return (
            f"<Received #{self.number} {self.method} {where} body={len(self.body)}B status={self.status} "
            f"accepted={self.accepted}B chunks={self.chunks} {state}>"
        )
