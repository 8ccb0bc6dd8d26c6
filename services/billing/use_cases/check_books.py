"""Checks the books against themselves: counters are what their transfers come to, nothing hangs."""

from typing import Any

from services.billing.domain.ledger import LedgerAccount
from services.billing.ports.ledger import Books, Ledger


async def check_books(ledger: Ledger) -> dict[str, Any]:
    """A report for programs; `balanced` and without `problems` when the books are right."""
    books = await ledger.read_books()
    problems = problems_of(books)
    return {
        "balanced": not problems,
        "debits_nano_usd": books.debits_nano_usd,
        "credits_nano_usd": books.credits_nano_usd,
        "balances_nano_usd": books.balances,
        "sum_of_balances_nano_usd": sum(books.balances.values()),
        "clearing_nano_usd": books.balances.get(LedgerAccount.CLEARING, 0),
        "transfers": books.transfers,
        "accounts": books.accounts,
        "generations": books.generations,
        "open_holds": books.open_holds,
        "waiting_payments": books.waiting_payments,
        "wrong_accounts": [
            {
                "account_id": each.account_id,
                "differences": {
                    name: {"kept": kept, "replayed": replayed}
                    for name, (kept, replayed) in each.differences.items()
                },
            }
            for each in books.wrong_accounts
        ],
        "problems": problems,
    }


def problems_of(books: Books) -> list[str]:
    """What is wrong with them, in words."""
    problems: list[str] = []
    if books.debits_nano_usd != books.credits_nano_usd or sum(books.balances.values()) != 0:
        problems.append("debits and credits differ")
    if books.balances.get(LedgerAccount.CLEARING, 0):
        problems.append("the clearing account is not at zero")
    if books.wrong_holds:
        problems.append(f"{books.wrong_holds} holds are open with an ending, or closed without one")
    if books.wrong_payments:
        problems.append(
            f"of {books.wrong_payments} payments something else went back than their reports say"
        )
    problems.extend(
        f"account {each.account_id} differs from its rows: {', '.join(each.differences)}"
        for each in books.wrong_accounts
    )
    return problems
