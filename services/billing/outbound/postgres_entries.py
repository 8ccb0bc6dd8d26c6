"""Stores what is new on a page, each kind of row in one statement."""

from collections.abc import Sequence
from typing import Any

from services.billing.domain.generation import Finished, month_of_generation
from services.billing.domain.ledger import Transfer, ledger_name
from services.billing.domain.months import Months
from services.billing.domain.page import Entries, Page
from services.billing.outbound.postgres_limits import store_limits
from services.billing.outbound.together import Together
from shared.postgres.pool import Connection

_TRANSFERS = (
    "month",
    "transfer_id",
    "kind",
    "account_id",
    "generation_id",
    "hold_id",
    "debit",
    "credit",
    "amount_nano_usd",
    "corrects_month",
)
_HOLDS = """
insert into holds (hold_id, month, generation_id, run_id, account_id, api_key_hash, is_byok,
                   provider, waived, fee_percent, worst_case_nano_usd, amount_nano_usd, hold_until,
                   input_hash, is_open, worst_case_tokens, rate_second)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::boolean[], $8::text[], $9::boolean[], $10::numeric[], $11::numeric[],
                     $12::numeric[], $13::timestamptz[], $14::bytea[], $15::boolean[], $16::bigint[],
                     $17::bigint[])
"""
_CLOSE_HOLDS = "update holds set is_open = false where is_open and hold_id = any($1::text[])"
_HOLD_ENDINGS = """
insert into hold_endings (hold_id, ending) select * from unnest($1::text[], $2::text[])
"""
_GENERATIONS = (
    "month",
    "generation_id",
    "account_id",
    "api_key_hash",
    "kind",
    "list_cost_nano_usd",
    "collected_nano_usd",
    "uncollected_nano_usd",
    "run_id",
    "outcome",
    "is_byok",
    "model",
    "provider",
    "endpoint",
    "credential_id",
    "hold_id",
    "prompt_tokens",
    "completion_tokens",
    "estimated",
    "started_at",
    "finished_at",
    "corrects_month",
)
_LATE = "insert into late_generations (generation_id, month) select * from unnest($1::text[], $2::text[])"
_ABANDONMENTS = """
insert into abandonments (month, generation_id, kind, account_id, reason)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
"""
_REFUSALS = """
insert into spend_refusals (hold_id, account_id, input_hash, code, message, needed_nano_usd,
                            available_nano_usd, affordable_nano_usd, key_limit, rate_limit)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::numeric[],
                     $7::numeric[], $8::numeric[], $9::jsonb[], $10::jsonb[])
"""
_MOVEMENTS = """
insert into credit_movements (account_id, key, kind, input_hash, amount_nano_usd,
                              uncollected_nano_usd, credits_nano_usd, reason, reference, payment_id)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[],
                     $7::numeric[], $8::text[], $9::text[], $10::text[])
"""
_PAYMENT_REPORTS = """
insert into payment_reports (payment_id, kind, subject, amount_nano_usd)
select * from unnest($1::text[], $2::text[], $3::text[], $4::numeric[])
"""
_ACCOUNTS = """
update accounts set
    available_nano_usd = changed.available, held_nano_usd = changed.held,
    version = changed.version, policy_version = changed.policy_version,
    fee_percent = changed.fee_percent, allotment_rule = changed.allotment_rule,
    free_requests = changed.free_requests, free_list_cost_nano_usd = changed.free_list_cost
from unnest($1::text[], $2::numeric[], $3::numeric[], $4::bigint[], $5::bigint[], $6::numeric[],
            $7::text[], $8::bigint[], $9::numeric[])
    as changed (account_id, available, held, version, policy_version, fee_percent, allotment_rule,
                free_requests, free_list_cost)
where accounts.account_id = changed.account_id
"""
_ALLOTMENTS = """
insert into allotments (account_id, month, used, reserved, list_cost_used_nano_usd,
                        list_cost_reserved_nano_usd)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::numeric[],
                     $6::numeric[])
on conflict (account_id, month) do update set
    used = excluded.used, reserved = excluded.reserved,
    list_cost_used_nano_usd = excluded.list_cost_used_nano_usd,
    list_cost_reserved_nano_usd = excluded.list_cost_reserved_nano_usd
"""
_SPENT = """
insert into spending_days as known (account_id, api_key_hash, day, credits_nano_usd,
                                    byok_list_cost_nano_usd, requests)
select * from unnest($1::text[], $2::text[], $3::date[], $4::numeric[], $5::numeric[], $6::bigint[])
on conflict (account_id, api_key_hash, day) do update set
    credits_nano_usd = known.credits_nano_usd + excluded.credits_nano_usd,
    byok_list_cost_nano_usd = known.byok_list_cost_nano_usd + excluded.byok_list_cost_nano_usd,
    requests = known.requests + excluded.requests
"""


