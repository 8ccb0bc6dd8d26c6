"""What a topic is: its name and key, its sizes, how long it keeps, who writes and who reads."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shared.events.envelope import Event

Service = Literal["ingress", "key-vault", "dispatcher", "billing", "operations"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
KIB = 1024
MIB = 1024 * KIB
SMALL_RECORD_BYTES_MAX = MIB
LARGE_RECORD_BYTES_MAX = 24 * MIB
"""A 20 MiB body, sealed, with its headers."""
SPREAD = 48
"""Partitions of what is shared out among processes: the most processes of one service."""


class Kind(StrEnum):
    """How a topic is consumed; each is one class in shared/kafka."""

    WORK = "work"
    REPLIES = "replies"
    BROADCAST = "broadcast"
    FACT = "fact"
    STATE = "state"
    CALL = "call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic. `retention_ms` None means compacted."""

    name: str
    kind: Kind
    key: str
    events: tuple[type[Event], ...]
    producers: tuple[Service, ...]
    consumers: tuple[Service | Literal["anyone"], ...]
    why: str
    partitions: int = SPREAD
    record_bytes_max: int = SMALL_RECORD_BYTES_MAX
    retention_ms: int | None = None

    def configuration(self) -> dict[str, str]:
        """The topic's settings in Kafka's words."""
        common = {"max.message.bytes": str(self.record_bytes_max)}
        if self.retention_ms is None:
            return common | {
                "cleanup.policy": "compact",
                "max.compaction.lag.ms": str(HOUR_MS),
                "segment.ms": str(HOUR_MS),
                "min.cleanable.dirty.ratio": "0.1",
                "delete.retention.ms": str(DAY_MS),
            }
        return common | {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            # only closed segments are deleted, so a segment must close as often as it may stay
            "segment.ms": str(min(self.retention_ms, DAY_MS)),
        }
