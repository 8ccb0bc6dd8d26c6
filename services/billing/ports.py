"""What the use cases need from the world."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, TypeAlias, TypeVar

from services.billing.domain.evidence import Evidence
from services.billing.domain.hold import Hold
from services.billing.domain.page import Entries, Page
from services.billing.domain.period import Period
from services.billing.domain.rate_limit import RateWindow
from services.billing.domain.spending import DaySpent
from shared.events.codec import Received
from shared.events.envelope import CallReply
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Scope:
    """What a page is to hold. Naming an account makes it and locks it; `hold_ids` come with generations.

    Naming a payment locks it, and the account that it was credited to. `key_days` are API keys with
    the days of their generations, of which limits are to be known; `rate_windows` are of one minute.
    """

    account_ids: set[AccountId] = field(default_factory=set)
    generation_ids: set[GenerationId] = field(default_factory=set)
    months: set[str] = field(default_factory=set)
    hold_ids: set[HoldId] = field(default_factory=set)
    movement_keys: set[tuple[AccountId, str]] = field(default_factory=set)
    refunded_account_ids: set[AccountId] = field(default_factory=set)
    payment_ids: set[str] = field(default_factory=set)
    key_days: set[tuple[AccountId, ApiKeyHash, date]] = field(default_factory=set)
    rate_windows: set[RateWindow] = field(default_factory=set)


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

    async def forget_taken(self, before: datetime, *, rows_max: int) -> int:
        """Forget facts taken in before a moment from which none can come again."""
        ...

    async def forget_minutes(self, before: datetime) -> None:
        """Forget what rate limits counted in minutes that began before a moment."""
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


Row: TypeAlias = tuple[str, Evidence]
"""Evidence under its subject's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Offsets of each partition, known before the books were looked at.

    Reading begins at `facts` and `fees`. What stands before `facts_committed` must be booked;
    what stands before `fees_certain` and `accounts_certain` tells of what was booked before.
    """

    facts: Mapping[int, int]
    fees: Mapping[int, int]
    facts_committed: Mapping[int, int]
    fees_certain: Mapping[int, int]
    accounts_certain: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Offsets of each partition, known after the books were looked at: all that they tell of."""

    facts: Mapping[int, int]
    fees: Mapping[int, int]
    accounts: Mapping[int, int]
    dead_letters: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begins:
    """The first offset of each partition that Kafka still has."""

    facts: Mapping[int, int]
    fees: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthRows:
    """What the rows of a month come to."""

    transfers: int
    generations: int
    amount_nano_usd: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a month's rows came to when it was sealed, over the columns that there were then."""

    month: str
    transfers: int
    generations: int
    amount_nano_usd: int
    transfer_columns: tuple[str, ...]
    generation_columns: tuple[str, ...]
    previous_sha256: str
    sha256: str


class BooksSnapshot(Protocol):
    """The books at one moment, `at`."""

    at: datetime

    async def books(self) -> Books:
        """Everything added up."""
        ...

    def rows(self, period: Period, facts_from: Mapping[int, int]) -> AsyncIterator[Sequence[Row]]:
        """All rows about generations that started in a period, and about accounts.

        Of the inbox, what stands in Kafka from these offsets on, by partition.
        """
        ...

    async def seals(self) -> list[Seal]:
        """All seals, oldest first."""
        ...

    async def month_rows(
        self, month: str, columns: tuple[Sequence[str], Sequence[str]], previous_sha256: str
    ) -> MonthRows:
        """The rows of a month, counted and hashed over columns and the seal before."""
        ...

    async def columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns of transfers and of generations."""
        ...

    async def first_unsealed_month(self) -> str | None:
        """The earliest month with postings that has no seal."""
        ...


class History(Protocol):
    """What stands in Kafka. All of it raises Unavailable."""

    async def starts(self, period: Period) -> Starts:
        """Where to begin reading; before the books are looked at."""
        ...

    async def ends(self) -> Ends:
        """Where reading may end; after the books were looked at."""
        ...

    async def begins(self) -> Begins:
        """What is still there; after everything was read."""
        ...

    async def dead_letters(self, ends: Ends) -> dict[tuple[int, int], str]:
        """Partition and offset of the facts that billing put aside, with the reasons."""
        ...

    def facts(
        self, starts: Starts, ends: Ends, period: Period, dead: Mapping[tuple[int, int], str]
    ) -> AsyncIterator[Sequence[Row]]:
        """Facts that are no dead letters, and their deliveries."""
        ...

    def fees(self, starts: Starts, ends: Ends, period: Period) -> AsyncIterator[Sequence[Row]]:
        """What the world was told of money."""
        ...

    def states(self, starts: Starts, ends: Ends) -> AsyncIterator[Sequence[Row]]:
        """The published states of accounts."""
        ...


class Gathering(Protocol):
    """Brings together what was added under one key, however much it is."""

    async def add(self, rows: Sequence[Row]) -> None:
        """Keep rows until they are asked for."""
        ...

    def groups(self) -> AsyncIterator[tuple[str, list[Evidence]]]:
        """Each key once, with all that was added under it."""
        ...


class Seals(Protocol):
    """Where months are closed and sealed. Raises Unavailable."""

    async def close(self, month: str) -> None:
        """Let nothing more be written into a month."""
        ...

    async def store(self, seal: Seal) -> None:
        """Keep a seal for ever."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The places that reconciliation compares."""

    snapshot: Callable[[], AbstractAsyncContextManager[BooksSnapshot]]
    history: History
    gathering: Callable[[], AbstractAsyncContextManager[Gathering]]
