"""What was used, added up by day, model, endpoint, API key, credential and operation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from services.billing.domain.generation import Finished, SettlementKind, day_of_generation
from shared.events.generations import Operation
from shared.ids import AccountId, ApiKeyHash

SHARED = ""
"""The credential of shared capacity, which is none of the account's."""

ActivityKey: TypeAlias = tuple[AccountId, date, str, str, str, ApiKeyHash, str, Operation]
"""Account, day, model, provider, endpoint, API key, credential, operation."""


@dataclass(slots=True)
class Used:
    """What was used under one key, to be added to what is known."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    credits_nano_usd: int = 0
    byok_list_cost_nano_usd: int = 0


def activity_of(finished: Iterable[Finished]) -> dict[ActivityKey, Used]:
    """What generations add. Those of which nothing is charged, because nothing came, add nothing."""
    activity: dict[ActivityKey, Used] = {}
    for each in finished:
        fact, settlement = each.fact, each.settlement
        if settlement.kind is SettlementKind.NOTHING or fact.usage is None:
            continue
        key = (
            settlement.account_id,
            day_of_generation(fact.generation_id),
            fact.model or "",
            fact.provider or "",
            fact.endpoint or "",
            settlement.api_key_hash,
            settlement.credential_id or SHARED,
            fact.operation,
        )
        used = activity.get(key)
        if used is None:
            used = activity[key] = Used()
        used.requests += 1
        used.prompt_tokens += fact.usage.prompt_tokens
        used.completion_tokens += fact.usage.completion_tokens
        used.reasoning_tokens += fact.usage.reasoning_tokens
        used.cached_tokens += fact.usage.cached_tokens
        used.credits_nano_usd += settlement.collected_nano_usd
        if settlement.is_byok:
            used.byok_list_cost_nano_usd += settlement.list_cost_nano_usd
    return activity
