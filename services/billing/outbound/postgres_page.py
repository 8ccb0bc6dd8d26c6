"""Reads the page of the books that a transaction works on."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import msgspec

from services.billing.domain.account import Account, Allotment
from services.billing.domain.generation import (
    Abandonment,
    AbandonmentKind,
    Settlement,
    SettlementKind,
)
from services.billing.domain.hold import Hold, Refusal
from services.billing.domain.months import Months
from services.billing.domain.page import Page
from services.billing.domain.policy import OwnPolicy
from services.billing.domain.spending import DaySpent, first_day_needed
from services.billing.outbound.postgres_limits import read_limits
from services.billing.outbound.postgres_movements import read_movements, read_payments
from services.billing.ports.ledger import Scope
from shared.events.billing import KeyLimitReached, RateLimitReached, SpendRefused
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, HoldId, RunId
from shared.postgres.pool import Connection

_HOLD = """
    hold_id, month, generation_id, run_id, account_id, api_key_hash, is_byok, provider, waived,
    fee_percent, worst_case_nano_usd, amount_nano_usd, hold_until, input_hash, is_open,
    worst_case_tokens, rate_second
"""
_LOCK_ACCOUNTS = """
select account_id, available_nano_usd, held_nano_usd, version, policy_version,
       fee_percent, allotment_rule, free_requests, free_list_cost_nano_usd
from accounts where account_id = any($1::text[]) order by account_id for update
"""
_MAKE_ACCOUNTS = """
insert into accounts (account_id)
select account_id from unnest($1::text[]) with ordinality as missing (account_id, place)
order by place on conflict do nothing
"""
_CLOSED_MONTHS = "select month from closed_months"
_LATE_SETTLEMENTS = """
select generation_id, account_id, api_key_hash, kind, is_byok, credential_id, list_cost_nano_usd,
       collected_nano_usd, uncollected_nano_usd
from late_generations join generations using (month, generation_id)
where generation_id = any($1::text[])
"""
# How generations ended, in one statement: `reason` is there for abandonments alone.
_ENDED = """
select generation_id, account_id, kind, api_key_hash, is_byok, credential_id, list_cost_nano_usd,
       collected_nano_usd, uncollected_nano_usd, null as reason
from generations where month = any($1::text[]) and generation_id = any($2::text[])
union all
select generation_id, account_id, kind, null, null, null, null, null, null, reason
from abandonments where month = any($1::text[]) and generation_id = any($2::text[])
order by kind desc
"""
# One statement, since commands wait for each: a hold that is open and named comes twice, the same.
_HOLDS = f"""
select {_HOLD} from holds
where is_open and month = any($1::text[]) and generation_id = any($2::text[])
union all
select {_HOLD} from holds where hold_id = any($3::text[])
"""  # noqa: S608 - constants only
_NAMED_HOLDS = f"select {_HOLD} from holds where hold_id = any($1::text[])"  # noqa: S608 - as above
_REFUSALS = """
select hold_id, account_id, input_hash, code, message, needed_nano_usd, available_nano_usd,
       affordable_nano_usd, key_limit, rate_limit
from spend_refusals where hold_id = any($1::text[])
"""
_ALLOTMENTS = """
select account_id, month, used, reserved, list_cost_used_nano_usd, list_cost_reserved_nano_usd
from allotments where account_id = any($1::text[]) and month = any($2::text[])
"""
_EXPIRED = """
select hold_id, account_id from holds
where is_open and hold_until <= $1 order by hold_until limit $2
"""
_LOCK_IDLE_ACCOUNTS = _LOCK_ACCOUNTS.rstrip() + " skip locked"
_DAYS = """
select account_id, api_key_hash, case when day >= $3 then day end as day,
       sum(credits_nano_usd) as credits_nano_usd,
       sum(byok_list_cost_nano_usd) as byok_list_cost_nano_usd,
       max(day) filter (where requests > 0) as last_day
