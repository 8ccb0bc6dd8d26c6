"""Cancellations and signs of life from `inference.cancellations`."""

import asyncio
from datetime import timedelta
from typing import Final

from services.dispatcher.domain.liveness import IngressesHeard
from services.dispatcher.use_cases.running import Running
from shared.clock import Clock
from shared.events.codec import Received
from shared.events.completions import DispatcherAlive, GenerationCancelled, IngressAlive
from shared.ids import InstanceId
from shared.telemetry.logging import get_logger

READ_BACK: Final = timedelta(minutes=10)
"""How much of the past is read at start: a cancellation can overtake its request."""
_JUDGE_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 3.0


class Cancellations:
    """Ends runs that nobody wants any more."""

    def __init__(self, running: Running, *, clock: Clock) -> None:
        """Runs to be ended are in `running`."""
        self._running = running
        self._clock = clock
        self._ingresses = IngressesHeard()
        self._logger = get_logger("cancellations")

    def on_record(self, received: Received) -> None:
        """Take one record. Signs of life from the past, read at start, say nothing of now."""
        event = received.event
        now = self._clock.now()
        if isinstance(event, GenerationCancelled):
            self._running.cancel(event, now)
            return
        if (now - received.envelope.time).total_seconds() > _FRESH_SECONDS:
            return
        if isinstance(event, IngressAlive):
            self._ingresses.heard(event.instance_id, self._clock.monotonic())
        elif isinstance(event, DispatcherAlive):
            self._ingresses.reading_works(self._clock.monotonic())

    def expect(self, instance: InstanceId) -> None:
        """A request of this ingress came."""
        self._ingresses.waits_on_us(instance, self._clock.monotonic())

    async def judge(self) -> None:
        """Judge once a second, until cancelled."""
        while True:
            await asyncio.sleep(_JUDGE_SECONDS)
            self.judge_now()

    def judge_now(self) -> None:
        """End the runs of ingresses that fell silent."""
        for instance in self._ingresses.dead():
            self._logger.warning("ingress is silent", ingress=instance)
            self._running.ingress_died(instance)
