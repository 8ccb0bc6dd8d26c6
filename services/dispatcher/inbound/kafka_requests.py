"""Requests from `inference.requests`, each its own task."""

from collections.abc import Callable
from typing import Protocol

from services.dispatcher.ports import Claim
from shared.clock import Clock
from shared.events.codec import Received
from shared.events.completions import CompletionRequested
from shared.ids import InstanceId, RunId
from shared.tasks import TaskScope
from shared.telemetry.logging import get_logger
from shared.telemetry.metrics import Metrics


class Runs(Protocol):
    """Carries out one request."""

    async def run(
        self, asked: CompletionRequested, content: bytes, claim: Claim, run_id: RunId
    ) -> None:
        """Run to the end and give the claim back."""
        ...


class Requests:
    """What `WorkConsumer` calls for each record."""

    def __init__(
        self,
        runs: Runs,
        *,
        scope: TaskScope,
        expect: Callable[[InstanceId], None],
        clock: Clock,
        new_id: Callable[[], str],
        metrics: Metrics,
    ) -> None:
        """Runs stand in `scope`; `expect` is told which ingress waits from now on."""
        self._runs = runs
        self._scope = scope
        self._expect = expect
        self._clock = clock
        self._new_id = new_id
        self._late = metrics.counter("requests_late", "Requests that came after their start_by")
        self._logger = get_logger("requests")

    def start(self, received: Received, claim: Claim) -> None:
        """Begin to work on a record, at once."""
        asked = received.event
        if not isinstance(asked, CompletionRequested) or received.content is None:
            claim.done()
            return
        if self._clock.now() > asked.start_by:
            self._late.inc()
            self._logger.warning("request came too late", generation_id=asked.generation_id)
            claim.done()
            return
        self._expect(asked.reply_instance)
        self._scope.start(
            self._runs.run(asked, received.content, claim, RunId(self._new_id())),
            name="generation",
        )
