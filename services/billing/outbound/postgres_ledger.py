"""The books in PostgreSQL: a transaction reads a page, and stores what is new on it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from typing import TypeVar

import asyncpg

from services.billing.domain.hold import Hold
from services.billing.domain.page import Page
from services.billing.domain.receipt import Receipts
from services.billing.domain.spending import DaySpent
from services.billing.outbound import postgres_page
from services.billing.outbound.postgres_checks import read_books
from services.billing.outbound.postgres_entries import store_entries
from services.billing.outbound.postgres_limits import forget_minutes
from services.billing.outbound.postgres_receipts import store_receipts
from services.billing.ports.ledger import Books, Scope, Transaction
from shared.clock import Clock
from shared.errors import PoisonRecord, Unavailable
from shared.events.codec import Received
from shared.events.topics import BILLING_ACCOUNTS, BILLING_FEES
from shared.ids import AccountId, ApiKeyHash, month_of
from shared.kafka.producer import EventProducer
from shared.postgres.errors import translate
from shared.postgres.inbox import forget_before, take_new
from shared.postgres.outbox import Written, mark_dirty, store_facts
from shared.postgres.pool import Connection, Pool, in_transaction
from shared.postgres.publications import Publications

T = TypeVar("T")

_CONSUMER = "billing"
_RACES_MAX = 3


class PostgresTransaction:
    """One transaction on the books."""

    def __init__(self, connection: Connection, producer: EventProducer, current_month: str) -> None:
        """`connection` is in a transaction; `producer` only makes records here."""
        self._connection = connection
        self._producer = producer
        self._current_month = current_month
        self.written = Written()

    async def take_new(self, facts: Sequence[Received]) -> list[Received]:
        """Record facts in the inbox; those that were not there, each once."""
        return await take_new(self._connection, _CONSUMER, facts)

    async def read_page(self, scope: Scope) -> Page:
        """The page of a scope, its accounts locked."""
        return await postgres_page.read_page(self._connection, scope, self._current_month)

    async def read_expired(self, now: datetime, *, holds_max: int) -> tuple[Page, list[Hold]]:
        """Open holds past their time with their page."""
        return await postgres_page.read_expired(
            self._connection, now, holds_max, self._current_month
        )

    async def read_days(
        self, keys: Sequence[tuple[AccountId, ApiKeyHash]], today: date
    ) -> dict[tuple[AccountId, ApiKeyHash], list[DaySpent]]:
        """What was spent with API keys."""
        return await postgres_page.read_days(self._connection, keys, today)

    async def store(self, page: Page) -> None:
        """Store the page's new rows, and in the outbox what the world is told of them."""
        await store_entries(self._connection, page)
        records = [
            self._producer.record(
                BILLING_FEES, each.event, key=each.account_id, event_id=each.event_id
            )
            for each in page.entries.fee_events
        ]
        self.written += await store_facts(self._connection, records)
        self.written += await mark_dirty(
            self._connection, BILLING_ACCOUNTS.name, list(page.entries.changed_accounts)
        )

    async def store_receipts(self, receipts: Receipts) -> None:
        """Store what a page means for the read side."""
        await store_receipts(self._connection, receipts)


class PostgresLedger:
    """The books, shared by everything in this process that works on them."""

    def __init__(
        self, pool: Pool, producer: EventProducer, publications: Publications, clock: Clock
    ) -> None:
        """`publications` gets what each transaction wrote, after its commit."""
        self._pool = pool
        self._clock = clock
        self._producer = producer
        self._publications = publications

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction, and publish what it stored once that is committed."""

        async def run(connection: Connection) -> tuple[T, Written]:
            month = month_of(self._clock.now())
            transaction = PostgresTransaction(connection, self._producer, month)
            result = await work(transaction)
            return result, transaction.written

        for _ in range(_RACES_MAX):
            try:
                result, written = await in_transaction(self._pool, run)
            except asyncpg.UniqueViolationError:
                # Only two accounts that name one generation or hold get here, as each account's
                # lock keeps its own apart: the one that came later now sees the other's row.
                continue
            except asyncpg.ObjectNotInPrerequisiteStateError:
                continue  # the month was closed since the page was read, which now shows it
            except asyncpg.DataError as error:
                raise PoisonRecord(f"PostgreSQL refuses a value: {type(error).__name__}") from None
            self._publications.hand(written)
            return result
        raise Unavailable("postgres", "the same rows were written by others again and again")

    async def read_books(self) -> Books:
        """Everything added up, in one snapshot."""
        with translate():
            async with self._pool.acquire() as connection:
                return await read_books(connection)

    async def count_open_holds(self) -> int:
        """How many holds are open."""
        with translate():
            return int(await self._pool.fetchval("select count(*) from holds where is_open"))

    async def forget_taken(self, before: datetime, *, rows_max: int) -> int:
        """Forget up to `rows_max` facts taken in before a moment, and return how many it were."""
        with translate():
            async with self._pool.acquire() as connection:
                return await forget_before(connection, before, rows_max=rows_max)

    async def forget_minutes(self, before: datetime) -> None:
        """Forget what rate limits counted in minutes that began before a moment."""
        with translate():
            async with self._pool.acquire() as connection:
                await forget_minutes(connection, before)

    async def open_month(self, month: str) -> None:
        """Make the partitions of a month, if it has none yet."""
        with translate():
            await self._pool.execute("select open_month($1)", month)
