"""What makes two bodies of chat completions equal in meaning: defaults, and two spellings of one thing."""

from __future__ import annotations

from typing import Any

from .cases import Case

Json = dict[str, Any]


def normalise(body: Json, case: Case) -> Json:
    """`body` with one way of writing for what has several."""
    out = {key: value for key, value in body.items() if value is not None}  # null is the default everywhere
    # The older name of the same bound; which of them is written is the dialect's business.
    if "max_completion_tokens" in out:
        out["max_tokens"] = out.pop("max_completion_tokens")
    if out.get("stream") is False:  # the default
        del out["stream"]
    if out.get("n") == 1:  # the default
        del out["n"]
    # We ask for the usage of every stream; some recorded clients did not, and Mistral gives it unasked.
    if out.get("stream_options") == {"include_usage": True}:
        del out["stream_options"]
    if out.get("tool_choice") == "any":  # Mistral's older word; it takes both
        out["tool_choice"] = "required"
    if not out.get("tools"):
        # Without tools there is nothing to choose from, and OpenAI refuses the fields.
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            out.pop(key, None)
    else:
        out["tools"] = [{"type": "function", **tool} for tool in out["tools"]]  # the default
    out["messages"] = [_message(message) for message in out["messages"]]
    if "REDACTED" in case.interaction.request_body:
        _number_calls(out["messages"])
    return out


def _message(message: Json) -> Json:
    out = {key: value for key, value in message.items() if value is not None}
    if out.get("prefix") is False:  # the default
        del out["prefix"]
    content = out.get("content")
    if isinstance(content, list):
        content = out["content"] = [_part(part) for part in content]
        plain = all(set(part) == {"type", "text"} and part["type"] == "text" for part in content)
        # One text is the same as a string; of several texts of an assistant the contract's own reading is the
        # joined one, and not every provider takes a list there.
        if plain and (len(content) <= 1 or out["role"] == "assistant"):
            out["content"] = "".join(part["text"] for part in content)
    if not out.get("tool_calls"):
        out.pop("tool_calls", None)
    elif not out.get("content"):  # null, "", [] and absent: the assistant said nothing beside its calls
        out.pop("content", None)
    return out


def _part(part: Json) -> Json:
    out = dict(part)
    if isinstance(out.get("image_url"), str):  # Mistral takes both
        out["image_url"] = {"url": out["image_url"]}
    return out


def _number_calls(messages: list[Json]) -> None:
    """Ids of calls by their order: the recorder put its own in their place, of a form that is refused."""
    numbers: dict[str, int] = {}
    for message in messages:
        if "tool_calls" in message:
            message["tool_calls"] = [
                {**call, "id": numbers.setdefault(call["id"], len(numbers))} for call in message["tool_calls"]
            ]
        if "tool_call_id" in message:
            given = message["tool_call_id"]
            message["tool_call_id"] = numbers.setdefault(given, len(numbers))
