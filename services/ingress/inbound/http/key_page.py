"""GET /key: what an API key is, what it spent, and what its account may still spend.

All fields that the published clients insist on are there; those that stand for things which this
gateway does not have (workspaces, guardrails, free models) say so.
"""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.key_wire import limit_to_wire, usage_to_wire, usd_or_null
from services.ingress.inbound.http.money_json import usd
from services.ingress.use_cases.describe_key import DescribeKey, KeyDescription
from services.ingress.use_cases.known_callers import KnownCallers

_NOTE: Final = "This field is deprecated and safe to ignore."


class KeyPage:
    """The handler."""

    def __init__(self, *, callers: KnownCallers, describe_key: DescribeKey) -> None:
        """Any key may ask, management keys too."""
        self._callers = callers
        self._describe_key = describe_key

    async def get(self, exchange: Exchange) -> web.StreamResponse:
        """Describe the caller's own key."""
        caller = await self._callers.identify(exchange.authorization())
        if isinstance(caller, Refusal):
            return exchange.refuse(caller)
        exchange.line.add(account_id=caller.account_id)
        return exchange.json({"data": _key(await self._describe_key.of(caller))})


def _key(key: KeyDescription) -> dict[str, Any]:
    spending, caller, budget = key.spending, key.caller, _budget(key)
    return {
        "label": caller.label,
        **limit_to_wire(caller.limit, spending),
        **usage_to_wire(spending),
        "is_free_tier": False,
        "is_management_key": caller.is_management,
        "is_provisioning_key": caller.is_management,
        "creator_user_id": caller.member_id,
        "organization_id": None,
        "workspace_id": None,
        "expires_at": caller.expires_at,
        "allowed_data_regions": ["global"],
        "free_model_daily_requests": {"limit": 0, "remaining": 0, "used": 0},
        "budgets": [] if budget is None else [budget],
        "effective_budget": budget,
        "rate_limit": {"requests": -1, "interval": "10s", "note": _NOTE},
        "credits": usd_or_null(key.credits_nano_usd),
        "byok_allotment": _allotment(key),
    }


def _budget(key: KeyDescription) -> dict[str, Any] | None:
    """The key's limit again, as newer clients read it; null without one."""
    limit = key.caller.limit
    amount, left = limit.amount_nano_usd, limit.remaining_nano_usd(key.spending)
    if amount is None or left is None:
        return None
    return {
        "scope": "key_limit",
        "limit_usd": usd(amount),
        "spend_usd": usd(limit.spent_nano_usd(key.spending)),
        "remaining_usd": usd(left),
        "reset_interval": limit.reset,
        "resets_at": key.limit_resets_at,
        "include_byok": limit.includes_byok,
        "budget_id": None,
        "guardrail_id": None,
    }


def _allotment(key: KeyDescription) -> dict[str, Any] | None:
    allotment = key.allotment
    if allotment is None:
        return None
    # requests are counted, list cost is an amount of USD
    shown: Callable[[int], object] = int if allotment.rule == "requests" else usd
    return {
        "rule": allotment.rule,
        "month": allotment.month,
        "free": shown(allotment.free),
        "used": shown(allotment.used),
        "left": shown(allotment.left),
    }
