"""Recorded requests as requests of the contract, and which model id asks for them again.

What the contract has a field for goes there; every other top-level field goes into `provider_options`, where
the
contract puts what only one provider understands.
"""

from __future__ import annotations

import json
import re
from typing import Any

Json = dict[str, Any]

PROVIDERS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "gemini",
    "vertex": "gemini",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "openrouter": "openrouter",
    "xai": "xai",
    "perplexity": "perplexity",
    "cerebras": "cerebras",
    "api_z_ai": "zai",
    "hf": "openai",
    "cohere": "cohere_chat",
    "ollama": "ollama_chat",
    "bedrock": "bedrock",
}
"""LiteLLM's provider for the files of the corpus; the others speak OpenAI's protocol elsewhere."""

SAME = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "response_format",
    "service_tier",
    "user",
    "reasoning_effort",
    "parallel_tool_calls",
    "tool_choice",
    "max_tokens",
)


def request_of(file: str, endpoint: str, url: str, text: str) -> Json:
    """The contract request of one recorded exchange; `ValueError` says why there can be none."""
    try:
        wire = json.loads(text)
    except ValueError as error:
        raise ValueError("the recorded request is not JSON") from error
    build = BUILDERS[endpoint]
    provider = PROVIDERS.get(file, "openai")
    if endpoint == "responses":
        provider = "openai/responses"
    elif endpoint == "messages":
        provider = "anthropic"
    elif endpoint in ("generateContent", "streamGenerateContent"):
        provider = "gemini"
    elif endpoint == "chat/completions" and provider in (
        "gemini",
        "anthropic",
        "cohere_chat",
        "ollama_chat",
        "xai",
    ):
        provider = "xai" if provider == "xai" else "openai"
    elif endpoint in ("v2/chat", "converse", "invoke"):
        provider = "cohere_chat" if endpoint == "v2/chat" else "bedrock"
    if provider == "bedrock":
        found = re.search(r"/model/([^/]+)/", url)
        provider = "bedrock/converse" if endpoint == "converse" else "bedrock/invoke"
        wire["model"] = found[1].replace("%3A", ":") if found else "anthropic.claude-3-haiku"
    request = build(wire, provider.split("/")[0])
    model = wire.get("model")
    if not model:
        found = re.search(r"models/([^:/]+):", url)
        model = found[1] if found else "some-model"
    request["model"] = f"{provider}/{model.removeprefix('models/')}"
    return request


def _take(wire: Json, request: Json, known: set[str], provider: str) -> Json:
    rest = {key: value for key, value in wire.items() if key not in known and value is not None}
    if rest:
        request["provider_options"] = {provider: rest}
    return request


def chat(wire: Json, provider: str) -> Json:
    request: Json = {"messages": wire["messages"]}
    for key in SAME:
        if wire.get(key) is not None:
            request[key] = wire[key]
    if request.get("tool_choice") == "any":
        request["tool_choice"] = "required"  # Mistral's word for it
    if wire.get("max_completion_tokens") is not None:
        request["max_tokens"] = wire["max_completion_tokens"]
    tools = []
    for tool in wire.get("tools") or []:
        known = tool.get("type", "function") in ("function", "custom")
        tools.append(
            {"type": "function", **tool}
            if known
            else {"type": "provider", "provider": provider, "data": tool}
        )
    if tools:
        request["tools"] = tools
    known = {*SAME, "model", "messages", "tools", "stream", "stream_options", "n", "max_completion_tokens"}
    return _take(wire, request, known, provider)


