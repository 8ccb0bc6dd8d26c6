"""Which frames of which run are a generation's answer.

The first run that is heard is adopted; frames of any other are a rival's. Frames of a run are
numbered from 0 without gaps.
"""

from enum import Enum, auto

from shared.ids import RunId


class Step(Enum):
    """What a frame is to its generation."""

    NEXT = auto()
    REPEATED = auto()
    RIVAL = auto()
    """The first frame of a run that is not ours; further ones are REPEATED."""
    GAP = auto()


class AdoptedRun:
    """The run whose frames make the answer."""

    __slots__ = ("_next_number", "_rivals", "run_id")

    def __init__(self) -> None:
        """No run has been heard yet."""
        self.run_id: RunId | None = None
        self._next_number = 0
        self._rivals: set[RunId] = set()

    def take(self, run_id: RunId, number: int) -> Step:
        """Place one frame."""
        if self.run_id is None:
            self.run_id = run_id
        if run_id != self.run_id:
            if run_id in self._rivals:
                return Step.REPEATED
            self._rivals.add(run_id)
            return Step.RIVAL
        if number < self._next_number:
            return Step.REPEATED
        if number > self._next_number:
            return Step.GAP
        self._next_number += 1
        return Step.NEXT
