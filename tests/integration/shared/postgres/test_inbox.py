import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.postgres.inbox import EventKey, forget_before, record_new
from shared.postgres.pool import Connection, Pool, in_transaction

pytestmark = pytest.mark.connected

EVENTS: list[EventKey] = [("dispatcher-0", f"event-{number}") for number in range(4)]


async def take(pool: Pool, consumer: str, events: list[EventKey]) -> set[EventKey]:
    async def work(connection: Connection) -> set[EventKey]:
        positions = [("inference.generations", 3, number) for number in range(len(events))]
        return await record_new(connection, consumer, events, positions)

    return await in_transaction(pool, work)


async def test_an_event_is_new_once(boxes: Pool) -> None:
    assert await take(boxes, "billing", EVENTS[:2]) == set(EVENTS[:2])
    assert await take(boxes, "billing", EVENTS) == set(EVENTS[2:])
    assert await take(boxes, "billing", EVENTS) == set()


async def test_every_consumer_takes_in_an_event_for_itself(boxes: Pool) -> None:
    await take(boxes, "billing", EVENTS)

    assert await take(boxes, "activity", EVENTS) == set(EVENTS)


async def test_the_same_id_from_another_source_is_another_event(boxes: Pool) -> None:
    await take(boxes, "billing", [("a", "1")])

    assert await take(boxes, "billing", [("b", "1")]) == {("b", "1")}


async def test_a_batch_may_hold_an_event_twice_or_nothing(boxes: Pool) -> None:
    assert await take(boxes, "billing", [EVENTS[0], EVENTS[0]]) == {EVENTS[0]}
    assert await take(boxes, "billing", []) == set()


async def test_an_event_whose_effect_failed_is_new_again(boxes: Pool) -> None:
    async def fail(connection: Connection) -> None:
        await record_new(connection, "billing", EVENTS[:1], [("t", 0, 0)])
        raise LookupError

    with pytest.raises(LookupError):
        await in_transaction(boxes, fail)

    assert await take(boxes, "billing", EVENTS[:1]) == {EVENTS[0]}


async def test_of_two_that_take_in_the_same_events_at_once_one_wins(boxes: Pool) -> None:
    events = [("s", f"{number:04d}") for number in range(200)]

    taken = await asyncio.gather(
        *(take(boxes, "billing", order) for order in (events, events[::-1], events, events[::-1]))
    )

    assert sum(len(each) for each in taken) == 200


async def test_old_rows_are_forgotten_a_bounded_number_at_a_time(boxes: Pool) -> None:
    await take(boxes, "billing", EVENTS)
    later = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251 - the server's clock is real too

    async with boxes.acquire() as connection:
        assert await forget_before(connection, later, rows_max=3) == 3
        assert await forget_before(connection, later, rows_max=3) == 1
        assert await forget_before(connection, later, rows_max=3) == 0
