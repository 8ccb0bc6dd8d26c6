"""Why billing refused an attempt, in the client's terms: what is missing, and what would fit.

The first sentences are those that OpenRouter's clients know.
"""

from datetime import datetime
from typing import Final

from services.dispatcher.domain.attempt import Endpoint
from services.dispatcher.domain.estimate import affordable_max_tokens, longest_completion
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.request import ChatRequest
from shared.events.billing import KeyLimitReached, RateLimitReached, SpendRefused
from shared.events.replies import PaymentRequired
from shared.money import usd_string

_LIMIT_NAMES: Final = {
    None: "total limit",
    "daily": "daily limit",
    "weekly": "weekly limit",
    "monthly": "monthly limit",
}


def failure_of_refusal(
    refused: SpendRefused, request: AnyRequest, endpoint: Endpoint, now: datetime
) -> ProviderFailure:
    """The failure of an attempt at `endpoint` that billing did not let begin."""
    if refused.rate_limit is not None:
        return _too_fast(refused.rate_limit, endpoint, now)
    requested = affordable = None
    if isinstance(request, ChatRequest):
        requested = longest_completion(request, endpoint)
        affordable = affordable_max_tokens(request, endpoint, refused.affordable_nano_usd or 0)
    payment = PaymentRequired(
        needed_nano_usd=refused.needed_nano_usd,
        available_nano_usd=refused.available_nano_usd,
        requested_max_tokens=requested,
        affordable_max_tokens=affordable,
        key_limit=refused.key_limit,
    )
    if payment.key_limit is not None:
        return ProviderFailure(
            failure=FailureClass.KEY_LIMIT_EXCEEDED,
            raw=_key_limit_exceeded(payment, payment.key_limit),
            payment=payment,
        )
    return ProviderFailure(
        failure=FailureClass.INSUFFICIENT_CREDITS,
        raw=f"This request requires more credits, or fewer max_tokens.{_fitting(payment)} It can "
        f"cost up to ${usd_string(payment.needed_nano_usd)}, and "
        f"${usd_string(payment.available_nano_usd)} of credits are available: add credits, ask for "
        "less, or use your own provider key",
        payment=payment,
    )


def _key_limit_exceeded(payment: PaymentRequired, limit: KeyLimitReached) -> str:
    until = "" if limit.resets_at is None else f"; it resets at {_moment(limit.resets_at)}"
    return (
        f"Key limit exceeded ({_LIMIT_NAMES[limit.limit_reset]}): this request can count for up to "
        f"${usd_string(payment.needed_nano_usd)}, and ${usd_string(limit.left_nano_usd)} of the API "
        f"key's ${usd_string(limit.limit_nano_usd)} are left{until}.{_fitting(payment)} Ask for less, or "
        "raise the key's limit"
    )


def _fitting(payment: PaymentRequired) -> str:
    if payment.requested_max_tokens is None:
        return ""
    return (
        f" You requested up to {payment.requested_max_tokens} tokens, but can only afford "
        f"{payment.affordable_max_tokens}."
    )


def _too_fast(reached: RateLimitReached, endpoint: Endpoint, now: datetime) -> ProviderFailure:
    return ProviderFailure(
        failure=FailureClass.SHARED_RATE_LIMITED,
        raw=f"Rate limit exceeded: this account may use {reached.limit} {reached.counted} a minute "
        f"of shared capacity at {endpoint.provider_name}, and {reached.remaining} remain; wait until "
        f"{_moment(reached.resets_at)}, or use your own provider key",
        retry_after_seconds=max(0.0, (reached.resets_at - now).total_seconds()),
        rate_limit=reached,
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
