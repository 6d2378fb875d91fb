"""Serve recorded provider traffic again, its bodies cut anew.

The recordings lost how the bytes were cut on the wire, so a client that is right only for lucky cuts looks
right on them. `ReplayServer` sends the same bytes one by one, in the middle of a character, in the middle of
CRLF, at random places, or whole.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._http import Exchange, HttpServer
from ._json import obj

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from ._http import ServerOptions

__all__ = ["CUTS", "Cassette", "Interaction", "ReplayServer", "cut_body", "read_cassettes"]

CUTS = ("whole", "byte", "utf8", "crlf", "random")
"""The ways to cut a body; ``random`` takes a seed: ``random(7)``."""

# Said anew by our own server, or true of one recorded connection only.
DROPPED_HEADERS = frozenset(
    {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "content-encoding",
        "alt-svc",
        "location",
    }
)
RANDOM_SIZES = (1, 2, 3, 7, 40, 200, 1000, 5000)
BYTEWISE = (
    10_000  # of a long body so many bytes at each end are sent one by one: megabytes would take minutes
)


@dataclass(frozen=True)
class Interaction:
    """One recorded request and its answer. Bodies are text; headers of the answer have lower-case names."""

    endpoint: str
    status: int
    body: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    method: str = "POST"
    url: str = ""
    request_body: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Interaction:
        """One element of a cassette's ``interactions``; KeyError names what is missing."""
        request, response = data["request"], data["response"]
        return cls(
            endpoint=data["endpoint"],
            status=response["status"],
            body=response["body"],
            headers=response["headers"],
            method=request["method"],
            url=request["url"],
            request_body=request["body"],
        )

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream: server-sent events or JSON lines."""
        kind = self.headers.get("content-type", "")
        if "event-stream" in kind or "ndjson" in kind:
            return True
        return not kind and self.body.startswith(("data:", "event:"))


@dataclass(frozen=True)
class Cassette:
    """Interactions in the order in which they were recorded."""

    name: str
    provider: str
    interactions: Sequence[Interaction] = field(repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cassette:
        """One line of a ``.jsonl.gz`` file."""
        return cls(
            data["cassette"], data["provider"], [Interaction.from_json(one) for one in data["interactions"]]
        )


def read_cassettes(path: str | pathlib.Path) -> Iterator[Cassette]:
    """The cassettes of one ``.jsonl.gz`` file, or of all such files below a folder in the order of names."""
    where = pathlib.Path(path)
    for file in sorted(where.rglob("*.jsonl.gz")) if where.is_dir() else [where]:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield Cassette.from_json(json.loads(line))


def cut_body(body: bytes, cut: str, seed: int = 0) -> list[bytes]:
    r"""`body` in the pieces in which it will be sent; joined they are the body again.

    Args:
        body: the bytes.
        cut: ``whole``; ``byte``: one byte each (of a body above 20,000 bytes the first and last 10,000);
            ``utf8``: in the middle of every character of more than one byte; ``crlf``: between CR and LF, and
            between the newlines that end an event; ``random`` or ``random(7)``.
        seed: added to the seed of ``random``.

    Raises:
        ValueError: for another cut.

    >>> cut_body("é\r\n\r\n".encode(), "utf8")
    [b'\xc3', b'\xa9\r\n\r\n']
    >>> cut_body(b"a\r\n\r\nb\n\n", "crlf")
    [b'a\r', b'\n', b'\r', b'\nb\n', b'\n']
    """
    name, own_seed = _parse_cut(cut)
    if name == "whole":
        return [body] if body else []
    if name == "byte":
        if len(body) <= 2 * BYTEWISE:
            return [body[at : at + 1] for at in range(len(body))]
        head, middle, tail = body[:BYTEWISE], body[BYTEWISE:-BYTEWISE], body[-BYTEWISE:]
        return [*cut_body(head, "byte"), *_evenly(middle, 997), *cut_body(tail, "byte")]
    if name == "random":
        choose = random.Random(f"{own_seed}:{seed}")  # noqa: S311  # not a secret: it must come out alike each time
        pieces, at = list[bytes](), 0
        while at < len(body):
            size = choose.choice(RANDOM_SIZES)
            pieces.append(body[at : at + size])
            at += size
        return pieces
    if name == "utf8":
        # Each multi-byte character is cut at one place inside it, the place moving on from character to
        # character.
        places = [
            found.start() + 1 + number % (len(found.group()) - 1)
            for number, found in enumerate(re.finditer(rb"[\xc2-\xf4][\x80-\xbf]+", body))
        ]
    else:
        places = [found.start() + 1 for found in re.finditer(rb"\r(?=\n)|\n(?=[\r\n])", body)]
    return [
        body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True) if start < end
    ]


def _evenly(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def _parse_cut(cut: str) -> tuple[str, int]:
    found = re.fullmatch(r"(whole|byte|utf8|crlf|random)(?:\(?(\d+)\)?)?", cut)
    if found is None or (found[2] and found[1] != "random"):
        raise ValueError(f"unknown cut {cut!r}: use one of {', '.join(CUTS)} or random(seed)")
    return found[1], int(found[2] or 0)


class ReplayServer(HttpServer):
    """Serves many cassettes at once, each below its own path, each in its recorded order.

    Cassette ``n`` is served below ``url_of(n)``, whatever stands behind it in the path and whatever is asked.
    A cassette that is played to its end, an unknown cassette, and a streamed recording asked for without a
    stream are refused with 400 and noted in `problems`: a client that makes up a stream from a whole answer
    must not look right.

    Args:
        cassettes: what to serve.
        cut: how bodies are cut, see `cut_body`; `url_of` can choose another one.
        pause: seconds between two pieces.
        loop: start again with the first interaction after the last one.
        options: those of `HttpServer`.

    >>> import urllib.request
    >>> tape = Cassette("hello", "demo", [Interaction("chat/completions", 200, '{"n": 1}')])
    >>> with ReplayServer([tape], cut="byte") as server:
    ...     urllib.request.urlopen(server.url_of(0) + "/v1/chat/completions", data=b"{}").read()
    b'{"n": 1}'
    """

    def __init__(
        self,
        cassettes: Iterable[Cassette],
        *,
        cut: str = "whole",
        pause: float = 0.0,
        loop: bool = False,
        **options: Unpack[ServerOptions],
    ) -> None:
        super().__init__(**options)
        self.cassettes = list(cassettes)
        _parse_cut(cut)
        self._cut, self._pause, self._repeat = cut, pause, loop
        self._next_of = [0] * len(self.cassettes)
        self.problems: list[str] = []
        """What was refused, one line each: cassette, interaction, why."""

    def url_of(self, number: int, *, cut: str | None = None, pause: float | None = None) -> str:
        """The base URL of one cassette, without a slash at the end, with its own cut or pause."""
        way = ""
        if cut is not None:
            name, seed = _parse_cut(cut)
            way += f"-{name}{seed if name == 'random' else ''}"
        if pause is not None:
            way += f"-p{round(pause * 1_000_000)}"
        return f"{self.url}/c/{number}{way}"

    def rewind(self, number: int | None = None) -> None:
        """Play one cassette, or all of them, from the start again."""
        for one in range(len(self.cassettes)) if number is None else [number]:
            self._next_of[one] = 0

    def left_of(self, number: int) -> int:
        """How many interactions of a cassette have not been played."""
        return len(self.cassettes[number].interactions) - self._next_of[number]

    async def answer(self, exchange: Exchange) -> None:
        """Play the next interaction of the cassette that the path names."""
        place = re.match(
            r"/c/(\d+)(?:-(whole|byte|utf8|crlf|random\d*))?(?:-p(\d+))?(?=/|$|\?)", exchange.request.target
        )
        if place is None or int(place[1]) >= len(self.cassettes):
            await self._refuse(exchange, f"no cassette at {exchange.request.path}")
            return
        number = int(place[1])
        cassette = self.cassettes[number]
        at = self._next_of[number]
        if at >= len(cassette.interactions):
            if not self._repeat or not cassette.interactions:
                await self._refuse(exchange, f"{cassette.name}: played to its end ({at} interactions)")
                return
            at = 0
        interaction = cassette.interactions[at]
        if interaction.streamed and not asks_for_stream(exchange.request.target, exchange.request.body):
            await self._refuse(exchange, f"{cassette.name}#{at}: recorded as a stream, asked for without one")
            return
        self._next_of[number] = at + 1
        headers = {name: value for name, value in interaction.headers.items() if name not in DROPPED_HEADERS}
        await exchange.start(interaction.status, headers)
        pieces = cut_body(interaction.body.encode("utf-8", "surrogatepass"), place[2] or self._cut, at)
        pause = int(place[3]) / 1_000_000 if place[3] else self._pause
        if pause:
            for piece in pieces:
                await exchange.send(piece)
                await exchange.sleep(pause)
        else:
            await exchange.send_all(pieces)
        await exchange.end()

    async def _refuse(self, exchange: Exchange, why: str) -> None:
        self.problems.append(why)
        await exchange.reply(400, {"error": {"message": f"ReplayServer: {why}", "type": "replay_refused"}})


def asks_for_stream(target: str, body: bytes) -> bool:
    r"""Whether a request asks for a stream.

    It does in its URL (Gemini), in its body, or, with Ollama's own API, by not saying otherwise.

    >>> asks_for_stream("/v1/chat/completions", b'{"stream": true}')
    True
    >>> asks_for_stream("/v1beta/models/m:streamGenerateContent?alt=sse", b"{}")
    True
    >>> asks_for_stream("/v1/chat/completions", b'{"user": "\\"stream\\": true"}')
    False
    """
    url = urlsplit(target)
    if "stream" in url.path.rsplit("/", 1)[-1].lower() or "alt=sse" in url.query:
        return True
    try:
        asked = obj(json.loads(body))
    except ValueError:
        return False
    return bool(asked.get("stream", url.path.endswith(("/api/chat", "/api/generate"))))
