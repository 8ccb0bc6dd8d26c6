"""Reconciliation: a healthy system is clean, and each kind of damage is found and named."""

import json
import re
from datetime import timedelta
from decimal import Decimal

import asyncpg
import msgspec
import pytest
from aiokafka import TopicPartition

from services.billing.config import BillingConfig
from services.billing.domain.period import Period
from services.billing.inbound.kafka_inbound import FACTS_GROUP
from shared.events.billing import AccountBalance
from shared.events.fees import CreditsAdded, CreditsCharged, FeeWaived
from shared.events.generations import GenerationAbandoned
from shared.events.payments import PaymentNotBooked
from shared.events.topics import BILLING_ACCOUNTS, BILLING_FEES, DEAD_LETTERS, INFERENCE_GENERATIONS
from shared.ids import GenerationId, new_generation_id
from shared.kafka.admin import partition_counts
from shared.kafka.consuming import open_consumer
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import Desk, World, received
from tests.integration.billing.reconcile.conftest import (
    Story,
    acknowledge_all,
    billing_at_work,
    compare,
    live,
    tell,
)
from tests.integration.billing.reconcile.damages import DAMAGES, damaged
from tests.integration.billing.reconcile.running import run_operation
from tests.support.wait_until import wait_until
from tests.unit.billing.made import LIST_COST, finished

_stories: list[Story] = []


@pytest.fixture
async def story(config: BillingConfig, world: World, database: asyncpg.Connection) -> Story:
    """What happened once, before the first of these tests."""
    if not _stories:
        async with billing_at_work(config):
            _stories.append(await live(world, database))
        await acknowledge_all(config)
    return _stories[0]


async def test_a_healthy_system_is_clean(config: BillingConfig, story: Story) -> None:
    compared = await compare(config)
    assert compared.report.differences == {}, compared.lines
    told = compared.report.as_json()
    assert told["clean"] is True
    assert told["in_flight"] == {"facts": 0, "events": 0, "states": 0}
    assert told["facts"] == 20 + 4 - 1
    assert told["generations"] == 7
    assert (told["dead_letters"], told["dead_letters_acknowledged"]) == (1, 1)
    assert [line for line in compared.lines if line.startswith("dead-letter: ")]
    assert sum(each["to"] for each in told["offsets"].values()) > told["facts"]
    assert all(each["committed"] == each["to"] for each in told["offsets"].values())
    assert story.account


async def test_nothing_differs_while_billing_is_at_work(
    config: BillingConfig, world: World, story: Story
) -> None:
    async with billing_at_work(config):
        for _ in range(6):
            for _ in range(20):
                fact = finished(
                    account=story.account, generation_id=new_generation_id(), is_byok=False
                )
                await world.producer.send(
                    world.producer.record(INFERENCE_GENERATIONS, fact, key=story.account)
                )
            compared = await compare(config)
            assert compared.report.differences == {}, compared.lines


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_to_the_books_is_found_and_named(
    config: BillingConfig, database: asyncpg.Connection, story: Story, name: str
) -> None:
    statements, expected = DAMAGES[name](story)
    async with damaged(database, *statements):
        compared = await compare(config)
    for fragment in expected:
        assert any(fragment in line for line in compared.lines), compared.lines
    assert not compared.report.clean


async def test_all_of_it_was_put_back(config: BillingConfig, story: Story) -> None:
    compared = await compare(config)
    assert compared.report.clean, compared.lines
    assert story.account


async def test_a_dead_letter_is_no_clean_reconciliation_until_it_is_acknowledged(
    config: BillingConfig,
    infrastructure: Infrastructure,
    world: World,
    story: Story,
) -> None:
    environment = infrastructure.environment("billing")
    poison = GenerationAbandoned(
        generation_id=GenerationId("poison"), account_id=story.account, reason="unreadable"
    )
    payment = PaymentNotBooked(
        provider="stripe",
        event_id="evt_lost",
        event_type="checkout.session.completed",
        reason="there is no such account",
        payment_id="stripe/pi_lost",
        amount=500,
        currency="usd",
    )
    async with billing_at_work(config):
        await tell(world, poison)
        await world.producer.emit(DEAD_LETTERS, payment, key="stripe/pi_lost")
        await wait_until(lambda: _letters(config, 3), deadline_seconds=20)
    code, output, _ = await run_operation(environment, "reconcile")
    told = json.loads(output.splitlines()[-1])
    assert (code, told["clean"], told["differences"]) == (1, False, 0)
    assert (told["dead_letters"], told["dead_letters_acknowledged"]) == (3, 1)
    lines = [line for line in output.splitlines() if line.startswith("dead-letter: ")]
    fresh = [line for line in lines if "acknowledged" not in line]
    assert len(fresh) == 2
    assert any("stripe/pi_lost" in line and "no such account" in line for line in fresh)
    for line in fresh:
        place = re.match(r"dead-letter: (\S+) partition (\d+) offset (\d+): ", line)
        assert place is not None
        topic, partition, offset = place.groups()
        position = ["--topic", topic, "--partition", partition, "--offset", offset]
        decided = ["--reason", "nothing was due", "--by", "ada"]
        code, output, _ = await run_operation(environment, "acknowledge", *position, *decided)
        assert code == 0
        assert json.loads(output)["reason"] == "nothing was due"
        code, _, _ = await run_operation(environment, "acknowledge", *position, *decided)
        assert code == 0, "the same again is the same"
        other = ["--reason", "something else", "--by", "eve"]
        code, output, errors = await run_operation(environment, "acknowledge", *position, *other)
        assert code == 1
        assert json.loads(output)["by"] == "ada"
        assert "nothing was due" in errors
    code, output, _ = await run_operation(environment, "reconcile")
    assert code == 0, output
    assert output.count("by ada: nothing was due") == 2


