"""How many requests may run at the same time."""

from dataclasses import dataclass

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightLimits:
    """The most requests of one account at one process, and of all accounts together."""

    per_account: int
    per_process: int


def may_begin(
    limits: InFlightLimits, *, account_in_flight: int, process_in_flight: int
) -> Refusal | None:
    """None when one more request may begin.

    An account over its share is told 429; a process that is full says 503, so that a load balancer
    tries another.
    """
    if account_in_flight >= limits.per_account:
        return refusals.too_many(
            f"this account has {limits.per_account} requests running, which is as many as may be"
        )
    if process_in_flight >= limits.per_process:
        return refusals.unavailable("too many requests are running", retry_after_seconds=1)
    return None
