"""What is counted of generations."""

from typing_extensions import override

from services.ingress.ports import Measurements
from shared.telemetry.metrics import Metrics


class CountedGenerations(Measurements):
    """Prometheus' counters."""

    def __init__(self, metrics: Metrics) -> None:
        """Register what is counted."""
        self._frames = metrics.counter("frames_read", "Reply frames of generations that wait here")
        self._in_flight = metrics.gauge("generations_in_flight", "Generations that wait here")

    @override
    def frame_read(self) -> None:
        self._frames.inc()

    @override
    def in_flight(self, generations: int) -> None:
        self._in_flight.set(generations)