def anthropic(wire: Json, provider: str) -> Json:  # noqa: PLR0912 - one field after the other
    out: list[Json] = []
    system = wire.get("system")
    if system:
        out.append({"role": "system", "content": system})
    for message in wire["messages"]:
        content = message["content"]
        if isinstance(content, str):
            out.append({"role": message["role"], "content": content})
        elif message["role"] == "assistant":
            out.append(_anthropic_assistant(content))
        else:
            parts: list[Json] = []
            for block in content:
                if block["type"] == "tool_result":
                    out.append(_anthropic_result(block))
                else:
                    parts.append(_anthropic_part(block))
            if parts:
                out.append({"role": message["role"], "content": parts})
    request: Json = {"messages": out, "max_tokens": wire.get("max_tokens", 1024)}
    for ours, theirs in (
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
        ("stop", "stop_sequences"),
    ):
        if wire.get(theirs) is not None:
            request[ours] = wire[theirs]
    tools = []
    for tool in wire.get("tools") or []:
        if tool.get("type", "custom") == "custom" and "input_schema" in tool:
            function = {
                "name": tool["name"],
                "description": tool.get("description", ""),
                "parameters": tool["input_schema"],
            }
            rest = {
                k: v
                for k, v in tool.items()
                if k not in ("name", "description", "input_schema", "type", "cache_control")
            }
            ours: Json = {"type": "function", "function": function}
            if rest:
                ours["extra"] = {"anthropic": rest}
            if tool.get("cache_control"):
                ours["cache_control"] = tool["cache_control"]
            tools.append(ours)
        else:
            tools.append({"type": "provider", "provider": "anthropic", "data": tool})
    if tools:
        request["tools"] = tools
    known = {
        "model",
        "messages",
        "system",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "stream",
    }
    return _take(wire, request, known, "anthropic")


def _anthropic_part(block: Json) -> Json:
    if block["type"] == "text":
        return {key: value for key, value in block.items() if key in ("type", "text", "cache_control")}
    source = block.get("source") or {}
    if block["type"] == "image" and source.get("type") == "base64":
        part = {
            "type": "image_url",
            "image_url": {"url": f"data:{source['media_type']};base64,{source['data']}"},
        }
        return {**part, "cache_control": block["cache_control"]} if block.get("cache_control") else part
    return {"type": "provider", "provider": "anthropic", "kind": block["type"], "data": block}


