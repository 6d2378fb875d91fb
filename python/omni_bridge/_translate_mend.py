"""Mends the wire body that LiteLLM wrote, just before it leaves. Pure.

LiteLLM's encoders have no place for what the contract keeps (reasoning with signatures, provider parts in
place,
is_error, argument text, extra). So a message that needs it goes through LiteLLM as a marker, and the marker
is
replaced on the wire by what we write for it. Everything else stays as LiteLLM wrote it.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from ._translate_encode import (
    anthropic_assistant,
    arguments_object,
    call_text,
    chat_assistant,
    deep_merge,
    gemini_assistant,
    parts_in_order,
    responses_assistant,
    thinking_block,
    wrote,
)
from ._translate_gemini import OWN_ID
from ._translate_parts import as_dict, as_list, as_str, dumps, is_list, is_object, objects

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

FAMILIES = {
    "anthropic": ("anthropic",),
    "gemini": ("gemini", "vertex_ai", "google"),
    "openai_chat": ("openai",),
    "openai_responses": ("openai",),
}
"""Names under which a wire's own parts and extras stand in a message, beside the provider's own name."""

# Who takes a model's reasoning back, and in which field of an assistant message (OpenAI chat wire).
_CARRIED = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "stop",
)

REASONING_FIELD = {
    "groq": "reasoning",
    "cerebras": "reasoning",
    "openrouter": "reasoning",
    "ollama": "reasoning",
    "ollama_chat": "reasoning",
    "azure": "",
    "perplexity": "",
    "mistral": "content",
}


_MARKER = re.compile(r"(\[\[omni:\w+:)(\d+)\]\]", re.ASCII)


class Mender:
    """What one request needs on the wire that LiteLLM cannot write.

    ``nonce`` gives what no caller can guess, so that a text of theirs is never taken for a marker. It is
    asked when the first marker is set: few requests need one.
    """

    def __init__(self, request: Json, provider: str, nonce: Callable[[], str]) -> None:
        self.request = request
        self.provider = provider
        self.host = ""
        self._nonce = nonce
        self._marked: list[tuple[str, Any]] = []
        self.tools: list[tuple[int, Json]] = []
        self.tool_extras: dict[str, Json] = {}
        options = as_dict(request.get("provider_options"))
        self.options = as_dict(options.get(provider))
        self._tool_messages: dict[str, Json] = {}
        self.forced: Json = {}
        self._message_extras = False
        self.speaks_chat = False
        self._custom_calls: set[str] = set()
        self._sent_calls: set[str] = set()

    @functools.cached_property
    def prefix(self) -> str:
        """How this request's markers begin."""
        return f"[[omni:{self._nonce()}:"

    # -- before LiteLLM: what it gets to see --

    def mark(self, kind: str, value: Any) -> str:
        self._marked.append((kind, value))
        return f"{self.prefix}{len(self._marked) - 1}]]"

    @property
    def needed(self) -> bool:
        """Whether the wire body must be touched at all."""
        return bool(
            self._marked
            or self._message_extras
            or self.forced
            or self.tools
            or self.options
            or self.tool_extras
            or self._tool_messages
            or self._custom_calls
        )

    def messages(self, *, markers: bool) -> list[Json]:
        """The messages as LiteLLM shall see them; without ``markers`` (a signed body) as it can say them."""
        messages = objects(self.request["messages"])
        for message in messages:
            for call in as_list(message.get("tool_calls")):
                if is_object(call) and call.get("type") == "custom":
                    self._custom_calls.add(as_str(call.get("id")))
        special = markers and any(m.get("role") == "assistant" and _needs_mending(m) for m in messages)
        out: list[Json] = []
        for message in messages:
            role = message.get("role")
            if role == "assistant":
                out.append(self._assistant(message, special=special, markers=markers))
            elif role == "tool":
                out.append(self._tool(message, markers=markers))
            else:
                out.append(self._speaker(message, markers=markers))
        return out

    def _assistant(self, message: Json, *, special: bool, markers: bool) -> Json:
        plain = {k: v for k, v in message.items() if k not in ("extra", "content", "refusal", "tool_calls")}
        calls = [plain_call(call) for call in as_list(message.get("tool_calls")) if is_object(call)]
        if calls:
            plain["tool_calls"] = calls
        if special:
            plain["content"] = self.mark("assistant", message)
            return plain
        texts: list[Json] = []
        thinking: list[Json] = []
        foreign = wrote(message, "anthropic", self._own) is False
        for part in parts_in_order(message):
            kind = part.get("type")
            if kind == "text":
                texts.append(part)
            elif kind == "reasoning" and not foreign:
                block = thinking_block(part)
                if block is not None:
                    thinking.append(block)
        if is_list(message.get("content")) and any(part.get("cache_control") for part in texts):
            plain["content"] = [
                {k: v for k, v in p.items() if k not in ("signature", "annotations")} for p in texts
            ]
        else:
            plain["content"] = "".join(as_str(part.get("text")) for part in texts) or (
                message.get("refusal") or (None if calls else "")
            )
        if thinking and not markers:
            plain["thinking_blocks"] = thinking
        return plain

    def _tool(self, message: Json, *, markers: bool) -> Json:
        plain = {k: v for k, v in message.items() if k not in ("extra", "is_error", "content")}
        call_id = as_str(message.get("tool_call_id"))
        if message.get("is_error") is not None or message.get("extra"):
            self._tool_messages[call_id] = message
        content = message.get("content")
        plain["content"] = self._parts(content, markers=markers) if is_list(content) else (content or "")
        return plain

    def _speaker(self, message: Json, *, markers: bool) -> Json:
        plain = {k: v for k, v in message.items() if k not in ("extra", "content")}
        content = message.get("content")
        plain["content"] = self._parts(content, markers=markers) if is_list(content) else (content or "")
        self._message_extras = self._message_extras or bool(message.get("extra"))
        return plain

    def _parts(self, parts: list[Any], *, markers: bool) -> list[Json]:
        out: list[Json] = []
        for part in parts:
            if not is_object(part):
                continue
            kind = part.get("type")
            if kind == "provider":
                if markers:
                    out.append({"type": "text", "text": self.mark("part", part)})
            elif kind in ("text", "image_url", "input_audio", "file"):
                extra = part.get("extra")
                if extra and markers:
                    out.append({"type": "text", "text": self.mark("extra", part)})
                    continue
                out.append({k: v for k, v in part.items() if k not in ("annotations", "signature", "extra")})
            elif kind not in ("reasoning", "tool_call") and markers:
                out.append({"type": "text", "text": self.mark("unknown", part)})
        return out

    def function_tools(self) -> list[Json]:
        """The tools that LiteLLM shall encode; the others are put in on the wire, at their places."""
        functions: list[Json] = []
        for position, tool in enumerate(objects(self.request.get("tools"))):
            if tool.get("type", "function") != "function":
                self.tools.append((position, tool))
                continue
            extra = as_dict(tool.get("extra"))
            if extra:
                self.tool_extras[as_str(as_dict(tool.get("function")).get("name"))] = extra
            functions.append({k: v for k, v in tool.items() if k != "extra"} if extra else tool)
        return functions

    def insist(self, problem: str, kwargs: Json) -> bool:
        """Whether LiteLLM refused only parameters that a chat or responses wire could carry all the same.

        They are then written on the wire; ``problem`` is LiteLLM's message, which names them.
        """
        if (
            "does not support param" not in problem
            and "doesn't support" not in problem
            and "don't support" not in problem
        ):
            return False
        named = {
            key: kwargs[key]
            for key in _CARRIED
            if kwargs.get(key) is not None and re.search(rf"\b{key}\b", problem)
        }
        self.forced.update(named)
        return bool(named) and self.speaks_chat

    # -- on the wire --

    def mend(self, body: Json, wire: str | None, host: str = "") -> Json:
        """The body as it shall go out to ``host``."""
        self.host = host
        if wire in FAMILIES:
            getattr(self, "_mend_" + wire)(body)
            self._add_tools(body, wire)
            for key, value in self.forced.items():
                if key == "tool_choice":
                    body.setdefault(key, _tool_choice(value, wire))
                elif wire in ("openai_chat", "openai_responses"):
                    body.setdefault(key, value)
        text = self._plain_markers(body)
        if self.options:
            deep_merge(text, self.options)
        return text

    def _plain_markers(self, body: Json) -> Json:
        """Markers that no wire of ours took become the plain text of what they stand for."""
        if not self._marked:
            return body
        whole = json.dumps(body, ensure_ascii=False)
        if self.prefix not in whole:
            return body
        return json.loads(
            _MARKER.sub(
                lambda m: (
                    json.dumps(self._plain(int(m[2])), ensure_ascii=False)[1:-1]
                    if m[1] == self.prefix
                    else m[0]
                ),
                whole,
            )
        )

    def _plain(self, number: int) -> str:
        kind, value = self._marked[number]
        if kind == "assistant":
            return "".join(as_str(p.get("text")) for p in parts_in_order(value) if p.get("type") == "text")
        return as_str(value.get("text"))

    def _marker(self, text: Any) -> tuple[str, Any] | None:
        if not self._marked or not isinstance(text, str):
            return None
        found = _MARKER.fullmatch(text.strip())
        return self._marked[int(found[2])] if found and found[1] == self.prefix else None

    def _names(self, wire: str) -> tuple[str, ...]:
        return (self.provider, *FAMILIES[wire])

    def _extra(self, holder: Json, wire: str) -> Json:
        extra = as_dict(holder.get("extra"))
        for name in self._names(wire):
            if is_object(extra.get(name)):
                return extra[name]
        return {}

    def _own(self, part: Json, wire: str) -> bool:
        return part.get("provider") in self._names(wire)

    def _add_tools(self, body: Json, wire: str) -> None:
        if self.tool_extras:
            for tool in as_list(body.get("tools")):
                extra = self.tool_extras.get(
                    as_str(as_dict(tool.get("function")).get("name") or tool.get("name"))
                )
                if extra:
                    deep_merge(tool, self._extra({"extra": extra}, wire))
        for position, tool in self.tools:
            data: Any = None
            if tool.get("type") == "provider" and tool.get("provider") in self._names(wire):
                data = tool.get("data")
            elif tool.get("type") == "custom" and wire == "openai_chat":
                data = {k: v for k, v in tool.items() if k != "extra"}
            elif tool.get("type") == "custom" and wire == "openai_responses":
                data = {"type": "custom", **as_dict(tool.get("custom"))}
            if data is not None:
                tools = body.setdefault("tools", [])
                tools.insert(min(position, len(tools)), data)

    # Anthropic

    def _mend_anthropic(self, body: Json) -> None:
        for message in as_list(body.get("messages")):
            message["content"] = self._anthropic_content(message.get("content"))
        if is_list(body.get("system")):
            body["system"] = self._anthropic_content(body["system"])

    def _anthropic_content(self, content: Any) -> Any:
        if isinstance(content, str):
            if self.prefix not in content:
                return content
            content = [{"type": "text", "text": content}]
        blocks: list[Json] = []
        assistants: list[Json] = []
        for block in objects(content):
            marked = self._marker(block.get("text")) if block.get("type") == "text" else None
            if marked is None:
                if block.get("type") == "tool_result":
                    self._anthropic_result(block)
                blocks.append(block)
            elif marked[0] == "assistant":
                assistants.extend(anthropic_assistant(marked[1], self._own, self._extra))
            elif marked[0] == "part" and self._own(marked[1], "anthropic"):
                blocks.append(marked[1]["data"])
            elif marked[0] == "extra":
                plain = {k: v for k, v in marked[1].items() if k not in ("extra", "signature", "annotations")}
                blocks.append(deep_merge(plain, self._extra(marked[1], "anthropic")))
        # An assistant turn that was marked is ours as a whole: LiteLLM's blocks beside it are its calls once
        # more.
        return assistants or blocks

    def _anthropic_result(self, block: Json) -> None:
        if is_list(block.get("content")) or self.prefix in as_str(block.get("content")):
            block["content"] = self._anthropic_content(block["content"])
        message = self._tool_messages.get(as_str(block.get("tool_use_id")))
        if message is not None:
            if message.get("is_error") is not None:
                block["is_error"] = message["is_error"]
            deep_merge(block, self._extra(message, "anthropic"))

    # Gemini

    def _mend_gemini(self, body: Json) -> None:
        responses: list[Json] = []
        for content in as_list(body.get("contents")):
            content["parts"] = self._gemini_parts(as_list(content.get("parts")))
            for part in content["parts"]:
                response = part.get("functionResponse", part.get("function_response"))
                if is_object(response):
                    responses.append(response)
        for key in ("system_instruction", "systemInstruction"):
            if is_object(body.get(key)) and is_list(body[key].get("parts")):
                body[key]["parts"] = self._gemini_parts(body[key]["parts"])
        results = [m for m in self.request["messages"] if is_object(m) and m.get("role") == "tool"]
        if len(results) == len(responses):  # LiteLLM writes one response for each result, in their order
            for message, response in zip(results, responses, strict=False):
                self._gemini_result(message, response)

    def _gemini_parts(self, parts: list[Any]) -> list[Any]:
        out: list[Any] = []
        assistants: list[Any] = []
        for part in parts:
            marked = self._marker(part.get("text"))
            if marked is None:
                out.append(part)
            elif marked[0] == "assistant":
                assistants.extend(gemini_assistant(marked[1], self._own, self._extra))
                self._sent_calls.update(
                    as_str(as_dict(c).get("id")) for c in as_list(marked[1].get("tool_calls"))
                )
            elif marked[0] == "part" and self._own(marked[1], "gemini"):
                out.append(marked[1]["data"])
            elif marked[0] == "extra":
                out.append(
                    deep_merge({"text": as_str(marked[1].get("text"))}, self._extra(marked[1], "gemini"))
                )
        return assistants or out

    def _gemini_result(self, message: Json, response: Json) -> None:
        call_id = as_str(message.get("tool_call_id"))
        if call_id in self._sent_calls and not call_id.startswith(OWN_ID):
            response["id"] = call_id
        if message.get("is_error"):
            said = as_dict(response.get("response"))
            response["response"] = {"error": said.get("content", said)}
        deep_merge(response, self._extra(message, "gemini"))

    # OpenAI responses

    def _mend_openai_responses(self, body: Json) -> None:
        items = body.get("input")
        if not is_list(items):
            return
        out: list[Any] = []
        skip: set[str] = set()
        for item in objects(items):
            kind = item.get("type")
            if kind in ("function_call", "custom_tool_call") and item.get("call_id") in skip:
                continue
            if kind == "function_call_output":
                if item.get("call_id") in self._custom_calls:
                    item["type"] = "custom_tool_call_output"
                message = self._tool_messages.get(as_str(item.get("call_id")))
                if message is not None:
                    deep_merge(item, self._extra(message, "openai_responses"))
                if is_list(item.get("output")):
                    item["output"] = self._responses_content(item["output"])[0]
            elif is_list(item.get("content")):
                item["content"], assistants = self._responses_content(item["content"])
                if assistants:
                    for message in assistants:
                        out.extend(responses_assistant(message, self._own, self._extra))
                        skip.update(as_str(c.get("id")) for c in as_list(message.get("tool_calls")))
                    continue
            else:
                marked = self._marker(item.get("content"))
                if marked is not None and marked[0] == "assistant":
                    out.extend(responses_assistant(marked[1], self._own, self._extra))
                    skip.update(as_str(c.get("id")) for c in as_list(marked[1].get("tool_calls")))
                    continue
            out.append(item)
        body["input"] = out

    def _responses_content(self, content: list[Any]) -> tuple[list[Any], list[Json]]:
        out: list[Any] = []
        assistants: list[Json] = []
        for part in content:
            marked = self._marker(as_dict(part).get("text"))
            if marked is None:
                out.append(part)
            elif marked[0] == "assistant":
                assistants.append(marked[1])
            elif marked[0] == "part" and self._own(marked[1], "openai_responses"):
                out.append(marked[1]["data"])
            elif marked[0] == "extra":
                plain = {"type": "input_text", "text": as_str(marked[1].get("text"))}
                out.append(deep_merge(plain, self._extra(marked[1], "openai_responses")))
        return out, assistants

    # OpenAI chat

    def _mend_openai_chat(self, body: Json) -> None:
        messages = objects(body.get("messages"))
        asked = objects(self.request["messages"])
        if self._message_extras and len(asked) == len(messages):
            for message, given in zip(messages, asked, strict=True):
                if given.get("role") not in ("assistant", "tool"):
                    deep_merge(message, self._extra(given, "openai_chat"))
        for message in messages:
            content = message.get("content")
            marked = self._marker(content)
            if marked is None and is_list(content) and len(content) == 1:
                marked = self._marker(as_dict(content[0]).get("text"))
            if marked is not None and marked[0] == "assistant":
                self._chat_assistant(message, marked[1])
                continue
            if is_list(content):
                message["content"] = self._chat_content(content)
            if message.get("role") == "tool":
                given = self._tool_messages.get(as_str(message.get("tool_call_id")))
                if given is not None:
                    deep_merge(message, self._extra(given, "openai_chat"))

    def _chat_content(self, content: list[Any]) -> list[Any]:
        out: list[Any] = []
        for part in content:
            marked = self._marker(as_dict(part).get("text"))
            if marked is None:
                out.append(part)
            elif marked[0] == "part":
                if self._own(marked[1], "openai_chat"):
                    out.append(marked[1]["data"])
            elif marked[0] == "unknown":
                out.append(marked[1])
            else:
                plain = {k: v for k, v in marked[1].items() if k not in ("extra", "signature", "annotations")}
                out.append(deep_merge(plain, self._extra(marked[1], "openai_chat")))
        return out

    def _chat_assistant(self, message: Json, given: Json) -> None:
        field = REASONING_FIELD.get(self.provider, "reasoning_content")
        if self.provider == "openai" and self.host.endswith(".openai.com"):
            field = ""  # OpenAI itself knows no such field; servers that speak its protocol do
        chat_assistant(message, given, field, self._own, self._extra)


