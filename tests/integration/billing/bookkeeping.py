"""Billing's use cases for tests that are not coroutines, over connections that can be made to die."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import asyncpg
import msgspec
from typing_extensions import override

from services.billing.config import BillingConfig
from services.billing.outbound.account_states import AccountStates
from services.billing.outbound.postgres_ledger import PostgresLedger
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.check_books import check_books
from services.billing.use_cases.keep_house import KeepHouse
from services.billing.use_cases.post_facts import PostFacts
from services.billing.use_cases.serve_commands import ServeCommands
from services.billing.wiring import MIGRATIONS
from shared.clock import SystemClock
from shared.events.codec import Received
from shared.events.envelope import CallReply, Event
from shared.events.topics import DISPATCHER_REPLIES
from shared.ids import AccountId, InstanceId, new_id
from shared.kafka.calls import ReceivedCall
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.postgres.migrate import migrate
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import set_codecs
from shared.postgres.publications import Publications
from shared.telemetry.metrics import Metrics

T = TypeVar("T")
AFTER_COMMIT = 0
"""A fuse for `Fuse.arm`: the commit takes effect, and its answer never comes."""


class Fuse:
    """Lets the connection that is at work die at one of its statements."""

    def __init__(self) -> None:
        self._left: int | None = None

    def arm(self, statements: int | None) -> None:
        """Die before the statement of that number, from 1; AFTER_COMMIT; None: live."""
        self._left = statements

    async def through(
        self, connection: asyncpg.Connection, query: str, run: Callable[[], Awaitable[T]]
    ) -> T:
        """Run a statement, or die of it."""
        if self._left is None:
            return await run()
        if self._left == AFTER_COMMIT:
            result = await run()
            if not query.upper().startswith("COMMIT"):
                return result
        else:
            self._left -= 1
            if self._left > 0:
                return await run()
        self._left = None
        connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle")


def _fragile(fuse: Fuse) -> type[asyncpg.Connection]:
    class Fragile(asyncpg.Connection):
        @override
        async def execute(self, query: str, *args: Any, **how: Any) -> str:
            call = super().execute
            return await fuse.through(self, query, lambda: call(query, *args, **how))

        @override
        async def fetch(self, query: str, *args: Any, **how: Any) -> Any:
            call = super().fetch
            return await fuse.through(self, query, lambda: call(query, *args, **how))

        @override
        async def fetchrow(self, query: str, *args: Any, **how: Any) -> Any:
            call = super().fetchrow
            return await fuse.through(self, query, lambda: call(query, *args, **how))

        @override
        async def fetchval(self, query: str, *args: Any, **how: Any) -> Any:
            call = super().fetchval
            return await fuse.through(self, query, lambda: call(query, *args, **how))

        @override
        async def copy_records_to_table(self, table_name: str, **how: Any) -> str:
            call = super().copy_records_to_table
            return await fuse.through(self, "copy", lambda: call(table_name, **how))

    return Fragile


class _Discarded:
    """Kafka's place: acknowledges at once."""

    async def send(self, record: Record) -> None:
        """Discard one."""

    async def send_many(self, records: Sequence[Record]) -> None:
        """Discard them."""


class Bookkeeping:
    """Open with `with`. What is booked is told to nobody; `told` reads it where it waits."""

    def __init__(self, config: BillingConfig) -> None:
        self.fuse = Fuse()
        self._config = config
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()

    def __enter__(self) -> Self:
        self._runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._close())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end. Raises Unavailable when the fuse went off."""
        return self._runner.run(work)

    async def _open(self) -> None:
        clock, policy = SystemClock(), self._config.installation
        self._pool = await self._opened.enter_async_context(
            asyncpg.create_pool(
                self._config.postgres.url.reveal(),
                min_size=1,
                max_size=2,
                init=set_codecs,
                connection_class=_fragile(self.fuse),
                server_settings={"TimeZone": "UTC", "jit": "off"},
            )
        )
        self.database = await asyncpg.connect(self._config.postgres.url.reveal())
        await migrate(self._pool, MIGRATIONS)
        producer = EventProducer(
            self._config.kafka, source=InstanceId("test"), clock=clock, new_id=new_id
        )
        relay = OutboxRelay(self._pool, _Discarded(), AccountStates(producer, clock, policy))
        self.ledger = PostgresLedger(self._pool, producer, Publications(relay), clock)
        observer = PrometheusObserver(Metrics())
        self.post = PostFacts(self.ledger, policy, clock, observer)
        self._serve = ServeCommands(
            self.ledger, policy, clock, observer, shared_limits=self._config.shared_limits
        )
        self.upkeep = PostgresUpkeep(self._pool)
        self.house = KeepHouse(self.ledger, self.upkeep, clock, observer)
        await self.house.open_months()
        await self.house.expire_holds()
        self._outbox = await self.database.fetchval("select coalesce(max(id), 0) from outbox")

    async def _close(self) -> None:
        # nobody else is to publish what was booked here
        await self.database.execute("delete from outbox where id > $1", self._outbox)
        await self.database.execute("delete from outbox_dirty")
        await self.database.close()
        await self._opened.aclose()

    async def answer(self, *commands: Event) -> list[CallReply]:
        """Serve commands as one batch."""
        calls = [
            ReceivedCall(
                command=command,
                call_id=new_id(),
                source="test",
                expires_at=SystemClock().now(),
                reply_topic=DISPATCHER_REPLIES,
                reply_partition=0,
            )
            for command in commands
        ]
        return list(await self._serve(calls))

    async def deliver(self, facts: Sequence[Received]) -> None:
        """Post facts as one batch."""
        await self.post(facts)

    async def told(self, accounts: Sequence[AccountId]) -> list[Record]:
        """What waits to be published about accounts, each in its order."""
        rows = await self.database.fetch(
            "select records from outbox where id > $1 order by id", self._outbox
        )
        keys = {account.encode() for account in accounts}
        records = [
            record
            for row in rows
            for record in msgspec.msgpack.decode(row["records"], type=list[Record])
        ]
        return [record for record in records if record.key in keys]

    async def problems(self) -> list[str]:
        """What is wrong with the whole books."""
        found: list[str] = (await check_books(self.ledger))["problems"]
        return found
