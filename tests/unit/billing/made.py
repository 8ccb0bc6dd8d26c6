"""Facts and commands as the other services make them, with the numbers that tests are about."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from services.billing.domain.credits import add_credits
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.page import Page
from services.billing.domain.policy import FeePolicy
from shared.events.billing import AddCredits, ApiKeyLimit, AuthorizeSpend
from shared.events.generations import GenerationFinished, Spend
from shared.events.usage import Prices, Usage
from shared.ids import AccountId, ApiKeyHash, CredentialId, GenerationId, HoldId, RunId

ACCOUNT = AccountId("0192aaaa-0000-7000-8000-000000000001")
OTHER_ACCOUNT = AccountId("0192aaaa-0000-7000-8000-000000000002")
API_KEY = ApiKeyHash("ab" * 32)
RUN = RunId("run-1")
MONTH = "2025-11"
NOW = datetime(2025, 11, 15, 12, tzinfo=UTC)
LATER = datetime(2125, 11, 15, tzinfo=UTC)
"""Past every clock's now: a billing process at work ends a hold whose time is over within a second."""
POLICY = FeePolicy(fee_percent=Decimal(5), free_requests=2)
USD = 1_000_000_000
PRICES = Prices(prompt=2_500_000, completion=10_000_000)
USAGE = Usage(prompt_tokens=1_000, completion_tokens=500)
LIST_COST = 7_500_000
"""1,000 tokens at $2.50 and 500 at $10 a million: $0.0075 in nano-USD."""
FEE = 375_000
"""5 percent of it."""


def generation(number: int = 1, at: datetime = NOW) -> GenerationId:
    """A generation that started at a moment."""
    milliseconds = f"{int(at.timestamp() * 1000):012x}"
    return GenerationId(f"gen-{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{number:012x}")


def finished(
    number: int = 1,
    *,
    account: AccountId = ACCOUNT,
    spend: Spend | None = None,
    is_byok: bool = True,
    outcome: Literal["completed", "failed", "cancelled"] = "completed",
    usage: Usage | None = USAGE,
    api_key_hash: ApiKeyHash = API_KEY,
    prices: Prices = PRICES,
    generation_id: GenerationId | None = None,
    at: datetime = NOW,
) -> GenerationFinished:
    """A generation that finished at a moment."""
    return GenerationFinished(
        generation_id=generation_id or generation(number),
        run_id=RUN,
        account_id=account,
        api_key_hash=api_key_hash,
        outcome=outcome,
        is_byok=is_byok,
        model="openai/gpt-4o",
        provider="openai",
        endpoint="openai",
        credential_id=CredentialId("credential") if is_byok else None,
        usage=usage,
        prices=prices,
        spend=spend,
        attempts=(),
        started_at=NOW,
        finished_at=at,
    )


def authorize(
    number: int = 1,
    *,
    hold: str | None = None,
    account: AccountId = ACCOUNT,
    is_byok: bool = True,
    worst_case_nano_usd: int = 4 * LIST_COST,
    worst_case_tokens: int = 0,
    api_key_hash: ApiKeyHash = API_KEY,
    provider: str = "openai",
    generation_id: GenerationId | None = None,
    hold_until: datetime = LATER,
    api_key_limit: ApiKeyLimit | None = None,
) -> AuthorizeSpend:
    """May this attempt begin?"""
    return AuthorizeSpend(
        hold_id=HoldId(hold or f"hold-{number}"),
        generation_id=generation_id or generation(number),
        run_id=RUN,
        account_id=account,
        api_key_hash=api_key_hash,
        is_byok=is_byok,
        provider=provider,
        worst_case_nano_usd=worst_case_nano_usd,
        worst_case_tokens=worst_case_tokens,
        hold_until=hold_until,
        api_key_limit=api_key_limit,
    )


def promised(number: int = 1, *, waived: bool = False) -> Spend:
    """What a finished fact says of its hold."""
    return Spend(hold_id=HoldId(f"hold-{number}"), waived=waived)


def page_with(nano_usd: int, account: AccountId = ACCOUNT) -> Page:
    """Books in which an account has credits."""
    page = Page()
    if nano_usd:
        add_credits(page, AddCredits(account_id=account, amount_nano_usd=nano_usd, key="k"), MONTH)
    return page


def balance(page: Page, ledger_account: LedgerAccount) -> int:
    """Credits minus debits of a ledger account, all customers together."""
    return sum(
        each.amount_nano_usd * ((each.credit is ledger_account) - (each.debit is ledger_account))
        for each in page.entries.transfers
    )


def events(page: Page) -> list[str]:
    """The names of what was told, without top-ups."""
    names = [type(each.event).__name__ for each in page.entries.fee_events]
    return [name for name in names if name != "CreditsAdded"]
