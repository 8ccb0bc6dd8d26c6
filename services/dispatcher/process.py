"""The dispatcher at work: take requests once everything is known, drain, leave."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.dispatcher.inbound.kafka_cancellations import Cancellations
from services.dispatcher.outbound.kafka_liveness import KafkaLiveness
from services.dispatcher.outbound.kafka_observations import KafkaObservations
from services.dispatcher.use_cases.run_generation import STOPPING
from services.dispatcher.use_cases.running import Running
from shared.kafka.calls import CallServer
from shared.kafka.readers import Source, read_together
from shared.kafka.work import WorkConsumer
from shared.tasks import TaskScope
from shared.telemetry.logging import get_logger

_READY_POLL_SECONDS: Final = 0.05
_ENDING_SECONDS_MAX: Final = 12.0
"""For runs that were ended at the end of the drain: their fact and their last frame, 5 s each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """A dispatcher whose connections are open."""

    replies: Source
    sources: Sequence[Source]
    work: WorkConsumer
    plans: CallServer
    checks: WorkConsumer
    observations: KafkaObservations
    running: Running
    runs: TaskScope
    background: TaskScope
    cancellations: Cancellations
    liveness: KafkaLiveness
    unready: Callable[[], str | None]
    drain_seconds: float

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain and leave. Raises what broke a part."""
        forever = asyncio.Event()
        async with TaskScope() as parts:
            parts.start(self.replies.run(forever), name="replies")
            parts.start(read_together(self.sources, forever), name="sources")
            parts.start(self.liveness.run(), name="liveness")
            parts.start(self.cancellations.judge(), name="judge")
            parts.start(self.observations.run(), name="observations")
            await self._work(stop, parts)
            await self._drain()
            for scope in (parts, self.runs, self.background):
                if scope.failure is not None:
                    raise scope.failure

    async def _work(self, stop: asyncio.Event, parts: TaskScope) -> None:
        """Take work as soon as everything needed for it is known, until the end or a failure."""
        leave = asyncio.Event()
        async with TaskScope() as waiting:
            waiting.start(_set_when(leave, stop), name="stop")
            for scope in (parts, self.runs, self.background):
                waiting.start(_set_when(leave, scope.failed), name="failure")
            while not leave.is_set() and self.unready() is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_READY_POLL_SECONDS):
                        await leave.wait()
            if not leave.is_set():
                parts.start(self.plans.run(leave), name="plans")
                checking = parts.start(self.checks.run(leave), name="checks")
                await self.work.run(leave)
                await asyncio.wait([checking])

    async def _drain(self) -> None:
        logger = get_logger("drain")
        logger.info("draining", runs=len(self.running))
        if not await self.runs.drain(self.drain_seconds):
            self.running.end_all(STOPPING)
            if not await self.runs.drain(_ENDING_SECONDS_MAX):
                logger.warning("runs are left behind", runs=len(self.running))
        await self.observations.tell_gathered()
        await self.background.drain(_ENDING_SECONDS_MAX)


async def _set_when(wanted: asyncio.Event, event: asyncio.Event) -> None:
    await event.wait()
    wanted.set()
