"""Waiting under trio, by way of anyio: a descriptor for each call instead of one for each loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from ._native import Call


async def ready(call: Call) -> None:
    """Waits until the call has something to take. Whoever is cancelled here cancels the call."""
    descriptor = call.wait_fd()
    try:
        if descriptor is None:
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.wait_readable(descriptor)
    except BaseException:
        # The traceback keeps the call alive, so that it must be told.
        call.close()
        raise
