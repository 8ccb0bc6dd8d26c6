"""What comparing the books with everything around them needs from the world."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from services.billing.domain.dead_letter import Acknowledgement, DeadLetter
from services.billing.domain.evidence import Evidence
from services.billing.domain.period import Period
from services.billing.ports.ledger import Books

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

    async def acknowledgements(self) -> list[Acknowledgement]:
        """What was decided about dead letters."""
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


class Acknowledgements(Protocol):
    """What operators decided about dead letters. Raises Unavailable."""

    async def store(
        self, letters: Sequence[DeadLetter], *, reason: str, by: str
    ) -> list[Acknowledgement]:
        """Keep a decision about letters that have none, and return all decisions."""
        ...


class KafkaRecords(Protocol):
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

    async def dead_letters(self, ends: Ends) -> Sequence[DeadLetter]:
        """What billing put aside of what moves money, and payments that were not booked."""
        ...

    def facts(
        self, starts: Starts, ends: Ends, period: Period, dead: AbstractSet[tuple[int, int]]
    ) -> AsyncIterator[Sequence[Row]]:
        """Facts, and their deliveries, but those at these partitions and offsets."""
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
    history: KafkaRecords
    gathering: Callable[[], AbstractAsyncContextManager[Gathering]]
