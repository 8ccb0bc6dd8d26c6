"""POST /embeddings.

Vectors are carried as base64 and written as numbers where the client does not ask for base64, a few at
a time, since all of a long answer's at once would keep every other request waiting.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final

from aiohttp import web

from services.ingress.domain.embeddings_request import (
    EmbeddingsRequest,
    read_embeddings_request,
)
from services.ingress.inbound.http import embeddings_wire
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.generations import Answer, Generations, write

WRITTEN_AT_ONCE_BYTES: Final = 256 * 1024
"""Of JSON; a longer answer is written in pieces of this size."""


class Embeddings:
    """The handler."""

    def __init__(self, generations: Generations) -> None:
        """`generations` begins them and waits for their answers."""
        self._generations = generations

    def create(self, exchange: Exchange) -> Awaitable[web.StreamResponse]:
        """Answer one request."""
        return self._generations.answer(exchange, read_embeddings_request, self._write)

    async def _write(self, answer: Answer[EmbeddingsRequest]) -> web.StreamResponse:
        completed = await self._generations.whole(answer)
        if isinstance(completed, web.Response):
            return completed
        exchange = answer.exchange
        pieces = embeddings_wire.pieces(
            answer.completion.generation_id,
            completed,
            as_base64=answer.request.encoding_format == "base64",
            openrouter_metadata=answer.metadata(completed, is_byok=completed.usage.is_byok),
        )
        response: web.StreamResponse | None = None
        waiting = bytearray()
        for piece in pieces:
            waiting += piece
            if len(waiting) < WRITTEN_AT_ONCE_BYTES:
                continue
            if response is None:
                response = web.StreamResponse(headers=exchange.headers)
                response.content_type = "application/json"
                await response.prepare(exchange.request)
            await write(response, bytes(waiting))
            await asyncio.sleep(0)
            waiting.clear()
        if response is None:
            return exchange.raw(bytes(waiting))
        await write(response, bytes(waiting))
        await response.write_eof()
        return response
