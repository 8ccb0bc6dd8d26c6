"""An operator has looked at a dead letter: from then on it does not make reconciliation fail."""

from dataclasses import dataclass

from services.billing.domain.dead_letter import Acknowledgement, Position, acknowledgement_of
from services.billing.ports.reconciliation import Acknowledgements, KafkaRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class NotThere:
    """No dead letter that is about money names this position."""


async def acknowledge(
    position: Position,
    *,
    reason: str,
    by: str,
    history: KafkaRecords,
    acknowledgements: Acknowledgements,
) -> Acknowledgement | NotThere:
    """Keep what was decided about a letter that stands in Kafka; the first decision stays.

    Raises Unavailable when Kafka or PostgreSQL does not answer.
    """
    letters = [
        each
        for each in await history.dead_letters(await history.ends())
        if each.position == position
    ]
    if not letters:
        return NotThere()
    kept = await acknowledgements.store(letters, reason=reason, by=by)
    found = acknowledgement_of(letters[-1], kept)
    if found is None:
        raise AssertionError("what was stored is there")
    return found
