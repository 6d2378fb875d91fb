"""The C interface for a Python program: what a user of ctypes would write."""

from __future__ import annotations

import ctypes
import json
import os
from typing import Any

CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.py_object)
EVENT, TIMEOUT, ENDED, BAD_HANDLE, REFUSED = 0, 1, 2, -1, -2

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "omni_version": (ctypes.c_char_p, []),
    "omni_last_error": (ctypes.c_char_p, []),
    "omni_init": (ctypes.c_void_p, [ctypes.c_char_p]),
    "omni_shutdown": (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_int64]),
    "omni_chat": (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]),
    "omni_register_provider": (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p]),
    "omni_models": (ctypes.c_int32, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]),
    "omni_check": (ctypes.c_int32, [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]),
    "omni_stream_open": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "omni_stream_start": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, CALLBACK, ctypes.py_object]),
    "omni_stream_next": (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p)]),
    "omni_stream_cancel": (ctypes.c_int32, [ctypes.c_void_p]),
    "omni_stream_free": (ctypes.c_int32, [ctypes.c_void_p]),
    "omni_string_free": (None, [ctypes.c_void_p]),
}


class CallError(Exception):
    """A function said no; `error` is the contract's error."""

    def __init__(self, code: int, error: dict[str, Any]) -> None:
        super().__init__(code, error)
        self.code, self.error = code, error


class Library:
    """The library, called by `ctypes.CDLL` (detached) or `ctypes.PyDLL` (attached: holding the GIL)."""

    def __init__(self, kind: type[ctypes.CDLL] = ctypes.CDLL) -> None:
        self.c = kind(os.environ["OMNI_LIBRARY"])
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.c, name)
            function.restype, function.argtypes = result, arguments

    def failure(self, code: int) -> CallError:
        return CallError(code, json.loads(self.c.omni_last_error()))

    def take(self, text: ctypes.c_void_p) -> Any:
        """The JSON in a text that is ours now."""
        try:
            return json.loads(ctypes.string_at(text.value or 0))
        finally:
            self.c.omni_string_free(text)

    def init(self, config: dict[str, Any] | None = None) -> int:
        client = self.c.omni_init(json.dumps(config or {}).encode())
        if not client:
            raise self.failure(0)
        return client

    def chat(self, client: int, request: dict[str, Any]) -> dict[str, Any]:
        reply = ctypes.c_void_p()
        code = self.c.omni_chat(client, json.dumps(request).encode(), ctypes.byref(reply))
        if code != 0:
            raise self.failure(code)
        return self.take(reply)

    def register_provider(self, client: int, definition: dict[str, Any]) -> None:
        code = self.c.omni_register_provider(client, json.dumps(definition).encode())
        if code != 0:
            raise self.failure(code)

    def models(self, client: int) -> list[dict[str, Any]]:
        found = ctypes.c_void_p()
        code = self.c.omni_models(client, ctypes.byref(found))
        if code != 0:
            raise self.failure(code)
        return self.take(found)

    def check(self, kind: str, document: bytes) -> Any:
        checked = ctypes.c_void_p()
        code = self.c.omni_check(kind.encode(), document, ctypes.byref(checked))
        if code != 0:
            raise self.failure(code)
        return self.take(checked)

    def number(self, error: dict[str, Any]) -> int:
        """The number with which a call ends that fails with `error`."""
        client = self.init({"script": [[{"type": "error", "error": error}]], "retry": 0})
        try:
            self.chat(client, asking("x"))
        except CallError as failed:
            return failed.code
        finally:
            self.c.omni_shutdown(client, -1)
        return 0

    def open(self, client: int, request: dict[str, Any]) -> int:
        stream = self.c.omni_stream_open(client, json.dumps(request).encode())
        if not stream:
            raise self.failure(0)
        return stream

    def next(self, stream: int, timeout_ms: int = -1) -> Any:
        """The next event, or what the code says instead."""
        event = ctypes.c_void_p()
        code = self.c.omni_stream_next(stream, timeout_ms, ctypes.byref(event))
        return self.take(event) if code == EVENT else code

    def refused_next(self, stream: int) -> dict[str, Any]:
        """The error of a wait that is refused."""
        event = ctypes.c_void_p()
        assert self.c.omni_stream_next(stream, 1000, ctypes.byref(event)) == REFUSED
        return json.loads(self.c.omni_last_error())

    def events(self, client: int, request: dict[str, Any]) -> list[dict[str, Any]]:
        stream = self.open(client, request)
        found = []
        while isinstance(event := self.next(stream), dict):
            found.append(event)
        assert event == ENDED, event
        assert self.c.omni_stream_free(stream) == 0
        return found


def asking(text: str, model: str = "openai/demo") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}
