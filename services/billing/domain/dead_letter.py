"""What was put aside and may be money that is missing, until an operator has looked at it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from typing_extensions import override


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a record stands in Kafka."""

    topic: str
    partition: int
    offset: int

    @override
    def __str__(self) -> str:
        """For people and for grep."""
        return f"{self.topic} partition {self.partition} offset {self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be taken in, or a payment that was not booked, and why.

    `position` is that of the record, of a payment that of the letter itself. `event_id` tells it from
    another one that stands there once the topic was made anew; it is empty when it has none.
    """

    position: Position
    event_id: str
    reason: str

    @override
    def __str__(self) -> str:
        """One line, whatever stands in the reason."""
        return f"{self.position}: {_one_line(self.reason)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What was decided about a dead letter, by whom, when. It is never changed."""

    position: Position
    event_id: str
    letter: str
    reason: str
    by: str
    at: datetime

    def is_of(self, letter: DeadLetter) -> bool:
        """Whether it is about this letter."""
        return (self.position, self.event_id) == (letter.position, letter.event_id)

    @override
    def __str__(self) -> str:
        """What stands behind the letter on its line."""
        return f"acknowledged at {self.at.isoformat()} by {_one_line(self.by)}: {_one_line(self.reason)}"


def acknowledgement_of(
    letter: DeadLetter, acknowledgements: Iterable[Acknowledgement]
) -> Acknowledgement | None:
    """What was decided about a letter, or None as long as nothing was."""
    return next((each for each in acknowledgements if each.is_of(letter)), None)


def distinct(letters: Iterable[DeadLetter]) -> Sequence[DeadLetter]:
    """Each letter once, as it was told last, ordered by position.

    A consumer that dies between putting a record aside and committing its offset does it again.
    """
    known = {(each.position, each.event_id): each for each in letters}
    return sorted(known.values(), key=lambda each: (each.position.topic, *_place(each)))


def _place(letter: DeadLetter) -> tuple[int, int]:
    return letter.position.partition, letter.position.offset


def _one_line(text: str) -> str:
    """The text without what would begin another line or hide this one in a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