async def store_entries(connection: Connection, page: Page) -> None:
    """Store what is new on the page in the caller's transaction, which holds its accounts' locks."""
    entries = page.entries
    together = Together()
    await _store_holds(connection, together, entries)
    await _copy(
        connection, "transfers", _TRANSFERS, [_transfer(each) for each in entries.transfers]
    )
    await _store_generations(connection, page)
    together.add(
        _ABANDONMENTS,
        [
            (
                month_of_generation(each.generation_id),
                each.generation_id,
                each.kind,
                each.account_id,
                each.reason,
            )
            for each in entries.abandonments
        ],
    )
    together.add(
        _REFUSALS,
        [
            (
                each.hold_id,
                each.account_id,
                each.input_hash,
                each.answer.code,
                each.answer.message,
                each.answer.needed_nano_usd,
                each.answer.available_nano_usd,
                each.answer.affordable_nano_usd,
                each.answer.key_limit,
                each.answer.rate_limit,
            )
            for each in entries.refusals
        ],
    )
    _store_movements(together, entries)
    _store_counters(together, page)
    store_limits(together, page)
    await together.run(connection)


def _store_movements(together: Together, entries: Entries) -> None:
    together.add(
        _MOVEMENTS,
        [
            (
                each.account_id,
                each.key,
                each.kind,
                each.input_hash,
                each.amount_nano_usd,
                each.uncollected_nano_usd,
                each.credits_nano_usd,
                each.reason,
                each.reference,
                each.payment_id,
            )
            for each in entries.movements
        ],
    )
    together.add(
        _PAYMENT_REPORTS,
        [
            (each.payment_id, each.kind, each.subject, each.amount_nano_usd)
            for each in entries.payment_reports
        ],
    )


async def _store_holds(connection: Connection, together: Together, entries: Entries) -> None:
    ended = [hold.hold_id for hold, _ in entries.hold_endings]
    # The old ones first: a generation has one open hold. One that opens and ends here never opens.
    if ended:
        await connection.execute(_CLOSE_HOLDS, ended)
    closed = set(ended)
    together.add(
        _HOLDS,
        [
            (
                hold.hold_id,
                hold.month,
                hold.generation_id,
                hold.run_id,
                hold.account_id,
                hold.api_key_hash,
                hold.is_byok,
                hold.provider,
                hold.waived,
                hold.fee_percent,
                hold.worst_case_nano_usd,
                hold.amount_nano_usd,
                hold.hold_until,
                hold.input_hash,
                hold.hold_id not in closed,
                hold.worst_case_tokens,
                hold.rate_second,
            )
            for hold in entries.holds
        ],
    )
    together.add(
        _HOLD_ENDINGS,
        [(hold.hold_id, ending) for hold, ending in entries.hold_endings],
    )


async def _store_generations(connection: Connection, page: Page) -> None:
    rows = [_generation(each, page.months) for each in page.entries.finished]
    await _copy(connection, "generations", _GENERATIONS, rows)
    await _insert(connection, _LATE, [(row[1], row[0]) for row in rows if row[-1] is not None])


def _store_counters(together: Together, page: Page) -> None:
    entries = page.entries
    accounts = [page.account(account_id) for account_id in sorted(entries.changed_accounts)]
    together.add(
        _ACCOUNTS,
        [
            (
                each.account_id,
                each.available_nano_usd,
                each.held_nano_usd,
                each.version,
                each.policy_version,
                each.own_policy.fee_percent,
                each.own_policy.allotment_rule,
                each.own_policy.free_requests,
                each.own_policy.free_list_cost_nano_usd,
            )
            for each in accounts
        ],
    )
    allotments = [(key, page.allotment(*key)) for key in sorted(entries.changed_allotments)]
    together.add(
        _ALLOTMENTS,
        [
            (
                *key,
                each.used,
                each.reserved,
                each.list_cost_used_nano_usd,
                each.list_cost_reserved_nano_usd,
            )
            for key, each in allotments
        ],
    )
    together.add(
        _SPENT,
        [
            (*key, spent.credits_nano_usd, spent.byok_list_cost_nano_usd, spent.requests)
            for key, spent in sorted(entries.spent.items())
        ],
    )


async def _insert(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement whose parameters are the rows' columns as arrays."""
    if rows:
        await connection.execute(statement, *zip(*rows, strict=True))


async def _copy(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Append rows by COPY, which takes half the CPU of arrays where rows are many and wide."""
    if rows:
        await connection.copy_records_to_table(table, records=rows, columns=columns)


def _transfer(each: Transfer) -> tuple[Any, ...]:
    return (
        each.month,
        each.transfer_id,
        each.kind,
        each.account_id,
        each.generation_id,
        each.hold_id,
        ledger_name(each.debit, each.account_id),
        ledger_name(each.credit, each.account_id),
        each.amount_nano_usd,
        each.corrects_month,
    )


def _generation(each: Finished, months: Months) -> tuple[Any, ...]:
    fact, settlement = each.fact, each.settlement
    usage = fact.usage
    month = month_of_generation(fact.generation_id)
    return (
        months.posting(month),
        fact.generation_id,
        fact.account_id,
        fact.api_key_hash,
        settlement.kind,
        settlement.list_cost_nano_usd,
        settlement.collected_nano_usd,
        settlement.uncollected_nano_usd,
        fact.run_id,
        fact.outcome,
        fact.is_byok,
        fact.model,
        fact.provider,
        fact.endpoint,
        fact.credential_id,
        None if fact.spend is None else fact.spend.hold_id,
        None if usage is None else usage.prompt_tokens,
        None if usage is None else usage.completion_tokens,
        None if usage is None else usage.estimated,
        fact.started_at,
        fact.finished_at,
        months.corrected(month),
    )
