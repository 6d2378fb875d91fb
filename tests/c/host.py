"""A Python program that uses the C interface by ctypes: `python host.py CASE`.

The provider is a DemoServer on a thread of this very process: nothing is answered unless the GIL is let go.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from binding import CALLBACK, ENDED, TIMEOUT, CallError, Library, asking
from omni_bridge.testing import DemoServer

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = "You said: {}. (This is the offline demo provider; no model was asked.)"
DEADLINE = 120
MANY = 16


def joined(events: list[dict]) -> str:
    assert events[-1]["type"] == "done", events[-1]
    return "".join(event["text"] for event in events if event["type"] == "text_delta")


def everything(kind: type[ctypes.CDLL], server: DemoServer) -> None:
    """Each function that may wait, called attached or detached."""
    library = Library(kind)
    client = library.init()
    assert library.chat(client, asking("one"))["content"] == ANSWER.format("one")
    # It was this interpreter that answered: the engine's loop runs in a module of ours.
    assert {"omni_bridge._engine", "litellm"} <= sys.modules.keys()
    assert joined(library.events(client, asking("two"))) == ANSWER.format("two")
    with ThreadPoolExecutor(MANY) as pool:
        replies = list(pool.map(lambda n: library.chat(client, asking(f"n{n}"))["content"], range(MANY)))
    assert replies == [ANSWER.format(f"n{n}") for n in range(MANY)]
    callbacks(library, client)
    free_while_a_callback_runs(library, client)
    waiting_is_cut_short(library, client, server)
    assert library.c.omni_shutdown(client, -1) == 0
    with contextlib.suppress(CallError):
        raise AssertionError(library.chat(client, asking("late")))
    again = library.init()
    assert library.chat(again, asking("again"))["content"] == ANSWER.format("again")
    assert library.c.omni_shutdown(again, -1) == 0


def a_provider_of_ones_own(server: DemoServer) -> None:
    """Registered, asked, kept if wanted; what is wrong with a definition is told by its field."""
    library = Library()
    client = library.init({"engine": "native"})
    acme = {"name": "acme", "protocol": "openai_chat", "base_url": server.api_base, "key_env": "ACME_API_KEY"}
    os.environ["ACME_API_KEY"] = "of acme"
    library.register_provider(client, {**acme, "models": {"big": {"context": 32_000}}})
    assert library.chat(client, asking("hi", "acme/demo"))["content"] == ANSWER.format("hi")
    assert server.requests[-1].headers["authorization"] == "Bearer of acme"
    other = library.init({"engine": "native"})
    error = refused(library, lambda: library.chat(other, asking("hi", "acme/demo")), "unsupported")
    assert 'there is no provider "acme"' in error["message"], error
    assert library.c.omni_shutdown(other, -1) == 0
    (big,) = [model for model in library.models(client) if model["id"] == "acme/big"]
    assert big["max_input_tokens"] == 32_000
    for wrong, said in [
        ({**acme, "base_ur": "x"}, 'base_ur: no such field; did you mean "base_url"?'),
        ({**acme, "name": "openai"}, "take another name, or say replace = true"),
        ({**acme, "key_env": "OPENAI_API_KEY"}, "say allow_key = true"),
    ]:
        error = refused(library, partial(library.register_provider, client, wrong), "invalid_request")
        assert said in error["message"], error
    remote = library.init({"bridge_url": "http://127.0.0.1:9"})
    refused(library, partial(library.register_provider, remote, acme), "unsupported")
    assert library.c.omni_shutdown(remote, -1) == 0
    kept = Path(os.environ["OMNI_CONFIG"])
    assert kept.read_text(encoding="utf-8") == "", "what was not to be kept was written"
    library.register_provider(client, {**acme, "name": "kept", "persist": True})
    assert "[providers.kept]" in kept.read_text(encoding="utf-8")
    assert library.c.omni_shutdown(client, -1) == 0


def refused(library: Library, call: Callable[[], object], code: str) -> dict:
    """The error of a call that must fail with `code`, in words and as a number."""
    try:
        call()
    except CallError as failed:
        said, error = failed.code, failed.error
    else:
        raise AssertionError(f"it was not refused with {code}")
    assert error["code"] == code, error
    assert said == library.number({"code": code, "message": "m"})
    return error


def callbacks(library: Library, client: int) -> None:
    """A Python function gets the events with its user data, and calls back into the library."""
    seen: dict = {"types": [], "text": "", "ended": threading.Event()}

    @CALLBACK
    def on_event(stream: int, event: bytes, user_data: dict) -> None:
        document = library.check("event", event)
        user_data["types"].append(document["type"])
        user_data["text"] += document.get("text", "")
        if document["type"] == "start":
            user_data["inner"] = library.chat(client, asking("inside"))["content"]
        if document["type"] in {"done", "error", "cancelled"}:
            user_data["freed"] = library.c.omni_stream_free(stream)
            user_data["ended"].set()

    assert library.c.omni_stream_start(client, b"[]", on_event, seen) is None
    assert library.c.omni_stream_start(client, json.dumps(asking("three")).encode(), on_event, seen)
    assert seen["ended"].wait(DEADLINE), seen
    assert (seen["text"], seen["inner"]) == (ANSWER.format("three"), ANSWER.format("inside"))
    assert (seen["types"][-1], seen["freed"]) == ("done", 0)


def free_while_a_callback_runs(library: Library, client: int) -> None:
    """A free waits for the callback, which needs the GIL that the caller may hold."""
    inside, seen = threading.Event(), []

    @CALLBACK
    def on_event(_stream: int, event: bytes, user_data: list) -> None:
        inside.set()
        user_data.append(sum(range(100_000)))  # long enough to change threads

    stream = library.c.omni_stream_start(client, json.dumps(asking("four")).encode(), on_event, seen)
    assert inside.wait(DEADLINE)
    assert library.c.omni_stream_free(stream) == 0
    finished = len(seen)
    assert library.chat(client, asking("five"))["content"] == ANSWER.format("five")
    assert len(seen) == finished >= 1, "a callback came after the stream was freed"


def waiting_is_cut_short(library: Library, client: int, server: DemoServer) -> None:
    """A wait in one thread ends by a cancel, a free or a shutdown in another."""
    endless = asking("x", "openai/demo-chunks-100000-pace-20")
    stream = library.open(client, endless)
    assert library.next(stream)["type"] == "start"
    timer = threading.Thread(target=lambda: library.c.omni_stream_cancel(stream))
    timer.start()
    while (event := library.next(stream))["type"] != "cancelled":
        assert event["type"] in {"text_start", "text_delta"}, event
    timer.join()
    assert library.next(stream) == ENDED
    assert library.c.omni_stream_free(stream) == 0
    server.wait_for(lambda server: server.open_streams == 0)


def beside_the_python_door() -> None:
    """Both doors of one process share one engine."""
    import omni_bridge

    library = Library()
    client = library.init()
    assert omni_bridge.chat(**asking("python")).content == ANSWER.format("python")
    engines = [thread.name for thread in threading.enumerate()]
    assert library.chat(client, asking("c"))["content"] == ANSWER.format("c")
    assert [thread.name for thread in threading.enumerate()] == engines, "a second engine was started"
    assert library.c.omni_shutdown(client, -1) == 0
    assert omni_bridge.chat(**asking("still")).content == ANSWER.format("still"), (
        "the shutdown took the other door's engine"
    )


def on_the_loop_thread() -> None:
    """Waiting on the engine's own thread would wait for itself: refused, first call of a library or not."""
    from omni_bridge import _engine, _native

    async def blocking(document: dict, sink: object) -> None:
        library = Library(getattr(ctypes, document["kind"]))
        client = library.init()

        def outcome(ask: Callable[[], object]) -> object:
            try:
                return ask()
            except CallError as error:
                return error.error["code"]

        asked = (lambda: library.chat(client, asking("x")), lambda: library.models(client))
        codes: list[object] = [outcome(ask) for ask in asked]
        stream = library.open(client, asking("x"))
        codes.append(library.refused_next(stream)["code"])
        # What does not wait works: the stream is started, and is read elsewhere.
        event = ctypes.c_void_p()
        codes.append(library.c.omni_stream_next(stream, 0, ctypes.byref(event)))
        codes.append(library.c.omni_stream_free(stream))
        codes.append(library.c.omni_shutdown(client, -1))
        sink.emit({"type": "result", "data": codes})

    _engine.HANDLERS["blocking"] = blocking
    for kind in ("CDLL", "PyDLL"):
        codes = _native.op_call("blocking", {"kind": kind}).next()
        assert codes == ["unsupported", "unsupported", "unsupported", TIMEOUT, 0, 0], (kind, codes)
    library = Library()
    assert library.chat(library.init(), asking("after"))["content"] == ANSWER.format("after")


def exit_in_the_middle() -> None:
    library = Library()
    stream = library.open(library.init(), asking("x", "openai/demo-chunks-100000-pace-20"))
    assert library.next(stream)["type"] == "start"
    print(time.monotonic(), flush=True)  # one clock for all processes
    sys.exit(7)


def main() -> None:
    case = sys.argv[1]
    with DemoServer() as server:
        os.environ |= {"OPENAI_API_KEY": "test-key", "OPENAI_API_BASE": server.api_base}
        if case == "detached":
            everything(ctypes.CDLL, server)
        elif case == "attached":
            everything(ctypes.PyDLL, server)
        elif case == "beside":
            beside_the_python_door()
        elif case == "provider":
            a_provider_of_ones_own(server)
        elif case == "loop":
            on_the_loop_thread()
        elif case == "exit":
            exit_in_the_middle()
        else:
            raise SystemExit(f"no such case: {case}")
    print("well")


if __name__ == "__main__":
    main()
