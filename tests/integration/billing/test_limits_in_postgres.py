"""Limits of API keys and of shared capacity on real PostgreSQL: exact, however many ask at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from typing_extensions import override

from services.billing.config import BillingConfig, PerMinute
from services.billing.outbound.postgres_upkeep import PostgresUpkeep
from services.billing.outbound.prometheus_observer import PrometheusObserver
from services.billing.use_cases.post_facts import PostFacts
from services.billing.use_cases.serve_commands import ServeCommands
from services.billing.wiring import open_billing
from shared.clock import SystemClock
from shared.events.accounts import AccountChanged, ApiKeyChanged, SharedLimit
from shared.events.billing import (
    ApiKeyLimit,
    AuthorizeSpend,
    QuerySpending,
    SpendAuthorized,
    Spending,
    SpendRefused,
)
from shared.events.envelope import CallReply
from shared.events.generations import GenerationAbandoned, Spend
from shared.ids import AccountId, ApiKeyHash, HoldId, new_generation_id, new_id
from shared.telemetry.metrics import Metrics
from tests.integration.billing.conftest import Desk, received
from tests.unit.billing.made import LIST_COST, USAGE, USD, authorize, finished, generation


class LateClock(SystemClock):
    """Of a machine whose clock is behind."""

    @override
    def now(self) -> datetime:
        return super().now() - timedelta(seconds=90)


@pytest.fixture
async def database(config: BillingConfig) -> AsyncIterator[asyncpg.Connection]:
    """A connection as billing's own user."""
    connection = await asyncpg.connect(config.postgres.url.reveal())
    yield connection
    await connection.close()


def _key() -> ApiKeyHash:
    return ApiKeyHash((new_id() + new_id()).replace("-", ""))


async def _limit(desk: Desk, account: AccountId, key: ApiKeyHash, **limit: Any) -> None:
    fields = {"version": 1, "api_key_hash": key, "account_id": account} | limit
    await desk.post([received(msgspec.convert(fields, ApiKeyChanged))])


def _ask(account: AccountId, key: ApiKeyHash, **more: Any) -> AuthorizeSpend:
    fields: dict[str, Any] = {
        "hold": new_id(),
        "generation_id": new_generation_id(),
        "is_byok": False,
        "worst_case_nano_usd": LIST_COST,
    }
    return authorize(account=account, api_key_hash=key, **fields | more)


def _passed(answers: Sequence[CallReply]) -> int:
    return sum(isinstance(answer, SpendAuthorized) for answer in answers)


async def test_two_hundred_requests_at_once_on_a_key_limit_for_twenty(desk: Desk) -> None:
    account, key = await desk.account_with(USD), _key()
    await _limit(desk, account, key, limit_nano_usd=20 * LIST_COST, limit_reset="daily")
    commands = [_ask(account, key) for _ in range(200)]
    batches = [desk.answer(*commands[start : start + 10]) for start in range(0, 200, 10)]
    answers = [answer for batch in await asyncio.gather(*batches) for answer in batch]
    assert _passed(answers) == 20
    refused = [answer for answer in answers if isinstance(answer, SpendRefused)]
    assert {answer.code for answer in refused} == {"key_limit_exceeded"}
    # the key's limit refused them, not the account, and a key without one goes on
    assert _passed(await desk.answer(_ask(account, _key()))) == 1
    assert await desk.problems() == []


async def test_what_was_spent_before_the_limit_counts_and_it_is_what_spending_says(
    desk: Desk,
) -> None:
    account, key = await desk.account_with(USD), _key()
    spent = [
        finished(
            account=account,
            api_key_hash=key,
            generation_id=new_generation_id(),
            is_byok=is_byok,
            spend=Spend(waived=True) if is_byok else None,
        )
        for is_byok in (False, True, True)
    ]
    await desk.post([received(each) for each in spent])
    await _limit(
        desk, account, key, limit_nano_usd=5 * LIST_COST, include_byok_in_limit=True, version=2
    )
    (told,) = await desk.answer(QuerySpending(account_id=account, api_key_hash=key))
    assert isinstance(told, Spending)
    assert told.total.credits_nano_usd + told.total.byok_list_cost_nano_usd == 3 * LIST_COST
    (refused,) = await desk.answer(_ask(account, key, worst_case_nano_usd=3 * LIST_COST))
    assert isinstance(refused, SpendRefused)
    assert refused.available_nano_usd == 2 * LIST_COST
    assert refused.key_limit is not None
    assert refused.key_limit.resets_at is None
    # what was posted and given back counts no more
    gone = GenerationAbandoned(
        generation_id=spent[0].generation_id, account_id=account, reason="ours"
    )
    await desk.post([received(gone)])
    assert _passed(await desk.answer(_ask(account, key, worst_case_nano_usd=3 * LIST_COST))) == 1