def _anthropic_result(block: Json) -> Json:
    content = block.get("content", "")
    if isinstance(content, list):
        content = [_anthropic_part(one) for one in content]
    message: Json = {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
    if "is_error" in block:
        message["is_error"] = block["is_error"]
    if "cache_control" in block:
        message["cache_control"] = block["cache_control"]
    return message


def _anthropic_assistant(content: list[Json]) -> Json:
    parts: list[Json] = []
    calls: list[Json] = []
    for block in content:
        kind = block["type"]
        if kind == "text":
            part = {"type": "text", "text": block["text"]}
            if block.get("citations"):
                part["annotations"] = block["citations"]
            if block.get("cache_control"):
                part["cache_control"] = block["cache_control"]
            parts.append(part)
        elif kind == "thinking":
            parts.append(
                {"type": "reasoning", "text": block["thinking"], "signature": block.get("signature")}
            )
        elif kind == "redacted_thinking":
            parts.append({"type": "reasoning", "text": "", "encrypted": block["data"]})
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
            parts.append({"type": "tool_call", "id": block["id"]})
        else:
            parts.append({"type": "provider", "provider": "anthropic", "kind": kind, "data": block})
    return {"role": "assistant", "content": parts, **({"tool_calls": calls} if calls else {})}


def gemini(wire: Json, provider: str) -> Json:  # noqa: C901, PLR0912, PLR0915 - one field after the other
    out: list[Json] = []
    system = _gemini_content(wire.get("systemInstruction") or {})
    text = "".join(part.get("text", "") for part in system["parts"])
    if text:
        out.append({"role": "system", "content": text})
    waiting: dict[str, str] = {}
    number = 0
    contents = wire["contents"]
    for content in map(_gemini_content, contents if isinstance(contents, list) else [contents]):
        parts: list[Json] = []
        calls: list[Json] = []
        for part in content["parts"]:
            signature = {"signature": part["thoughtSignature"]} if part.get("thoughtSignature") else {}
            if "functionCall" in part:
                call = part["functionCall"]
                number += 1
                call_id = call.get("id") or f"omni_call_{number}"
                waiting[call_id] = call["name"]
                function = {"name": call["name"], "arguments": json.dumps(call.get("args") or {})}
                calls.append({"id": call_id, "type": "function", "function": function, **signature})
                parts.append({"type": "tool_call", "id": call_id})
            elif "functionResponse" in part:
                response = part["functionResponse"]
                given = response.get("id")
                named = [one for one, name in waiting.items() if name == response.get("name")]
                likely = [given] if given in waiting else [*named, *waiting, given or "omni_call_0"]
                call_id = likely[0]
                waiting.pop(call_id, None)
                said = response.get("response")
                text = said if isinstance(said, str) else json.dumps(said)
                media = [_gemini_media(_gemini_part(one)) for one in response.get("parts") or []]
                result = [{"type": "text", "text": text}, *media] if media else text
                out.append(
                    {
                        "role": "tool",
                        "tool_call_id": call_id,
                        "content": result,
                        "name": response.get("name"),
                    }
                )
            elif "text" in part and part.get("thought") and not signature:
                parts.append({"type": "reasoning", "text": part["text"], **signature})
            elif "text" in part and not part.get("thought"):
                parts.append({"type": "text", "text": part["text"], **signature})
            elif "inlineData" in part and not part.get("videoMetadata"):
                data = part["inlineData"]
                url = f"data:{data.get('mimeType', 'image/png')};base64,{data['data']}"
                if data.get("mimeType", "").startswith("image/"):
                    parts.append({"type": "image_url", "image_url": {"url": url}})
                else:
                    parts.append(
                        {"type": "provider", "provider": "gemini", "kind": "inlineData", "data": part}
                    )
            else:  # also a thought that is signed: Gemini signs what follows a thought, one client moved it
                parts.append(
                    {"type": "provider", "provider": "gemini", "kind": next(iter(part), ""), "data": part}
                )
        if parts or calls:
            role = "assistant" if content.get("role") == "model" else "user"
            out.append({"role": role, "content": parts, **({"tool_calls": calls} if calls else {})})
    if not any(message["role"] != "system" for message in out):
        raise ValueError("the recorded request has no contents")
    request: Json = {"messages": out}
    tools = []
    given_tools = wire.get("tools") or []
    for tool in given_tools if isinstance(given_tools, list) else [given_tools]:
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        for one in declared or []:
            schema = (
                one.get("parameters")
                or one.get("parametersJsonSchema")
                or one.get("parameters_json_schema")
                or {"type": "object", "properties": {}}
            )
            function = {"name": one["name"], "description": one.get("description", ""), "parameters": schema}
            tools.append({"type": "function", "function": function})
        declarations = ("functionDeclarations", "function_declarations")
        rest = {key: value for key, value in tool.items() if key not in declarations}
        if rest:
            tools.append({"type": "provider", "provider": "gemini", "data": rest})
    if tools:
        request["tools"] = tools
    options = {
        k: v
        for k, v in wire.items()
        if k not in ("contents", "systemInstruction", "tools", "model") and v is not None
    }
    if options:
        request["provider_options"] = {"gemini": options}
    return request


def _gemini_content(content: str | Json) -> Json:
    """A content in its long form: the wire also takes a text for it, its parts or one of them."""
    if isinstance(content, str):
        content = {"parts": content}
    parts = content.get("parts") or []
    if not isinstance(parts, list):
        parts = [parts]
    return {
        **content,
        "parts": [{"text": part} if isinstance(part, str) else _gemini_part(part) for part in parts],
    }


_GEMINI_SPELT_TWICE = {
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "thought_signature": "thoughtSignature",
    "inline_data": "inlineData",
    "file_data": "fileData",
    "mime_type": "mimeType",
    "file_uri": "fileUri",
}


def _gemini_part(part: Json) -> Json:
    """A part with its fields in one spelling: the wire takes `snake_case` as well."""
    out = {_GEMINI_SPELT_TWICE.get(key, key): value for key, value in part.items() if value is not None}
    for key in ("inlineData", "fileData"):
        if key in out:
            out[key] = {_GEMINI_SPELT_TWICE.get(name, name): value for name, value in out[key].items()}
    return out


def _gemini_media(part: Json) -> Json:
    """Media in a tool's result as a part of the contract."""
    if "fileData" in part:  # LiteLLM would fetch it
        return {"type": "provider", "provider": "gemini", "kind": "fileData", "data": part}
    data = part["inlineData"]
    url = f"data:{data['mimeType']};base64,{data['data']}"
    if data["mimeType"].startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url}}


