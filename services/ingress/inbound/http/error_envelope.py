"""OpenRouter's error envelope: {"error": {"code", "message", "metadata"}}, code = HTTP status."""

from typing import Any

import msgspec

from services.ingress.domain.refusals import Refusal
from shared.events.replies import ReplyFailed

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
    return {"code": refusal.status, "message": refusal.message, "metadata": metadata}


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
    )
