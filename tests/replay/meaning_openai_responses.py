"""What makes two bodies of the OpenAI responses protocol equal in meaning: spellings and defaults of the wire.

Every rule has its reason; none takes away what the provider would read.
"""

from __future__ import annotations

from typing import Any

from .cases import Case

Json = dict[str, Any]


def normalise(body: Json, case: Case) -> Json:
    # Null is the same as absent everywhere at the top of a request.
    out = {key: value for key, value in body.items() if value is not None}
    items = out.pop("input", None) or []
    if isinstance(items, str):
        # A text alone is one message of the user.
        items = [{"role": "user", "content": items}]
    if out.get("instructions"):
        # The same as a system message before all others.
        items = [{"role": "system", "content": out["instructions"]}, *items]
    out.pop("instructions", None)
    out["input"] = [_item(item) for item in items]
    if not out.get("stream"):
        out.pop("stream", None)  # not streamed is the default
    return out


def _item(item: Json) -> Json:
    out = {key: value for key, value in item.items() if value is not None}
    if "role" in out and "content" in out:
        out.setdefault("type", "message")  # optional for messages
    return out
