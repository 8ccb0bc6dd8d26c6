"""What was spent with an API key, by UTC day, week from Monday, and month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeAlias

from shared.events.billing import (
    SPENDING_KEYS_MAX,
    KeySpending,
    QuerySpending,
    QuerySpendingByKey,
    Spending,
    SpendingByKey,
    SpendingPeriod,
)
from shared.events.envelope import Refused
from shared.ids import AccountId, ApiKeyHash


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpent:
    """What was spent on one day; `day` None stands for all days that no period needs one by one.

    `last_day` is the last of them with a request that counts, None when none does.
    """

    day: date | None
    credits_nano_usd: int
    byok_list_cost_nano_usd: int
    last_day: date | None = None


Days: TypeAlias = Mapping[tuple[AccountId, ApiKeyHash], Sequence[DaySpent]]
"""What was spent with each key that a question asks for."""


def keys_asked_for(
    question: QuerySpending | QuerySpendingByKey,
) -> list[tuple[AccountId, ApiKeyHash]]:
    """The keys whose days answer a question; none when it names too many."""
    if isinstance(question, QuerySpending):
        return [(question.account_id, question.api_key_hash)]
    if len(question.api_key_hashes) > SPENDING_KEYS_MAX:
        return []
    return [(question.account_id, each) for each in question.api_key_hashes]


def tell_spending(
    question: QuerySpending | QuerySpendingByKey, days: Days, today: date
) -> Spending | SpendingByKey | Refused:
    """The answer to a question."""
    account_id = question.account_id
    if isinstance(question, QuerySpending):
        return spending(days.get((account_id, question.api_key_hash), ()), today)
    hashes = question.api_key_hashes
    if len(hashes) > SPENDING_KEYS_MAX:
        message = f"names more than {SPENDING_KEYS_MAX} API keys"
        return Refused(code="invalid", message=message, field="api_key_hashes")
    keys = tuple(_of_key(each, days.get((account_id, each), ()), today) for each in hashes)
    return SpendingByKey(keys=keys)


def first_day_needed(today: date) -> date:
    """The earliest day of this month and this week."""
    return min(today.replace(day=1), _monday(today))


def spending(days: Iterable[DaySpent], today: date) -> Spending:
    """Add days up into the periods that `today` lies in."""
    known = list(days)
    monday, first = _monday(today), today.replace(day=1)
    return Spending(
        total=_sum(known),
        day=_sum(each for each in known if each.day == today),
        week=_sum(each for each in known if each.day is not None and monday <= each.day <= today),
        month=_sum(each for each in known if each.day is not None and first <= each.day <= today),
    )


def _monday(today: date) -> date:
    return today - timedelta(days=today.weekday())


def _sum(days: Iterable[DaySpent]) -> SpendingPeriod:
    credits_nano_usd = byok_nano_usd = 0
    for each in days:
        credits_nano_usd += each.credits_nano_usd
        byok_nano_usd += each.byok_list_cost_nano_usd
    return SpendingPeriod(credits_nano_usd=credits_nano_usd, byok_list_cost_nano_usd=byok_nano_usd)


def _of_key(api_key_hash: ApiKeyHash, days: Sequence[DaySpent], today: date) -> KeySpending:
    used = [each.last_day for each in days if each.last_day is not None]
    return KeySpending(
        api_key_hash=api_key_hash,
        spending=spending(days, today),
        last_day=max(used, default=None),
    )
