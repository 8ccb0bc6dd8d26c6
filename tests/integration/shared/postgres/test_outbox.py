import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.errors import Unavailable
from shared.kafka.record import Record
from shared.postgres.dirty_keys import one_by_one
from shared.postgres.outbox import Written, mark_dirty, store_facts
from shared.postgres.outbox_relay import OutboxRelay
from shared.postgres.pool import Connection, Pool, in_transaction
from shared.tasks import TaskScope
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.connected

TOPIC = "billing.accounts"


class ScriptedProducer:
    """Keeps what it acknowledged; can be silent, or be held before it acknowledges."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.is_silent = False
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self.asked = asyncio.Event()

    async def send(self, record: Record) -> None:
        await self.send_many([record])

    async def send_many(self, records: Sequence[Record]) -> None:
        self.asked.set()
        if self.is_silent:
            raise Unavailable("kafka")
        await self.may_acknowledge.wait()
        self.sent.extend(records)

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.sent]


def fact(number: int) -> Record:
    return Record(
        topic="billing.fees",
        key=b"account",
        value=b"%d" % number,
        headers=[("ce_id", b"\x00%d" % number)],
    )


async def read_state(connection: Connection, topic: str, key: str) -> Record | None:
    balance = await connection.fetchval("select balance from account where id = $1", key)
    return None if balance is None else state(key, balance, topic)


def state(key: str, balance: int, topic: str = TOPIC) -> Record:
    return Record(topic=topic, key=key.encode(), value=b"%d" % balance)


@pytest.fixture
def producer() -> ScriptedProducer:
    return ScriptedProducer()


@pytest.fixture
async def relay(boxes: Pool, producer: ScriptedProducer) -> OutboxRelay:
    await boxes.execute("create table account (id text primary key, balance integer not null)")
    return OutboxRelay(boxes, producer, one_by_one(read_state))


@asynccontextmanager
async def running(*relays: OutboxRelay) -> AsyncIterator[TaskScope]:
    async with TaskScope() as scope:
        for each in relays:
            _ = scope.start(each.run(), name="relay")
        yield scope
        assert scope.failure is None


async def write_facts(pool: Pool, *numbers: int) -> Written:
    async def work(connection: Connection) -> Written:
        return await store_facts(connection, [fact(number) for number in numbers])

    return await in_transaction(pool, work)


async def set_balances(pool: Pool, **balances: int) -> Written:
    async def work(connection: Connection) -> Written:
        await connection.executemany(
            "insert into account values ($1, $2) on conflict (id) do update set balance = $2",
            sorted(balances.items()),
        )
        return await mark_dirty(connection, TOPIC, list(balances))

    return await in_transaction(pool, work)


async def make_old(pool: Pool) -> None:
    """What two seconds of waiting would do."""
    await pool.execute("update outbox set created_at = created_at - interval '3 seconds'")
    await pool.execute("update outbox_dirty set due_at = due_at - interval '3 seconds'")


async def rows(pool: Pool, table: str) -> int:
    return int(await pool.fetchval(f"select count(*) from {table}"))  # noqa: S608 - a constant


async def test_facts_go_out_at_once_and_their_row_goes_soon(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    written = await write_facts(boxes, 1, 2) + await write_facts(boxes, 3)

    assert await relay.publish_now(written)

    assert producer.sent == [fact(1), fact(2), fact(3)]
    await relay.flush()
    assert await rows(boxes, "outbox") == 0


async def test_the_sweeper_publishes_in_order_what_a_crash_left(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    for number in range(250):
        await write_facts(boxes, number)
    await make_old(boxes)

    await relay.sweep()

    assert producer.sent == [fact(number) for number in range(250)]
    assert await rows(boxes, "outbox") == 0


async def test_the_sweeper_leaves_fresh_rows_to_the_process_that_wrote_them(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    await write_facts(boxes, 1)
    await set_balances(boxes, ada=1)

    await relay.sweep()

    assert producer.sent == []


async def test_a_row_that_commits_late_is_not_passed_over(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    async with boxes.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await store_facts(connection, [fact(1)])  # the smaller id, committed last
        await write_facts(boxes, 2)
        await make_old(boxes)
        await relay.sweep()
        await transaction.commit()
    await make_old(boxes)
    await relay.sweep()

    assert producer.sent == [fact(2), fact(1)]


async def test_what_was_rolled_back_is_never_published(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    async def fail(connection: Connection) -> None:
        await store_facts(connection, [fact(1)])
        await mark_dirty(connection, TOPIC, ["ada"])
        raise LookupError

    with pytest.raises(LookupError):
        await in_transaction(boxes, fail)
    await make_old(boxes)
    await relay.sweep()

    assert producer.sent == []


async def test_what_kafka_did_not_take_waits_and_goes_out_later(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    producer.is_silent = True
    written = await write_facts(boxes, 1) + await set_balances(boxes, ada=7)
    assert not await relay.publish_now(written)
    await make_old(boxes)
    with pytest.raises(Unavailable):
        await relay.sweep()

    producer.is_silent = False
    async with running(relay):
        await wait_until(lambda: all(each in producer.sent for each in (fact(1), state("ada", 7))))

        async def is_empty() -> bool:
            return await rows(boxes, "outbox") + await rows(boxes, "outbox_dirty") == 0

        await wait_until(is_empty)


async def test_a_dirty_key_is_published_as_its_state_is_now(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    first = await set_balances(boxes, ada=1, bob=5)
    second = await set_balances(boxes, ada=2)

    assert await relay.publish_now(first)
    assert await relay.publish_now(second)  # nothing is left to say

    assert sorted(producer.values(), key=str) == [b"2", b"5"]
    assert await rows(boxes, "outbox_dirty") == 0


async def test_a_key_without_state_becomes_a_tombstone(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    written = await set_balances(boxes, ada=1)
    await boxes.execute("delete from account")

    assert await relay.publish_now(written)

    assert producer.sent == [Record(topic=TOPIC, key=b"ada", value=None)]


async def test_many_keys_go_out_in_batches(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    written = await set_balances(boxes, **{f"account_{n}": n for n in range(150)})

    assert await relay.publish_now(written)

    assert len(producer.sent) == 150
    assert await rows(boxes, "outbox_dirty") == 0


async def test_a_key_marked_again_while_it_is_published_stays_dirty(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    written = await set_balances(boxes, ada=1)
    producer.may_acknowledge.clear()
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(relay.publish_now(written))
        await producer.asked.wait()
        await set_balances(boxes, ada=2)
        producer.may_acknowledge.set()
    assert publishing.result()
    assert await rows(boxes, "outbox_dirty") == 1

    await make_old(boxes)
    await relay.sweep()

    assert producer.values() == [b"1", b"2"]
    assert await rows(boxes, "outbox_dirty") == 0


async def test_an_old_state_cannot_overtake_a_new_one(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    slow = ScriptedProducer()
    slow.sent = producer.sent  # one log behind both
    slow.may_acknowledge.clear()
    other_process = OutboxRelay(boxes, slow, one_by_one(read_state))
    first = await set_balances(boxes, ada=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(other_process.publish_now(first))
        await slow.asked.wait()  # it has read 1, and Kafka has not acknowledged it
        second = await set_balances(boxes, ada=2)
        publishing = group.create_task(relay.publish_now(second))

        async def is_waiting_for_the_key() -> bool:
            return bool(await boxes.fetchval("select bool_or(not granted) from pg_locks"))

        await wait_until(is_waiting_for_the_key)
        assert not publishing.done()
        slow.may_acknowledge.set()

    assert producer.values() == [b"1", b"2"]


async def test_who_gave_a_key_up_sends_it_again_although_another_published_it(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    other_process = relay
    failing = ScriptedProducer()
    failing.is_silent = True
    gave_up = OutboxRelay(boxes, failing, one_by_one(read_state))
    written = await set_balances(boxes, ada=1)
    assert not await gave_up.publish_now(written)
    await set_balances(boxes, ada=2)
    await make_old(boxes)
    await other_process.sweep()
    assert producer.values() == [b"2"]

    failing.is_silent = False  # and delivers its 1, and then:
    await gave_up.sweep()

    assert failing.values() == [b"2"]
    await gave_up.sweep()
    assert failing.values() == [b"2"]


async def test_several_processes_publish_everything_and_end_with_the_last_state(
    boxes: Pool, relay: OutboxRelay, producer: ScriptedProducer
) -> None:
    relays = [relay, OutboxRelay(boxes, producer, one_by_one(read_state))]
    accounts = ["ada", "bob", "cid"]

    async def change(number: int) -> None:
        balances = {account: number * 10 + place for place, account in enumerate(accounts)}
        written = await set_balances(boxes, **balances)
        if number % 3:  # every third process dies here
            await relays[number % 2].publish_now(written)

    async with running(*relays):
        for start in range(0, 30, 5):
            await asyncio.gather(*(change(number) for number in range(start, start + 5)))

        async def is_empty() -> bool:
            return await rows(boxes, "outbox_dirty") == 0

        await wait_until(is_empty)
    last = {record.key: record.value for record in producer.sent}
    now = {
        row["id"].encode(): b"%d" % row["balance"]
        for row in await boxes.fetch("select id, balance from account")
    }
    assert last == now


async def test_rows_that_are_out_are_deleted_when_the_relay_stops(
    boxes: Pool, relay: OutboxRelay
) -> None:
    async with running(relay):
        assert await relay.publish_now(await write_facts(boxes, 1))

    assert await rows(boxes, "outbox") == 0
