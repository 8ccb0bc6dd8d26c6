import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from services.ingress.domain import api_key
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.use_cases.known_callers import KNOWN_SECONDS, UNKNOWN_SECONDS, KnownCallers
from shared.errors import Unavailable
from shared.ids import AccountId, hash_api_key
from shared.tasks import TaskScope
from tests.unit.ingress.worlds import FrozenClock, InMemoryApiKeys, caller_of

KEY = api_key.PREFIX + "ab" * 32
HASH = hash_api_key(KEY)
HEADER = f"Bearer {KEY}"


@pytest.fixture
def books() -> InMemoryApiKeys:
    return InMemoryApiKeys()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def callers(books: InMemoryApiKeys, clock: FrozenClock) -> AsyncIterator[KnownCallers]:
    async with TaskScope() as scope:
        yield KnownCallers(books, clock=clock, scope=scope)


async def test_a_known_key_is_looked_up_once_in_five_minutes(
    books: InMemoryApiKeys, clock: FrozenClock, callers: KnownCallers
) -> None:
    books.callers[HASH] = caller_of(HASH)
    for _ in range(3):
        assert isinstance(await callers.identify(HEADER), Caller)
    assert books.lookups == 1
    clock.advance(KNOWN_SECONDS + 1)
    await callers.identify(HEADER)
    assert books.lookups == 2


async def test_an_unknown_key_is_refused_from_memory_for_a_moment(
    books: InMemoryApiKeys, clock: FrozenClock, callers: KnownCallers
) -> None:
    for _ in range(3):
        assert await callers.identify(HEADER) is api_key.UNKNOWN
    assert books.lookups == 1
    clock.advance(UNKNOWN_SECONDS + 1)
    books.callers[HASH] = caller_of(HASH)
    assert isinstance(await callers.identify(HEADER), Caller)


async def test_many_requests_share_one_lookup(
    books: InMemoryApiKeys, callers: KnownCallers
) -> None:
    books.callers[HASH] = caller_of(HASH)
    found = await asyncio.gather(*(callers.identify(HEADER) for _ in range(20)))
    assert books.lookups == 1
    assert all(isinstance(each, Caller) for each in found)


async def test_without_books_known_keys_go_on_and_others_are_not_called_unknown(
    books: InMemoryApiKeys, clock: FrozenClock, callers: KnownCallers
) -> None:
    books.callers[HASH] = caller_of(HASH)
    await callers.identify(HEADER)
    books.is_away = True
    assert isinstance(await callers.identify(HEADER), Caller)
    with pytest.raises(Unavailable):
        await callers.identify(f"Bearer {api_key.PREFIX}{'cd' * 32}")
    clock.advance(KNOWN_SECONDS + 1)
    with pytest.raises(Unavailable):
        await callers.identify(HEADER)


async def test_an_event_about_the_key_or_its_account_empties_the_memory(
    books: InMemoryApiKeys, callers: KnownCallers
) -> None:
    books.callers[HASH] = caller_of(HASH, account_id="a-1")
    await callers.identify(HEADER)
    del books.callers[HASH]
    callers.forget_key(HASH)
    assert await callers.identify(HEADER) is api_key.UNKNOWN
    callers.forget_key(HASH)
    books.callers[HASH] = caller_of(HASH, account_id="a-1")
    await callers.identify(HEADER)
    callers.forget_account(AccountId("a-2"))
    await callers.identify(HEADER)
    lookups = books.lookups
    callers.forget_account(AccountId("a-1"))
    await callers.identify(HEADER)
    assert books.lookups == lookups + 1


async def test_an_answer_that_was_overtaken_by_an_event_is_not_remembered(
    books: InMemoryApiKeys, callers: KnownCallers
) -> None:
    books.callers[HASH] = caller_of(HASH)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(callers.identify(HEADER))
        await asyncio.sleep(0)
        callers.forget_key(HASH)
    assert isinstance(asked.result(), Caller)
    await callers.identify(HEADER)
    assert books.lookups == 2


async def test_a_key_is_refused_from_the_moment_it_expires_also_from_memory(
    books: InMemoryApiKeys, clock: FrozenClock, callers: KnownCallers
) -> None:
    at = clock.now() + timedelta(seconds=10)
    books.callers[HASH] = replace(caller_of(HASH), expires_at=at)
    assert isinstance(await callers.identify(HEADER), Caller)
    clock.advance(9.999999)
    assert isinstance(await callers.identify(HEADER), Caller)
    clock.advance(0.000001)
    refused = await callers.identify(HEADER)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.message) == (
        401,
        "The API key expired at 2026-01-01T00:00:10Z",
    )
    assert books.lookups == 1
    callers.forget_key(HASH)
    assert await callers.identify(HEADER) == refused
