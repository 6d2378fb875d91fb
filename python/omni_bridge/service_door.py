"""The Python door, as the HTTP door calls it: JSON text in, JSON text out."""

from __future__ import annotations

import json
import platform
import sys
from typing import TYPE_CHECKING, Any, Final

from ._aio import achat_request, ready, result
from ._api import configure
from ._native import CONTRACT, Call, Request, __version__, models_call, op_call, warm_up_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .service import Settings
    from .service_calls import Frame

__all__ = ["PythonDoor"]

BATCH: Final = 64  # events that go out in one write when they come faster than the client reads


class PythonDoor:
    """Calls of this process's engine, which takes its configuration from the server's settings."""

    def __init__(self, settings: Settings) -> None:
        configure(
            allow_endpoints=settings.allow_endpoints, allow_private_images=settings.allow_private_images
        )

    def check(self, body: bytes) -> Request:
        """The request, validated by serde."""
        return Request.from_json(body)

    async def chat(self, request: Request) -> str:
        """The reply of a call."""
        return (await achat_request(request)).to_json()

    def stream(self, request: Request) -> _Events:
        """The events of a call, which begins with the first one that is asked for."""
        return _Events(Call.stream(request))

    async def models(self) -> str:
        """What LiteLLM knows of models; the first call loads it."""
        return json.dumps({"models": await result(models_call())}, ensure_ascii=False)

    async def echo(self, body: bytes) -> str:
        """A document to the engine and back."""
        found = await result(op_call("echo", json.loads(body)))
        return json.dumps(found, ensure_ascii=False)

    async def warm_up(self) -> None:
        """Load LiteLLM."""
        await result(warm_up_call())

    def health(self) -> dict[str, Any]:
        """The versions that answer here, and whether LiteLLM is loaded already."""
        return {
            "contract": CONTRACT,
            "version": __version__,
            "python": platform.python_version(),
            "warm": _warm(),
        }


class _Events:
    """The events of one call, as many at once as have come."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def batch(self) -> Sequence[Frame]:
        frames: list[Frame] = []
        while len(frames) < BATCH:
            event = self._call.pop()
            if event is not None:
                frames.append((event.type, event.to_json()))
            elif frames or self._call.ended:
                break
            else:
                await ready(self._call)
        return frames

    def cancel(self) -> None:
        self._call.cancel()

    async def aclose(self) -> None:
        self._call.close()


def _warm() -> bool:
    spec: Any = getattr(sys.modules.get("litellm"), "__spec__", None)
    # While it is being imported it stands among the modules already; the import system marks it so.
    return spec is not None and not getattr(spec, "_initializing", False)
