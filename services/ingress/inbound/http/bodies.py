"""Reading request bodies within their limits of size and time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, TypeVar

from aiohttp import web

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

T = TypeVar("T")
BODY_BYTES_MAX: Final = 20 * 1024 * 1024
SMALL_BODY_BYTES_MAX: Final = 512 * 1024
"""For everything but completions."""
_ACCOUNTED_FROM_BYTES: Final = 256 * 1024
"""Smaller bodies are bounded by how many requests may run."""
_ROOM_ENOUGH: Final = nullcontext()
_BUSY: Final = refusals.unavailable("too many large requests are being read")
_UNREADABLE: Final = Refusal(
    status=400,
    message="the request body does not decode as its Content-Encoding says, or was cut",
    error_type="invalid_request",
    closes_connection=True,
)


class Bodies:
    """Reads bodies; keeps the sum of large ones that are held at the same time within bounds."""

    def __init__(self, *, seconds_max: float, held_bytes_max: int) -> None:
        """`seconds_max` is for one whole body."""
        self._seconds_max = seconds_max
        self._held_bytes_max = held_bytes_max
        self._held_bytes = 0

    def room_for(self, request: web.Request) -> AbstractContextManager[Refusal | None]:
        """Room in memory while the block runs; a Refusal when there is none."""
        length = request.content_length
        if length is None:
            length = BODY_BYTES_MAX if request.body_exists else 0
        if length <= _ACCOUNTED_FROM_BYTES:
            return _ROOM_ENOUGH
        if length > BODY_BYTES_MAX:
            return nullcontext(refusals.too_large(BODY_BYTES_MAX))
        if self._held_bytes + length > self._held_bytes_max:
            return nullcontext(_BUSY)
        return self._held(length)

    @contextmanager
    def _held(self, length: int) -> Iterator[None]:
        self._held_bytes += length
        try:
            yield
        finally:
            self._held_bytes -= length

    async def read(
        self, request: web.Request, *, bytes_max: int = BODY_BYTES_MAX
    ) -> bytes | Refusal:
        """The whole body, decompressed."""
        try:
            if request.content.is_eof():  # it came with its head, as small bodies do
                body = request.content.read_nowait()
            else:
                length = request.content_length
                if length is not None and length > bytes_max:
                    return refusals.too_large(bytes_max)
                async with asyncio.timeout(self._seconds_max):
                    body = await request.read()
        except TimeoutError:
            return refusals.body_late(f"the request body did not come within {self._seconds_max} s")
        except web.HTTPRequestEntityTooLarge:
            return refusals.too_large(bytes_max)
        except web.RequestPayloadError:
            return _UNREADABLE
        return body if len(body) <= bytes_max else refusals.too_large(bytes_max)

    async def form(self, request: web.Request, read: Callable[[bytes], T | Refusal]) -> T | Refusal:
        """A small body, as `read` understands it."""
        body = await self.read(request, bytes_max=SMALL_BODY_BYTES_MAX)
        return body if isinstance(body, Refusal) else read(body)