async def test_what_is_no_dead_letter_cannot_be_acknowledged(
    infrastructure: Infrastructure, database: asyncpg.Connection, story: Story
) -> None:
    count = "select count(*) from acknowledged_dead_letters"
    before = await database.fetchval(count)
    code, output, errors = await run_operation(
        infrastructure.environment("billing"),
        *("acknowledge", "--topic", INFERENCE_GENERATIONS.name),
        *("--partition", "0", "--offset", "999999", "--reason", "x", "--by", story.account),
    )
    assert (code, output) == (1, "")
    assert "inference.generations partition 0 offset 999999" in errors
    assert await database.fetchval(count) == before


async def _letters(config: BillingConfig, count: int) -> bool:
    return (await compare(config)).report.dead_letters == count


async def test_what_the_world_was_told_without_a_posting_is_found(
    config: BillingConfig, world: World, story: Story
) -> None:
    before = await compare(config)
    made_up = new_generation_id()
    waived = FeeWaived(
        generation_id=made_up,
        account_id=story.account,
        credential_id=None,
        model="m",
        list_cost_nano_usd=1,
        fee_percent=Decimal(5),
        fee_nano_usd=0,
        month="2026-01",
        allotment_used=1,
        credits_nano_usd=0,
    )
    again = CreditsCharged(
        generation_id=story.charged,
        account_id=story.account,
        model="m",
        list_cost_nano_usd=LIST_COST,
        charge_nano_usd=LIST_COST + 7,
        month="2026-01",
        credits_nano_usd=0,
    )
    added = CreditsAdded(
        account_id=story.account, amount_nano_usd=9, key="never", credits_nano_usd=0
    )
    for event, event_id in (
        (waived, f"{made_up}/fee_waived"),
        (again, f"{story.charged}/credits_charged"),
        (added, f"credit/{story.account}/never"),
    ):
        await world.producer.emit(BILLING_FEES, event, key=story.account, event_id=event_id)
    found = set((await compare(config)).lines) - set(before.lines)
    for fragment in (
        f"told-not-booked: generation {made_up}",
        f"told-wrongly: generation {story.charged} of account {story.account}: amount of",
        f"is {LIST_COST + 7}, should be {LIST_COST}",
        f"told-not-booked: movement credit/{story.account}/never",
    ):
        assert any(fragment in line for line in found), found
    assert len(found) == 3


async def test_a_posting_that_nobody_was_told_of_and_no_fact_explains_is_found(
    config: BillingConfig, database: asyncpg.Connection, desk: Desk, story: Story
) -> None:
    before = await compare(config)
    generation_id = new_generation_id()
    fact = finished(account=story.account, generation_id=generation_id, is_byok=False)
    await desk.post([received(fact)])  # straight to the books, past Kafka
    waiting = await compare(config)
    assert waiting.report.in_flight["events"] == 1
    assert waiting.report.in_flight["states"] == 1
    found = set(waiting.lines) - set(before.lines)
    assert any(f"booking-without-fact: generation {generation_id}" in line for line in found)
    assert any(line.startswith("taken-in-without-record: ") for line in found), found
    await database.execute("delete from outbox")
    await database.execute("delete from outbox_dirty")
    found = set((await compare(config)).lines) - set(before.lines)
    for fragment in (
        f"not-told: generation {generation_id}",
        f"wrong-state: account {story.account}: published version",
    ):
        assert any(fragment in line for line in found), found


