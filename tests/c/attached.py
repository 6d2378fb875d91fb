"""The lock of whichever interpreter runs this is let go while the library waits: `python attached.py`.

Needs nothing but the standard library. Called by `ctypes.PyDLL`, holding the lock, each wait below ends only
if another thread gets it.
"""

from __future__ import annotations

import ctypes
import threading

from binding import CALLBACK, CallError, Library, asking

START = {"type": "start", "model": "m", "provider": "p", "engine": "litellm"}
HOLD = {"script": [[START, {"type": "hold"}]]}
DEADLINE = 60


def main() -> None:
    library = Library(ctypes.PyDLL)
    client = library.init(HOLD)

    stream = library.open(client, asking("x"))
    assert library.next(stream)["type"] == "start"
    threading.Thread(target=lambda: library.c.omni_stream_cancel(stream)).start()
    assert library.next(stream)["type"] == "cancelled"
    assert library.c.omni_stream_free(stream) == 0

    inside, outside = threading.Event(), threading.Event()

    @CALLBACK
    def on_event(_stream: int, _event: bytes, _user_data: object) -> None:
        inside.set()
        assert outside.wait(DEADLINE)

    pushed = library.c.omni_stream_start(
        client, b'{"model": "m", "messages": [{"role": "user"}]}', on_event, None
    )
    assert inside.wait(DEADLINE)
    threading.Timer(0.05, outside.set).start()
    assert library.c.omni_stream_free(pushed) == 0
    assert outside.is_set(), "the free did not wait for the callback"

    threading.Timer(0.05, lambda: library.c.omni_shutdown(client, -1)).start()
    codes = []
    try:
        library.chat(client, asking("x"))
    except CallError as ended:
        codes.append(ended.error["code"])
    assert codes in (["cancelled"], ["invalid_request"]), codes  # the latter if the shutdown came first
    print("well")


main()
