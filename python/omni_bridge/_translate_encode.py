"""Assistant messages of the contract as each wire writes them; what a provider gave goes back as it came.

Pure. Used by `_translate_mend` in place of LiteLLM's own encoders where those would lose something.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ._translate_gemini import OWN_ID
from ._translate_parts import as_dict, as_list, as_str, is_object, split_data_url

Json = dict[str, Any]


def deep_merge(into: Json, more: Json) -> Json:
    """``more`` laid over ``into``: objects are merged key by key, everything else replaces."""
    for key, value in more.items():
        if is_object(value) and is_object(into.get(key)):
            deep_merge(into[key], value)
        else:
            into[key] = value
    return into


def arguments_object(text: str) -> Json:
    """The arguments as the object that some providers want; other text becomes ``{"_raw": text}``."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"_raw": text}
    return value if is_object(value) else {"_raw": text}


def call_text(call: Json) -> tuple[str, str]:
    """``(name, arguments or input)`` of a tool call."""
    body = as_dict(call.get("function")) or as_dict(call.get("custom"))
    return as_str(body.get("name")), as_str(body.get("arguments", body.get("input")))


def parts_in_order(message: Json) -> Iterator[Json]:
    """The parts of an assistant message with its calls where they stood; calls without a mark come last."""
    content = message.get("content")
    calls = {call.get("id"): call for call in as_list(message.get("tool_calls")) if is_object(call)}
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}
    else:
        for part in as_list(content):
            if is_object(part) and part.get("type") == "tool_call":
                call = calls.pop(part.get("id"), None)
                if call is not None:
                    yield {"type": "tool_call", "call": call}
            elif is_object(part):
                yield part
    for call in calls.values():
        yield {"type": "tool_call", "call": call}


Own = Callable[[Json, str], bool]
Extra = Callable[[Json, str], Json]


def wrote(message: Json, wire: str, own: Own) -> bool | None:
    """Whether a message's reasoning is this provider's own, so far as a decoder said; None without a mark.

    What nobody marked is Anthropic's if it is signed.
    """
    marks = as_dict(message.get("extra"))
    return any(own({"provider": name}, wire) for name in marks) if marks else None


_CITATIONS = (
    "char_location",
    "page_location",
    "content_block_location",
    "web_search_result_location",
    "search_result_location",
)


def thinking_block(part: Json) -> Json | None:
    """Reasoning as Anthropic's block; None for what is not: Anthropic's has no id and always a proof."""
    if part.get("id"):
        return None
    if part.get("signature"):
        return {
            "type": "thinking",
            "thinking": as_str(part.get("text")),
            "signature": part["signature"],
        }
    return {"type": "redacted_thinking", "data": part["encrypted"]} if part.get("encrypted") else None


def anthropic_assistant(message: Json, own: Own, extra: Extra) -> list[Json]:
    """An assistant message as Anthropic blocks: what came from Anthropic goes back as it came."""
    blocks: list[Json] = []
    foreign = wrote(message, "anthropic", own) is False
    for found in parts_in_order(message):
        kind = found.get("type")
        part: Json = found["call"] if kind == "tool_call" and "call" in found else found
        block: Json | None = None
        if kind == "text":
            if part.get("text"):
                block = {"type": "text", "text": part["text"]}
                citations = [
                    c for c in as_list(part.get("annotations")) if as_dict(c).get("type") in _CITATIONS
                ]
                if citations:
                    block["citations"] = citations
        elif kind == "reasoning":
            block = None if foreign else thinking_block(part)
        elif kind == "provider":
            if own(part, "anthropic"):
                blocks.append(part["data"])
                continue
        elif kind == "tool_call":
            name, text = call_text(part)
            block = {"type": "tool_use", "id": part.get("id"), "name": name, "input": arguments_object(text)}
        if block is not None:
            if part.get("cache_control"):
                block["cache_control"] = part["cache_control"]
            blocks.append(deep_merge(block, extra(part, "anthropic")))
    if not blocks and message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    if message.get("cache_control") and blocks and "cache_control" not in blocks[-1]:
        blocks[-1]["cache_control"] = message["cache_control"]
    return blocks


