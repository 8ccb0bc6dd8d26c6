"""OpenRouter's error envelope: {"error": {"code", "message", "metadata"}}, code = HTTP status."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.ingress.domain.refusals import Refusal
from shared.events.replies import PaymentRequired, ReplyFailed

_STATUS_MIN = 400
_STATUS_MAX = 599


def error_object(refusal: Refusal) -> dict[str, Any]:
    """What stands under `error`, in an envelope as in a chunk.

    `raw` and `provider_name` are the older form of the same news; many clients read only those.
    """
    metadata: dict[str, Any] = {"error_type": refusal.error_type}
    for name in ("field", "provider_name", "provider_code", "raw"):
        value = getattr(refusal, name)
        if value is not None:
            metadata[name] = value
    if refusal.payment is not None:
        metadata |= _payment(refusal.payment)
    if refusal.rate_limit is not None:
        metadata["headers"] = rate_limit_headers(refusal)
        metadata["counted"] = refusal.rate_limit.counted
    return {"code": refusal.status, "message": refusal.message, "metadata": metadata}


def rate_limit_headers(refusal: Refusal) -> Mapping[str, str]:
    """The headers of a rate limit of ours; the moment of its reset in milliseconds since 1970."""
    reached = refusal.rate_limit
    if reached is None:
        return {}
    return {
        "X-RateLimit-Limit": str(reached.limit),
        "X-RateLimit-Remaining": str(reached.remaining),
        "X-RateLimit-Reset": str(int(reached.resets_at.timestamp() * 1000)),
    }


def _payment(payment: PaymentRequired) -> dict[str, Any]:
    told: dict[str, Any] = {
        "needed_nano_usd": payment.needed_nano_usd,
        "available_nano_usd": payment.available_nano_usd,
    }
    if payment.requested_max_tokens is not None:
        told["requested_max_tokens"] = payment.requested_max_tokens
        told["affordable_max_tokens"] = payment.affordable_max_tokens
    if payment.key_limit is not None:
        told["key_limit"] = payment.key_limit
    return told


def error_body(refusal: Refusal, *, openrouter_metadata: msgspec.Raw | None = None) -> bytes:
    """The envelope as JSON."""
    envelope: dict[str, Any] = {"error": error_object(refusal)}
    if openrouter_metadata is not None:
        envelope["openrouter_metadata"] = openrouter_metadata
    return msgspec.json.encode(envelope)


def refusal_of(failed: ReplyFailed) -> Refusal:
    """What a dispatcher's failure is to the client."""
    known = _STATUS_MIN <= failed.status <= _STATUS_MAX
    return Refusal(
        status=failed.status if known else 500,
        message=failed.message,
        error_type=failed.error_type,
        retry_after_seconds=failed.retry_after_seconds,
        provider_name=failed.provider_name,
        provider_code=failed.provider_code,
        raw=failed.raw,
        payment=failed.payment,
        rate_limit=failed.rate_limit,
    )
