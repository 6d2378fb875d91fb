"""What makes two bodies of `generateContent` equal in meaning.

Each rule stands with its reason. Nothing that the API would read in two ways is made equal.
"""

from __future__ import annotations

import re
from typing import Any

from .cases import Case

Json = dict[str, Any]

OWN_KEYS = frozenset(
    {
        "args",
        "response",
        "parameters",
        "schema",
        "responseSchema",
        "responseJsonSchema",
        "labels",
        "properties",
    }
)
"""Below these the keys are the user's or a schema's, and stay as they are spelt."""


def normalise(body: Json, case: Case) -> Json:
    body = _camel(body)
    body.pop("model", None)  # the path names it; Google's clients write it once more
    out = {key: value for key, value in body.items() if not _says_nothing(value)}
    out["contents"] = [_content(one) for one in _list(body.get("contents"))]
    system = body.get("systemInstruction")
    if system:
        # Instructions have no role that is read, and they are one text however it is cut into parts.
        parts = _content(system)["parts"]
        out["systemInstruction"] = "".join(part.get("text", "") for part in parts)
        out = {key: value for key, value in out.items() if value != ""}
    if body.get("tools"):
        out["tools"] = _tools(_list(body["tools"]))
    out = {key: value for key, value in out.items() if not _says_nothing(value)}
    _forget_answered_ids(out["contents"])
    return out


def _list(value: Any) -> list[Any]:
    """A repeated field may come as its only element (protobuf's JSON mapping, as Google's parser has it)."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _says_nothing(value: Any) -> bool:
    """Null, an empty list and an empty object are the same as an absent field (protobuf's JSON mapping)."""
    return value is None or value in ([], {})


def _camel(value: Any) -> Any:
    """`snake_case` and `camelCase` name the same field (protobuf's JSON mapping)."""
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        name = re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda found: found[1].upper(), key)
        if name == "parametersJsonSchema":
            out[name] = item
        else:
            out[name] = item if name in OWN_KEYS else _camel(item)
    return out


def _content(content: Any) -> Json:
    """A content in its long form: the wire also takes a text for it, its parts or one of them."""
    if isinstance(content, str):
        content = {"parts": content}
    parts = [{"text": part} if isinstance(part, str) else part for part in _list(content.get("parts"))]
    return {"role": content.get("role") or "user", "parts": [_part(part) for part in parts]}


def _part(part: Json) -> Json:
    # `thought` is false unless it is true.
    out = {
        key: value for key, value in part.items() if value is not None and (key, value) != ("thought", False)
    }
    if out.get("functionCall"):
        call = {key: value for key, value in out["functionCall"].items() if value is not None}
        out["functionCall"] = {**call, "args": call.get("args") or {}}  # no arguments are an empty object
    return out


def _forget_answered_ids(contents: list[Json]) -> None:
    """A result belongs to the first call of its name that waits; an id that says the same says nothing more.

    So a recorded result without an id is equal to ours with the id of that call.
    """
    waiting: list[Json] = []
    for content in contents:
        for part in content["parts"]:
            if part.get("functionCall"):
                waiting.append(part["functionCall"])
            elif part.get("functionResponse"):
                result = part["functionResponse"]
                found = next((call for call in waiting if call.get("name") == result.get("name")), None)
                if found is None:
                    continue
                if result.get("id") in (None, found.get("id")):
                    result.pop("id", None)
                    waiting.remove(found)


def _tools(tools: list[Json]) -> list[Any]:
    """How tools are spread over objects says nothing: the functions in order, then what else there is."""
    functions: list[Json] = []
    others: Json = {}
    for tool in tools:
        for key, value in tool.items():
            if key == "functionDeclarations":
                functions += [_function(one) for one in _list(value)]
            elif value is not None:
                others[key] = value
    return [*functions, *([others] if others else [])]


def _function(function: Json) -> Json:
    """The two fields for a schema are one choice, and a function without one takes no arguments."""
    out = {key: value for key, value in function.items() if not _says_nothing(value) and value != ""}
    schema = out.pop("parameters", None) or out.pop("parametersJsonSchema", None)
    out["schema"] = schema or {"type": "object", "properties": {}}
    return out