def gemini_assistant(message: Json, own: Own, extra: Extra) -> list[Json]:
    """An assistant message as Gemini parts, signatures where they stood."""
    parts: list[Json] = []
    mine = wrote(message, "gemini", own) is True
    for found in parts_in_order(message):
        kind = found.get("type")
        part: Json = found["call"] if kind == "tool_call" and "call" in found else found
        wire: Json | None = None
        if kind == "text":
            if part.get("text") or part.get("signature"):
                wire = {"text": as_str(part.get("text"))}
        elif kind == "reasoning":
            # Reasoning of another provider has no meaning here; Gemini's own has no id and no encrypted
            # content, and no signature that is not marked as its own.
            signed = bool(part.get("signature"))
            if not part.get("id") and not part.get("encrypted") and (mine or not signed):
                wire = {"text": as_str(part.get("text")), "thought": True}
        elif kind == "provider":
            if own(part, "gemini"):
                wire = dict(part["data"])
        elif kind == "image_url":
            media = split_data_url(as_str(as_dict(part.get("image_url")).get("url")))
            wire = {"inlineData": {"mimeType": media[0], "data": media[1]}} if media else None
        elif kind == "input_audio":
            audio = as_dict(part.get("input_audio"))
            wire = {
                "inlineData": {"mimeType": "audio/" + as_str(audio.get("format")), "data": audio.get("data")}
            }
        elif kind == "tool_call":
            name, text = call_text(part)
            call: Json = {"name": name, "args": arguments_object(text)}
            if part.get("id") and not as_str(part["id"]).startswith(OWN_ID):
                call["id"] = part["id"]
            wire = {"functionCall": call}
        if wire is not None:
            if part.get("signature"):
                wire["thoughtSignature"] = part["signature"]
            parts.append(deep_merge(wire, extra(part, "gemini")))
    if not parts:
        parts.append({"text": as_str(message.get("refusal"))})
    return parts


def responses_assistant(message: Json, own: Own, extra: Extra) -> list[Json]:
    """An assistant message as responses items; reasoning parts of one id are one item again."""
    items: list[Json] = []
    for part in parts_in_order(message):
        kind = part.get("type")
        if kind == "text":
            if part.get("text"):
                content = {
                    "type": "output_text",
                    "text": part["text"],
                    "annotations": as_list(part.get("annotations")),
                }
                if items and items[-1].get("type") == "message":
                    items[-1]["content"].append(content)
                else:
                    item = {"type": "message", "role": "assistant", "content": [content]}
                    items.append(deep_merge(item, extra(message, "openai_responses")))
        elif kind == "reasoning":
            if not part.get("id"):
                continue
            last: Json = items[-1] if items else {}
            if last.get("type") != "reasoning" or last.get("id") != part["id"]:
                last = {"type": "reasoning", "id": part["id"], "summary": []}
                items.append(last)
            if part.get("text"):
                last["summary"].append({"type": "summary_text", "text": part["text"]})
            if part.get("encrypted"):
                last["encrypted_content"] = part["encrypted"]
        elif kind == "provider":
            if own(part, "openai_responses"):
                items.append(part["data"])
        elif kind == "tool_call":
            call = part["call"]
            name, text = call_text(call)
            custom = call.get("type") == "custom"
            item = {
                "type": "custom_tool_call" if custom else "function_call",
                "call_id": call.get("id"),
                "name": name,
                "input" if custom else "arguments": text,
            }
            items.append(deep_merge(item, extra(call, "openai_responses")))
    if message.get("refusal"):
        refusal = {"type": "refusal", "refusal": message["refusal"]}
        items.append({"type": "message", "role": "assistant", "content": [refusal]})
    return items


def chat_assistant(wire: Json, message: Json, field: str, own: Own, extra: Extra) -> None:
    """Write an assistant message into LiteLLM's wire message of the OpenAI chat protocol.

    ``field`` is where this provider takes reasoning back: a field of the message, "content", or "" for
    nowhere.
    """
    content: list[Json] = []
    reasoning: list[str] = []
    for part in parts_in_order(message):
        kind = part.get("type")
        if kind == "text":
            plain = {k: v for k, v in part.items() if k not in ("annotations", "signature", "extra")}
            content.append(deep_merge(plain, extra(part, "openai_chat")))
        elif kind == "reasoning":
            text = as_str(part.get("text"))
            reasoning.append(text)
            mine = part.get("signature") and wrote(message, "openai_chat", own)
            if field == "content" and (text or mine):
                thinking: Json = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
                if mine:
                    thinking["signature"] = part["signature"]
                content.append(thinking)
        elif kind == "provider":
            if own(part, "openai_chat"):
                content.append(part["data"])
        elif kind != "tool_call":
            content.append({k: v for k, v in part.items() if k not in ("signature", "extra")})
    if all(set(part) == {"type", "text"} and part["type"] == "text" for part in content):
        joined = "".join(part["text"] for part in content)
        wire["content"] = joined or (None if message.get("tool_calls") or message.get("refusal") else "")
    else:
        wire["content"] = content
    if field and field != "content" and any(reasoning) and not message.get("reasoning_details"):
        wire[field] = "".join(reasoning)
    if message.get("refusal"):
        wire["refusal"] = message["refusal"]
    calls = [call for call in as_list(message.get("tool_calls")) if is_object(call)]
    if calls:
        wire["tool_calls"] = [
            deep_merge(
                {k: v for k, v in call.items() if k not in ("signature", "extra")}, extra(call, "openai_chat")
            )
            for call in calls
        ]
    deep_merge(wire, extra(message, "openai_chat"))