def _tool_choice(choice: Any, wire: str) -> Any:
    """A choice among tools that LiteLLM has not seen, in the words of the wire."""
    if wire == "anthropic" and isinstance(choice, str):
        return {"type": {"required": "any"}.get(choice, choice)}
    if wire == "openai_responses" and is_object(choice):
        return {"type": choice.get("type"), **as_dict(choice.get(as_str(choice.get("type"))))}
    return choice


def _needs_mending(message: Json) -> bool:
    """Whether LiteLLM's own encoders would lose something of an assistant message."""
    content = message.get("content")
    if is_list(content):
        for part in content:
            if not is_object(part) or part.get("type") != "text":
                return True
            if part.get("signature") or part.get("annotations") or part.get("extra"):
                return True
        if len(content) > 1:
            return True
    if message.get("extra") or message.get("refusal"):
        return True
    for call in as_list(message.get("tool_calls")):
        if not is_object(call):
            continue
        if call.get("signature") or call.get("extra") or call.get("type") == "custom":
            return True
        text = call_text(call)[1]
        if text and arguments_object(text) == {"_raw": text}:
            return True
    return False


def plain_call(call: Json) -> Json:
    """A tool call that every encoder of LiteLLM takes."""
    name, text = call_text(call)
    return {
        "id": call.get("id"),
        "type": "function",
        "function": {"name": name, "arguments": text if _is_object(text) else dumps(arguments_object(text))},
    }


def _is_object(text: str) -> bool:
    return text.lstrip()[:1] == "{" and "_raw" not in arguments_object(text)
