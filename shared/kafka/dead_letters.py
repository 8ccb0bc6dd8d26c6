"""Putting aside what cannot be understood, with a brake."""

from typing import Any, Final

from shared.clock import Clock
from shared.errors import OpenRouteError, Unavailable
from shared.events.dead_letters import DeadLettered
from shared.events.topics import DEAD_LETTERS, TOPICS
from shared.kafka.producer import EventProducer

CONSECUTIVE_MAX: Final = 100
"""More unreadable records in a row than this is a bad deployment, not bad records."""
_PAYLOAD_CHARACTERS_MAX: Final = 8_192
_MAY_HOLD_CONTENT: Final = frozenset(
    topic.name for topic in TOPICS if any(event.HAS_CONTENT for event in topic.events)
)
_MAY_HOLD_SECRETS: Final = frozenset({"credentials.commands", "credentials.state"})


class TooManyPoisonRecords(OpenRouteError):  # noqa: N818 - it says what happened
    """The brake: the process ends, rather than pour a topic into the dead letters."""


class DeadLetters:
    """Where one consumer leaves its unreadable records."""

    def __init__(self, producer: EventProducer, *, consumer: str, clock: Clock) -> None:
        """`consumer` names the reader, such as its group."""
        self._producer = producer
        self._consumer = consumer
        self._clock = clock
        self._consecutive = 0

    def readable(self) -> None:
        """A record was understood: the run of unreadable ones is over."""
        self._consecutive = 0

    async def put(self, record: Any, reason: str) -> None:
        """Leave a ConsumerRecord. Returns when the dead letter is durable.

        The payload goes along only from topics that hold neither content nor secrets.
        """
        self._consecutive += 1
        if self._consecutive > CONSECUTIVE_MAX:
            raise TooManyPoisonRecords(f"{self._consumer}: {reason}")
        headers = dict(record.headers)
        safe = record.topic not in _MAY_HOLD_CONTENT | _MAY_HOLD_SECRETS
        payload = (record.value or b"").decode("utf-8", "replace") if safe else None
        await self._producer.emit(
            DEAD_LETTERS,
            DeadLettered(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                consumer=self._consumer,
                reason=reason,
                event_type=_text(headers.get("ce_type")),
                event_id=_text(headers.get("ce_id")),
                payload=payload[:_PAYLOAD_CHARACTERS_MAX] if payload is not None else None,
                dead_at=self._clock.now(),
            ),
            key=_text(record.key) or "",
        )

    async def offer(self, record: Any, reason: str) -> None:
        """Leave a record if Kafka takes it now: for readers that must not stand still."""
        try:
            await self.put(record, reason)
        except Unavailable:
            return


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:200].decode("utf-8", "replace")
