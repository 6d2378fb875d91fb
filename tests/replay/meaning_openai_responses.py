"""What makes two bodies of the OpenAI responses protocol equal in meaning: its spellings and defaults.

Every rule has its reason; none takes away what the provider would read.
"""

from __future__ import annotations

import json
from typing import Any

from .cases import Case

Json = dict[str, Any]

ENCRYPTED = ["reasoning.encrypted_content"]


def normalise(body: Json, case: Case) -> Json:
    recorded: Json = json.loads(case.interaction.request_body)
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
    # An answer of no text says nothing, and some servers refuse it.
    silent = {"type": "message", "role": "assistant", "content": []}
    out["input"] = _merged([item for item in map(_item, items) if item != silent])
    if not out.get("stream") or case.interaction.status != 200:
        # Not streamed is the default. Of an error, the harness cannot tell by the answer what was asked for.
        out.pop("stream", None)
    # To be answered later, by other calls, is nothing that a request of the contract asks for.
    out.pop("background", None)
    if not recorded.get("include") and out.get("include") == ENCRYPTED:
        # Our default: it adds the encrypted form to the answer and changes nothing of what the model reads.
        # The recorded client let the server keep the reasoning.
        del out["include"]
    return out


def _item(item: Json) -> Json:
    out = {key: value for key, value in item.items() if value is not None}
    kind = out.get("type", "message")
    if kind == "message":
        out["type"] = kind  # optional for messages
        out["content"] = _content(out)
        # The server's name for what is sent whole all the same.
        out.pop("id", None)
    if kind in ("message", "reasoning", "function_call", "function_call_output", "custom_tool_call"):
        # Says of an answer how far it has come; of what is sent, nothing.
        out.pop("status", None)
    return out


def _content(message: Json) -> Any:
    content = message.get("content")
    if isinstance(content, str):
        # A text alone is a list of one.
        kind = "output_text" if message.get("role") == "assistant" else "input_text"
        if not content and message.get("role") == "assistant":
            return []
        content = [{"type": kind, "text": content}]
    # No annotations are the same as an empty list of them.
    return [
        {key: value for key, value in part.items() if (key, value) != ("annotations", [])} for part in content
    ]


def _merged(items: list[Json]) -> list[Json]:
    """Messages of the assistant that follow one another as one: the same texts in the same order."""
    out: list[Json] = []
    for item in items:
        last = out[-1] if out else {}
        both = item.get("type") == last.get("type") == "message"
        if (
            both
            and item.get("role") == last.get("role") == "assistant"
            and item.get("phase") == last.get("phase")
        ):
            out[-1] = {**last, "content": last["content"] + item["content"]}
        else:
            out.append(item)
    return out
