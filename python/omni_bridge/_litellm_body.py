"""The body of an answer as it arrives: decompressed in pieces, bounded, and read by LiteLLM and by us."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PIECE = 64 * 1024
"""Bytes that are decompressed at a time: 200 kB of gzip can stand for 200 MB."""
MAX_ERROR = 64 * 1024
"""Bytes of an error's body that anybody reads: LiteLLM searches it for keys, which takes long for more."""
MAX_KEPT = 256 * 1024 * 1024
"""Bytes of an unstreamed answer that are held for the second reader."""
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})


class Inflater:
    """Decompresses gzip (of several members too) and deflate (with zlib's header and without), by pieces."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self._object: Any = None
        self._input = b""

    def feed(self, chunk: bytes) -> None:
        self._input += chunk

    def take(self) -> bytes:
        """At most `PIECE` bytes of what is known by now; b"" when more has to come first.

        Raises:
            zlib.error: It is not what its header says.
        """
        while True:
            if self._object is None:
                if self._gzip:
                    self._input = self._input.lstrip(b"\x00")  # a member may be padded
                if len(self._input) < 2:
                    return b""
                self._object = zlib.decompressobj(self._window())
            piece: bytes = self._object.decompress(self._input, PIECE)
            self._input = self._object.unconsumed_tail
            if self._object.eof:
                # Nothing may follow the end of a deflate body; another member may follow one of gzip.
                self._input = self._object.unused_data if self._gzip else b""
                if self._gzip:
                    self._object = None
            if piece or self._object is not None:
                return piece

    def _window(self) -> int:
        if self._gzip:
            return 16 + zlib.MAX_WBITS
        first, second = self._input[0], self._input[1]
        # Some servers send what the RFC calls deflate, others what the name says: without zlib's header.
        return zlib.MAX_WBITS if first & 15 == 8 and (first * 256 + second) % 31 == 0 else -zlib.MAX_WBITS

    @property
    def whole(self) -> bool:
        """Whether the body may end here."""
        return not self._input and (self._object is None or self._object.eof)


class Recorded(httpx.AsyncByteStream):
    """An answer's body that LiteLLM and we can both read: what one has taken, the other still gets.

    ``limit`` ends it after so many bytes: no more of an error is read, and its connection is closed.
    """

    def __init__(self, inner: httpx.AsyncByteStream, encoding: str, limit: int | None = None) -> None:
        self._inner = inner
        self._iterator: AsyncIterator[bytes] | None = None
        self._inflater = Inflater(encoding) if encoding in COMPRESSED else None
        self._left = limit
        self.seen: list[bytes] = []
        self._seen_bytes = 0
        self._recording = True
        self._peeked: list[bytes] = []
        self._keeping = False
        self.ended = False
        self.failure: BaseException | None = None

    async def _next(self) -> bytes:
        if self._left is not None and self._left <= 0:
            self.ended = True
            await self.aclose()
            raise StopAsyncIteration
        chunk = await self._arrived() if self._inflater is None else await self._inflated(self._inflater)
        if self._left is not None:
            chunk = chunk[: self._left]
            self._left -= len(chunk)
        return chunk

    async def _arrived(self) -> bytes:
        if self._iterator is None:
            self._iterator = self._inner.__aiter__()
        try:
            return await self._iterator.__anext__()
        except StopAsyncIteration:
            self.ended = True
            raise
        except Exception as problem:
            self.failure = problem
            raise

    async def _inflated(self, inflater: Inflater) -> bytes:
        try:
            piece = inflater.take()
            if piece:
                await asyncio.sleep(0)  # no socket was waited for: the other calls shall have their turn
            while not piece:
                try:
                    inflater.feed(await self._arrived())
                except StopAsyncIteration:
                    if inflater.whole:
                        raise
                    raise zlib.error("it was cut off") from None
                piece = inflater.take()
        except zlib.error as problem:
            self.failure = httpx.DecodingError(f"the provider's answer does not decompress: {problem}")
            raise self.failure from problem
        return piece

    async def peek(self) -> bytes:
        """What has come so far, or else the first piece; both readers still get it. b"" at the end."""
        if self.seen or self._peeked:
            return b"".join(self.seen or self._peeked)
        if not self.ended:
            try:
                self._peeked.append(await self._next())
            except StopAsyncIteration:
                return b""
        return b"".join(self._peeked)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = self._peeked.pop(0) if self._peeked else await self._next()
            except StopAsyncIteration:
                return
            if self._recording:
                self.seen.append(chunk)
                self._seen_bytes += len(chunk)
                if self._seen_bytes > MAX_KEPT:
                    self.failure = httpx.DecodingError("the provider's answer is larger than 256 MiB")
                    self.forget()
                    raise self.failure
            yield chunk

    def forget(self) -> None:
        """LiteLLM alone reads on: nothing needs to be kept for us."""
        self._recording = False
        self.seen = []

    def settle(self) -> None:
        """We alone read on: nothing needs to be kept for LiteLLM."""
        self._keeping = False
        self._peeked = []

    async def read_on(self, *, keep: bool = False) -> AsyncIterator[bytes]:
        """What LiteLLM took already, then the rest; with ``keep`` LiteLLM gets that too, until `settle`."""
        taken, peeked = self.seen, self._peeked
        self.seen = []
        self._seen_bytes = 0
        self._keeping = keep
        if not keep:
            self._peeked = []
        for chunk in (*taken, *peeked):
            yield chunk
        while not self.ended:
            try:
                chunk = await self._next()
            except StopAsyncIteration:
                return
            if self._keeping:
                self._peeked.append(chunk)
            yield chunk

    async def drain(self, seconds: float) -> None:
        """Read to the end, for at most ``seconds``: a connection read to its end can be used again."""

        async def rest() -> None:
            with contextlib.suppress(Exception):
                async for _ in self.read_on():
                    pass

        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(rest(), seconds)

    def body(self) -> bytes:
        return b"".join(self.seen)

    async def aclose(self) -> None:
        if self._iterator is not None:
            # Closing the generator first makes the transport drop the socket at once.
            closing = getattr(self._iterator, "aclose", None)
            if closing is not None:
                await closing()
        await self._inner.aclose()
