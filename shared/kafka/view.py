"""A state topic held in memory: the newest version of each key.

Rules: ready when read to the end offset seen at start. Where the writer sends heartbeats, the view
is stale when none has come for 15 s, and wrong when several in a row count other keys than it
holds; either makes `problem` say so, and what depends on the view answers 503: an unread credential
must never turn into spent credits. Lower versions are ignored.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from typing_extensions import override

from shared.clock import Clock
from shared.events.codec import Received
from shared.events.envelope import Heartbeat, StateEvent
from shared.events.topic import Topic
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.readers import Source

STALE_SECONDS: Final = 15.0
_WRONG_COUNTS_MAX: Final = 3
"""A state may be on its way while the writer counts; three counts in a row are no coincidence."""

OnChange = Callable[[str, StateEvent | None], None]
"""Told the key and its new state, None when it is gone."""


class View(Source):
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
        super().__init__(config, topic, 0, dead_letters=dead_letters)
        self._clock = clock
        self._on_change = on_change
        self._heartbeat = heartbeat
        self._count_of = count_of
        self._removal = removal
        self._states: dict[str, StateEvent] = {}
        self._removed_versions: dict[str, int] = {}
        self._last_heartbeat: float | None = None
        self._wrong_counts = 0
        self._relied_on_until = -inf
        """Until then there is no problem, but for what the next heartbeat says."""
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
        if self._clock.monotonic() < self._relied_on_until:  # asked several times a request
            return None
        problem = self._find_problem()
        if problem is None:
            heard_at = self._last_heartbeat
            self._relied_on_until = inf if heard_at is None else heard_at + STALE_SECONDS
        return problem

    def _find_problem(self) -> str | None:
        if not self.ready.is_set():
            return f"{self.topic.name} has not been read to its end"
        if self._heartbeat is None:
            return None
        if (
            self._last_heartbeat is None
            or self._clock.monotonic() - self._last_heartbeat > STALE_SECONDS
        ):
            return f"{self.topic.name} is stale: its writer is silent"
        if self._wrong_counts >= _WRONG_COUNTS_MAX:
            return f"{self.topic.name} is incomplete: the writer counts other keys"
        return None

    @override
    async def seek(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
        await consumer.seek_to_beginning(tp)
        end: int = (await consumer.end_offsets([tp]))[tp]
        return end

    @override
    def take(self, record: Any) -> None:
        if record.value is None:
            self._forget((record.key or b"").decode("utf-8", "replace"))
        else:
            super().take(record)

    @override
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
        if not self.ready.is_set() and age_seconds > STALE_SECONDS:
            return
        self._last_heartbeat = self._clock.monotonic()
        self._relied_on_until = -inf
        self.latest_heartbeat = event
        if self._count_of is not None:
            right = self._count_of(event) == len(self._states)
            self._wrong_counts = 0 if right else self._wrong_counts + 1
