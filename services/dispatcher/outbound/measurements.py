"""One canonical log line and the metrics of each generation; ids, counts and times, no content."""

from collections.abc import Callable
from typing import Final

from services.dispatcher.domain.run import Cancelled, Dropped, Ending, Failed, Run, outcome_of
from shared.telemetry.logging import Journal, get_logger
from shared.telemetry.metrics import Metrics

_FIRST_TOKEN_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DURATION_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Measurements:
    """Observes runs."""

    def __init__(self, metrics: Metrics, *, in_flight: Callable[[], int]) -> None:
        """`in_flight` is asked at each scrape."""
        self._logger = get_logger("generation")
        self._journal = Journal("generation")
        self._generations = metrics.counter(
            "generations", "Runs of generations that ended here, by outcome", ("outcome",)
        )
        self._attempts = metrics.counter(
            "attempts", "Calls of providers, by how they failed", ("provider", "tier", "failure")
        )
        self._fallbacks = metrics.counter(
            "fallbacks", "Decisions to try the next attempt, by reason", ("reason",)
        )
        self._first_token = metrics.histogram(
            "first_token_seconds",
            "From taking a request to its first token",
            (),
            _FIRST_TOKEN_BUCKETS,
        )
        self._duration = metrics.histogram(
            "generation_seconds", "From taking a request to its end", (), _DURATION_BUCKETS
        )
        # children are kept, for looking them up costs more than counting
        self._ended: dict[str, Callable[[], None]] = {}
        self._called: dict[tuple[str, str, str], Callable[[], None]] = {}
        self.frames = metrics.counter("reply_frames", "Frames sent towards ingresses")
        metrics.gauge("generations_in_flight", "Runs under way").set_function(in_flight)

    def ended(self, run: Run, ending: Ending, seconds: float) -> None:
        """Count a run, and write its line."""
        outcome = "dropped" if isinstance(ending, Dropped) else outcome_of(ending)
        self._count_end(outcome)
        self._duration.observe(seconds)
        for receipt in run.attempts:
            self._count_call((receipt.provider, receipt.tier, receipt.failure or "none"))
        for reason in run.fallback_reasons:
            self._fallbacks.labels(reason).inc()
        if run.first_token_seconds is not None:
            self._first_token.observe(run.first_token_seconds)
        self._journal.info("generation", _fields(run, ending, outcome, seconds))

    def _count_end(self, outcome: str) -> None:
        count = self._ended.get(outcome)
        if count is None:
            count = self._ended[outcome] = self._generations.labels(outcome).inc
        count()

    def _count_call(self, labels: tuple[str, str, str]) -> None:
        count = self._called.get(labels)
        if count is None:
            count = self._called[labels] = self._attempts.labels(*labels).inc
        count()

    def broke(self, run: Run, error: Exception) -> None:
        """Log a bug of ours with where it happened."""
        self._logger.error(
            "generation broke",
            generation_id=run.asked.generation_id,
            run_id=run.run_id,
            exc_info=error,
        )


def _fields(run: Run, ending: Ending, outcome: str, seconds: float) -> dict[str, object]:
    asked, attempt = run.asked, run.answering
    fields: dict[str, object] = {
        "generation_id": asked.generation_id,
        "run_id": run.run_id,
        "account_id": asked.account_id,
        "outcome": outcome,
        "duration_ms": round(seconds * 1000, 3),
        "attempts": len(run.attempts),
    }
    if run.request is not None:
        fields["streamed"] = run.request.is_streamed
    if attempt is not None:
        usage = run.used(is_complete=outcome == "completed")
        fields |= {
            "model": attempt.model,
            "provider": attempt.endpoint.provider,
            "endpoint": attempt.endpoint.id,
            "tier": attempt.tier,
            "prompt_tokens": usage.prompt_tokens if usage else 0,
            "completion_tokens": usage.completion_tokens if usage else 0,
        }
    if run.fallback_reasons:
        fields["fallbacks"] = run.fallback_reasons
    match ending:
        case Failed():
            fields |= {"status": ending.error.status, "error_type": ending.error.error_type}
        case Cancelled() | Dropped():
            fields["reason"] = ending.reason
        case _:
            pass
    return fields
