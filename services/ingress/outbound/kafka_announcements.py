"""Cancellations and abandonments: queued at once, sent until Kafka acknowledges them.

An abandonment decides about money, so it is tried for as long as the process lives. A cancellation
is only worth sending while its generation could still run; when too much waits, it is what gives way.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, cast

from typing_extensions import override

from services.ingress.ports import NEVER_TAKEN, Announcements
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.completions import GenerationCancelled
from shared.events.generations import GenerationAbandoned
from shared.events.topics import INFERENCE_CANCELLATIONS, INFERENCE_GENERATIONS
from shared.ids import AccountId, GenerationId, RunId
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.telemetry.logging import get_logger

QUEUED_MAX: Final = 100_000
_BATCH_MAX: Final = 500
_RETRY_SECONDS: Final = 0.5
_NEVER_TAKEN_SECONDS: Final = 60.0

_Reason = Literal["client_gone", "rival_run", "stopping", "abandoned"]


@dataclass(frozen=True, slots=True)
class _Queued:
    record: Record
    until: float | None


class KafkaAnnouncements(Announcements):
    """One queue, one sender; `run` is the sender."""

    def __init__(
        self, producer: EventProducer, *, clock: Clock, generation_seconds_max: float
    ) -> None:
        """A cancellation is dropped after `generation_seconds_max`."""
        self._producer = producer
        self._clock = clock
        self._generation_seconds_max = generation_seconds_max
        self._queued: deque[_Queued] = deque()
        self._something = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._logger = get_logger("announcements")

    @override
    def cancel(self, generation_id: GenerationId, *, run_id: RunId | None, reason: str) -> None:
        deadline = self._clock.now() + timedelta(seconds=self._generation_seconds_max)
        event = GenerationCancelled(
            generation_id=generation_id,
            run_id=run_id,
            reason=cast("_Reason", reason),
            deadline=deadline,
        )
        record = self._producer.record(INFERENCE_CANCELLATIONS, event, key=generation_id)
        self._put(_Queued(record, self._clock.monotonic() + self._generation_seconds_max))

    @override
    def abandon(self, generation_id: GenerationId, *, account_id: AccountId, reason: str) -> None:
        # a request that Kafka never took cannot be begun after its start_by
        until = self._clock.monotonic() + _NEVER_TAKEN_SECONDS if reason == NEVER_TAKEN else None
        event = GenerationAbandoned(
            generation_id=generation_id, account_id=account_id, reason=reason
        )
        record = self._producer.record(INFERENCE_GENERATIONS, event, key=account_id)
        self._put(_Queued(record, until))

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._something.wait()
            await self._send_batch()

    async def flush(self, deadline_seconds: float) -> bool:
        """Wait until all is sent; False when that did not happen in time."""
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._empty.wait()
        except TimeoutError:
            self._logger.warning("announcements are lost", count=len(self._queued))
        return not self._queued

    def _put(self, queued: _Queued) -> None:
        if len(self._queued) >= QUEUED_MAX and queued.until is not None:
            self._logger.error("an announcement is lost", topic=queued.record.topic)
            return
        self._queued.append(queued)
        self._something.set()
        self._empty.clear()

    async def _send_batch(self) -> None:
        now = self._clock.monotonic()
        batch = [self._queued.popleft() for _ in range(min(_BATCH_MAX, len(self._queued)))]
        batch = [each for each in batch if each.until is None or each.until > now]
        try:
            if batch:
                await self._producer.send_many([each.record for each in batch])
        except Unavailable as error:
            # the same records again: their ids make a repetition harmless
            self._queued.extendleft(reversed(batch))
            self._logger.warning("announcements wait", reason=str(error), count=len(self._queued))
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if not self._queued:
            self._something.clear()
            self._empty.set()
