"""Makes the read side anew from the facts on Kafka, beside billing at work.

Facts that are booked, and stand between a moment and where billing has come, make fresh rows. What is
booked and has no fact there, because Kafka no longer keeps it or it is older than that moment, and
what billing books meanwhile, is taken over from the rows that are there. Which fact of a generation
was booked, and what it cost, the ledger says; it is read and never written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.billing.domain.fact import checked_fact
from services.billing.domain.receipt import Position
from services.billing.ports.read_side import History, Rebuild
from shared.events.codec import Received
from shared.events.generations import GenerationFinished


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to, in rows: `receipts` and `activity` are what is there after it."""

    facts: int
    replayed: int
    kept: int
    receipts: int
    activity: int


async def replay_receipts(history: History, rebuild: Rebuild, since: datetime | None) -> Replayed:
    """Replay what was booked since a moment, or all that Kafka keeps. Raises Unavailable."""
    spans = await history.spans(since)
    facts = replayed = 0
    await rebuild.begin()
    async for batch in history.batches(spans):
        told = _told(batch)
        facts += len(told)
        replayed += await rebuild.add(told)
    kept = await rebuild.keep()
    await rebuild.add_up()
    receipts, activity = await rebuild.swap()
    return Replayed(facts=facts, replayed=replayed, kept=kept, receipts=receipts, activity=activity)


def _told(batch: Sequence[Received]) -> list[tuple[GenerationFinished, Position]]:
    told: list[tuple[GenerationFinished, Position]] = []
    for received in batch:
        event = received.event
        if not isinstance(event, GenerationFinished):
            continue
        try:
            checked_fact(event)
        except (ValueError, OverflowError, OSError):
            continue  # billing did not book it either
        told.append((event, Position(received.partition, received.offset)))
    return told
