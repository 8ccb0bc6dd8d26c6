"""Rows of activity as OpenRouter has them, with what `group_by` divides them by."""

from typing import Any, Final

from services.ingress.inbound.http.money_json import usd
from services.ingress.inbound.http.receipts_wire import ProviderNames, api_type
from services.ingress.use_cases.name_credentials import Names
from shared.events.receipts import ActivityGroup, ActivityRow
from shared.ids import CredentialId

_COLUMNS: Final = (
    "date",
    "model",
    "model_permaslug",
    "endpoint_id",
    "provider_name",
    "usage",
    "byok_usage_inference",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "api_type",
)
_GROUP_COLUMNS: Final = {
    "api_key_hash": ("api_key_hash",),
    "credential_id": ("credential_id", "credential_label", "credential_name"),
}


def activity_item(
    row: ActivityRow,
    group_by: tuple[ActivityGroup, ...],
    provider_names: ProviderNames,
    names: Names,
) -> dict[str, Any]:
    """One row; the credential of shared capacity is null."""
    item: dict[str, Any] = {
        "date": row.day.isoformat(),
        "model": row.model,
        "model_permaslug": row.model,
        "endpoint_id": row.endpoint,
        "provider_name": provider_names(row.provider),
        "usage": usd(row.credits_nano_usd),
        "byok_usage_inference": usd(row.byok_list_cost_nano_usd),
        "requests": row.requests,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cached_tokens": row.cached_tokens,
        "api_type": api_type(row.operation),
    }
    if "api_key_hash" in group_by:
        item["api_key_hash"] = row.api_key_hash
    if "credential_id" in group_by:
        known = names.get(row.credential_id or CredentialId(""))
        item["credential_id"] = row.credential_id or None
        item["credential_label"] = known.label if known else None
        item["credential_name"] = known.name if known else None
    return item


def csv_columns(group_by: tuple[ActivityGroup, ...]) -> tuple[str, ...]:
    """The columns of a table of such rows."""
    return _COLUMNS + tuple(column for group in group_by for column in _GROUP_COLUMNS[group])
