"""Reads movements of credits, and payments with what their provider said of them."""

from services.billing.domain.movement import Movement, MovementKind
from services.billing.domain.page import Page
from services.billing.domain.payment import Payment, PaymentReport, ReportKind
from services.billing.ports.ledger import Scope
from shared.ids import AccountId
from shared.postgres.pool import Connection

_MOVEMENTS = """
select account_id, key, kind, input_hash, amount_nano_usd, uncollected_nano_usd, credits_nano_usd,
       reason, reference, payment_id
from credit_movements where (account_id, key) in (select * from unnest($1::text[], $2::text[]))
"""
_CASH = """
select account_id, sum(amount_nano_usd - uncollected_nano_usd) as cash
from credit_movements
where account_id = any($1::text[]) and kind in ('cash', 'refund', 'refund_reversed')
group by 1
"""
# A payment has no row to lock before it came in, and its reports must not miss each other then.
_LOCK_PAYMENTS = """
select pg_advisory_xact_lock(hashtextextended('openroute.payment.' || payment_id, 0))
from unnest($1::text[]) as named (payment_id)
"""
_PAYMENTS = """
select payment_id, min(account_id) as account_id,
       sum(amount_nano_usd) filter (where kind = 'cash') as came_in,
       coalesce(-sum(amount_nano_usd) filter (where kind <> 'cash'), 0) as taken,
       sum(uncollected_nano_usd) as uncollected
from credit_movements where payment_id = any($1::text[])
group by 1
"""
_REPORTS = """
select payment_id, kind, subject, amount_nano_usd from payment_reports
where payment_id = any($1::text[]) order by created_at, kind, subject
"""


async def read_payments(connection: Connection, page: Page, scope: Scope) -> set[AccountId]:
    """Lock a scope's payments and read them; the accounts that they were credited to."""
    payment_ids = sorted(scope.payment_ids)
    await connection.execute(_LOCK_PAYMENTS, payment_ids)
    for row in await connection.fetch(_PAYMENTS, payment_ids):
        page.payments[row["payment_id"]] = Payment(
            payment_id=row["payment_id"],
            account_id=AccountId(row["account_id"]),
            amount_nano_usd=int(row["came_in"]),
            taken_nano_usd=int(row["taken"]),
            uncollected_nano_usd=int(row["uncollected"]),
        )
    for row in await connection.fetch(_REPORTS, payment_ids):
        report = PaymentReport(
            payment_id=row["payment_id"],
            kind=ReportKind(row["kind"]),
            subject=row["subject"],
            amount_nano_usd=int(row["amount_nano_usd"]),
        )
        page.payment_reports.setdefault(report.payment_id, []).append(report)
    return {payment.account_id for payment in page.payments.values()}


async def read_movements(connection: Connection, page: Page, scope: Scope) -> None:
    """Read what is booked under a scope's keys, and the cash of accounts that ask for a refund."""
    keys = sorted(scope.movement_keys)
    rows = await connection.fetch(_MOVEMENTS, [key[0] for key in keys], [key[1] for key in keys])
    for row in rows:
        credits_nano_usd = row["credits_nano_usd"]
        page.movements[row["account_id"], row["key"]] = Movement(
            account_id=AccountId(row["account_id"]),
            key=row["key"],
            kind=MovementKind(row["kind"]),
            input_hash=row["input_hash"],
            amount_nano_usd=int(row["amount_nano_usd"]),
            credits_nano_usd=None if credits_nano_usd is None else int(credits_nano_usd),
            uncollected_nano_usd=int(row["uncollected_nano_usd"]),
            reason=row["reason"],
            reference=row["reference"],
            payment_id=row["payment_id"],
        )
    if scope.refunded_account_ids:
        for row in await connection.fetch(_CASH, sorted(scope.refunded_account_ids)):
            page.cash[row["account_id"]] = int(row["cash"])
