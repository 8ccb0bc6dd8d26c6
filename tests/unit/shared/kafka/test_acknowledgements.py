"""A record that is not acknowledged in time ends the wait for it, and no other's."""

import asyncio

from shared.kafka.acknowledgements import LOOK_SECONDS, Acknowledgements, Sent

PATIENCE_SECONDS = 10.0


def sent() -> Sent:
    return asyncio.get_running_loop().create_future()


async def gave_up(each: Sent) -> bool:
    done, _ = await asyncio.wait([each], timeout=PATIENCE_SECONDS)
    assert done, "it was forgotten"
    return isinstance(each.exception(), TimeoutError)


async def test_what_is_acknowledged_ends_its_wait() -> None:
    one, acknowledgements = sent(), Acknowledgements(seconds_max=60)
    acknowledgements.expect(one)

    one.set_result("durable")

    assert not await gave_up(one)


async def test_a_wait_ends_at_its_limit_and_not_before() -> None:
    loop, limit = asyncio.get_running_loop(), 2 * LOOK_SECONDS
    late, acknowledgements = sent(), Acknowledgements(seconds_max=limit)
    began = loop.time()
    acknowledgements.expect(late)

    assert await gave_up(late)
    assert loop.time() - began >= limit


async def test_one_that_is_late_holds_up_nobody_behind_it() -> None:
    acknowledgements = Acknowledgements(seconds_max=LOOK_SECONDS)
    late, cancelled, later = sent(), sent(), sent()
    for each in (late, cancelled, later):
        acknowledgements.expect(each)
    cancelled.cancel()

    assert await gave_up(late)
    assert await gave_up(later)
    assert cancelled.cancelled()


async def test_after_a_rest_the_next_is_looked_after_again() -> None:
    acknowledgements = Acknowledgements(seconds_max=LOOK_SECONDS)
    for each in (sent(), sent()):
        acknowledgements.expect(each)
        assert await gave_up(each)
