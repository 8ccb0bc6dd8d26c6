"""`openrouter_metadata`: how a request was routed, for clients that ask for it by header.

Beyond OpenRouter's fields each attempt tells whose credential it used (`credential_id`, `tier`),
which is what one needs to know about one's own keys.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.events.replies import AttemptSummary

_HEADERS = ("X-OpenRouter-Metadata", "X-OpenRouter-Experimental-Metadata")


def wants_metadata(headers: Mapping[str, str]) -> bool:
    """Whether the client asks for it."""
    for name in _HEADERS:  # noqa: SIM110 - any() with a generator takes twice as long, at every answer
        if name in headers and headers[name].lower() == "enabled":
            return True
    return False


def router_metadata(
    requested: str, attempts: Sequence[AttemptSummary], *, is_byok: bool
) -> msgspec.Raw:
    """The object as JSON. `attempt` counts from 1, 0 when no provider was reached."""
    last = attempts[-1] if attempts else None
    endpoints = {(each.provider, each.model): each for each in attempts}
    metadata: dict[str, Any] = {
        "requested": requested,
        "strategy": "direct" if len(attempts) <= 1 else "fallback",
        "region": None,
        "summary": " -> ".join(f"{each.provider} ({each.tier})" for each in attempts),
        "attempt": len(attempts),
        "is_byok": is_byok,
        "endpoints": {
            "total": len(endpoints),
            "available": [
                {
                    "provider": each.provider,
                    "model": each.model,
                    "selected": last is not None
                    and (each.provider, each.model) == (last.provider, last.model),
                }
                for each in endpoints.values()
            ],
        },
        "attempts": [
            {
                "provider": each.provider,
                "model": each.model,
                "status": each.status,
                "endpoint": each.endpoint,
                "credential_id": each.credential_id,
                "tier": each.tier,
                "failure": each.failure,
            }
            for each in attempts
        ],
    }
    return msgspec.Raw(msgspec.json.encode(metadata))
