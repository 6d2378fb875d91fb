"""The offline provider: a server that speaks the real OpenAI wire, for demos and tests without a key."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from . import _shapes
from ._http import Exchange, HttpServer, Received
from ._json import Json, array, obj
from ._plausible import Call, call_for, example_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Unpack

    from ._http import ServerOptions

__all__ = ["DemoServer"]

HoldAt = Literal["answer", "head"] | int


@dataclass(frozen=True)
class Settings:
    """How one request is answered: the server's own settings, changed by the model's name."""

    chunks: int | None = None
    size: int | None = None
    pace: float | None = None
    hold: HoldAt | None = None
    error: str | None = None

    def for_model(self, model: str) -> Settings:
        """The settings that a name such as ``demo-chunks-50-pace-20`` or ``demo-error-429`` asks for.

        >>> Settings().for_model("demo-chunks-50-pace-20")
        Settings(chunks=50, size=None, pace=20.0, hold=None, error=None)
        """
        found = self
        for name, value in re.findall(r"-(chunks|size|pace|error)-([a-z_]+|\d+(?:\.\d+)?)", model):
            if name == "error":
                found = replace(found, error=value)
            elif value[0].isdigit():
                number = float(value)
                found = replace(found, **{name: number if name == "pace" else int(number)})
        return found


@dataclass(frozen=True)
class Answer:
    """What is said, before it is put on the wire."""

    pieces: Sequence[str]
    calls: Sequence[Call]
    finish_reason: str
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        return len(self.pieces) + sum(1 + len(call.arguments.split()) for call in self.calls)

    @property
    def usage(self) -> Json:
        """In the shape of the OpenAI wire; a token is a word."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


class BadRequestError(ValueError):
    """What the real API would refuse with 400."""


