"""Stripe-Signature: `t=<seconds>,v1=<hex>[,v1=<hex>...]`, HMAC-SHA256 over `<t>.<body>`.

While a secret is being replaced Stripe signs with both, and two may be configured here.
https://docs.stripe.com/webhooks#verify-manually
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from shared.secret import Secret

TOLERANCE_SECONDS: Final = 300
"""How far a signature's time may be from ours, either way; Stripe's own libraries take the same."""
SECRETS_MAX: Final = 2
_SIGNATURES_MAX: Final = 10
_TIME: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")
_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]{24,250}")


def webhook_secrets(value: str) -> tuple[Secret, ...]:
    """The setting's one or two secrets, separated by a comma. Raises ValueError."""
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > SECRETS_MAX or not all(_SECRET.fullmatch(part) for part in parts):
        raise ValueError("must be a secret like whsec_..., or two of them separated by a comma")
    return tuple(Secret(part) for part in parts)


def problem_of(
    header: str | None, body: bytes, secrets: Sequence[Secret], *, now_seconds: float
) -> str | None:
    """Why a body is not to be believed, or None when Stripe signed it just now."""
    if not header:
        return "is missing"
    moments, signatures = _read(header)
    if len(moments) != 1 or not _TIME.fullmatch(moments[0]):
        return "must have one t=, the time in seconds"
    if len(signatures) > _SIGNATURES_MAX:
        return f"has more than {_SIGNATURES_MAX} signatures"
    moment = moments[0]
    signed = moment.encode() + b"." + body
    expected = [
        hmac.new(secret.reveal().encode(), signed, hashlib.sha256).digest() for secret in secrets
    ]
    given = [bytes.fromhex(each) for each in signatures if _SIGNATURE.fullmatch(each)]
    if not any([hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]):  # noqa: C419 - all are compared, always
        return "has no v1= that this endpoint's secret makes of the body"
    if abs(now_seconds - int(moment)) > TOLERANCE_SECONDS:
        return f"is more than {TOLERANCE_SECONDS} s from now"
    return None


def _read(header: str) -> tuple[list[str], list[str]]:
    """The times and the signatures of the one scheme that is known."""
    values: dict[str, list[str]] = {"t": [], "v1": []}
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name in values:
            values[name].append(value)
    return values["t"], values["v1"]
