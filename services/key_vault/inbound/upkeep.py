"""What the passing of time wakes: heartbeats, and the end of what is no longer needed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock
from shared.errors import Unavailable
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import Metrics

HEARTBEAT_SECONDS: Final = 2.0
SWEEP_SECONDS: Final = 10.0
MARKER_LIFE: Final = timedelta(seconds=60)
"""How long a removal stays on the topic before its tombstone: no older state is under way then."""
COMMAND_LIFE: Final = timedelta(hours=1)
"""Longer than `credentials.commands` keeps a command."""

FACT_LIFE: Final = timedelta(days=42)
"""Longer than `billing.fees` keeps a fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chores:
    """What is done again and again; all of it raises Unavailable.

    Attributes:
        send_heartbeat: gives the number of credentials that live on the topic.
        bury_removed: gives up credentials deleted before a moment; gives their number.
        forget_commands: deletes records of commands carried out before a moment; the same.
        forget_facts: deletes records of facts taken in before a moment; the same.
    """

    send_heartbeat: Callable[[], Awaitable[int]]
    bury_removed: Callable[[datetime], Awaitable[int]]
    forget_commands: Callable[[datetime], Awaitable[int]]
    forget_facts: Callable[[datetime], Awaitable[int]]


class Upkeep:
    """Does the chores in their time. `problem` tells of PostgreSQL and Kafka, which they need."""

    def __init__(self, chores: Chores, *, clock: Clock, metrics: Metrics) -> None:
        """Begin without a heartbeat."""
        self._chores = chores
        self._clock = clock
        self._live = metrics.gauge("credentials_live", "Credentials that dispatchers may use")
        self._problem: str | None = "has not sent a heartbeat"
        self._logger = get_logger("upkeep")

    def problem(self) -> str | None:
        """Why the last heartbeat failed, or None."""
        return self._problem

    async def send_heartbeats(self) -> None:
        """Send one every HEARTBEAT_SECONDS, until cancelled."""
        while True:
            try:
                self._live.set(await self._chores.send_heartbeat())
            except Unavailable as error:
                self._note(str(error))
            else:
                self._note(None)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def sweep(self) -> None:
        """Clear up every SWEEP_SECONDS, until cancelled; heartbeats report what is unavailable."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep_once()
            except Unavailable:
                continue

    async def sweep_once(self) -> None:
        """Bury what was deleted long enough ago, and forget old commands. Raises Unavailable."""
        now = self._clock.now()
        buried = await self._chores.bury_removed(now - MARKER_LIFE)
        forgotten = await self._chores.forget_commands(now - COMMAND_LIFE)
        forgotten += await self._chores.forget_facts(now - FACT_LIFE)
        if buried or forgotten:
            self._logger.info("swept", buried=buried, forgotten=forgotten)

    def _note(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            self._logger.warning("no heartbeat", reason=problem)
        self._problem = problem
