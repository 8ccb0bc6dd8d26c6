"""What the client is told when the request cannot be served.

Statuses and error types are OpenRouter's (reference of the API). A failure of the account's own key
is told as the provider told it, since the account can mend it; a failure of a platform key is ours.
"""

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from types import MappingProxyType
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.failure import (
    REFUSED_BY_BILLING,
    UNSUPPORTED_PARAMETER,
    FailureClass,
    ProviderFailure,
)
from services.dispatcher.domain.health import COOL_DOWN_MAX, Health
from services.dispatcher.domain.plan import LeftOut, Plan, WhyLeftOut
from shared.events.billing import RateLimitReached
from shared.events.replies import PaymentRequired

RETRY_SECONDS: Final = 1
"""What a 429 or 503 asks the client to wait when nobody said how long."""
_OVERLOADED: Final = frozenset({503, 529})
_REQUEST_STATUSES: Final = {413: "payload_too_large", 422: "unprocessable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientError:
    """An error in OpenRouter's terms."""

    status: int
    error_type: str
    message: str
    provider_name: str | None = None
    provider_code: str | None = None
    raw: str | None = None
    retry_after_seconds: int | None = None
    payment: PaymentRequired | None = None
    rate_limit: RateLimitReached | None = None


def unavailable(dependency: str) -> ClientError:
    """Something of ours does not answer: nothing was charged, and trying again is right."""
    return ClientError(
        status=503,
        error_type="provider_unavailable",
        message=f"OpenRoute cannot serve this now ({dependency} is unavailable); try again",
        retry_after_seconds=RETRY_SECONDS,
    )


def our_fault() -> ClientError:
    """A bug of ours; the details are in the logs under the generation's id."""
    return ClientError(status=500, error_type="server", message="internal error")


def unreadable(message: str) -> ClientError:
    """The body is no chat request."""
    return ClientError(status=400, error_type="invalid_request", message=message)


def deadline_passed() -> ClientError:
    """The generation took longer than it may."""
    return ClientError(
        status=504, error_type="timeout", message="the generation did not end before its deadline"
    )


def of_failure(failure: ProviderFailure, attempt: Attempt) -> ClientError:
    """The error of an attempt whose failure is the answer."""
    status, error_type, told = _status(failure, is_byok=attempt.is_byok)
    if failure.failure in REFUSED_BY_BILLING:
        return ClientError(
            status=status,
            error_type=error_type,
            message=told,
            retry_after_seconds=_retry_after(failure.retry_after_seconds, status),
            payment=failure.payment,
            rate_limit=failure.rate_limit,
        )
    name = attempt.endpoint.provider_name
    whose = "your key" if attempt.is_byok else "shared capacity"
    return ClientError(
        status=status,
        error_type=error_type,
        message=f"{name} ({whose}): {told}",
        provider_name=name,
        provider_code=failure.code,
        raw=failure.raw,
        retry_after_seconds=_retry_after(failure.retry_after_seconds, status),
    )


def of_empty_plan(plan: Plan, now: datetime) -> ClientError:
    """Why no attempt could even be made, and what to do."""
    unhealthy = [each for each in plan.left_out if each.health is not None]
    if unhealthy:
        return _of_unhealthy(min(unhealthy, key=_until), now)
    if plan.unknown_models and not plan.left_out:
        names = ", ".join(plan.unknown_models)
        return ClientError(
            status=400, error_type="invalid_request", message=f"model: {names} is not a known model"
        )
    reasons = {each.why for each in plan.left_out}
    hints = [hint for why, hint in _HINTS.items() if why in reasons]
    return ClientError(
        status=404,
        error_type="not_found",
        message="no endpoint is left for this request: " + "; ".join(hints or [_NOTHING_THERE]),
    )


_NOTHING_THERE: Final = (
    "the account has no enabled provider key that matches and there is no shared capacity for the "
    "model; add a provider key, or check the filters of those there are"
)
_PARAMETERS: Final = (
    "provider.require_parameters is set and the model does not support all parameters given"
)
_HINTS: Final = {
    WhyLeftOut.BYOK_ONLY: (
        "shared capacity is switched off (byok_only) and no other provider key of the account can "
        "serve it; add or enable one"
    ),
    WhyLeftOut.ALWAYS_USE: (
        "a key with 'Always use this key' forbids shared capacity and no key of the account can "
        "serve it with these provider preferences"
    ),
    WhyLeftOut.NOT_WANTED: (
        "the provider preferences (order, only, ignore) leave no provider that the account has a "
        "key for or that has shared capacity; relax them or add a key"
    ),
    WhyLeftOut.PARAMETERS: _PARAMETERS,
    WhyLeftOut.NO_ADAPTER: "the provider of the model is not supported by this installation yet",
}


def _of_unhealthy(left_out: LeftOut, now: datetime) -> ClientError:
    health = left_out.health
    if health is None or health.until is None:
        raise ValueError("only for what is left out because of its health")
    seconds = max((health.until - now).total_seconds(), 0.0)
    failure = ProviderFailure(
        failure=health.reason, status=health.provider_status, retry_after_seconds=seconds
    )
    told = of_failure(failure, left_out.attempt)
    return ClientError(
        status=told.status,
        error_type=told.error_type,
        message=f"{told.message}; it is left in peace until it may be tried again",
        provider_name=told.provider_name,
        retry_after_seconds=max(1, ceil(seconds)),
    )


def _until(left_out: LeftOut) -> datetime:
    health: Health | None = left_out.health
    if health is None or health.until is None:
        raise ValueError("only for what is left out because of its health")
    return health.until


def _retry_after(asked_seconds: float | None, status: int) -> int | None:
    if asked_seconds is not None:
        return max(1, ceil(min(asked_seconds, COOL_DOWN_MAX.total_seconds())))
    return RETRY_SECONDS if status in {429, 503} else None


def _status(failure: ProviderFailure, *, is_byok: bool) -> tuple[int, str, str]:
    """HTTP status, OpenRouter's error type, and what happened in words."""
    kind = failure.failure
    if kind in REFUSED_BY_BILLING:
        status, error_type, told = _TOLD[kind]
        return status, error_type, failure.raw or told
    if failure.status is None and failure.raw is not None and kind in _NEVER_CALLED:
        is_filter = failure.code == UNSUPPORTED_PARAMETER
        status, error_type = (404, "not_found") if is_filter else (400, "invalid_request")
        return status, error_type, failure.raw
    if kind is FailureClass.PROVIDER_ERROR and failure.status in _OVERLOADED:
        return 503, "provider_overloaded", "the provider is overloaded"
    if kind is FailureClass.INVALID_REQUEST and failure.status in _REQUEST_STATUSES:
        return failure.status, _REQUEST_STATUSES[failure.status], _INVALID
    if not is_byok and kind in _OURS_TO_MEND:
        return 503, "provider_unavailable", "is not available at the moment"
    return _TOLD[kind]


_OURS_TO_MEND: Final = frozenset(
    {
        FailureClass.KEY_REFUSED,
        FailureClass.PERMISSION_DENIED,
        FailureClass.QUOTA_EXHAUSTED,
        FailureClass.MISCONFIGURED,
    }
)
_NEVER_CALLED: Final = frozenset({FailureClass.INVALID_REQUEST, FailureClass.UNSUPPORTED})
_INVALID: Final = "the provider refuses the request as invalid"
_TOLD: Final = MappingProxyType(
    {
        FailureClass.KEY_REFUSED: (
            401,
            "authentication",
            "the provider refuses the key; replace it in the settings",
        ),
        FailureClass.PERMISSION_DENIED: (
            403,
            "permission_denied",
            "the key has no permission for this model",
        ),
        FailureClass.RATE_LIMITED: (429, "rate_limit_exceeded", "rate limit exceeded; try later"),
        FailureClass.QUOTA_EXHAUSTED: (
            402,
            "payment_required",
            "the key's balance or quota at the provider is used up",
        ),
        FailureClass.PROVIDER_ERROR: (
            502,
            "provider_unavailable",
            "the provider answered with an error",
        ),
        FailureClass.TIMED_OUT: (504, "timeout", "the provider did not answer in time"),
        FailureClass.UNREACHABLE: (
            502,
            "provider_unavailable",
            "the provider could not be reached",
        ),
        FailureClass.MISCONFIGURED: (
            404,
            "not_found",
            "the key is not set up for this model; check its deployment and address",
        ),
        FailureClass.CONTEXT_TOO_LONG: (
            400,
            "context_length_exceeded",
            "the prompt does not fit the model's context",
        ),
        FailureClass.CONTENT_REFUSED: (
            400,
            "content_policy_violation",
            "the provider's content filter refused the prompt",
        ),
        FailureClass.INVALID_REQUEST: (400, "invalid_request", _INVALID),
        FailureClass.UNSUPPORTED: (
            400,
            "invalid_request",
            "the provider cannot do what is asked",
        ),
        FailureClass.STREAM_CUT: (502, "provider_unavailable", "the answer broke off"),
        FailureClass.INSUFFICIENT_CREDITS: (402, "payment_required", "not enough credits"),
        FailureClass.KEY_LIMIT_EXCEEDED: (402, "payment_required", "Key limit exceeded"),
        FailureClass.SHARED_RATE_LIMITED: (429, "rate_limit_exceeded", "Rate limit exceeded"),
    }
)
