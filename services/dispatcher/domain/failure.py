"""What can go wrong at a provider, as classes that decide what happens next (design.md section 7).

Adapters translate each provider's answers into these, because the status alone misleads: an empty
Anthropic balance and an invalid Google key are both 400s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from shared.events.billing import RateLimitReached
from shared.events.replies import PaymentRequired

RAW_MESSAGE_BYTES_MAX = 2048
"""A provider's own message is cut to this before it is kept or shown."""

UNSUPPORTED_PARAMETER = "unsupported_parameter"
"""The code of an UNSUPPORTED that `provider.require_parameters` asked for."""


class FailureClass(StrEnum):
    """The rows of the table; the values are the `reason` of `FallbackDecided` and `HealthChanged`."""

    KEY_REFUSED = "key_refused"
    """401, or whatever the provider says to a key that it does not know."""
    PERMISSION_DENIED = "permission_denied"
    """403: the key is known and may not use this endpoint."""
    RATE_LIMITED = "rate_limited"
    """429: too many requests or tokens a minute; passes by itself."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """402, or a 429 or 400 that says that balance or quota is gone; does not pass by itself."""
    PROVIDER_ERROR = "provider_error"
    """5xx, 529, or a 200 whose first event is an error, or whose body is no completion."""
    TIMED_OUT = "timed_out"
    """408, 504, or no first token in time."""
    UNREACHABLE = "unreachable"
    """No connection, no TLS, a name that does not resolve, or the connection broke before a token."""
    MISCONFIGURED = "misconfigured"
    """404 deployment or model; an address that egress forbids; a secret of the wrong shape."""
    CONTEXT_TOO_LONG = "context_too_long"
    """The prompt does not fit this model's context; another model may take it."""
    CONTENT_REFUSED = "content_refused"
    """A content filter of the provider refused the prompt."""
    INVALID_REQUEST = "invalid_request"
    """400, 413, 422: the request itself is wrong, so no other key would help."""
    UNSUPPORTED = "unsupported"
    """This provider cannot express what is asked, so it was not called; another may. `raw` says what."""
    STREAM_CUT = "stream_cut"
    """After the first token: an error event, a broken connection, or an end without a terminator."""
    INSUFFICIENT_CREDITS = "insufficient_credits"
    """Billing refused the hold or the fee: the provider was not called. Never from an adapter."""
    KEY_LIMIT_EXCEEDED = "key_limit_exceeded"
    """What is left of the API key's limit is too little: not called. Never from an adapter."""
    SHARED_RATE_LIMITED = "shared_rate_limited"
    """The account's rate limit of shared capacity at the provider: not called. Never from an adapter."""


REFUSED_BY_BILLING = frozenset(
    {
        FailureClass.INSUFFICIENT_CREDITS,
        FailureClass.KEY_LIMIT_EXCEEDED,
        FailureClass.SHARED_RATE_LIMITED,
    }
)
"""The provider was not called, so they say nothing about it or the credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailure:
    """How a call failed.

    `status` is the HTTP status that the provider answered with, None when it did not answer. `raw`
    is the provider's own message (ours for an UNSUPPORTED or an INVALID_REQUEST without a status), redacted and cut to RAW_MESSAGE_BYTES_MAX bytes; `code` its own
    error code. `retry_after_seconds` is what the provider asked for, uncapped. What billing refused
    says in `raw`, `payment` and `rate_limit` what the client is told.
    """

    failure: FailureClass
    status: int | None = None
    code: str | None = None
    raw: str | None = None
    retry_after_seconds: float | None = None
    payment: PaymentRequired | None = None
    rate_limit: RateLimitReached | None = None


class Next(StrEnum):
    """Where a failure leaves the request."""

    ATTEMPT = "attempt"
    """The next attempt of the plan may do better."""
    MODEL = "model"
    """No other key or provider of this model would; the next model the client named may."""
    STOP = "stop"
    """The failure is the answer."""


def next_after(failure: FailureClass) -> Next:
    """What to try after an attempt that failed before its first token."""
    match failure:
        case (
            FailureClass.KEY_REFUSED
            | FailureClass.PERMISSION_DENIED
            | FailureClass.RATE_LIMITED
            | FailureClass.QUOTA_EXHAUSTED
            | FailureClass.PROVIDER_ERROR
            | FailureClass.TIMED_OUT
            | FailureClass.UNREACHABLE
            | FailureClass.MISCONFIGURED
            | FailureClass.INSUFFICIENT_CREDITS
            | FailureClass.KEY_LIMIT_EXCEEDED
            | FailureClass.SHARED_RATE_LIMITED
            | FailureClass.UNSUPPORTED
        ):
            return Next.ATTEMPT
        case FailureClass.CONTEXT_TOO_LONG | FailureClass.CONTENT_REFUSED:
            return Next.MODEL
        case FailureClass.INVALID_REQUEST | FailureClass.STREAM_CUT:
            return Next.STOP
        case _:
            assert_never(failure)


def not_taken(parameters: Iterable[str]) -> ProviderFailure:
    """The client insists on its parameters, and this provider does not take these."""
    named = ", ".join(sorted(parameters))
    return ProviderFailure(
        failure=FailureClass.UNSUPPORTED,
        code=UNSUPPORTED_PARAMETER,
        raw=f"provider.require_parameters is set and it does not take {named}",
    )
