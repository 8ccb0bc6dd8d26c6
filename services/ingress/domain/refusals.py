"""What a client is told when its request is not carried out; an HTTP status and OpenRouter's words.

A refusal is a value. `inbound/http` turns it into the error envelope, or, once a stream has begun,
into an error chunk.
"""

from dataclasses import dataclass
from typing import Final

from shared.events.billing import RateLimitReached
from shared.events.replies import PaymentRequired

RETRY_AFTER_SECONDS = 2
"""What we suggest when the fault is ours: most interruptions are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request failed. `error_type` is one of OpenRouter's; `message` holds no secret.

    `field` is the path of the offending part of the request. The provider's fields are filled when
    a provider refused, `raw` with its own message; `payment` and `rate_limit` when billing did.
    """

    status: int
    message: str
    error_type: str
    field: str | None = None
    retry_after_seconds: int | None = None
    provider_name: str | None = None
    provider_code: str | None = None
    raw: str | None = None
    payment: PaymentRequired | None = None
    rate_limit: RateLimitReached | None = None
    closes_connection: bool = False


def invalid(message: str, *, field: str | None = None) -> Refusal:
    """The request is wrong; `field` says where, and begins the message."""
    text = message if field is None else f"{field}: {message}"
    return Refusal(status=400, message=text, error_type="invalid_request", field=field)


def unauthenticated(message: str) -> Refusal:
    """No API key, or none that works."""
    return Refusal(status=401, message=message, error_type="authentication")


def forbidden(message: str) -> Refusal:
    """The API key works, but not for this."""
    return Refusal(status=403, message=message, error_type="permission_denied")


def not_found(message: str) -> Refusal:
    """Nothing is there, or nothing of this account."""
    return Refusal(status=404, message=message, error_type="not_found")


def method_not_allowed(message: str) -> Refusal:
    """The path exists for other methods."""
    return Refusal(status=405, message=message, error_type="invalid_request")


def body_late(message: str) -> Refusal:
    """The request's body did not come in its time."""
    return Refusal(status=408, message=message, error_type="timeout", closes_connection=True)


def conflict(message: str) -> Refusal:
    """The request does not fit the present state."""
    return Refusal(status=409, message=message, error_type="invalid_request")


def too_large(bytes_max: int) -> Refusal:
    """The request's body is over its limit; the rest of it is not read."""
    return Refusal(
        status=413,
        message=f"the request body is larger than {bytes_max} bytes",
        error_type="payload_too_large",
        closes_connection=True,
    )


def too_many(message: str) -> Refusal:
    """The account has as many requests running as it may."""
    return Refusal(
        status=429, message=message, error_type="rate_limit_exceeded", retry_after_seconds=1
    )


def internal() -> Refusal:
    """A bug of ours: the log knows, the client does not."""
    return Refusal(status=500, message="Internal Server Error", error_type="server")


def unavailable(message: str, *, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Refusal:
    """Something we need does not answer now."""
    return Refusal(
        status=503,
        message=message,
        error_type="server",
        retry_after_seconds=retry_after_seconds,
    )


def out_of_time(message: str) -> Refusal:
    """The generation ran into its deadline."""
    return Refusal(status=504, message=message, error_type="timeout")


NO_WORKSPACES: Final = invalid("there are no workspaces here", field="workspace_id")
