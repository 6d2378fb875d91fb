"""Where the two engines answered the same bytes differently, in any field that both know.

A kind of difference that is explained stands in `docs/differences.md` under its name; any other is a bug.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omni_bridge.errors import OmniError

from . import reading

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"

Answer = tuple[dict[str, Any] | None, OmniError | None]

# Of how the call was made, not of the answer.
OURS = {"engine", "attempts", "request_id"}


def explained() -> set[str]:
    """The kinds of difference that the page explains: its headings of the form ``### `kind```."""
    return set(re.findall(r"^### `([\w.]+)`", PAGE.read_text("utf-8"), re.MULTILINE))


def differences(native: Answer, litellm: Answer) -> Iterator[tuple[str, str]]:
    """(kind, both values) for everything that differs."""
    (one, one_error), (other, other_error) = native, litellm
    if one_error is not None or other_error is not None:
        codes = [error and error.code for error in (one_error, other_error)]
        statuses = [error and error.status for error in (one_error, other_error)]
        if codes[0] != codes[1]:
            yield "error.code", f"native {one_error!r} litellm {other_error!r}"[:400]
        elif statuses[0] != statuses[1]:
            yield "error.status", f"native {statuses[0]} litellm {statuses[1]}"
        return
    assert one is not None
    assert other is not None
    for key in sorted({*one, *other} - OURS):
        yield from _differ(key, _plain(key, one.get(key)), _plain(key, other.get(key)))


def _plain(key: str, value: Any) -> Any:
    """Argument text counts as JSON: LiteLLM may write it anew (design section 2)."""
    if key == "tool_calls":
        return [_call(call) for call in value or ()]
    if key == "message":
        return {**value, "tool_calls": [_call(call) for call in value.get("tool_calls") or ()]}
    return value


def _call(call: dict[str, Any]) -> dict[str, Any]:
    body = call.get("function")
    if call["id"].startswith("omni_call_"):
        call = {**call, "id": "made up"}  # by us, at random: this provider gives its calls no ids
    if body is None:
        return call
    return {**call, "function": {**body, "arguments": reading.arguments(body["arguments"])}}


def _differ(path: str, one: Any, other: Any) -> Iterator[tuple[str, str]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from _differ(f"{path}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for mine, theirs in zip(one, other, strict=True):
            yield from _differ(path, mine, theirs)
    elif path.endswith("cost_usd") and one is not None and other is not None:
        if abs(one - other) > 1e-9 + 1e-6 * abs(other):
            yield path, f"native {one} litellm {other}"
    elif one != other:
        yield path, f"native {json.dumps(one)[:160]} litellm {json.dumps(other)[:160]}"