def responses(wire: Json, provider: str) -> Json:
    out: list[Json] = []
    if wire.get("instructions"):
        out.append({"role": "system", "content": wire["instructions"]})
    given = wire.get("input")
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given or []:
        _responses_item(item, out)
    if not any(message["role"] != "system" for message in out):
        out.append({"role": "user", "content": ""})
    request: Json = {"messages": out}
    for ours, theirs in (
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("max_tokens", "max_output_tokens"),
    ):
        if wire.get(theirs) is not None:
            request[ours] = wire[theirs]
    tools = []
    for tool in wire.get("tools") or []:
        if tool.get("type") == "function":
            function = {
                k: v
                for k, v in tool.items()
                if k in ("name", "description", "parameters", "strict") and v is not None
            }
            tools.append({"type": "function", "function": function})
            _keep(tools[-1], tool, {"type", *function})
        elif tool.get("type") == "custom":
            tools.append({"type": "custom", "custom": {k: v for k, v in tool.items() if k != "type"}})
        else:
            tools.append({"type": "provider", "provider": "openai", "data": tool})
    if tools:
        request["tools"] = tools
    known = {
        "model",
        "input",
        "instructions",
        "temperature",
        "top_p",
        "max_output_tokens",
        "tools",
        "stream",
        "background",
    }
    return _take(wire, request, known, "openai")


