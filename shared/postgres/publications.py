"""Publishes what transactions wrote to the outbox, in the order of their commits, beside the work."""

import asyncio
from collections import deque
from typing import Final

from shared.postgres.outbox import Written
from shared.postgres.outbox_relay import OutboxRelay

_WAITING_MAX: Final = 1_000
"""Transactions whose outbox waits for us; past it the sweeper publishes them."""
_JOINED_MAX: Final = 50


class Publications:
    """What is handed over goes out at once, several transactions together when there are many."""

    def __init__(self, relay: OutboxRelay, *, gather_seconds: float = 0.0) -> None:
        """`run` publishes; until then what is handed over waits.

        With `gather_seconds` the first one waits that long for others to come along: a publication
        costs a transaction and a send of its own, whatever number of keys it tells of.
        """
        self._relay = relay
        self._gather_seconds = gather_seconds
        self._waiting: deque[Written] = deque()
        self._handed = asyncio.Event()

    def hand(self, written: Written) -> None:
        """Take over what a committed transaction wrote."""
        if len(self._waiting) < _WAITING_MAX and (written.facts or written.dirty):
            self._waiting.append(written)
            self._handed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._handed.wait()
            if self._gather_seconds:
                await asyncio.sleep(self._gather_seconds)
            await self.publish_waiting()

    async def publish_waiting(self) -> None:
        """Publish what was handed over so far."""
        self._handed.clear()
        while self._waiting:
            joined = Written()
            for _ in range(min(len(self._waiting), _JOINED_MAX)):
                joined += self._waiting.popleft()
            unique = tuple(dict.fromkeys(joined.dirty))
            await self._relay.publish_now(Written(facts=joined.facts, dirty=unique))