async def test_facts_that_were_skipped_are_found_and_poison_that_nobody_put_aside(
    config: BillingConfig, world: World, story: Story
) -> None:
    before = await compare(config)
    skipped, left, given_up = new_generation_id(), new_generation_id(), new_generation_id()
    await tell(world, finished(account=story.account, generation_id=skipped, is_byok=False))
    await tell(
        world,
        GenerationAbandoned(generation_id=given_up, account_id=story.account, reason="ours"),
        GenerationAbandoned(
            generation_id=GenerationId("nonsense"), account_id=story.account, reason="poison"
        ),
    )
    counts = await partition_counts(config.kafka.bootstrap_servers, [INFERENCE_GENERATIONS.name])
    async with open_consumer(config.kafka, group=FACTS_GROUP) as consumer:
        partitions = [
            TopicPartition(INFERENCE_GENERATIONS.name, number)
            for number in range(counts[INFERENCE_GENERATIONS.name])
        ]
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    await tell(world, finished(account=story.account, generation_id=left, is_byok=False))
    compared = await compare(config)
    found = set(compared.lines) - set(before.lines)
    for fragment in (
        f"fact-not-booked: generation {skipped} of account {story.account}: posting of the fact",
        f"fact-not-booked: generation {given_up} of account {story.account}: abandonment of",
        "unreadable-fact: event at partition ",
        "not-taken-in: event ",
    ):
        assert any(fragment in line for line in found), found
    assert not any(left in line for line in found)
    assert compared.report.in_flight["facts"] == 1


async def test_an_old_state_published_over_a_new_one_is_found(
    config: BillingConfig, world: World, story: Story
) -> None:
    state = world.balances.get(story.account)
    assert isinstance(state, AccountBalance)
    stale = msgspec.structs.replace(state, version=state.version - 1, credits_nano_usd=1)
    before = await compare(config)
    await world.producer.emit(BILLING_ACCOUNTS, stale, key=story.account)
    found = set((await compare(config)).lines) - set(before.lines)
    assert any(
        f"wrong-state: account {story.account}: published version" in line for line in found
    ), found


async def test_a_period_leaves_out_what_started_before_and_after(
    config: BillingConfig, story: Story
) -> None:
    hour = timedelta(hours=1)
    whole = await compare(config, Period(begin=story.at - hour, end=story.at + hour))
    assert whole.report.looked_at["generations"] > 0
    for begin in (story.at - 3 * hour, story.at + hour):
        none = await compare(config, Period(begin=begin, end=begin + hour))
        assert none.report.looked_at["generations"] == 0
        assert not any(line.startswith("fact-not-booked") for line in none.lines)


async def test_the_command_ends_with_json_and_the_exit_code_that_it_promises(
    infrastructure: Infrastructure, database: asyncpg.Connection
) -> None:
    environment = infrastructure.environment("billing")
    code, output, _ = await run_operation(
        environment, "reconcile", "--from", "2020-01-01", "--to", "2020-02-01"
    )
    told = json.loads(output.splitlines()[-1])
    is_clean = told["differences"] == 0 and (
        told["dead_letters"] == told["dead_letters_acknowledged"]
    )
    assert (code, told["clean"]) == ((0, True) if is_clean else (1, False))
    assert told["from"] == "2020-01-01T00:00:00+00:00"
    await database.execute("insert into accounts (account_id, version) values ('untold', 1)")
    code, output, _ = await run_operation(environment, "reconcile")
    assert code == 1
    assert "wrong-state: account untold" in output
    assert json.loads(output.splitlines()[-1])["clean"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconcile", "--from", "yesterday"],
        ["reconcile", "--from", "2026-02-01", "--to", "2026-01-01"],
        ["reconcile", "2026-01-01"],
        ["acknowledge", "--topic", "t", "--partition", "0", "--offset", "0", "--by", "ada"],
        [
            *("acknowledge", "--topic", "t", "--partition", "0", "--offset", "0"),
            *("--by", "ada", "--reason", "two\nlines"),
        ],
        ["seal-month"],
        ["seal-month", "--month", "2026-13"],
        [],
    ],
)
async def test_wrong_arguments_are_exit_2(
    infrastructure: Infrastructure, arguments: list[str]
) -> None:
    code, output, errors = await run_operation(infrastructure.environment("billing"), *arguments)
    assert (code, output) == (2, "")
    assert errors


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("POSTGRES_URL", "postgresql://billing:x@127.0.0.1:1/openroute"),
    ],
)
async def test_a_server_that_does_not_answer_is_exit_2(
    infrastructure: Infrastructure, variable: str, value: str
) -> None:
    environment = {
        **infrastructure.environment("billing"),
        "POSTGRES_START_WAIT_SECONDS": "1",
        variable: value,
    }
    code, output, errors = await run_operation(environment, "reconcile")
    assert (code, output) == (2, "")
    assert "cannot be compared: " in errors
