"""What was sent and is not acknowledged yet, and when to cease to wait for it.

An idempotent producer keeps its batches for ever while the broker is away. A timer for each record
would cost a tenth of what sending it does, so all that wait stand in one line, which is looked over
now and then: a wait is never cut short, and outlasts its limit by no more than LOOK_SECONDS.
"""

import asyncio
from collections import deque
from typing import Final

LOOK_SECONDS: Final = 0.25

Sent = asyncio.Future[object]
"""Ends once the record is durable."""


class Acknowledgements:
    """The records of one process, in the order in which they were sent."""

    def __init__(self, seconds_max: float) -> None:
        """Nothing was sent."""
        self._seconds_max = seconds_max
        self._waiting: deque[tuple[float, Sent]] = deque()
        self._is_looking = False

    def expect(self, sent: Sent) -> None:
        """See to it that whoever awaits it gets TimeoutError when that takes too long."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._seconds_max, sent))
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(LOOK_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, now = self._waiting, loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, sent = waiting.popleft()
            if not sent.done():
                sent.set_exception(TimeoutError())
        self._is_looking = bool(waiting)
        if waiting:
            loop.call_later(LOOK_SECONDS, self._look, loop)
