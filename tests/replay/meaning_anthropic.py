"""When two bodies of the messages wire mean the same.

Every rule says why nothing is lost by it.
"""

from __future__ import annotations

from typing import Any

from .cases import Case

Json = dict[str, Any]


def normalise(body: Json, case: Case) -> Json:
    out = {key: value for key, value in body.items() if value is not None}
    # The wire's default is an answer in one piece.
    # Where the provider refused a request, the recording does not show whether the answer was to be
    # streamed, so the harness asks for one in one piece.
    if out.get("stream") is False or (case.interaction.status >= 400 and not case.interaction.streamed):
        out.pop("stream", None)
    # `rebuild.anthropic` gives a request without a bound 1024: recorded calls of `count_tokens` have none.
    out.setdefault("max_tokens", 1024)
    if "system" in out:
        out["system"] = _blocks(out["system"])
        if not out["system"]:
            out.pop("system")
    out["messages"] = _turns(out["messages"])
    for tool in out.get("tools") or []:
        # "custom" is what a tool without a type is.
        if tool.get("type") == "custom":
            tool.pop("type")
        # No description says as much as an empty one.
        if tool.get("description") == "":
            tool.pop("description")
        _without_none(tool)
        if "input_schema" in tool:
            tool["input_schema"] = _schema(tool["input_schema"])
    if out.get("tools") == []:
        out.pop("tools")
    # 1 and 1.0 are one number of JSON; Python's comparison knows that already.
    return out


def _schema(schema: Any) -> Any:
    """The arguments of a tool are an object whatever its schema says: the wire refuses a schema that does not
    say it, so the encoder says it. `true` is the schema that allows everything.
    """
    if schema is True:
        schema = {}
    return {"type": "object", "properties": {}, **schema} if isinstance(schema, dict) else schema


def _turns(messages: list[Json]) -> list[Json]:
    """Messages of one role that follow each other are one turn, as the provider's documentation says; it
    wants the results of tools at its start.
    """
    turns: list[Json] = []
    for message in messages:
        blocks = _blocks(message["content"])
        rest = {key: value for key, value in message.items() if key != "content" and value is not None}
        if not blocks:
            continue  # a message that says nothing
        if turns and set(rest) == {"role"} and {k: v for k, v in turns[-1].items() if k != "content"} == rest:
            turns[-1]["content"] += blocks
        else:
            turns.append({**rest, "content": blocks})
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable
    return turns


def _blocks(content: Any) -> list[Json]:
    """A text alone is one block of text. The provider refuses blank texts, so they say nothing."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    out = []
    for given in content:
        if given["type"] == "text" and not given["text"].strip():
            continue
        block = dict(given)
        _without_none(block)
        if block["type"] == "tool_result":
            block["content"] = _blocks(block.get("content") or "")
            # The default.
            if block.get("is_error") is False:
                block.pop("is_error")
        out.append(block)
    return out


def _without_none(holder: Json) -> None:
    """Null is the same as absent for every optional field of this wire."""
    for key in [key for key, value in holder.items() if value is None]:
        holder.pop(key)
