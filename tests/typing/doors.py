"""What type checkers see of the public doors: checked by pyright in strict mode, never run."""

from __future__ import annotations

from typing import Any, Literal

import omni_bridge
from omni_bridge import types
from typing_extensions import assert_type


def blocking() -> None:
    messages: list[dict[str, Any] | omni_bridge.Message | types.Message] = [{"role": "user", "content": "hi"}]
    reply = omni_bridge.chat(messages, "openai/gpt-5", temperature=0.5, timeout={"total": 3})
    assert_type(reply, omni_bridge.ChatReply)
    assert_type(reply.content, str)
    assert_type(reply.usage.input_tokens, int | None)
    for call in reply.tool_calls:
        assert_type(call, omni_bridge.ToolCall)
        if call.function:
            assert_type(call.function.arguments, str)
    messages.append(reply.message)
    omni_bridge.chat(
        [types.Message(role="user", content="hi")], "openai/gpt-5", [types.FunctionTool(function={})]
    )
    omni_bridge.chat([{"role": "user", "content": "hi"}], "openai/gpt-5", tools=[{"type": "function"}])
    omni_bridge.chat(messages, "openai/gpt-5", temprature=1)  # pyright: ignore[reportCallIssue] - no such field
    omni_bridge.chat(messages, "openai/gpt-5", temperature="hot")  # pyright: ignore[reportArgumentType] - a number
    assert_type(omni_bridge.models(), list[dict[str, Any]])
    assert_type(omni_bridge.shutdown(), bool)
    omni_bridge.configure(timeout=3, retry={"max_retries": 1}, fallbacks=["openai/gpt-5-mini"])


def by_type() -> None:
    with omni_bridge.stream_sync([{"role": "user", "content": "hi"}], "openai/gpt-5") as stream:
        for event in stream:
            if event.type == "text_delta":
                assert_type(event, omni_bridge.TextDeltaEvent)
                assert_type(event.text, str)
            elif event.type == "error":
                raise event.error
            elif event.type == "done":
                assert_type(event.reply, omni_bridge.ChatReply)
        assert_type(stream.reply(), omni_bridge.ChatReply)


def by_class(event: omni_bridge.AnyEvent) -> int:
    match event:
        case omni_bridge.ToolCallStartEvent(index=index, name=name):
            assert_type(name, str)
            return index
        case omni_bridge.CancelledEvent(closed_ms=closed_ms):
            assert_type(closed_ms, int | None)
        case _:
            pass
    return 0


async def asynchronous() -> None:
    reply = await omni_bridge.achat([{"role": "user", "content": "hi"}], "openai/gpt-5")
    assert_type(
        reply.finish_reason,
        Literal["stop", "length", "tool_calls", "content_filter", "pause", "other"] | None,
    )
    async with omni_bridge.stream([reply.message], "openai/gpt-5", engine="litellm") as stream:
        assert_type(stream, omni_bridge.Stream)
        texts = [event.text async for event in stream if event.type == "text_delta"]
        assert_type(texts, list[str])
        assert_type(await stream.reply(), omni_bridge.ChatReply)


def failing() -> None:
    try:
        omni_bridge.chat([], "")
    except omni_bridge.RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except omni_bridge.OmniError as error:
        assert_type(error.code, str)
