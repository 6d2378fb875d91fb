"""The Python door: the same call through `omni_bridge.achat` and `omni_bridge.stream`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import omni_bridge
from _side import KEY, MODEL, QUESTION, serve


class Door:
    async def call(self, base: str) -> str:
        reply = await omni_bridge.achat(**request(base))
        return reply.content

    async def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        more: dict[str, Any] = {} if user is None else {"user": user}
        async with omni_bridge.stream(**request(base), **more) as events:
            async for event in events:
                if event.type == "text_delta":
                    yield event.text


def request(base: str) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "api_base": base,
        "api_key": KEY,
        "engine": "litellm",
    }


if __name__ == "__main__":
    asyncio.run(serve(Door()))