async def test_own_keys_use_counts_at_list_cost_while_it_runs_and_after(desk: Desk) -> None:
    account, key = await desk.account_with(USD), _key()
    await _limit(desk, account, key, limit_nano_usd=3 * LIST_COST, include_byok_in_limit=True)
    first = _ask(account, key, is_byok=True, worst_case_nano_usd=2 * LIST_COST)
    too_much = _ask(account, key, is_byok=True, worst_case_nano_usd=2 * LIST_COST)
    answers = await desk.answer(first, too_much)
    assert _passed(answers) == 1
    assert isinstance(answers[0], SpendAuthorized)
    fact = finished(
        account=account,
        api_key_hash=key,
        generation_id=first.generation_id,
        spend=Spend(hold_id=first.hold_id),
    )
    await desk.post([received(fact)])
    # it cost half of its worst case, so that much is free again
    again = _ask(account, key, is_byok=True, worst_case_nano_usd=2 * LIST_COST)
    assert _passed(await desk.answer(again)) == 1


async def test_a_window_ends_where_the_next_one_begins_and_keeps_what_was_in_it(
    desk: Desk,
) -> None:
    account, key = await desk.account_with(USD), _key()
    await _limit(desk, account, key, limit_nano_usd=LIST_COST, limit_reset="daily")
    midnight = datetime(2026, 11, 26, tzinfo=UTC)

    def at(number: int, moment: datetime) -> AuthorizeSpend:
        unique = int(new_id().replace("-", "")[-10:], 16) + number
        return _ask(account, key, generation_id=generation(unique, at=moment))

    before, late = (at(n, midnight - timedelta(seconds=1)) for n in (1, 2))
    after = at(3, midnight)
    answers = await desk.answer(before, late, after)
    assert [type(each) for each in answers] == [SpendAuthorized, SpendRefused, SpendAuthorized]
    refused = answers[1]
    assert isinstance(refused, SpendRefused)
    assert refused.key_limit is not None
    assert refused.key_limit.resets_at == midnight


async def test_a_changed_limit_holds_at_once_and_an_old_one_never_comes_back(desk: Desk) -> None:
    account, key = await desk.account_with(USD), _key()
    assert _passed(await desk.answer(_ask(account, key))) == 1
    await _limit(desk, account, key, limit_nano_usd=LIST_COST, version=5)
    assert _passed(await desk.answer(_ask(account, key))) == 0
    await _limit(desk, account, key, limit_nano_usd=None, version=4)
    assert _passed(await desk.answer(_ask(account, key))) == 0
    await _limit(desk, account, key, limit_nano_usd=None, version=6)
    assert _passed(await desk.answer(_ask(account, key))) == 1


async def test_a_limit_that_billing_has_not_heard_of_lets_exactly_the_affordable_pass(
    desk: Desk,
) -> None:
    account, key = await desk.account_with(USD), _key()
    told = ApiKeyLimit(version=1, limit_nano_usd=20 * LIST_COST, limit_reset="monthly")
    commands = [_ask(account, key, api_key_limit=told) for _ in range(100)]
    batches = [desk.answer(*commands[start : start + 5]) for start in range(0, 100, 5)]
    answers = [answer for batch in await asyncio.gather(*batches) for answer in batch]
    assert _passed(answers) == 20
    refused = [answer for answer in answers if isinstance(answer, SpendRefused)]
    assert {answer.code for answer in refused} == {"key_limit_exceeded"}
    # each sticks, though the limit is raised meanwhile
    raised = ApiKeyLimit(version=2, limit_nano_usd=21 * LIST_COST, limit_reset="monthly")
    more = [_ask(account, key, api_key_limit=raised) for _ in range(3)]
    assert _passed(await desk.answer(*commands, *more)) == 20 + 1
    assert await desk.problems() == []


async def test_the_newer_of_what_billing_heard_and_what_a_request_says_of_a_limit_binds(
    desk: Desk,
) -> None:
    account, key = await desk.account_with(USD), _key()
    await _limit(desk, account, key, limit_nano_usd=0, version=5)
    old, taken_away = ApiKeyLimit(version=4, limit_nano_usd=USD), ApiKeyLimit(version=6)
    assert _passed(await desk.answer(_ask(account, key, api_key_limit=old))) == 0
    assert _passed(await desk.answer(_ask(account, key, api_key_limit=taken_away))) == 1
    await _limit(desk, account, key, limit_nano_usd=None, version=7)
    back = ApiKeyLimit(version=8, limit_nano_usd=0)
    assert _passed(await desk.answer(_ask(account, key, api_key_limit=taken_away))) == 1
    assert _passed(await desk.answer(_ask(account, key, api_key_limit=back))) == 0


async def test_a_refusal_comes_again_as_it_was_with_all_its_numbers(desk: Desk) -> None:
    account, key = await desk.account_with(USD), _key()
    await _limit(desk, account, key, limit_nano_usd=1, limit_reset="monthly")
    by_key = _ask(account, key)
    await desk.post(
        [
            received(
                AccountChanged(
                    version=1,
                    account_id=account,
                    name="a",
                    shared_limits={"default": SharedLimit(tokens_per_minute=9)},
                )
            )
        ]
    )
    by_tokens = _ask(account, _key(), worst_case_tokens=10)
    first = await desk.answer(by_key, by_tokens)
    assert [getattr(each, "code", None) for each in first] == ["key_limit_exceeded", "rate_limited"]
    assert await desk.answer(by_key, by_tokens) == first


