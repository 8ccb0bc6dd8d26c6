"""Adds the whole books up, from their rows, for `check_books`."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from services.billing.ports.ledger import AccountCheck, Books
from shared.ids import AccountId
from shared.postgres.pool import Connection

_Compared: TypeAlias = Sequence[tuple[str, str, str]]
"""What is compared, under which name it is kept, and under which one it is worked out anew."""
_SECONDS_MAX: Final = 300
_TOTALS: Final = """
select count(*) as transfers, coalesce(sum(amount_nano_usd), 0) as amount from transfers
"""
_BALANCES: Final = """
select ledger_account, sum(amount) as balance
from (
    select split_part(credit, '/', 1) as ledger_account, amount_nano_usd as amount from transfers
    union all
    select split_part(debit, '/', 1), -amount_nano_usd from transfers
) as sides
group by 1 order by 1
"""
# Each account's counters beside what its own rows come to; only accounts where they differ.
_WRONG: Final = """
with sides as (
    select credit as name, amount_nano_usd as amount from transfers
    where credit like 'customer\\_%'
    union all
    select debit, -amount_nano_usd from transfers where debit like 'customer\\_%'
), replayed as (
    select split_part(name, '/', 2) as account_id,
           coalesce(sum(amount) filter (where name like 'customer\\_credits/%'), 0) as available,
           coalesce(sum(amount) filter (where name like 'customer\\_holds/%'), 0) as held
    from sides group by 1
), moved as (
    select account_id, sum(amount_nano_usd) as credits, sum(uncollected_nano_usd) as uncollected
    from credit_movements group by 1
), booked as (
    select account_id,
           sum(case when credit like 'customer\\_%' then amount_nano_usd
                    when debit like 'customer\\_%' then -amount_nano_usd else 0 end) as credits,
           sum(case when debit = 'uncollected' then amount_nano_usd
                    when credit = 'uncollected' then -amount_nano_usd else 0 end) as uncollected
    from transfers
    where kind in ('top_up', 'promotion', 'refund', 'refund_not_collected', 'refund_reversed',
                   'refund_covered', 'correction')
    group by 1
), open_holds as (
    select account_id, sum(amount_nano_usd) as held from holds where is_open group by 1
)
select * from (
    select account_id,
           available_nano_usd as available, coalesce(replayed.available, 0) as available_replayed,
           held_nano_usd as held, coalesce(replayed.held, 0) as held_replayed,
           coalesce(open_holds.held, 0) as held_open,
           coalesce(moved.credits, 0) as moved, coalesce(booked.credits, 0) as moved_booked,
           coalesce(moved.uncollected, 0) as uncollected,
           coalesce(booked.uncollected, 0) as uncollected_booked
    from accounts
    full join replayed using (account_id)
    left join open_holds using (account_id)
    left join moved using (account_id)
    left join booked using (account_id)
) as compared
where available is distinct from available_replayed or held is distinct from held_replayed
   or held is distinct from held_open
   or moved <> moved_booked or uncollected <> uncollected_booked
order by account_id
"""
# A month's allotments beside the generations that started in it and the holds that run; only where
# they differ.
_WRONG_ALLOTMENTS: Final = """
with reserved as (
    select account_id, month, count(*) as reserved_open,
           sum(worst_case_nano_usd) as list_cost_reserved_open
    from holds where is_open and waived group by 1, 2
), counted as (
    select account_id, coalesce(corrects_month, month) as month, count(*) as used_counted,
           sum(list_cost_nano_usd) filter (where kind = 'fee_waived') as list_cost_used_counted
    from generations
    where kind in ('fee_waived', 'fee_deducted') and not exists (
        select from abandonments
        where abandonments.month = coalesce(generations.corrects_month, generations.month)
          and abandonments.generation_id = generations.generation_id
          and abandonments.kind = 'abandoned'
    )
    group by 1, 2
)
select * from (
    select account_id, month,
           coalesce(reserved, 0) as reserved, coalesce(reserved_open, 0) as reserved_open,
           coalesce(used, 0) as used, coalesce(used_counted, 0) as used_counted,
           coalesce(list_cost_reserved_nano_usd, 0) as list_cost_reserved,
           coalesce(list_cost_reserved_open, 0) as list_cost_reserved_open,
           coalesce(list_cost_used_nano_usd, 0) as list_cost_used,
           coalesce(list_cost_used_counted, 0) as list_cost_used_counted
    from allotments
    full join reserved using (account_id, month)
    full join counted using (account_id, month)
) as compared
where reserved <> reserved_open or used <> used_counted
   or list_cost_reserved <> list_cost_reserved_open or list_cost_used <> list_cost_used_counted
