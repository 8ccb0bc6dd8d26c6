"""What /key and /keys tell of a key's spending and limit, in OpenRouter's words."""

from datetime import UTC, datetime, time
from typing import Any

import msgspec

from services.ingress.domain.key_limit import KeyLimit
from services.ingress.inbound.http.money_json import usd
from services.ingress.use_cases.administer_api_keys import SpentKey
from shared.events.billing import Spending


def usage_to_wire(spending: Spending) -> dict[str, msgspec.Raw]:
    """Credits, and the list cost of BYOK use, in USD."""
    return {
        "usage": usd(spending.total.credits_nano_usd),
        "usage_daily": usd(spending.day.credits_nano_usd),
        "usage_weekly": usd(spending.week.credits_nano_usd),
        "usage_monthly": usd(spending.month.credits_nano_usd),
        "byok_usage": usd(spending.total.byok_list_cost_nano_usd),
        "byok_usage_daily": usd(spending.day.byok_list_cost_nano_usd),
        "byok_usage_weekly": usd(spending.week.byok_list_cost_nano_usd),
        "byok_usage_monthly": usd(spending.month.byok_list_cost_nano_usd),
    }


def limit_to_wire(limit: KeyLimit, spending: Spending) -> dict[str, Any]:
    """The limit, and what is left of it in the present window."""
    return {
        "limit": usd_or_null(limit.amount_nano_usd),
        "limit_remaining": usd_or_null(limit.remaining_nano_usd(spending)),
        "limit_reset": limit.reset,
        "include_byok_in_limit": limit.includes_byok,
    }


def key_to_wire(spent_key: SpentKey) -> dict[str, Any]:
    """A key as /keys tells it, with our `byok_only` more.

    The official clients insist on every field, and on text in `workspace_id`. `last_used_at` is
    known to the day.
    """
    key, spent = spent_key.key, spent_key.spent
    day = spent.last_day
    return {
        "hash": key.api_key_hash,
        "name": key.name,
        "label": key.label,
        "disabled": key.is_disabled,
        "byok_only": key.is_byok_only,
        **limit_to_wire(key.limit, spent.spending),
        **usage_to_wire(spent.spending),
        "created_at": key.created_at,
        "updated_at": key.updated_at,
        "expires_at": key.expires_at,
        "last_used_at": None if day is None else datetime.combine(day, time.min, UTC),
        "creator_user_id": key.member_id,
        "external_user": None,
        "workspace_id": "",
    }


def usd_or_null(nano_usd: int | None) -> msgspec.Raw | None:
    """The amount as a JSON number, or null."""
    return None if nano_usd is None else usd(nano_usd)
