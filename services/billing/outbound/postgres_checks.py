"""Adds the whole books up, from their rows, for `check_books`."""

from typing import Final

from services.billing.ports.ledger import AccountCheck, Books
from shared.ids import AccountId
from shared.postgres.pool import Connection

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
), reserved as (
    select account_id, count(*) as reserved, sum(worst_case_nano_usd) as list_cost_reserved
    from holds where is_open and waived group by 1
), promised as (
    select account_id, sum(reserved) as reserved, sum(used) as used,
           sum(list_cost_reserved_nano_usd) as list_cost_reserved,
           sum(list_cost_used_nano_usd) as list_cost_used
    from allotments group by 1
), counted as (
    select account_id, count(*) as used,
           sum(list_cost_nano_usd) filter (where kind = 'fee_waived') as list_cost_used
    from generations
    where kind in ('fee_waived', 'fee_deducted') and not exists (
        select from abandonments
        where abandonments.month = coalesce(generations.corrects_month, generations.month)
          and abandonments.generation_id = generations.generation_id
          and abandonments.kind = 'abandoned'
    )
    group by 1
)
select * from (
    select account_id,
           available_nano_usd as available, coalesce(replayed.available, 0) as available_replayed,
           held_nano_usd as held, coalesce(replayed.held, 0) as held_replayed,
           coalesce(open_holds.held, 0) as held_open,
           coalesce(promised.reserved, 0) as reserved,
           coalesce(reserved.reserved, 0) as reserved_open,
           coalesce(promised.used, 0) as used, coalesce(counted.used, 0) as used_counted,
           coalesce(promised.list_cost_reserved, 0) as list_cost_reserved,
           coalesce(reserved.list_cost_reserved, 0) as list_cost_reserved_open,
           coalesce(promised.list_cost_used, 0) as list_cost_used,
           coalesce(counted.list_cost_used, 0) as list_cost_used_counted,
           coalesce(moved.credits, 0) as moved, coalesce(booked.credits, 0) as moved_booked,
           coalesce(moved.uncollected, 0) as uncollected,
           coalesce(booked.uncollected, 0) as uncollected_booked
    from accounts
    full join replayed using (account_id)
    left join open_holds using (account_id)
    left join reserved using (account_id)
    left join promised using (account_id)
    left join counted using (account_id)
    left join moved using (account_id)
    left join booked using (account_id)
) as compared
where available is distinct from available_replayed or held is distinct from held_replayed
   or held is distinct from held_open or reserved <> reserved_open or used <> used_counted
   or list_cost_reserved <> list_cost_reserved_open or list_cost_used <> list_cost_used_counted
   or moved <> moved_booked or uncollected <> uncollected_booked
order by account_id
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
_COMPARED: Final = (
    ("available_nano_usd", "available", "available_replayed"),
    ("held_nano_usd", "held", "held_replayed"),
    ("held_by_open_holds_nano_usd", "held", "held_open"),
    ("allotment_reserved", "reserved", "reserved_open"),
    ("allotment_used", "used", "used_counted"),
    ("allotment_list_cost_reserved_nano_usd", "list_cost_reserved", "list_cost_reserved_open"),
    ("allotment_list_cost_used_nano_usd", "list_cost_used", "list_cost_used_counted"),
    ("moved_nano_usd", "moved", "moved_booked"),
    ("uncollected_of_refunds_nano_usd", "uncollected", "uncollected_booked"),
)


async def read_books(connection: Connection) -> Books:
    """Read everything in one snapshot; takes time in proportion to the books."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"set local statement_timeout = '{_SECONDS_MAX}s'")
        totals = await connection.fetchrow(_TOTALS, timeout=_SECONDS_MAX)
        balances = await connection.fetch(_BALANCES, timeout=_SECONDS_MAX)
        wrong = await connection.fetch(_WRONG, timeout=_SECONDS_MAX)
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
        wrong_accounts=tuple(
            AccountCheck(
                account_id=AccountId(row["account_id"]),
                differences={
                    name: (int(row[kept] or 0), int(row[replayed]))
                    for name, kept, replayed in _COMPARED
                    if row[kept] != row[replayed]
                },
            )
            for row in wrong
        ),
    )