from spending_days
where (account_id, api_key_hash) in (select * from unnest($1::text[], $2::text[]))
group by 1, 2, 3
"""


async def read_page(connection: Connection, scope: Scope, current_month: str) -> Page:
    """Lock a scope's accounts, making those that are new, and read what else it names."""
    page = Page()
    account_ids = scope.account_ids
    if scope.payment_ids:  # before their accounts, as every other transaction does it
        account_ids = account_ids | await read_payments(connection, page, scope)
    if account_ids:
        await _lock_accounts(connection, page, account_ids)
    if scope.movement_keys:
        await read_movements(connection, page, scope)
    page.months = await _read_months(connection, scope.months, current_month)
    await _read_rest(connection, page, scope)
    await read_limits(connection, page, scope)
    return page


async def read_expired(
    connection: Connection, now: datetime, holds_max: int, current_month: str
) -> tuple[Page, list[Hold]]:
    """The page of open holds past their time, without accounts that somebody else works on."""
    page = Page()
    found = await connection.fetch(_EXPIRED, now, holds_max)
    if not found:
        return page, []
    accounts = {row["account_id"] for row in found}
    _add_accounts(page, await connection.fetch(_LOCK_IDLE_ACCOUNTS, sorted(accounts)))
    hold_ids = {row["hold_id"] for row in found if row["account_id"] in page.accounts}
    if not hold_ids:
        return page, []
    _add_holds(page, await connection.fetch(_NAMED_HOLDS, sorted(hold_ids)))
    expired = [hold for hold in page.open_holds.values() if hold.hold_until <= now]
    months = sorted({hold.month for hold in expired})
    page.months = await _read_months(connection, months, current_month)
    await _read_allotments(connection, page, months)
    return page, expired


async def read_days(
    connection: Connection, keys: Iterable[tuple[AccountId, ApiKeyHash]], today: date
) -> dict[tuple[AccountId, ApiKeyHash], list[DaySpent]]:
    """What was spent with each API key, days before this month and week as one sum."""
    wanted = sorted(set(keys))
    days: dict[tuple[AccountId, ApiKeyHash], list[DaySpent]] = {key: [] for key in wanted}
    rows = await connection.fetch(
        _DAYS, [key[0] for key in wanted], [key[1] for key in wanted], first_day_needed(today)
    )
    for row in rows:
        days[row["account_id"], row["api_key_hash"]].append(
            DaySpent(
                day=row["day"],
                credits_nano_usd=int(row["credits_nano_usd"]),
                byok_list_cost_nano_usd=int(row["byok_list_cost_nano_usd"]),
                last_day=row["last_day"],
            )
        )
    return days


async def _lock_accounts(connection: Connection, page: Page, wanted: set[AccountId]) -> None:
    _add_accounts(page, await connection.fetch(_LOCK_ACCOUNTS, sorted(wanted)))
    missing = sorted(wanted - page.accounts.keys())
    if missing:
        await connection.execute(_MAKE_ACCOUNTS, missing)
        _add_accounts(page, await connection.fetch(_LOCK_ACCOUNTS, missing))


async def _read_months(connection: Connection, months: Iterable[str], current_month: str) -> Months:
    """Which months are closed; not asked while everything is of the current month, which is open."""
    if all(month == current_month for month in months):
        return Months(current=current_month)
    closed = await connection.fetch(_CLOSED_MONTHS)
    return Months(current=current_month, closed=frozenset(row["month"] for row in closed))


async def _read_rest(connection: Connection, page: Page, scope: Scope) -> None:
    months = sorted(scope.months)
    if scope.generation_ids:
        ids = sorted(scope.generation_ids)
        for row in await connection.fetch(_ENDED, months, ids):
            if row["reason"] is None:
                page.settlements[row["generation_id"]] = _settlement(row)
            else:
                # 'abandoned' comes after 'released', and is the one that counts
                page.abandonments[row["generation_id"]] = _abandonment(row)
        if page.months.closed:
            for row in await connection.fetch(_LATE_SETTLEMENTS, ids):
                page.settlements[row["generation_id"]] = _settlement(row)
        _add_holds(page, await connection.fetch(_HOLDS, months, ids, sorted(scope.hold_ids)))
        await _read_allotments(connection, page, months)
    if scope.hold_ids:
        for row in await connection.fetch(_REFUSALS, sorted(scope.hold_ids)):
            page.refusals[row["hold_id"]] = _refusal(row)


