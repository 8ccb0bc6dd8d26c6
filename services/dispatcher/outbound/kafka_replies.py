"""Replies on their way to the ingress that waits: sealed frames, one produce in flight a stream.

What arrives while a frame is under way is joined into the next, so that the cost of a stream falls
as load rises. Parts are encoded once, when they come; a frame's content is the JSON list of them.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from shared.errors import Unavailable
from shared.events.completions import CompletionRequested, ReplyFrame
from shared.events.envelope import type_of
from shared.events.replies import ReplyPart
from shared.events.topics import INGRESS_REPLIES
from shared.ids import RunId
from shared.kafka.producer import EventProducer
from shared.sealing import Seal
from shared.tasks import TaskScope
from shared.telemetry.counting import Counter

BUFFERED_BYTES_MAX: Final = 1024 * 1024
"""What may wait in one stream; beyond it the provider is not read."""
FRAME_BYTES_WANTED: Final = 256 * 1024
"""A frame is closed at this size; one part that is larger makes a larger frame."""
_FRAME_TYPE: Final = type_of(ReplyFrame)
_encoder: Final = msgspec.json.Encoder()


class KafkaReplyStream:
    """The frames of one run."""

    __slots__ = (
        "_asked",
        "_broken",
        "_closing",
        "_number",
        "_owner",
        "_room",
        "_run_id",
        "_seal",
        "_sending",
        "_waiting",
        "_waiting_bytes",
    )

    def __init__(
        self, owner: "KafkaReplies", asked: CompletionRequested, run_id: RunId, seal: Seal
    ) -> None:
        """Nothing is sent before the first part."""
        self._owner = owner
        self._asked = asked
        self._run_id = run_id
        self._seal = seal
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._number = 0
        self._sending: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._closing = False
        self._broken: Unavailable | None = None

    def put(self, part: ReplyPart) -> None:
        """Add a part, to go out as soon as the frame under way is acknowledged."""
        if self._broken is not None:
            raise self._broken
        self._add(part)
        if self._sending is None:
            self._sending = self._owner.scope.start(self._send_waiting(), name="reply frames")

    async def room(self) -> None:
        """Return once less than BUFFERED_BYTES_MAX waits."""
        while self._waiting_bytes >= BUFFERED_BYTES_MAX and self._broken is None:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        if self._broken is not None:
            raise self._broken

    async def close(self, part: ReplyPart) -> None:
        """Send what waits; the frame with this last part is marked as the last.

        After a frame that was not acknowledged the last one is tried all the same: it may arrive,
        behind those before it.
        """
        self._closing = True
        if self._sending is None and not self._waiting:  # as after a whole answer
            await self._send_frame(b"[%b]" % _encoder.encode(part))
            return
        self._broken = None
        self._add(part)
        if self._sending is not None:
            await asyncio.shield(self._sending)
        else:
            await self._send_waiting()
        if self._waiting:  # the task above gave up on the frame before
            self._broken = None
            await self._send_waiting()
        if self._broken is not None:
            raise self._broken

    def _add(self, part: ReplyPart) -> None:
        encoded = _encoder.encode(part)
        self._waiting.append(encoded)
        self._waiting_bytes += len(encoded)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                await self._send_frame(self._joined())
        except Unavailable as error:
            self._broken = error
            if not self._closing:
                self._waiting.clear()
                self._waiting_bytes = 0
        finally:
            self._sending = None
            if self._room is not None:
                self._room.set()

    def _joined(self) -> bytes:
        parts = [self._waiting.popleft()]
        size = len(parts[0])
        while self._waiting and size + len(self._waiting[0]) <= FRAME_BYTES_WANTED:
            part = self._waiting.popleft()
            parts.append(part)
            size += len(part)
        self._waiting_bytes -= size
        if self._room is not None and self._waiting_bytes < BUFFERED_BYTES_MAX:
            self._room.set()
        return b"[" + b",".join(parts) + b"]"

    def _send_frame(self, content: bytes) -> Coroutine[Any, Any, None]:
        asked = self._asked
        number = self._number
        self._number += 1
        self._owner.frames.inc()
        return self._owner.producer.emit(
            INGRESS_REPLIES,
            ReplyFrame(
                generation_id=asked.generation_id,
                run_id=self._run_id,
                number=number,
                last=self._closing and not self._waiting,
            ),
            key=asked.generation_id,
            content=self._seal.seal(_FRAME_TYPE, self._run_id, number, content),
            partition=asked.reply_partition,
            event_id=f"{self._run_id}.{number}",
        )


class KafkaReplies:
    """Opens reply streams; they send in `scope`."""

    def __init__(self, producer: EventProducer, *, scope: TaskScope, frames: Counter) -> None:
        """`frames` counts what is sent."""
        self.producer = producer
        self.scope = scope
        self.frames = frames

    def open(self, asked: CompletionRequested, run_id: RunId, seal: Seal) -> KafkaReplyStream:
        """The reply stream of one run."""
        return KafkaReplyStream(self, asked, run_id, seal)
