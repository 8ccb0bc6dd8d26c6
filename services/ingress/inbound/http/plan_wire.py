"""A plan as JSON: every key is always there, null where it does not apply.

`attempts` stand in the order in which they would be made; `left_out` says of everything else why it
would not be, once as words for programs and once as a sentence for people.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from services.ingress.inbound.http.money_json import pricing
from services.ingress.use_cases.describe_plan import ByokOnlyLevel, PlanDescription
from shared.events.plans import (
    AttemptLeftOut,
    ByokFee,
    LeftOutReason,
    PlannedAttempt,
    PlannedCredential,
)

_SENTENCES: Final[Mapping[LeftOutReason, str]] = MappingProxyType(
    {
        "disabled": "The credential is disabled.",
        "no_endpoint": "The credential's provider, or its deployments, do not have the model.",
        "no_shared_capacity": "There is no shared capacity for the model at this provider.",
        "provider_preferences": "The preferences order, only or ignore leave this provider out.",
        "require_parameters": "The model does not support all parameters of the request.",
        "allow_fallbacks": "allow_fallbacks is false, and another attempt comes first.",
        "no_adapter": "This installation does not support the provider yet.",
        "attempts_max": "So many attempts stand before it that it would not be reached.",
    }
)
_FILTER_SENTENCES: Final = MappingProxyType(
    {
        "model": "The credential's allowed_models do not name the model.",
        "api_key_hash": "The credential's allowed_api_key_hashes do not name the API key.",
        "member": "The credential's allowed_user_ids do not name the member of the API key.",
    }
)
_LEVELS: Final[Mapping[ByokOnlyLevel, str]] = MappingProxyType(
    {"account": "the account", "api_key": "the API key", "request": "the request"}
)


def to_wire(described: PlanDescription) -> dict[str, Any]:
    """The plan in the words of the API."""
    plan = described.plan
    return {
        "models": described.models,
        "api_key_hash": described.sender.api_key_hash,
        "user_id": described.sender.member_id,
        "byok_only": described.byok_only,
        "attempts": [_attempt(each, plan.byok_fee) for each in plan.attempts],
        "left_out": [_left_out(each, described.byok_only) for each in plan.left_out],
    }


def _attempt(attempt: PlannedAttempt, fee: ByokFee | None) -> dict[str, Any]:
    return {
        "model": attempt.model,
        "provider": attempt.provider,
        "provider_name": attempt.provider_name,
        "endpoint": attempt.endpoint,
        "tier": attempt.tier,
        "credential": _credential(attempt.credential),
        "pricing": pricing(attempt.prices),
        "byok_fee": None if attempt.credential is None else _fee(fee),
    }


def _fee(fee: ByokFee | None) -> dict[str, Any] | None:
    if fee is None:
        return None
    return {"percent": f"{fee.percent.normalize():f}", "waived": fee.waived}


def _left_out(left_out: AttemptLeftOut, byok_only: Sequence[ByokOnlyLevel]) -> dict[str, Any]:
    return {
        "model": left_out.model,
        "provider": left_out.provider,
        "endpoint": left_out.endpoint,
        "tier": left_out.tier,
        "credential": _credential(left_out.credential),
        "reason": left_out.reason,
        "message": _sentence(left_out, byok_only),
        "filter": left_out.filter,
        "failure": left_out.failure,
        "provider_status": left_out.provider_status,
        "until": left_out.until,
        "forbidden_by": [_credential(each) for each in left_out.forbidden_by],
    }


def _credential(credential: PlannedCredential | None) -> dict[str, str] | None:
    if credential is None:
        return None
    return {"id": credential.credential_id, "label": credential.label}


def _sentence(left_out: AttemptLeftOut, byok_only: Sequence[ByokOnlyLevel]) -> str:
    match left_out.reason:
        case "filter":
            return _FILTER_SENTENCES.get(left_out.filter or "", "A filter does not match.")
        case "cooling_down":
            return (
                f"It cools down after {_what_happened(left_out)}; it is tried again after `until`."
            )
        case "failing":
            return f"It fails ({_what_happened(left_out)}); it is tried again after `until`."
        case "always_use":
            labels = ", ".join(each.label for each in left_out.forbidden_by)
            return f"'Always use this key' of {labels} forbids shared capacity for the model."
        case "byok_only":
            levels = " and ".join(_LEVELS[each] for each in byok_only)
            return f"byok_only of {levels} keeps off shared capacity."
        case reason:
            return _SENTENCES[reason]


def _what_happened(left_out: AttemptLeftOut) -> str:
    if left_out.failure is None:
        return "trouble of our own key"
    words = left_out.failure.replace("_", " ")
    if left_out.provider_status is None:
        return words
    return f"{words}, status {left_out.provider_status}"