async def _pass_time(database: asyncpg.Connection, account: AccountId, seconds: int) -> None:
    """Let what the account used be so much older."""
    await database.execute(
        "update shared_seconds set second = second - $2 where account_id = $1",
        account,
        seconds,
    )


async def test_two_billing_processes_let_exactly_the_limit_pass(
    config: BillingConfig, database: asyncpg.Connection
) -> None:
    """As two dispatchers' calls at once; even when their account moves between two processes."""
    limited = replace(config, shared_requests_per_minute=PerMinute((("default", 20),)))
    async with (
        open_billing(limited, clock=SystemClock(), new_id=new_id) as one,
        open_billing(limited, clock=SystemClock(), new_id=new_id) as two,
    ):
        observer = PrometheusObserver(Metrics())
        # their clocks are apart: what counts is the database's
        clocks = (SystemClock(), LateClock())
        desks = [
            Desk(
                each,
                post=PostFacts(each.ledger, limited.installation, clock, observer),
                serve=ServeCommands(
                    each.ledger,
                    limited.installation,
                    clock,
                    observer,
                    shared_limits=limited.shared_limits,
                ),
            )
            for each, clock in zip((one, two), clocks, strict=True)
        ]
        account = await desks[0].account_with(USD)
        batches = [
            desks[number % 2].answer(*[_ask(account, _key()) for _ in range(5)])
            for number in range(20)
        ]
        answers = [answer for batch in await asyncio.gather(*batches) for answer in batch]
        assert _passed(answers) == 20
        refused = [answer for answer in answers if isinstance(answer, SpendRefused)]
        assert {answer.code for answer in refused} == {"rate_limited"}
        rows = await database.fetch(
            "select second, requests from shared_seconds where account_id = $1 order by second",
            account,
        )
        assert sum(row["requests"] for row in rows) == 20
        assert {answer.rate_limit.resets_at for answer in refused if answer.rate_limit} == {
            datetime.fromtimestamp(rows[0]["second"] + 61, UTC)
        }
        own_keys = [_ask(account, _key(), is_byok=True, worst_case_nano_usd=0) for _ in range(30)]
        assert _passed(await desks[1].answer(*own_keys)) == 30


async def test_what_was_used_counts_for_sixty_seconds_wherever_the_minute_of_the_clock_turns(
    desk: Desk, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    limits = {"openai": SharedLimit(requests_per_minute=2)}
    changed = AccountChanged(version=1, account_id=account, name="a", shared_limits=limits)
    await desk.post([received(changed)])
    assert _passed(await desk.answer(*[_ask(account, _key()) for _ in range(3)])) == 2
    await _pass_time(database, account, 45)
    assert _passed(await desk.answer(_ask(account, _key()))) == 0
    await _pass_time(database, account, 16)
    assert _passed(await desk.answer(*[_ask(account, _key()) for _ in range(3)])) == 2


async def test_tokens_are_put_right_when_posted_and_old_seconds_are_forgotten(
    desk: Desk, upkeep: PostgresUpkeep, database: asyncpg.Connection
) -> None:
    account = await desk.account_with(USD)
    asked = _ask(account, _key(), worst_case_tokens=5_000)
    await desk.answer(asked)
    used = "select requests, tokens from shared_seconds where account_id = $1"
    assert [tuple(row) for row in await database.fetch(used, account)] == [(1, 5_000)]
    fact = finished(
        account=account,
        generation_id=asked.generation_id,
        is_byok=False,
        spend=Spend(hold_id=HoldId(asked.hold_id)),
    )
    await desk.post([received(fact), received(fact)])
    tokens = USAGE.prompt_tokens + USAGE.completion_tokens
    assert [tuple(row) for row in await database.fetch(used, account)] == [(1, tokens)]
    await upkeep.forget_seconds(SystemClock().now() + timedelta(minutes=1), rows_max=100_000)
    assert await database.fetch(used, account) == []
    late = _ask(account, _key(), worst_case_tokens=5_000)
    await desk.answer(late)
    await upkeep.forget_seconds(SystemClock().now() + timedelta(minutes=1), rows_max=100_000)
    gone = GenerationAbandoned(generation_id=late.generation_id, account_id=account, reason="ours")
    await desk.post([received(gone)])
    assert await database.fetch(used, account) == []
    assert await desk.problems() == []


async def test_an_accounts_own_limits_hold_until_they_are_taken_back(desk: Desk) -> None:
    account = await desk.account_with(USD)

    async def own(version: int, limits: dict[str, SharedLimit] | None) -> None:
        changed = AccountChanged(
            version=version, account_id=account, name="a", shared_limits=limits
        )
        await desk.post([received(changed)])

    await own(1, {"openai": SharedLimit(requests_per_minute=0)})
    assert _passed(await desk.answer(_ask(account, _key()))) == 0
    assert _passed(await desk.answer(_ask(account, _key(), provider="azure"))) == 1
    await own(2, None)
    assert _passed(await desk.answer(_ask(account, _key()))) == 1