order by account_id, month
"""
_GENERATIONS: Final = "select kind, count(*) as rows from generations group by 1 order by 1"
_HOLDS: Final = """
select count(*) filter (where is_open) as open,
       count(*) filter (where is_open = (hold_endings.hold_id is not null)) as wrong
from holds left join hold_endings using (hold_id)
"""
# What went back of each payment beside what its reports come to; `to_return` says how.
_PAYMENTS: Final = """
with known as (
    select payment_id, sum(amount_nano_usd) filter (where kind = 'cash') as came_in,
           sum(amount_nano_usd - uncollected_nano_usd) as kept
    from credit_movements where payment_id is not null group by 1
), reported as (
    select payment_id,
           coalesce(max(amount_nano_usd) filter (where kind = 'refunded'), 0)
           + coalesce(sum(amount_nano_usd) filter (where kind = 'withdrawn' and not exists (
                 select from payment_reports as won
                 where won.payment_id = told.payment_id and won.kind = 'reinstated'
                   and won.subject = told.subject
             )), 0) as returned
    from payment_reports as told group by 1
)
select count(*) filter (where came_in is null) as waiting,
       count(*) filter (
           where came_in - kept <> least(came_in, coalesce(returned, 0))
       ) as wrong
from known full join reported using (payment_id)
"""
_COMPARED: Final[_Compared] = (
    ("available_nano_usd", "available", "available_replayed"),
    ("held_nano_usd", "held", "held_replayed"),
    ("held_by_open_holds_nano_usd", "held", "held_open"),
    ("moved_nano_usd", "moved", "moved_booked"),
    ("uncollected_of_refunds_nano_usd", "uncollected", "uncollected_booked"),
)
_ALLOTMENTS_COMPARED: Final[_Compared] = (
    ("allotment_reserved", "reserved", "reserved_open"),
    ("allotment_used", "used", "used_counted"),
    ("allotment_list_cost_reserved_nano_usd", "list_cost_reserved", "list_cost_reserved_open"),
    ("allotment_list_cost_used_nano_usd", "list_cost_used", "list_cost_used_counted"),
)


async def read_books(connection: Connection) -> Books:
    """Read everything in one snapshot; takes time in proportion to the books."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"set local statement_timeout = '{_SECONDS_MAX}s'")
        totals = await connection.fetchrow(_TOTALS, timeout=_SECONDS_MAX)
        balances = await connection.fetch(_BALANCES, timeout=_SECONDS_MAX)
        wrong = await connection.fetch(_WRONG, timeout=_SECONDS_MAX)
        allotments = await connection.fetch(_WRONG_ALLOTMENTS, timeout=_SECONDS_MAX)
        kinds = await connection.fetch(_GENERATIONS, timeout=_SECONDS_MAX)
        holds = await connection.fetchrow(_HOLDS, timeout=_SECONDS_MAX)
        payments = await connection.fetchrow(_PAYMENTS, timeout=_SECONDS_MAX)
        accounts = await connection.fetchval("select count(*) from accounts")
    if totals is None or holds is None or payments is None:
        raise AssertionError("an aggregate always has a row")
    by_ledger_account = {row["ledger_account"]: int(row["balance"]) for row in balances}
    return Books(
        debits_nano_usd=int(totals["amount"]),
        credits_nano_usd=int(totals["amount"]),
        transfers=totals["transfers"],
        balances=by_ledger_account,
        accounts=accounts,
        generations={row["kind"]: row["rows"] for row in kinds},
        open_holds=holds["open"],
        wrong_holds=holds["wrong"],
        wrong_payments=payments["wrong"],
        waiting_payments=payments["waiting"],
        wrong_accounts=_wrong_accounts(wrong, allotments),
    )


def _wrong_accounts(accounts: Sequence[Any], allotments: Sequence[Any]) -> tuple[AccountCheck, ...]:
    """What differs of each account, what is of one month under its name."""
    differences: dict[str, dict[str, tuple[int, int]]] = {}
    for row in accounts:
        differences.setdefault(row["account_id"], {}).update(_differing(row, _COMPARED))
    for row in allotments:
        of_month = {
            f"{name} of {row['month']}": values
            for name, values in _differing(row, _ALLOTMENTS_COMPARED).items()
        }
        differences.setdefault(row["account_id"], {}).update(of_month)
    return tuple(
        AccountCheck(account_id=AccountId(account_id), differences=found)
        for account_id, found in sorted(differences.items())
    )


def _differing(row: Any, compared: _Compared) -> dict[str, tuple[int, int]]:
    return {
        name: (int(row[kept] or 0), int(row[replayed]))
        for name, kept, replayed in compared
        if row[kept] != row[replayed]
    }
