"""Plausible values from a JSON schema and the user's words, for the demo server's tool calls. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from ._json import Json, array, obj

__all__ = ["Call", "call_for", "example_of", "text_of"]

MAX_DEPTH = 8  # a schema may refer to itself
PLACE_NAMES = ("city", "location", "place", "town", "country", "address", "destination")


@dataclass(frozen=True)
class Call:
    """One tool call: the tool's name and its arguments as JSON text."""

    name: str
    arguments: str


def text_of(content: object) -> str:
    """The text of a message's content: a string, or parts of which those with text count.

    >>> text_of([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}])
    'ab'
    """
    if isinstance(content, str):
        return content
    return "".join(str(obj(part).get("text", "")) for part in array(content))


def call_for(asked: Json) -> list[Call]:
    """The calls that a request gets: of the first tool that suits the last words, or of the forced one.

    >>> city = {"type": "object", "properties": {"city": {"type": "string"}}}
    >>> tools = [{"type": "function", "function": {"name": "get_weather", "parameters": city}}]
    >>> asked = {"messages": [{"role": "user", "content": "The weather in Paris and Rome?"}], "tools": tools}
    >>> [call.arguments for call in call_for(asked)]
    ['{"city": "Paris"}', '{"city": "Rome"}']
    """
    choice = asked.get("tool_choice")
    offered = [obj(tool) for tool in array(asked.get("tools"))]
    tools = [obj(tool.get("function")) for tool in offered if tool.get("type") == "function"]
    last: Json = asked["messages"][-1]
    if not tools or choice == "none" or last["role"] != "user":
        return []
    said = text_of(last.get("content"))
    suiting = [tool for tool in tools if _suits(tool, said)]
    if isinstance(choice, dict):
        forced = obj(obj(cast("object", choice)).get("function"))
        suiting = [tool for tool in tools if tool.get("name") == forced.get("name")]
    elif choice == "required":
        suiting = suiting or tools
    if not suiting:
        return []
    tool = suiting[0]
    schema = obj(tool.get("parameters"))
    places: list[str | None] = list(_places(said)) if _takes_a_place(schema) else []
    if asked.get("parallel_tool_calls") is False:
        places = places[:1]
    return [
        Call(tool["name"], json.dumps(example_of(schema, said, place), ensure_ascii=False))
        for place in places or [None]
    ]


def _suits(tool: Json, said: str) -> bool:
    """Whether a word of the tool's name stands in what the user said."""
    spoken = set(re.findall(r"[^\W_]{3,}", said.lower()))
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(tool["name"])).lower()
    return bool(spoken & (set(re.findall(r"[^\W_]{3,}", name)) - {"get", "the", "and", "for", "tool"}))


def _takes_a_place(schema: Json) -> bool:
    return any(_is_place(name) for name in obj(schema.get("properties")))


def _is_place(name: str) -> bool:
    return any(place in name.lower() for place in PLACE_NAMES)


def _places(said: str) -> list[str]:
    """The names that follow ``in``, ``at``, ``for``, ``to``, ``of`` or ``from``."""
    one = r"[A-ZÀ-Þ][\w'-]+(?: [A-ZÀ-Þ][\w'-]+)*"
    found = re.search(rf"\b(?:in|at|for|to|of|from) ({one}(?:(?:,| and|, and| or) {one})*)", said)
    return re.split(r", and |, | and | or ", found[1]) if found else []


def example_of(schema: Any, said: str, place: str | None = None, name: str = "", depth: int = 0) -> Any:  # noqa: ANN401  # any JSON goes in and comes out
    """A value that fits a JSON schema, taken from what the user said where that fits.

    >>> fields = {"city": {"type": "string"}, "days": {"type": "integer"}}
    >>> example_of({"type": "object", "properties": fields}, "the next 3 days in Oslo")
    {'city': 'Oslo', 'days': 3}
    """
    node = obj(schema)
    if depth > MAX_DEPTH:
        return {}
    if "const" in node:
        return node["const"]
    if options := array(node.get("enum")):
        return next((one for one in options if str(one).lower() in said.lower()), options[0])
    for key in ("default", "example"):
        if key in node:
            return node[key]
    for key in ("examples", "anyOf", "oneOf", "allOf"):
        if node.get(key):
            first = node[key][0]
            return first if key == "examples" else example_of(first, said, place, name, depth + 1)
    kind: Any = node.get("type") or ("object" if "properties" in node or depth == 0 else "string")
    if kinds := array(kind):
        kind = next((one for one in kinds if one != "null"), "null")
    if kind == "object":
        fields = obj(node.get("properties"))
        return {key: example_of(value, said, place, key, depth + 1) for key, value in fields.items()}
    if kind == "array":
        return [example_of(node.get("items") or {"type": "string"}, said, place, name, depth + 1)]
    return _scalar(str(kind), node, said, place, name)


def _scalar(kind: str, node: Json, said: str, place: str | None, name: str) -> Any:  # noqa: ANN401  # any JSON scalar
    if kind in ("integer", "number"):
        spoken = re.search(r"-?\d+(?:\.\d+)?", said)
        value = float(spoken[0]) if spoken else float(node.get("minimum", 1))
        value = min(max(value, node.get("minimum", value)), node.get("maximum", value))
        return int(value) if kind == "integer" else value
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if "timezone" in name.lower():
        named = re.search(r"\b[A-Z]\w+/[A-Z]\w+\b", said)
        return named[0] if named else "UTC"
    if _is_place(name):
        return place or next(iter(_places(said)), "Paris")
    return said
