"""A state topic held in memory: the newest version of each key.

Rules: ready when read to the end offset seen at start. Where the writer sends heartbeats, the view
is stale when none has come for 15 s, and wrong when several in a row count other keys than it
holds; either makes `problem` say so, and what depends on the view answers 503: an unread credential
must never turn into spent credits. Lower versions are ignored.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.envelope import Heartbeat, StateEvent
from shared.events.topic import Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer
from shared.kafka.dead_letters import DeadLetters

STALE_SECONDS: Final = 15.0
_WRONG_COUNTS_MAX: Final = 3
"""A state may be on its way while the writer counts; three counts in a row are no coincidence."""
_START_SECONDS_MAX: Final = 30.0

OnChange = Callable[[str, StateEvent | None], None]
"""Told the key and its new state, None when it is gone."""


class View:
    """The present state of one topic."""

    def __init__(
        self,
        config: KafkaConfig,
        topic: Topic,
        *,
        clock: Clock,
        dead_letters: DeadLetters,
        on_change: OnChange | None = None,
        heartbeat: type[Heartbeat] | None = None,
        count_of: Callable[[Heartbeat], int] | None = None,
        removal: type[StateEvent] | None = None,
    ) -> None:
        """`removal` is the state that marks a key as deleted; it is kept for its version alone."""
        self._config = config
        self._topic = topic
        self._clock = clock
        self._dead_letters = dead_letters
        self._on_change = on_change
        self._heartbeat = heartbeat
        self._count_of = count_of
        self._removal = removal
        self._states: dict[str, StateEvent] = {}
        self._removed_versions: dict[str, int] = {}
        self._last_heartbeat: float | None = None
        self._wrong_counts = 0
        self._caught_up = False
        self.ready = asyncio.Event()
        self.latest_heartbeat: Heartbeat | None = None

    def get(self, key: str) -> StateEvent | None:
        """The state of a key, or None."""
        return self._states.get(key)

    def items(self) -> Iterator[tuple[str, StateEvent]]:
        """All keys with their states."""
        return iter(self._states.items())

    def __len__(self) -> int:
        return len(self._states)

    def problem(self) -> str | None:
        """Why this view must not be relied on now, or None."""
        if not self._caught_up:
            return f"{self._topic.name} has not been read to its end"
        if self._heartbeat is None:
            return None
        if (
            self._last_heartbeat is None
            or self._clock.monotonic() - self._last_heartbeat > STALE_SECONDS
        ):
            return f"{self._topic.name} is stale: its writer is silent"
        if self._wrong_counts >= _WRONG_COUNTS_MAX:
            return f"{self._topic.name} is incomplete: the writer counts other keys"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the topic until `stop`."""
        async with open_consumer(self._config) as consumer:
            tp = TopicPartition(self._topic.name, 0)
            consumer.assign([tp])
            try:
                async with asyncio.timeout(_START_SECONDS_MAX):
                    await consumer.seek_to_beginning(tp)
                    end = (await consumer.end_offsets([tp]))[tp]
            except (KafkaError, TimeoutError) as error:
                raise Unavailable("kafka", f"cannot read {self._topic.name}") from error
            while not stop.is_set():
                if not self._caught_up and await consumer.position(tp) >= end:
                    self._caught_up = True
                    self.ready.set()
                batch = await consumer.getmany(timeout_ms=int(POLL_SECONDS_MAX * 1000))
                for records in batch.values():
                    for record in records:
                        if record.value is None:
                            self._forget((record.key or b"").decode("utf-8", "replace"))
                            continue
                        try:
                            received = decode_record(record)
                        except PoisonRecord as error:
                            await self._dead_letters.offer(record, error.reason)
                            continue
                        self._dead_letters.readable()
                        self.apply(received)

    def apply(self, received: Received) -> None:
        """Take in one record."""
        event = received.event
        if isinstance(event, Heartbeat):
            self._beat(event)
            return
        if not isinstance(event, StateEvent):
            return
        key = (received.key or b"").decode("utf-8", "replace")
        known = self._states.get(key)
        seen = self._removed_versions.get(key, -1) if known is None else known.version
        if event.version < seen:
            return
        if self._removal is not None and isinstance(event, self._removal):
            self._removed_versions[key] = event.version
            self._drop(key)
            return
        self._states[key] = event
        self._removed_versions.pop(key, None)
        if self._on_change is not None:
            self._on_change(key, event)

    def _forget(self, key: str) -> None:
        self._removed_versions.pop(key, None)
        self._drop(key)

    def _drop(self, key: str) -> None:
        if self._states.pop(key, None) is not None and self._on_change is not None:
            self._on_change(key, None)

    def _beat(self, event: Heartbeat) -> None:
        if self._heartbeat is None or not isinstance(event, self._heartbeat):
            return
        age_seconds = (self._clock.now() - event.sent_at).total_seconds()
        if not self._caught_up and age_seconds > STALE_SECONDS:
            return
        self._last_heartbeat = self._clock.monotonic()
        self.latest_heartbeat = event
        if self._count_of is not None:
            right = self._count_of(event) == len(self._states)
            self._wrong_counts = 0 if right else self._wrong_counts + 1
