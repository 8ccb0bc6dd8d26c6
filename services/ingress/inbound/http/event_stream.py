"""A streamed completion as server-sent events."""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import openai_wire
from services.ingress.inbound.http.error_envelope import error_object, refusal_of
from services.ingress.inbound.http.openai_wire import WireChunk, WireDelta
from services.ingress.inbound.http.router_metadata import router_metadata
from shared.events.replies import (
    Message,
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplyPart,
    ReplyStarted,
    ReplyVectors,
)

KEEP_ALIVE: Final = b": OPENROUTER PROCESSING\n\n"
"""A comment: sent as data it would break nearly every client."""
DONE: Final = b"data: [DONE]\n\n"
_BEFORE: Final = b"data: "
_AFTER: Final = b"\n\n"


class EventStream:
    """Makes the bytes of one stream, in order."""

    __slots__ = (
        "_begun",
        "_created",
        "_generation_id",
        "_model",
        "_provider_name",
        "_requested",
        "_wants_metadata",
    )

    def __init__(
        self, generation_id: str, *, requested: str, created: int, wants_metadata: bool
    ) -> None:
        """`requested` and `created` serve until the reply says what it really is."""
        self._generation_id = generation_id
        self._requested = requested
        self._model = requested
        self._created = created
        self._provider_name: str | None = None
        self._wants_metadata = wants_metadata
        self._begun: set[int] = set()

    def encode(self, parts: Sequence[ReplyPart]) -> bytes:
        """The events of some parts; empty when they are nothing for the client."""
        return b"".join(self._encode(part) for part in parts)

    def failure(self, refusal: Refusal, *, metadata: msgspec.Raw | None = None) -> bytes:
        """The event that ends a stream that has begun."""
        error = msgspec.Raw(msgspec.json.encode(error_object(refusal)))
        choice = WireDelta(
            index=0,
            delta=Message(content=""),
            finish_reason="error",
            native_finish_reason="error",
        )
        return self._event(self._chunk([choice], error=error, openrouter_metadata=metadata))

    def _encode(self, part: ReplyPart) -> bytes:
        match part:
            case ReplyDelta():
                return self._event(self._chunk(openai_wire.deltas(part.choices, self._begun)))
            case ReplyStarted():
                self._model = part.model
                self._created = part.created
                self._provider_name = part.provider_name
                return b""
            case ReplyVectors():
                return b""  # embeddings are not streamed
            case ReplyCompleted():
                return self._completed(part)
            case ReplyFailed():
                metadata = self._metadata(part, is_byok=False)
                return self.failure(refusal_of(part), metadata=metadata)
            case _:
                assert_never(part)

    def _completed(self, part: ReplyCompleted) -> bytes:
        """Usage comes once, in a last chunk without choices."""
        self._model = part.model
        self._provider_name = part.provider_name
        chunk = self._chunk(
            [],
            usage=openai_wire.usage_json(part.usage),
            service_tier=part.service_tier,
            openrouter_metadata=self._metadata(part, is_byok=part.usage.is_byok),
        )
        return self._event(chunk)

    def _metadata(self, part: ReplyCompleted | ReplyFailed, *, is_byok: bool) -> msgspec.Raw | None:
        if not self._wants_metadata:
            return None
        return router_metadata(self._requested, part.attempts, is_byok=is_byok)

    def _chunk(
        self,
        choices: list[WireDelta],
        *,
        usage: msgspec.Raw | None = None,
        error: msgspec.Raw | None = None,
        service_tier: str | None = None,
        openrouter_metadata: msgspec.Raw | None = None,
    ) -> WireChunk:
        return WireChunk(
            id=self._generation_id,
            object="chat.completion.chunk",
            created=self._created,
            model=self._model,
            provider=self._provider_name,
            choices=choices,
            usage=usage,
            error=error,
            service_tier=service_tier,
            openrouter_metadata=openrouter_metadata,
        )

    def _event(self, chunk: WireChunk) -> bytes:
        return _BEFORE + openai_wire.encode(chunk) + _AFTER
