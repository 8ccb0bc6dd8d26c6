"""What is counted of HTTP requests. Labels come from small closed sets."""

from collections.abc import Callable

from shared.telemetry.counting import Counter, Histogram
from shared.telemetry.metrics import Metrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class HttpMeasurements:
    """Requests by route and status, and how long the first byte of a completion takes."""

    def __init__(self, metrics: Metrics) -> None:
        """Register what is counted; children are kept, for looking them up costs more."""
        self._requests: Counter = metrics.counter(
            "http_requests",
            "Requests answered; status 499 is a client that left",
            ("route", "status"),
        )
        first_byte: Histogram = metrics.histogram(
            "time_to_first_byte_seconds",
            "From a completion's request to the first byte of its answer",
            ("streamed",),
            _SECONDS,
        )
        self._first_byte: dict[bool, Callable[[float], None]] = {
            streamed: first_byte.labels(str(streamed).lower()).observe for streamed in (False, True)
        }
        self._children: dict[tuple[str, int], Callable[[], None]] = {}

    def answered(self, route: str, status: int) -> None:
        """A request ended."""
        count = self._children.get((route, status))
        if count is None:
            count = self._requests.labels(route, str(status)).inc
            self._children[route, status] = count
        count()

    def first_byte(self, seconds: float, *, streamed: bool) -> None:
        """The first byte of an answer goes out."""
        self._first_byte[streamed](seconds)
