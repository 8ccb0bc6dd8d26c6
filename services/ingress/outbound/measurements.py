"""What is counted of generations and payments."""

from collections.abc import Sized

from typing_extensions import override

from services.ingress.ports import Measurements, PaymentMeasurements
from shared.telemetry.metrics import Metrics


class CountedGenerations(Measurements):
    """Prometheus' counters."""

    def __init__(self, metrics: Metrics) -> None:
        """Register what is counted."""
        self._frames = metrics.counter("frames_read", "Reply frames of generations that wait here")
        self._in_flight = metrics.gauge("generations_in_flight", "Generations that wait here")

    def watch(self, waiting: Sized) -> None:
        """Tell at each scrape how many wait."""
        self._in_flight.set_function(waiting.__len__)

    @override
    def frame_read(self) -> None:
        self._frames.inc()


class CountedPayments(PaymentMeasurements):
    """Prometheus' counters."""

    def __init__(self, metrics: Metrics) -> None:
        """Register what is counted; `not_booked` is for an operator to look at."""
        self._events = metrics.counter(
            "payment_events",
            "Events of the payment provider taken in, by what became of them",
            ("type", "outcome"),
        )

    @override
    def taken(self, event_type: str, outcome: str) -> None:
        self._events.labels(event_type, outcome).inc()
