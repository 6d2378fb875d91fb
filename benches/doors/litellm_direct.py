"""The baseline: LiteLLM called directly, in a process and an asyncio loop of its own.

It has the settings that omni_bridge gives LiteLLM (design section 3), as far as a program can set them. What
omni_bridge does beyond them is not taken over here: within its calls LiteLLM calls nobody back, and does not
read an answer that omni_bridge reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_RUST", "0")

import litellm
from _side import KEY, MODEL, QUESTION, serve

litellm.suppress_debug_info = True


class Direct:
    async def call(self, base: str) -> str:
        reply: Any = await litellm.acompletion(**request(base))
        return reply.choices[0].message.content

    async def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        more: dict[str, Any] = {} if user is None else {"user": user}
        chunks: Any = await litellm.acompletion(
            **request(base), **more, stream=True, stream_options={"include_usage": True}
        )
        try:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
        finally:
            await chunks.aclose()  # a careful caller's way to cancel; without it the socket stays open


def request(base: str) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "api_base": base,
        "api_key": KEY,
        "num_retries": 0,
    }


if __name__ == "__main__":
    asyncio.run(serve(Direct()))