def _responses_item(item: Json, out: list[Json]) -> None:
    kind = item.get("type", "message")
    if kind == "message" and item.get("role") != "assistant":
        content = item["content"]
        if isinstance(content, list):
            content = [_responses_part(part) for part in content]
        out.append({"role": item["role"], "content": content})
        return
    if kind in ("function_call_output", "custom_tool_call_output"):
        output = item["output"]
        output = [_responses_part(part) for part in output] if isinstance(output, list) else output
        out.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})
        return
    if not out or out[-1]["role"] != "assistant":
        out.append({"role": "assistant", "content": []})
    parts = out[-1]["content"]
    if kind == "message":
        content = item["content"]
        if item.get("phase"):
            out[-1]["extra"] = {"openai": {"phase": item["phase"]}}
        for part in [{"type": "output_text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "refusal":
                out[-1]["refusal"] = part["refusal"]
            else:
                parts.append(
                    {"type": "text", "text": part["text"], "annotations": part.get("annotations") or []}
                )
    elif kind == "reasoning" and not item.get("content"):
        summaries = [part["text"] for part in item.get("summary") or []] or [""]
        for number, text in enumerate(summaries):
            part = {"type": "reasoning", "text": text, "id": item.get("id")}
            if number == len(summaries) - 1 and item.get("encrypted_content"):
                part["encrypted"] = item["encrypted_content"]
            parts.append(part)
    elif kind in ("function_call", "custom_tool_call"):
        name, text = item["name"], item.get("arguments", item.get("input", ""))
        custom = kind == "custom_tool_call"
        call: Json = {"id": item["call_id"], "type": "custom" if custom else "function"}
        call["custom" if custom else "function"] = {"name": name, "input" if custom else "arguments": text}
        extra = {key: item[key] for key in ("id", "namespace") if item.get(key)}
        if extra:
            call["extra"] = {"openai": extra}
        out[-1].setdefault("tool_calls", []).append(call)
        parts.append({"type": "tool_call", "id": item["call_id"]})
    else:
        parts.append({"type": "provider", "provider": "openai", "kind": kind, "data": item})


def _keep(ours: Json, wire: Json, known: set[str]) -> None:
    """What only this provider has a word for stands in `extra`."""
    rest = {key: value for key, value in wire.items() if key not in known and value is not None}
    if rest:
        ours["extra"] = {"openai": rest}


def _responses_part(part: Json) -> Json:
    if part["type"] in ("input_text", "output_text"):
        text: Json = {"type": "text", "text": part["text"]}
        _keep(text, part, {"type", "text", "annotations", "logprobs"})
        return text
    if part["type"] == "input_image" and part.get("image_url"):
        image = {"url": part["image_url"], "detail": part.get("detail")}
        return {"type": "image_url", "image_url": {k: v for k, v in image.items() if v is not None}}
    return {"type": "provider", "provider": "openai", "kind": part["type"], "data": part}


def cohere(wire: Json, provider: str) -> Json:
    request: Json = {"messages": wire["messages"]}
    for ours, theirs in (
        ("temperature", "temperature"),
        ("max_tokens", "max_tokens"),
        ("stop", "stop_sequences"),
    ):
        if wire.get(theirs) is not None:
            request[ours] = wire[theirs]
    if wire.get("tools"):
        request["tools"] = wire["tools"]
    known = {
        "model",
        "messages",
        "temperature",
        "max_tokens",
        "stop_sequences",
        "tools",
        "stream",
        "tool_choice",
    }
    return _take(wire, request, known, provider)


def ollama(wire: Json, provider: str) -> Json:
    out = []
    for given in wire["messages"]:
        if given["role"] == "tool":
            out.append({"role": "tool", "tool_call_id": "call_0", "content": given["content"]})
            continue
        message = {key: value for key, value in given.items() if key in ("role", "content", "tool_calls")}
        for number, call in enumerate(message.get("tool_calls") or []):
            call["id"], call["type"] = call.get("id") or f"call_{number}", "function"
            arguments = call["function"].get("arguments")
            if not isinstance(arguments, str):
                call["function"] = {**call["function"], "arguments": json.dumps(arguments or {})}
        out.append(message)
    request: Json = {"messages": out}
    if wire.get("tools"):
        request["tools"] = wire["tools"]
    known = {"model", "messages", "tools", "stream"}
    return _take(wire, request, known, provider)


def converse(wire: Json, provider: str) -> Json:
    out: list[Json] = []
    system = "".join(block.get("text", "") for block in wire.get("system") or [])
    if system:
        out.append({"role": "system", "content": system})
    for message in wire["messages"]:
        text, calls = "", []
        for block in message["content"]:
            text += block.get("text", "")
            if "toolUse" in block:
                use = block["toolUse"]
                function = {"name": use["name"], "arguments": json.dumps(use.get("input") or {})}
                calls.append({"id": use["toolUseId"], "type": "function", "function": function})
            if "toolResult" in block:
                result = block["toolResult"]
                said = "".join(
                    one.get("text") or json.dumps(one.get("json", "")) for one in result["content"]
                )
                out.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": said})
        if text or calls:
            out.append({"role": message["role"], "content": text, **({"tool_calls": calls} if calls else {})})
    request: Json = {"messages": out}
    tools = []
    for tool in (wire.get("toolConfig") or {}).get("tools") or []:
        spec = tool.get("toolSpec")
        if spec:
            schema = (spec.get("inputSchema") or {}).get("json") or {"type": "object", "properties": {}}
            function = {
                "name": spec["name"],
                "description": spec.get("description", ""),
                "parameters": schema,
            }
            tools.append({"type": "function", "function": function})
    if tools:
        request["tools"] = tools
    return request


BUILDERS = {
    "chat/completions": chat,
    "messages": anthropic,
    "invoke": anthropic,
    "generateContent": gemini,
    "streamGenerateContent": gemini,
    "responses": responses,
    "v2/chat": cohere,
    "api/chat": ollama,
    "converse": converse,
}