class DemoServer(HttpServer):
    """A provider on loopback with OpenAI's chat completions: JSON, SSE, tool calls, usage, errors, pace.

    Answers are deterministic: the same requests in the same order get the same bytes. Offered tools are
    called when the last message is the user's and its words name one (or ``tool_choice`` forces it), with
    arguments made from the tool's schema and the user's words; after a tool result the answer is text that
    uses it. ``max_tokens`` (a token is a word), ``stop``, ``response_format`` and
    ``stream_options.include_usage`` are honoured.

    Any model name is answered. Names may carry settings: ``demo-error-429`` (also 400 to 529, ``quota``,
    ``context_length``, ``content_filter``, ``stream``: an error inside a stream), ``demo-chunks-200``,
    ``demo-size-64``, ``demo-pace-20``, and these joined: ``demo-chunks-200-pace-20``.

    Args:
        text: what is answered; None: a sentence with the user's words.
        chunks: that many chunks of text instead of a sentence.
        size: bytes of each such chunk (8 unless said otherwise).
        pace: chunks per second of each stream; None: as fast as the client reads.
        hold: where every answer waits for `release`: ``"answer"`` before its head, ``"head"`` after it, a
            number after so many chunks. So a test can say: all of them are open now.
        api_key: when given, other keys get 401.
        options: those of `HttpServer`.

    >>> import json, urllib.request
    >>> body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    >>> with DemoServer() as server:
    ...     asked = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode())
    ...     answer = json.load(urllib.request.urlopen(asked))
    >>> answer["choices"][0]["message"]["content"]
    'You said: hi. (This is the offline demo provider; no model was asked.)'
    """

    def __init__(
        self,
        *,
        text: str | None = None,
        chunks: int | None = None,
        size: int | None = None,
        pace: float | None = None,
        hold: HoldAt | None = None,
        api_key: str | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        super().__init__(**options)
        self._text, self._api_key = text, api_key
        self._settings = Settings(chunks=chunks, size=size, pace=pace, hold=hold)
        self._released: asyncio.Event | None = None

    @property
    def api_base(self) -> str:
        """What an OpenAI client takes as its base URL: `url` with ``/v1``."""
        return self.url + "/v1"

    def hold(self, at: HoldAt) -> None:
        """From now on answers wait at this point for `release`."""
        self._settings = replace(self._settings, hold=at)
        if self._released is not None:
            self.loop.call_soon_threadsafe(self._released.clear)

    def release(self) -> None:
        """Let every held answer go on, and those that come later too."""
        if self._released is not None:
            self.loop.call_soon_threadsafe(self._released.set)

    async def prepare(self) -> None:
        """Make the gate on the server's own loop."""
        self._released = asyncio.Event()

    async def answer(self, exchange: Exchange) -> None:
        """Route one request."""
        request = exchange.request
        path = request.path.rstrip("/")
        if path.endswith("/chat/completions"):
            if request.method != "POST":
                await exchange.reply(405, _shapes.error_body("openai", 400, message="use POST"))
            else:
                await self._chat(exchange, request)
        elif path.endswith("/models"):
            names = ("demo", "demo-error-429", "demo-chunks-200-pace-20")
            data = [
                {"id": name, "object": "model", "created": _shapes.CREATED, "owned_by": "demo"}
                for name in names
            ]
            await exchange.reply(200, {"object": "list", "data": data})
        elif not path:
            await exchange.reply(
                200, HELP.format(url=self.url).encode(), {"content-type": "text/plain; charset=utf-8"}
            )
        else:
            why = f"the demo server has no {request.path}: use POST /v1/chat/completions or GET /v1/models"
            await exchange.reply(404, _shapes.error_body("openai", 404, message=why))

    async def _chat(self, exchange: Exchange, request: Received) -> None:
        headers = {"x-request-id": f"req_demo_{request.number}"}
        if self._api_key is not None and request.headers.get("authorization") != f"Bearer {self._api_key}":
            await exchange.reply(401, _shapes.error_body("openai", 401), headers)
            return
        try:
            asked = checked(request.body)
            model = str(asked["model"])
            settings = self._settings.for_model(model)
            answer = answer_to(asked, settings, self._text)
        except BadRequestError as error:
            await exchange.reply(400, _shapes.error_body("openai", 400, message=str(error)), headers)
            return
        if settings.hold == "answer":
            await self._wait()
        if settings.error is not None and settings.error != "stream":
            await _fail(exchange, settings.error, model, headers)
        elif asked.get("stream"):
            await self._stream(exchange, asked, answer, settings, headers)
        else:
            if settings.pace:
                await exchange.sleep(len(answer.pieces) / settings.pace)
            await exchange.reply(200, _whole(answer, model, request.number), headers)

    async def _stream(
        self, exchange: Exchange, asked: Json, answer: Answer, settings: Settings, headers: dict[str, str]
    ) -> None:
        usage = bool(obj(asked.get("stream_options")).get("include_usage"))
        frames = stream_frames(answer, str(asked["model"]), exchange.request.number, include_usage=usage)
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        await exchange.start(200, {**headers, **kind})
        if settings.hold == "head":
            await self._wait()
        if settings.error == "stream":
            await exchange.send_all([*list(frames)[:3], _shapes.error_event("openai", 503)])
            return
        # The first frame carries the role and no text: it does not count as a chunk.
        await exchange.send(next(frames))
        held = settings.hold if isinstance(settings.hold, int) else None
        if held is None and not settings.pace:
            await exchange.send_all(frames)
            return
        start = self.loop.time()
        for number, frame in enumerate(frames):
            if number == held:
                await self._wait()
                start = self.loop.time() - (number / settings.pace if settings.pace else 0)
            if settings.pace:
                # Against the start and not against the last chunk, so that the pace holds however busy the
                # loop is.
                await exchange.sleep(max(0.0, start + number / settings.pace - self.loop.time()))
            await exchange.send(frame)

    async def _wait(self) -> None:
        if self._released is not None:
            await self._released.wait()


def checked(body: bytes) -> Json:
    """The request as JSON with the fields that the real API insists on."""
    try:
        asked: object = json.loads(body)
    except ValueError:
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise BadRequestError("the body is not a JSON object")
    found = obj(cast("object", asked))
    if not isinstance(found.get("model"), str):
        raise BadRequestError("you must provide a model parameter")
    messages = array(found.get("messages"))
    if not messages:
        raise BadRequestError("messages: expected an array with at least one message")
    for number, message in enumerate(messages):
        if "role" not in obj(message):
            raise BadRequestError(f"messages[{number}]: expected an object with a role")
    if found.get("n") not in (None, 1):
        raise BadRequestError("n: the demo server answers with one choice")
    return found


def answer_to(asked: Json, settings: Settings, text: str | None) -> Answer:
    """What is answered to a checked request. Pure."""
    messages: list[Json] = asked["messages"]
    prompt_tokens = sum(len(text_of(message.get("content")).split()) + 1 for message in messages)
    calls = call_for(asked)
    if calls:
        return Answer([], calls, "tool_calls", prompt_tokens)
    if settings.chunks is not None:
        pieces = synthetic(settings.chunks, settings.size or 8)
    else:
        pieces = words(_sentence(asked, text))
    stops: Any = asked.get("stop")
    pieces, stopped = _until(pieces, [stops] if isinstance(stops, str) else stops or [])
    limit: Any = asked.get("max_completion_tokens") or asked.get("max_tokens")
    if isinstance(limit, int) and len(pieces) > limit and not stopped:
        return Answer(pieces[:limit], [], "length", prompt_tokens)
    return Answer(pieces, [], "stop", prompt_tokens)


def synthetic(count: int, size: int) -> list[str]:
    """`count` pieces of `size` bytes, each with its number.

    >>> synthetic(3, 6)
    ['w0....', 'w1....', 'w2....']
    """
    return [f"w{number}".ljust(size - 1, ".")[: max(1, size - 1)].ljust(size, ".") for number in range(count)]


def words(text: str) -> list[str]:
    """The text in pieces of one word with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def _sentence(asked: Json, text: str | None) -> str:
    wanted = obj(asked.get("response_format"))
    last: Json = asked["messages"][-1]
    said = text_of(last.get("content"))
    if wanted.get("type") in ("json_object", "json_schema"):
        schema = obj(wanted.get("json_schema")).get("schema")
        example = example_of(schema, said) if schema else {"answer": text or said}
        return json.dumps(example, ensure_ascii=False)
    if text is not None:
        return text
    if last["role"] == "tool":
        results = [text_of(m.get("content")) for m in _trailing_tools(asked["messages"])]
        return f"The tool says: {'; '.join(results)}."
    return f"You said: {said}. (This is the offline demo provider; no model was asked.)"


def _trailing_tools(messages: Sequence[Json]) -> list[Json]:
    end = len(messages)
    while end and messages[end - 1]["role"] == "tool":
        end -= 1
    return list(messages[end:])


def _until(pieces: Sequence[str], stops: Sequence[str]) -> tuple[list[str], bool]:
    """The pieces up to the first stop text."""
    text = "".join(pieces)
    places = [place for place in (text.find(stop) for stop in stops if stop) if place >= 0]
    if not places:
        return list(pieces), False
    kept: list[str] = []
    left = min(places)
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept, True


def _whole(answer: Answer, model: str, number: int) -> Json:
    message: Json = {"role": "assistant", "content": "".join(answer.pieces) if not answer.calls else None}
    message |= {"refusal": None, "annotations": []}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": f"call_demo_{number}_{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for at, call in enumerate(answer.calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return {
        "id": f"chatcmpl-demo-{number}",
        "object": "chat.completion",
        "created": _shapes.CREATED,
        "model": model,
        "choices": [choice],
        "usage": answer.usage,
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    }


def stream_frames(answer: Answer, model: str, number: int, *, include_usage: bool) -> Iterator[bytes]:
    """The server-sent events of an answer: role, text or calls, finish reason, usage, [DONE]."""
    head = {
        "id": f"chatcmpl-demo-{number}",
        "object": "chat.completion.chunk",
        "created": _shapes.CREATED,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    }
    # Built from two fixed halves: a thousand streams at once leave no time to encode every chunk whole.
    before = "data: " + json.dumps(head, ensure_ascii=False)[:-1] + ', "choices": [{"index": 0, "delta": '
    rest = ', "usage": null}' if include_usage else "}"
    after = ', "logprobs": null, "finish_reason": null}]' + rest + "\n\n"

    def delta(data: Json) -> bytes:
        return (before + json.dumps(data, ensure_ascii=False) + after).encode("utf-8", "replace")

    if answer.calls:
        yield delta({"role": "assistant", "content": None})
    else:
        yield delta({"role": "assistant", "content": "", "refusal": None})
    for piece in answer.pieces:
        yield delta({"content": piece})
    for at, call in enumerate(answer.calls):
        begun = {"name": call.name, "arguments": ""}
        id_ = f"call_demo_{number}_{at}"
        yield delta({"tool_calls": [{"index": at, "id": id_, "type": "function", "function": begun}]})
        for piece in re.findall(r".{1,8}", call.arguments, re.DOTALL):
            yield delta({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    end = f'{{}}, "logprobs": null, "finish_reason": "{answer.finish_reason}"}}]{rest}\n\n'
    yield (before + end).encode("utf-8", "replace")
    if include_usage:
        yield _shapes.sse({**head, "choices": [], "usage": answer.usage})
    yield b"data: [DONE]\n\n"


async def _fail(exchange: Exchange, error: str, model: str, headers: dict[str, str]) -> None:
    if error in _shapes.KINDS:
        status = _shapes.KINDS[error][0]
        body = _shapes.error_body("openai", status, error)
    else:
        status = int(error) if error.isdigit() and 400 <= int(error) <= 599 else 500
        body = _shapes.error_body("openai", status, message=f"error {status}, as the model name {model} asks")
    if status == 429 and error != "quota":
        headers = {**headers, "retry-after": "1"}
    await exchange.reply(status, body, headers)


HELP = """\
omni_bridge demo server: OpenAI's chat completions without a model.

  curl {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "demo", "messages": [{{"role": "user", "content": "hi"}}]}}'

  POST /v1/chat/completions   JSON and (with "stream": true) server-sent events
  GET  /v1/models

Models: demo · demo-error-429 (any status) · demo-error-stream · demo-chunks-200-pace-20
"""
