"""LiteLLM on the engine's loop: a thousand streams at once, and callbacks of the host's own that misbehave.

Each program runs in a process of its own: what is registered with LiteLLM stays there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

HEAD = """
import asyncio, json, os, resource, sys, threading, time
import omni_bridge
from omni_bridge import _native
from omni_bridge.testing import DemoServer

ASK = [{"role": "user", "content": "Go on."}]

def settled():
    deadline = time.monotonic() + 60
    while _native.engine_open_calls():
        assert time.monotonic() < deadline
        time.sleep(0.001)  # the engine has no event for it
"""


def run(body: str, *arguments: str, timeout: float = 280) -> Any:
    """Runs a program; what it printed last, as JSON."""
    argv = [sys.executable, "-c", HEAD + body, *arguments]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_1000_streams_are_open_at_the_same_moment_and_all_whole():
    """The server answers none of them to its end before it has seen all of them; memory stays in bounds."""
    told = run("""
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 2600  # two sockets for each stream, as the server lives here too
if soft != resource.RLIM_INFINITY and soft < wanted:
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

async def one(base):
    text, kinds = [], []
    where = {"api_base": base, "api_key": "none"}
    async for event in omni_bridge.stream(ASK, "openai/demo-chunks-20", **where):
        kinds.append(event.type)
        if event.type == "text_delta":
            text.append(event.text)
        elif event.type == "error":
            raise event.error
    return "".join(text), kinds[-1], event.reply.engine

async def main():
    with DemoServer(chunks=20, hold=10, backlog=2048) as server:
        tasks = [asyncio.create_task(one(server.api_base)) for _ in range(1000)]
        everyone = lambda server: server.open_streams == 1000
        seen = asyncio.create_task(server.await_for(everyone, 200))
        await asyncio.wait({seen, *tasks}, return_when="FIRST_COMPLETED")
        open_at_once = server.open_streams
        server.release()
        ends = await asyncio.gather(*tasks)
        return open_at_once, ends

open_at_once, ends = asyncio.run(main())
settled()
# Not ru_maxrss: a child inherits that of the process that started it.
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({
    "open": open_at_once,
    "ends": sorted({(end, engine) for _, end, engine in ends}),
    "texts": len({text for text, _, _ in ends}),
    "empty": sum(not text for text, _, _ in ends),
    "peak_mb": peak,
}))
""")
    assert told["open"] == 1000
    assert (told["ends"], told["texts"], told["empty"]) == ([["done", "litellm"]], 1, 0)
    # LiteLLM alone takes 170 MB, and its own streams about 0.2 MB each.
    assert told["peak_mb"] < 900


CALLBACK = """
import litellm
from litellm.integrations.custom_logger import CustomLogger

behaves = False  # LiteLLM copies the list of callbacks: nobody can be unregistered

class Callback(CustomLogger):
    async def async_log_pre_api_call(self, model, messages, kwargs):
        behaves or misbehave()
    def log_pre_api_call(self, model, messages, kwargs):
        behaves or misbehave()
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        behaves or misbehave()
    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        behaves or misbehave()
    async def async_log_stream_event(self, kwargs, response_obj, start_time, end_time):
        behaves or misbehave()

omni_bridge.warm_up()
litellm.callbacks = [Callback()]
told = {}
with DemoServer(text="Four.") as server:
    where = {"model": "openai/demo", "api_base": server.api_base, "api_key": "none"}
    for streamed in (False, True):
        try:
            if streamed:
                told["stream"] = omni_bridge.stream_sync(ASK, **where).reply().content
            else:
                told["chat"] = omni_bridge.chat(ASK, **where).content
        except omni_bridge.OmniError as error:
            told["stream" if streamed else "chat"] = error.code
    behaves = True
    told["next"] = omni_bridge.chat(ASK, **where).content
settled()
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    "misbehave",
    [
        'raise ValueError("sk-secret")',
        'raise SystemExit("sk-secret")',
        "time.sleep(0.2)",
        "[asyncio.new_event_loop().close() for _ in range(50)]; [logging.debug('x') for _ in range(10_000)]",
    ],
    ids=["raises", "exits", "blocks for a while", "floods"],
)
def test_a_callback_of_litellm_that_misbehaves_spoils_no_call(misbehave: str):
    """Our calls answer: no callback of LiteLLM sees them (tests/test_litellm_callbacks.py)."""
    told = run(f"import logging\ndef misbehave():\n    {misbehave}\n" + CALLBACK)
    assert told == {"chat": "Four.", "stream": "Four.", "next": "Four."}


def test_a_callback_that_blocks_for_ever_ends_in_an_error_when_cancelled():
    told = run("""
import litellm
blocked = threading.Event()

omni_bridge.warm_up()

async def blocks(*args, **kwargs):
    blocked.set()
    time.sleep(1000)

litellm.acompletion = blocks
with DemoServer(text="Four.") as server:
    stream = omni_bridge.stream_sync(ASK, "openai/demo", api_base=server.api_base, api_key="none")
    kinds = []
    reader = threading.Thread(target=lambda: kinds.extend(event.type for event in stream), daemon=True)
    reader.start()
    blocked.wait()
    begin = time.monotonic()
    stream.cancel()
    reader.join(60)
    print(json.dumps({"ended": kinds[-1:], "seconds": time.monotonic() - begin}), flush=True)
    os._exit(0)
""")
    assert told["ended"] in (["error"], ["cancelled"])
    assert told["seconds"] < 30
