"""What booking, admission and house-keeping need from the world."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, TypeVar

from services.billing.domain.hold import Hold
from services.billing.domain.key_limit import KeyLimit
from services.billing.domain.page import Entries, Page
from services.billing.domain.rate_limit import SharedUser
from services.billing.domain.receipt import Receipts
from services.billing.domain.spending import DaySpent
from shared.events.codec import Received
from shared.events.envelope import CallReply
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Scope:
    """What a page is to hold. Naming an account makes it and locks it; `hold_ids` come with generations.

    Naming a payment locks it, and the account that it was credited to. `key_days` are API keys with
    the days of their generations, of which limits are to be known, `told_limits` what was said of them
    already; `shared_users` are those whose last minute of shared capacity is.
    """

    account_ids: set[AccountId] = field(default_factory=set)
    generation_ids: set[GenerationId] = field(default_factory=set)
    months: set[str] = field(default_factory=set)
    hold_ids: set[HoldId] = field(default_factory=set)
    movement_keys: set[tuple[AccountId, str]] = field(default_factory=set)
    refunded_account_ids: set[AccountId] = field(default_factory=set)
    payment_ids: set[str] = field(default_factory=set)
    key_days: set[tuple[AccountId, ApiKeyHash, date]] = field(default_factory=set)
    told_limits: list[KeyLimit] = field(default_factory=list)
    shared_users: set[SharedUser] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCheck:
    """An account's counters beside what its transfers, holds and generations come to."""

    account_id: AccountId
    differences: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The whole books at one moment: `balances` is credits minus debits of each ledger account."""

    debits_nano_usd: int
    credits_nano_usd: int
    transfers: int
    balances: dict[str, int]
    accounts: int
    generations: dict[str, int]
    open_holds: int
    wrong_holds: int
    wrong_payments: int
    waiting_payments: int
    wrong_accounts: tuple[AccountCheck, ...]


class Transaction(Protocol):
    """One transaction on the books."""

    async def take_new(self, facts: Sequence[Received]) -> list[Received]:
        """Record facts as taken in; those that were not before, in their order."""
        ...

    async def read_page(self, scope: Scope) -> Page:
        """The page of a scope, its accounts locked in order until the transaction ends."""
        ...

    async def read_expired(self, now: datetime, *, holds_max: int) -> tuple[Page, list[Hold]]:
        """Open holds past their time with their page; accounts that others work on are left out."""
        ...

    async def read_days(
        self, keys: Sequence[tuple[AccountId, ApiKeyHash]], today: date
    ) -> dict[tuple[AccountId, ApiKeyHash], list[DaySpent]]:
        """What was spent with API keys: this month's and week's days, and all before as one sum."""
        ...

    async def store(self, page: Page) -> None:
        """Store what is new on the page, with what the world is told of it."""
        ...

    async def store_receipts(self, receipts: Receipts) -> None:
        """Store what a stored page means for the read side."""
        ...


class Ledger(Protocol):
    """The books, and the way to work on them."""

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction, then publish what it stored.

        `work` may run several times and keeps nothing outside. Raises Unavailable when PostgreSQL
        does not answer (the commit may then have taken effect), PoisonRecord when it cannot hold a
        value.
        """
        ...

    async def read_books(self) -> Books:
        """Everything added up, in one snapshot."""
        ...

    async def count_open_holds(self) -> int:
        """How many holds are open."""
        ...

    async def open_month(self, month: str) -> None:
        """Make the partitions of a month, if it has none yet."""
        ...


class Heartbeats(Protocol):
    """Where billing says that it is at work."""

    async def send(self, lag_seconds: float) -> None:
        """Say so, with the age of the oldest fact not yet booked. Raises Unavailable."""
        ...


class Observer(Protocol):
    """Who counts what happens."""

    def posted(self, entries: Entries, repeated: int, seconds: float) -> None:
        """A batch of facts was booked; `repeated` of them had been before."""
        ...

    def served(self, answers: Sequence[CallReply], seconds: float) -> None:
        """A batch of commands was answered."""
        ...

    def not_collected(self, nano_usd: int) -> None:
        """Money went back that credits did not cover."""
        ...

    def expired(self, holds: int) -> None:
        """Holds ran out."""
        ...

    def state(self, *, open_holds: int, lag_seconds: float) -> None:
        """How things stand now."""
        ...
