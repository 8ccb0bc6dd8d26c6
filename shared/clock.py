"""Time, handed in so that rules which depend on it can be tried at any moment."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What services ask of time."""

    def now(self) -> datetime:
        """The present moment in UTC, with its time zone."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock that the ban points to

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()
