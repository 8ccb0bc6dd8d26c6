"""Time, handed in so that rules which depend on it can be tried at any moment."""

import time
from datetime import UTC, datetime
from functools import partial
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

    now = staticmethod(partial(datetime.now, UTC))  # noqa: TID251 - this is the clock that the ban points to
    monotonic = staticmethod(time.monotonic)
