"""The golden streams and requests through whole calls of every door, with a provider that plays them.

The engine is the real one, in this process; only the handler of its op `chat` is ours: it writes down the
request that reached it and emits the vector's events. So what a vector goes through is door → client →
crossing → loop and all the way back, and for HTTP a server on a socket besides: once with a plain client,
once with the Rust client of a `bridge_url`.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import omni_bridge
import pytest
import uvicorn
from omni_bridge import _engine, errors
from omni_bridge.service import Settings, create_app

LONG = 60.0


def _sibling(name: str) -> Any:
    # Tests are imported by file (importlib mode), so that a neighbour has to be as well.
    spec = importlib.util.spec_from_file_location(f"_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


vectors = _sibling("test_vectors")
VECTORS: dict[str, Any] = vectors.VECTORS

# These two a provider cannot play: the client makes `fallback`, and `cancelled` is the answer to a cancel.
PLAYED = [name for name, vector in VECTORS.items() if vector["kind"] == "events"]
PLAYED = [name for name in PLAYED if name not in {"events-fallback", "events-cancelled"}]
ASKED = [name for name, vector in VECTORS.items() if vector["kind"] == "request" and "refused" not in vector]
REFUSED = [name for name, vector in VECTORS.items() if "refused" in vector]


class Player:
    """The provider: plays a vector, and keeps the op documents that reached it."""

    def __init__(self) -> None:
        self.vector: dict[str, Any] = VECTORS["events-plain"]
        self.ops: list[dict[str, Any]] = []

    async def __call__(self, document: dict[str, Any], sink: Any) -> None:
        self.ops.append(document)
        for event in self.vector["documents"][:-1]:
            if sink.emit(event):
                await sink.drain()
        finish = self.vector["finish"]
        if finish["type"] == "error":
            raise errors.OmniError.from_dict(finish["error"])
        sink.emit(finish)


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Player:
    player = Player()
    monkeypatch.setitem(_engine.HANDLERS, "chat", player)
    return player


# --------------------------------------------------------------------------------------------------- doors

# A model without a price: what is played comes out as it was played, with no cost filled in.
REQUEST = {"model": "openai/unpriced", "messages": [{"role": "user", "content": "Hello"}]}


class Door:
    """One way in. `chat` gives the reply document, `stream` the event documents; both raise OmniError."""

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def stream(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        raise NotImplementedError


def split(request: dict[str, Any]) -> tuple[Any, Any, Any, dict[str, Any]]:
    fields = dict(request)
    return fields.pop("messages"), fields.pop("model"), fields.pop("tools", None), fields


class Blocking(Door):
    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        messages, model, tools, fields = split(request)
        return omni_bridge.chat(messages, model, tools, **fields).to_dict()

    def stream(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        messages, model, tools, fields = split(request)
        with omni_bridge.stream_sync(messages, model, tools, **fields) as stream:
            return [event.to_dict() for event in stream]


class Asyncio(Door):
    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        async def call() -> dict[str, Any]:
            messages, model, tools, fields = split(request)
            return (await omni_bridge.achat(messages, model, tools, **fields)).to_dict()

        return asyncio.run(call())

    def stream(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        async def call() -> list[dict[str, Any]]:
            messages, model, tools, fields = split(request)
            async with omni_bridge.stream(messages, model, tools, **fields) as stream:
                return [event.to_dict() async for event in stream]

        return asyncio.run(call())


class C(Door):
    """libomni_bridge by ctypes: it finds the interpreter that it is in, and the engine of this process."""

    def __init__(self, library: Path, config: dict[str, Any] | None = None) -> None:
        self.lib = lib = ctypes.CDLL(str(library))
        text, handle = ctypes.c_char_p, ctypes.c_void_p
        out = ctypes.POINTER(handle)
        for name, result, arguments in (
            ("omni_init", handle, [text]),
            ("omni_chat", ctypes.c_int32, [handle, text, out]),
            ("omni_stream_open", handle, [handle, text]),
            ("omni_stream_next", ctypes.c_int32, [handle, ctypes.c_int64, out]),
            ("omni_stream_free", ctypes.c_int32, [handle]),
            ("omni_shutdown", ctypes.c_int32, [handle, ctypes.c_int64]),
            ("omni_check", ctypes.c_int32, [text, text, out]),
            ("omni_last_error", text, []),
            ("omni_string_free", None, [handle]),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self.client = lib.omni_init(None if config is None else json.dumps(config).encode())
        assert self.client, self.error()

    def error(self) -> errors.OmniError:
        return errors.OmniError.from_dict(json.loads(self.lib.omni_last_error()))

    def take(self, text: ctypes.c_void_p) -> Any:
        assert text.value is not None
        document = json.loads(ctypes.string_at(text.value))
        self.lib.omni_string_free(text)
        return document

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = ctypes.c_void_p()
        if self.lib.omni_chat(self.client, json.dumps(request).encode(), ctypes.byref(reply)) != 0:
            raise self.error()
        return self.take(reply)

    def stream(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        stream = self.lib.omni_stream_open(self.client, json.dumps(request).encode())
        if not stream:
            raise self.error()
        events, event = [], ctypes.c_void_p()
        while (code := self.lib.omni_stream_next(stream, int(LONG * 1000), ctypes.byref(event))) == 0:
            events.append(self.take(event))
        assert code == 2, "the stream did not end"
        assert self.lib.omni_stream_free(stream) == 0
        return events

    def check(self, kind: str, document: Any) -> Any:
        checked = ctypes.c_void_p()
        if self.lib.omni_check(kind.encode(), json.dumps(document).encode(), ctypes.byref(checked)) != 0:
            raise self.error()
        return self.take(checked)

    def close(self) -> None:
        assert self.lib.omni_shutdown(self.client, int(LONG * 1000)) == 0


class Http(Door):
    """The service on a socket, with the Python door of this process behind it."""

    def __init__(self) -> None:
        app = create_app(Settings(allow_endpoints=True))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        self.server = uvicorn.Server(config)
        self.listening = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self.thread.start()
        assert self.listening.wait(LONG)

    async def serve(self) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self.listening.set()
            await self.server.serve([listener])

    def ask(self, path: str, request: dict[str, Any]) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        connection.request("POST", path, json.dumps(request), {"content-type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200:
            error = errors.OmniError.from_dict(json.loads(body)["error"])
            assert response.status == error.http_status
            raise error
        return body

    def chat(self, request: dict[str, Any]) -> dict[str, Any]:
        return json.loads(self.ask("/chat", request))

    def stream(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        events = []
        for frame in self.ask("/chat/stream", request).decode().split("\n\n"):
            lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
            if lines:
                (event, data) = lines
                events.append(json.loads(data.removeprefix("data: ")))
                assert event == f"event: {events[-1]['type']}"
        return events

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(LONG)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def library(release_dir: Path) -> Path:
    library = release_dir / "libomni_bridge.so"
    assert library.exists(), f"{library} is missing: make build"
    return library


@pytest.fixture(scope="module")
def c_door(library: Path) -> Iterator[C]:
    door = C(library)
    yield door
    door.close()


@pytest.fixture(scope="module")
def http_door() -> Iterator[Http]:
    door = Http()
    yield door
    door.close()


@pytest.fixture(scope="module")
def bridge_door(library: Path, http_door: Http) -> Iterator[C]:
    door = C(library, {"bridge_url": f"http://127.0.0.1:{http_door.port}"})
    yield door
    door.close()


@pytest.fixture(params=["blocking", "asyncio", "c", "http", "bridge"])
def door(request: pytest.FixtureRequest, player: Player) -> Door:
    made: dict[str, Callable[[], Door]] = {
        "blocking": Blocking,
        "asyncio": Asyncio,
        "c": lambda: request.getfixturevalue("c_door"),
        "http": lambda: request.getfixturevalue("http_door"),
        "bridge": lambda: request.getfixturevalue("bridge_door"),
    }
    return made[request.param]()


# --------------------------------------------------------------------------------------------------- tests


def check_reply(reply: dict[str, Any], want: dict[str, Any], *, failed: bool = False) -> None:
    """Equal but for the attempts, which the client adds: how often it tried, and how long that took."""
    (attempt,) = reply["attempts"]
    assert (attempt["model"], attempt["engine"]) == ("openai/unpriced", "litellm")
    assert (attempt["error"] is not None) is failed
    vectors.same({**reply, "attempts": []}, want)


@pytest.mark.parametrize("name", PLAYED)
def test_a_stream_comes_out_as_it_was_played(name: str, door: Door, player: Player):
    player.vector = vector = VECTORS[name]
    want = vector.get("expect_documents", vector["documents"])
    *events, last = door.stream(REQUEST)
    vectors.same(events, want[:-1])
    failed = last["type"] == "error"
    check_reply(last["reply"], vector["expect"], failed=failed)
    vectors.same({**last, "reply": None}, {**want[-1], "reply": None})
    assert player.ops[-1]["stream"] is True


@pytest.mark.parametrize("name", PLAYED)
def test_an_unstreamed_call_gives_the_reply_that_the_stream_folds_to(name: str, door: Door, player: Player):
    player.vector = vector = VECTORS[name]
    if vector["finish"]["type"] == "error":
        with pytest.raises(errors.error_for(vector["finish"]["error"]["code"])) as caught:
            door.chat(REQUEST)
        vectors.same(caught.value.to_dict(), vector["finish"]["error"])
    else:
        check_reply(door.chat(REQUEST), vector["expect"])
    assert player.ops[-1]["stream"] is False


# What the client keeps to itself: it waits, tries again and goes on to another model above every engine.
OURS = ("timeout", "retry", "fallbacks", "fallback_mid_stream", "budget", "engine", "labels")


@pytest.mark.parametrize("name", ASKED)
def test_a_request_reaches_the_engine_as_it_was_asked(name: str, door: Door, player: Player):
    vector = VECTORS[name]
    want = vector.get("expect", vector["document"])
    door.chat({**vector["document"], "engine": "litellm"})  # the player stands in for that one
    (op,) = player.ops
    assert op["op"] == "chat"
    reached = {key: value for key, value in op["request"].items() if key not in OURS}
    vectors.same(reached, {key: value for key, value in want.items() if key not in OURS})


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_before_the_engine(name: str, door: Door, player: Player):
    document, refused = VECTORS[name]["document"], VECTORS[name]["refused"]
    for call in (door.chat, door.stream):
        with pytest.raises(errors.error_for(refused["code"])) as caught:
            call(document)
        assert caught.value.message.startswith(refused["starts"])
    assert player.ops == []


@pytest.mark.parametrize(
    "name", [name for name, vector in VECTORS.items() if vector["kind"] in {"error", "reply"}]
)
def test_c_reads_replies_and_errors_alike(name: str, c_door: C):
    vector = VECTORS[name]
    vectors.same(c_door.check(vector["kind"], vector["document"]), vector["document"])


# Not `cancelled`: that is the caller's doing, and no provider's error.
ERRORS = [name for name, vector in VECTORS.items() if vector["kind"] == "error" and name != "error-cancelled"]


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_a_provider_reaches_the_caller(name: str, door: Door, player: Player):
    document = VECTORS[name]["document"]
    player.vector = {"documents": [None], "finish": {"type": "error", "error": document}}
    with pytest.raises(errors.error_for(document["code"])) as caught:
        door.chat({**REQUEST, "retry": 0})
    got = caught.value.to_dict()
    # What the provider did not say of itself the client may know.
    known = {key: value for key, value in document.items() if value is not None}
    vectors.same({key: got[key] for key in known}, known)