async def _read_allotments(connection: Connection, page: Page, months: list[str]) -> None:
    for row in await connection.fetch(_ALLOTMENTS, sorted(page.accounts), months):
        page.allotments[row["account_id"], row["month"]] = Allotment(
            used=row["used"],
            reserved=row["reserved"],
            list_cost_used_nano_usd=int(row["list_cost_used_nano_usd"]),
            list_cost_reserved_nano_usd=int(row["list_cost_reserved_nano_usd"]),
        )


def _add_accounts(page: Page, rows: Iterable[Any]) -> None:
    for row in rows:
        page.accounts[row["account_id"]] = Account(
            account_id=AccountId(row["account_id"]),
            available_nano_usd=int(row["available_nano_usd"]),
            held_nano_usd=int(row["held_nano_usd"]),
            version=row["version"],
            own_policy=own_policy(row),
            policy_version=row["policy_version"],
        )


def own_policy(row: Any) -> OwnPolicy:
    """What an account's row says of its own fee policy."""
    free_list_cost = row["free_list_cost_nano_usd"]
    return OwnPolicy(
        fee_percent=row["fee_percent"],
        allotment_rule=row["allotment_rule"],
        free_requests=row["free_requests"],
        free_list_cost_nano_usd=None if free_list_cost is None else int(free_list_cost),
    )


def _add_holds(page: Page, rows: Iterable[Any]) -> None:
    for row in rows:
        hold = Hold(
            hold_id=HoldId(row["hold_id"]),
            month=row["month"],
            generation_id=GenerationId(row["generation_id"]),
            run_id=RunId(row["run_id"]),
            account_id=AccountId(row["account_id"]),
            api_key_hash=ApiKeyHash(row["api_key_hash"]),
            is_byok=row["is_byok"],
            provider=row["provider"],
            waived=row["waived"],
            fee_percent=row["fee_percent"],
            worst_case_nano_usd=int(row["worst_case_nano_usd"]),
            amount_nano_usd=int(row["amount_nano_usd"]),
            worst_case_tokens=row["worst_case_tokens"],
            rate_second=row["rate_second"],
            hold_until=row["hold_until"],
            input_hash=row["input_hash"],
        )
        page.holds[hold.hold_id] = hold
        if row["is_open"]:
            page.open_holds[hold.generation_id] = hold


def _settlement(row: Any) -> Settlement:
    return Settlement(
        generation_id=GenerationId(row["generation_id"]),
        account_id=AccountId(row["account_id"]),
        api_key_hash=ApiKeyHash(row["api_key_hash"]),
        kind=SettlementKind(row["kind"]),
        is_byok=row["is_byok"],
        credential_id=_own_credential(row),
        list_cost_nano_usd=int(row["list_cost_nano_usd"]),
        collected_nano_usd=int(row["collected_nano_usd"]),
        uncollected_nano_usd=int(row["uncollected_nano_usd"]),
    )


def _own_credential(row: Any) -> CredentialId | None:
    credential_id = row["credential_id"]
    return CredentialId(credential_id) if row["is_byok"] and credential_id is not None else None


def _abandonment(row: Any) -> Abandonment:
    return Abandonment(
        generation_id=GenerationId(row["generation_id"]),
        account_id=AccountId(row["account_id"]),
        kind=AbandonmentKind(row["kind"]),
        reason=row["reason"],
    )


def _refusal(row: Any) -> Refusal:
    affordable = row["affordable_nano_usd"]
    return Refusal(
        hold_id=HoldId(row["hold_id"]),
        account_id=AccountId(row["account_id"]),
        input_hash=row["input_hash"],
        answer=SpendRefused(
            code=row["code"],
            message=row["message"],
            needed_nano_usd=int(row["needed_nano_usd"]),
            available_nano_usd=int(row["available_nano_usd"]),
            affordable_nano_usd=None if affordable is None else int(affordable),
            key_limit=msgspec.convert(row["key_limit"], KeyLimitReached | None),
            rate_limit=msgspec.convert(row["rate_limit"], RateLimitReached | None),
        ),
    )
