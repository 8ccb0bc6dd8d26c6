"""GET /key: what an API key is, what it spent, and what its account may still spend.

All fields that the published clients insist on are there; those that stand for things which this
gateway does not have (limits of a key, workspaces, free models) say so.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.exchange import Exchange
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
    spending, caller = key.spending, key.caller
    return {
        "label": caller.label,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "usage": usd(spending.total.credits_nano_usd),
        "usage_daily": usd(spending.day.credits_nano_usd),
        "usage_weekly": usd(spending.week.credits_nano_usd),
        "usage_monthly": usd(spending.month.credits_nano_usd),
        "byok_usage": usd(spending.total.byok_list_cost_nano_usd),
        "byok_usage_daily": usd(spending.day.byok_list_cost_nano_usd),
        "byok_usage_weekly": usd(spending.week.byok_list_cost_nano_usd),
        "byok_usage_monthly": usd(spending.month.byok_list_cost_nano_usd),
        "include_byok_in_limit": False,
        "is_free_tier": False,
        "is_management_key": caller.is_management,
        "is_provisioning_key": caller.is_management,
        "creator_user_id": caller.member_id,
        "organization_id": None,
        "workspace_id": None,
        "expires_at": None,
        "allowed_data_regions": ["global"],
        "free_model_daily_requests": {"limit": 0, "remaining": 0, "used": 0},
        "budgets": [],
        "effective_budget": None,
        "rate_limit": {"requests": -1, "interval": "10s", "note": _NOTE},
        "credits": _usd_or_null(key.credits_nano_usd),
        "byok_allotment": _allotment(key),
    }


def _usd_or_null(nano_usd: int | None) -> msgspec.Raw | None:
    return None if nano_usd is None else usd(nano_usd)


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
