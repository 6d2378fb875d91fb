"""What every decoder of a wire shares: the SSE reader, the bracketing of parts, small value helpers.

Pure: bytes and dicts in, contract events out. No clock, no socket, no third party.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

Event = dict[str, Any]

# A line longer than this is not an event of any provider; it bounds what a broken server can make us hold.
MAX_LINE = 64 * 1024 * 1024


class WireError(Exception):
    """An error that the provider wrote into its answer, or an answer that is not one.

    ``kind`` is "stream" (the provider said so; ``body`` is its error object) or "protocol" (malformed or cut
    off).
    """

    def __init__(self, kind: str, message: str, body: Any = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.body = body


class Sse:
    """Incremental reader of server-sent events: bytes in any cutting, ``(event, data)`` pairs out."""

    __slots__ = ("_data", "_data_bytes", "_event", "_held", "_length", "_skip_lf")

    def __init__(self) -> None:
        self._held: list[
            bytes
        ] = []  # a line that has not ended: pieces, for joining them each time is quadratic
        self._length = 0
        self._data: list[str] = []
        self._data_bytes = 0
        self._event = ""
        self._skip_lf = False

    def feed(self, chunk: bytes) -> list[tuple[str, str]]:
        if self._skip_lf and chunk:
            # The last chunk ended in CR; a LF that now follows belongs to that line end.
            self._skip_lf = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        if b"\n" not in chunk and b"\r" not in chunk:
            self._hold(chunk)
            return []
        buffer = b"".join((*self._held, chunk)) if self._held else chunk
        if b"\r" in buffer:
            if buffer.endswith(b"\r"):
                self._skip_lf = True
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = buffer.split(b"\n")
        self._held, self._length = [], 0
        self._hold(lines.pop())
        out: list[tuple[str, str]] = []
        for line in lines:
            if not line:
                if self._data:
                    out.append(
                        (self._event, self._data[0] if len(self._data) == 1 else "\n".join(self._data))
                    )
                    self._data = []
                self._data_bytes = 0
                self._event = ""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value.decode("utf-8", "replace"))
                self._data_bytes += len(line)  # blank lines of data count too: each costs memory
                if self._data_bytes > MAX_LINE:
                    raise WireError("protocol", "the provider sent an event of more than 64 MiB")
            elif line.startswith(b"event:"):
                self._event = line[6:].strip().decode("utf-8", "replace")
            elif line.startswith(b"\xef\xbb\xbfdata:"):
                self._data.append(line[8:].strip().decode("utf-8", "replace"))
        return out

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._held.append(piece)
            self._length += len(piece)
            if self._length > MAX_LINE:
                raise WireError("protocol", "the provider sent an event line of more than 64 MiB")

    def close(self) -> list[tuple[str, str]]:
        """What a stream that ended without its last blank line still holds."""
        return self.feed(b"\n\n") if self._held or self._data else []

    @property
    def torn(self) -> bool:
        """Whether the stream stopped in the middle of an event."""
        return bool(self._held)


class Parts:
    """Writes contract events with every part bracketed and counted in the order of the message."""

    __slots__ = ("_next", "_open", "_open_kind", "calls", "events", "last_usage")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._next = 0
        self._open = -1
        self._open_kind = ""
        self.calls = 0
        self.last_usage: dict[str, Any] | None = None

    def take(self) -> list[Event]:
        events = self.events
        self.events = []
        return events

    def close(self, **ending: Any) -> None:
        """End the open text, reasoning or media part; ``ending`` goes into its end event."""
        if self._open_kind:
            event: Event = {"type": self._open_kind + "_end", "index": self._open}
            for key, value in ending.items():
                if value is not None and value != []:
                    event[key] = value
            self.events.append(event)
            self._open_kind = ""

    @property
    def open_kind(self) -> str:
        return self._open_kind

    def _begin(self, kind: str, **start: Any) -> None:
        self.close()
        self._open = self._next
        self._next += 1
        self._open_kind = kind
        event: Event = {"type": kind + "_start", "index": self._open}
        for key, value in start.items():
            if value is not None:
                event[key] = value
        self.events.append(event)

    def text(self, text: str) -> None:
        if self._open_kind != "text":
            self._begin("text")
        if text:
            self.events.append({"type": "text_delta", "index": self._open, "text": text})

    def begin_text(self) -> None:
        self._begin("text")

    def reasoning(self, text: str) -> None:
        if self._open_kind != "reasoning":
            self._begin("reasoning")
        if text:
            self.events.append({"type": "reasoning_delta", "index": self._open, "text": text})

    def begin_reasoning(self, part_id: str | None = None) -> None:
        self._begin("reasoning", id=part_id)

    def media(self, mime: str, base64: str, signature: str | None = None) -> None:
        self._begin("media", mime=mime)
        self.events.append({"type": "media_delta", "index": self._open, "base64": base64})
        self.close(signature=signature)

    def refusal(self, text: str) -> None:
        if text:
            self.events.append({"type": "refusal_delta", "text": text})

    def provider(self, provider: str, kind: str, data: Any) -> None:
        self.close()
        event = {
            "type": "provider_part",
            "index": self._next,
            "provider": provider,
            "kind": kind,
            "data": data,
        }
        self.events.append(event)
        self._next += 1

    def call_start(self, call_id: str, name: str, *, custom: bool = False) -> int:
        self.close()
        index = self._next
        self._next += 1
        self.calls += 1
        event: Event = {"type": "tool_call_start", "index": index, "id": call_id, "name": name}
        if custom:
            event["kind"] = "custom"
        self.events.append(event)
        return index

    def call_delta(self, index: int, arguments: str) -> None:
        if arguments:
            self.events.append({"type": "tool_call_delta", "index": index, "arguments": arguments})

    def call_end(self, index: int, signature: str | None = None, extra: Any = None) -> None:
        event: Event = {"type": "tool_call_end", "index": index}
        if signature:
            event["signature"] = signature
        if extra:
            event["extra"] = extra
        self.events.append(event)

    def usage(self, usage: dict[str, Any]) -> None:
        self.last_usage = usage
        self.events.append({"type": "usage", "usage": usage})


class Decoder:
    """One wire's decoder: ``chunk`` takes one streamed document, ``body`` a whole unstreamed one."""

    provider: str

    def __init__(self, provider: str, context: dict[str, Any] | None = None) -> None:
        self.provider = provider
        self.context = context or {}
        self.parts = Parts()
        self.finish: dict[str, Any] = {"type": "finish"}
        self.meta: dict[str, Any] = {}
        self.last_seen = False

    def chunk(self, event: str, doc: Any) -> None:
        raise NotImplementedError

    def body(self, doc: Any) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Close what is open; called once after the last document."""
        self.parts.close()

    def set_finish(self, raw: Any, table: dict[str, str]) -> None:
        if raw is None:
            return
        self.finish["finish_reason_raw"] = raw
        self.finish["finish_reason"] = table.get(str(raw), "other")

    def settle(self) -> None:
        """``tool_calls`` is the reason of a normal stop that asks for calls."""
        if self.parts.calls and self.finish.get("finish_reason") == "stop":
            self.finish["finish_reason"] = "tool_calls"


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


# NaN and infinities (servers write them into logprobs) are no JSON: nobody above us could read them.
_JSON = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)
_LARGEST = 2**53
"""Larger counts are no counts, and not every reader of JSON keeps them."""


def finite(value: Any) -> Any:
    """``value`` with null in place of NaN and infinities."""
    if is_object(value):
        return {key: finite(item) for key, item in value.items()}
    if is_list(value):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def loads(text: str | bytes) -> Any:
    """JSON of a provider, or a protocol error that says what kind of thing came instead."""
    try:
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        return _JSON.decode(text)
    except (ValueError, RecursionError) as problem:
        head = text[:1] if isinstance(text, str) else text[:1].decode("latin-1")
        what = "HTML" if head == "<" else "text that is not JSON"
        raise WireError("protocol", f"the provider answered with {what}") from problem


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def as_dict(value: Any) -> dict[str, Any]:
    return value if is_object(value) else {}


def as_list(value: Any) -> list[Any]:
    return value if is_list(value) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what is not an object, or no list, is left out."""
    return [one for one in value if is_object(one)] if is_list(value) else []


def as_str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_int(value: Any) -> int | None:
    """A count or a time of a provider: a whole number that is not negative; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LARGEST:
        return None
    return int(value)


def as_cost(value: Any) -> float | None:
    """A price of a provider; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LARGEST:
        return None
    return float(value)


def add(*values: Any) -> int | None:
    """The sum of those that are known; None if none is."""
    known = [number for number in map(as_int, values) if number is not None]
    return sum(known) if known else None


def without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def split_data_url(url: str) -> tuple[str, str] | None:
    """``(mime, base64)`` of a ``data:`` URL, None for any other."""
    if not url.startswith("data:") or ";base64," not in url[:256]:
        return None
    head, data = url.split(",", 1)
    return head[5:].split(";")[0] or "application/octet-stream", data


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
