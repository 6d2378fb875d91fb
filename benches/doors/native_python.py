"""The native engine from Python, and what stands beside it: raw aiohttp, the openai SDK.

    python native_python.py ours|aiohttp|openai [--uvloop]    a side, as _side.py has them
    python native_python.py duel [--uvloop]                   ours and aiohttp in one process, in turns

LiteLLM is in litellm_direct.py. `ours` reads a stream as its typed events; `aiohttp` splits and parses lines.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from _side import KEY, QUESTION, Took, one_call, say, serve

BARE_MODEL = "gpt-4o"
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]


class Ours:
    def __init__(self) -> None:
        import omni_bridge

        self.omni = omni_bridge

    async def call(self, base: str) -> str:
        reply = await self.omni.achat(**self.request(base))
        return reply.content

    async def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        del user  # nothing is cancelled here
        async with self.omni.stream(**self.request(base)) as events:
            async for event in events:
                if event.type == "text_delta":
                    yield event.text

    @staticmethod
    def request(base: str) -> dict[str, Any]:
        return {
            "model": f"openai/{BARE_MODEL}",
            "messages": MESSAGES,
            "api_base": base,
            "api_key": KEY,
            "engine": "native",
        }


class Aiohttp:
    """One session, `json` for the documents, nothing else."""

    def __init__(self) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"})

    async def call(self, base: str) -> str:
        body = {"model": BARE_MODEL, "messages": MESSAGES}
        async with self.session.post(f"{base}/chat/completions", json=body) as response:
            response.raise_for_status()
            reply = json.loads(await response.read())
        return reply["choices"][0]["message"]["content"]

    async def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        del user
        body = {"model": BARE_MODEL, "messages": MESSAGES, "stream": True}
        async with self.session.post(f"{base}/chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data: ") or line == b"data: [DONE]\n":
                    continue
                chunk = json.loads(line[6:])
                if chunk["choices"] and (text := chunk["choices"][0]["delta"].get("content")):
                    yield text


class Openai:
    def __init__(self) -> None:
        import openai

        self.openai = openai
        self.clients: dict[str, Any] = {}

    def client(self, base: str) -> Any:
        """One a base URL: its connections are kept with it."""
        if base not in self.clients:
            self.clients[base] = self.openai.AsyncOpenAI(base_url=base, api_key=KEY, max_retries=0)
        return self.clients[base]

    async def call(self, base: str) -> str:
        reply = await self.client(base).chat.completions.create(model=BARE_MODEL, messages=MESSAGES)
        return reply.choices[0].message.content

    async def texts(self, base: str, user: str | None) -> AsyncIterator[str]:
        del user
        chunks = await self.client(base).chat.completions.create(
            model=BARE_MODEL, messages=MESSAGES, stream=True
        )
        async for chunk in chunks:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


SIDES: dict[str, Callable[[], Any]] = {"ours": Ours, "aiohttp": Aiohttp, "openai": Openai}


async def side(name: str) -> None:
    made = SIDES[name]()
    await serve(made)
    if isinstance(made, Aiohttp):
        await made.session.close()


async def duel() -> None:
    """Each command: `n` calls of each side, one after the other and in turns."""
    ours, theirs = Ours(), Aiohttp()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"ready": True})
    while line := await reader.readline():
        command = json.loads(line)
        times: dict[Any, Took] = {ours: Took(), theirs: Took()}
        for n in range(command["n"]):
            # Who comes first changes too: what the one leaves in the caches is the other's.
            for one in (ours, theirs) if n % 2 == 0 else (theirs, ours):
                await one_call(one, command["base"], command["expect"], times[one])
        say({"us": times[ours].us, "baseline_us": times[theirs].us})
    await theirs.session.close()


def run(main: Coroutine[Any, Any, None], *, on_uvloop: bool) -> None:
    if on_uvloop:
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["duel", *more]:
            run(duel(), on_uvloop="--uvloop" in more)
        case [name, *more]:
            run(side(name), on_uvloop="--uvloop" in more)
        case _:
            raise SystemExit(__doc__)
