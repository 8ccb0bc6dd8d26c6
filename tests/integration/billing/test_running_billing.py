"""A billing process on Kafka and PostgreSQL, as the other services meet it."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from services.billing.config import BillingConfig
from services.billing.inbound.kafka_inbound import facts_consumer
from services.billing.use_cases.check_books import check_books
from services.billing.wiring import Billing
from shared.clock import SystemClock
from shared.errors import OpenRouteError
from shared.events.accounts import AccountChanged, ApiKeyChanged
from shared.events.billing import (
    AccountBalance,
    AddCredits,
    CreditsKept,
    SpendAuthorized,
    SpendRefused,
)
from shared.events.codec import Received
from shared.events.envelope import Event
from shared.events.fees import CreditsCharged
from shared.events.generations import GenerationAbandoned, Spend
from shared.events.topic import Topic
from shared.events.topics import (
    ACCOUNTS_STATE,
    API_KEYS_STATE,
    BILLING_FEES,
    DEAD_LETTERS,
    INFERENCE_GENERATIONS,
)
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId, new_generation_id, new_id
from shared.kafka.consuming import decode_record, open_consumer
from shared.kafka.record import Record
from tests.integration.billing.conftest import Desk, World
from tests.support.wait_until import wait_until
from tests.unit.billing.made import FEE, LIST_COST, USD, authorize, finished


async def _told(config: BillingConfig, topic: Topic, account: AccountId, count: int) -> list[Event]:
    """The events of an account on a topic, from its beginning, once there are enough."""
    events: dict[str, Event] = {}
    async with asyncio.timeout(20), open_consumer(config.kafka, topic.name) as consumer:
        while len(events) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.key == account.encode():
                        decoded = decode_record(record)
                        events[decoded.envelope.id] = decoded.event
    return list(events.values())


async def test_credits_come_in_are_held_and_are_charged(
    running: Billing, world: World, config: BillingConfig
) -> None:
    account, generation_id, hold = AccountId(new_id()), new_generation_id(), new_id()
    kept = await world.call(
        AddCredits(account_id=account, amount_nano_usd=USD, key="first"), account
    )
    assert isinstance(kept, CreditsKept)
    command = authorize(hold=hold, account=account, generation_id=generation_id, is_byok=False)
    assert isinstance(await world.call(command, account), SpendAuthorized)
    await world.balance(account, credits_nano_usd=USD - 4 * LIST_COST, held_nano_usd=4 * LIST_COST)
    fact = finished(
        account=account,
        generation_id=generation_id,
        is_byok=False,
        spend=Spend(hold_id=HoldId(hold)),
    )
    await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)
    await world.balance(account, credits_nano_usd=USD - LIST_COST, held_nano_usd=0)
    added, charged = await _told(config, BILLING_FEES, account, 2)
    assert type(added).__name__ == "CreditsAdded"
    assert isinstance(charged, CreditsCharged)
    assert charged.charge_nano_usd == LIST_COST
    assert charged.credits_nano_usd == USD - LIST_COST
    assert (await check_books(running.ledger))["problems"] == []


async def test_two_hundred_callers_at_once_on_credits_for_twenty(
    running: Billing, world: World
) -> None:
    account = AccountId(new_id())
    await world.call(
        AddCredits(account_id=account, amount_nano_usd=20 * LIST_COST, key="k"), account
    )
    commands = [
        authorize(
            hold=new_id(),
            account=account,
            generation_id=new_generation_id(),
            is_byok=False,
            worst_case_nano_usd=LIST_COST,
        )
        for _ in range(200)
    ]
    answers = await asyncio.gather(*[world.call(command, account) for command in commands])
    assert sum(isinstance(answer, SpendAuthorized) for answer in answers) == 20
    assert sum(isinstance(answer, SpendRefused) for answer in answers) == 180
    await world.balance(account, credits_nano_usd=0, held_nano_usd=20 * LIST_COST)
    assert (await check_books(running.ledger))["problems"] == []


async def test_an_accounts_own_policy_is_published_and_applied(
    running: Billing, world: World
) -> None:
    account = AccountId(new_id())
    changed = AccountChanged(
        version=3, account_id=account, name="a", fee_percent=Decimal("2.5"), free_requests=0
    )
    await world.producer.emit(ACCOUNTS_STATE, changed, key=account)
    state = await world.balance(account, policy_version=3)
    assert isinstance(state, AccountBalance)
    assert (state.fee_percent, state.free_requests) == (Decimal("2.5"), 0)
    old = AccountChanged(version=2, account_id=account, name="a", free_requests=9)
    await world.producer.emit(ACCOUNTS_STATE, old, key=account)
    await world.call(AddCredits(account_id=account, amount_nano_usd=USD, key="k"), account)
    fact = finished(account=account, generation_id=new_generation_id())
    await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)
    await world.balance(account, credits_nano_usd=USD - 187_500, allotment_used=1, free_requests=0)
    assert running.facts.problem() is None


async def test_an_allotment_by_list_cost_is_published_and_used_up(
    running: Billing, world: World, config: BillingConfig
) -> None:
    account = AccountId(new_id())
    await world.call(AddCredits(account_id=account, amount_nano_usd=USD, key="k"), account)
    changed = AccountChanged(
        version=1,
        account_id=account,
        name="a",
        allotment_rule="list_cost",
        free_list_cost_nano_usd=LIST_COST + 1,
    )
    await world.producer.emit(ACCOUNTS_STATE, changed, key=account)
    await world.balance(account, policy_version=1)
    hold, generation_id = new_id(), new_generation_id()
    await world.call(authorize(hold=hold, account=account, generation_id=generation_id), account)
    await world.balance(account, list_cost_used_nano_usd=4 * LIST_COST, allotment_used=1)
    facts = [
        finished(account=account, generation_id=generation_id, spend=Spend(hold_id=HoldId(hold))),
        finished(account=account, generation_id=new_generation_id()),
        finished(account=account, generation_id=new_generation_id()),
    ]
    for fact in facts:
        await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)
    await world.balance(
        account,
        credits_nano_usd=USD - FEE,
        allotment_rule="list_cost",
        free_list_cost_nano_usd=LIST_COST + 1,
        list_cost_used_nano_usd=2 * LIST_COST,
        allotment_used=3,
    )
    told = (await _told(config, BILLING_FEES, account, 4))[1:]
    assert [type(each).__name__ for each in told] == ["FeeWaived", "FeeWaived", "FeeDeducted"]
    assert (await check_books(running.ledger))["problems"] == []


async def test_a_key_limit_on_its_topic_holds_and_a_key_that_is_gone_stops_nothing(
    running: Billing, world: World, config: BillingConfig
) -> None:
    account, gone = AccountId(new_id()), new_id()
    await world.call(AddCredits(account_id=account, amount_nano_usd=USD, key="k"), account)
    await world.producer.send(Record(topic=API_KEYS_STATE.name, key=gone.encode(), value=None))
    key = ApiKeyHash(new_id())
    limited = ApiKeyChanged(version=1, api_key_hash=key, account_id=account, limit_nano_usd=0)
    await world.producer.emit(API_KEYS_STATE, limited, key=key)

    async def is_refused() -> bool:
        command = authorize(
            hold=new_id(),
            account=account,
            api_key_hash=key,
            generation_id=new_generation_id(),
            is_byok=False,
        )
        answer = await world.call(command, account)
        return isinstance(answer, SpendRefused) and answer.code == "key_limit_exceeded"

    await wait_until(is_refused, deadline_seconds=20)
    assert running.facts.problem() is None
    async with open_consumer(config.kafka, DEAD_LETTERS.name) as consumer:
        dead = (await consumer.getmany(timeout_ms=1_000)).values()
    assert gone.encode() not in [record.key for records in dead for record in records]


class _Crash(OpenRouteError):  # noqa: N818 - it is one
    """The process dies here."""


async def test_a_crash_between_commit_and_offset_commit_changes_nothing(
    desk: Desk, world: World, config: BillingConfig
) -> None:
    account = await desk.account_with(USD)
    facts = [
        finished(account=account, generation_id=new_generation_id(), is_byok=False)
        for _ in range(5)
    ]
    posted: list[Received] = []

    async def post_then_crash(received: Sequence[Received]) -> None:
        await desk.post(received)
        posted.extend(each for each in received if each.key == account.encode())
        if posted:
            raise _Crash("after the commit")

    clock = SystemClock()
    doomed = facts_consumer(config.kafka, post_then_crash, world.producer, clock)
    for fact in facts:
        await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)
    with pytest.raises(_Crash):
        async with asyncio.timeout(30):
            await doomed.run(asyncio.Event())
    again: list[Received] = []
    stop = asyncio.Event()

    async def post_again(received: Sequence[Received]) -> None:
        await desk.post(received)
        again.extend(each for each in received if each.key == account.encode())
        if len(again) == len(facts):
            stop.set()

    async with asyncio.timeout(30):
        await facts_consumer(config.kafka, post_again, world.producer, clock).run(stop)
    assert {each.envelope.id for each in posted} <= {each.envelope.id for each in again}
    assert posted
    await desk.billing.publications.publish_waiting()
    await world.balance(account, credits_nano_usd=USD - 5 * LIST_COST)
    charged = await _told(config, BILLING_FEES, account, 6)
    assert len(charged) == 6
    assert await desk.problems() == []


async def test_poison_is_put_aside_and_the_rest_goes_on(
    running: Billing, world: World, config: BillingConfig
) -> None:
    account = AccountId(new_id())
    await world.call(AddCredits(account_id=account, amount_nano_usd=USD, key="k"), account)
    broken = GenerationAbandoned(
        generation_id=GenerationId("nonsense"), account_id=account, reason="x"
    )
    good = finished(account=account, generation_id=new_generation_id(), is_byok=False)
    for fact in (broken, good):
        await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)
    await world.balance(account, credits_nano_usd=USD - LIST_COST)
    (dead,) = await _told(config, DEAD_LETTERS, account, 1)
    assert "GenerationAbandoned" in getattr(dead, "reason", "")
    assert running.facts.problem() is None
