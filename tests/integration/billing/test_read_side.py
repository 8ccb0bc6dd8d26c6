"""Receipts, activity and credits as they follow from facts and ledger, and are made anew from them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from services.billing.config import BillingConfig
from services.billing.domain.receipt import Position
from services.billing.operations.connections import open_replay
from services.billing.outbound.postgres_reads import PostgresReads
from services.billing.use_cases.replay_receipts import Replayed, replay_receipts
from services.billing.wiring import Billing
from shared.errors import Unavailable
from shared.events.billing import AddCredits
from shared.events.generations import (
    AttemptReceipt,
    GenerationAbandoned,
    GenerationFinished,
    RequestOrigin,
    Spend,
)
from shared.events.receipts import ActivityRow, QueryActivity, QueryReceipts, Receipt
from shared.events.topics import INFERENCE_GENERATIONS
from shared.events.usage import Usage
from shared.ids import AccountId, CredentialId, GenerationId, RunId, new_generation_id, new_id
from shared.postgres.pool import Pool, open_pool
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import Desk, World, received
from tests.integration.billing.migrating import migrated
from tests.support.wait_until import wait_until
from tests.unit.billing.made import LIST_COST, PRICES, USD, finished

FAILED_FIRST = (
    AttemptReceipt(
        provider="openai",
        endpoint="openai/gpt-4o",
        model="openai/gpt-4o",
        tier="prioritized",
        credential_id=CredentialId("first"),
        credential_label="sk-...abcd",
        status=429,
        failure="rate_limited",
        latency_ms=12,
        prices=PRICES,
        usage=Usage(prompt_tokens=70, completion_tokens=0),
    ),
    AttemptReceipt(
        provider="openai",
        endpoint="openai/gpt-4o",
        model="openai/gpt-4o",
        tier="fallback",
        credential_id=CredentialId("second"),
        credential_label="sk-...wxyz",
        status=200,
        latency_ms=340,
        upstream_id="chatcmpl-1",
    ),
)


@pytest.fixture
async def pool(config: BillingConfig) -> AsyncIterator[Pool]:
    """Billing's own tables, to look into."""
    async with open_pool(config.postgres, application_name="test") as pool:
        yield pool


@pytest.fixture
def reads(pool: Pool) -> PostgresReads:
    return PostgresReads(pool)


def full_fact(account: AccountId, **changes: object) -> GenerationFinished:
    """A fact that has everything a receipt shows."""
    fact = msgspec.structs.replace(
        finished(account=account, generation_id=new_generation_id(), spend=Spend(waived=True)),
        attempts=FAILED_FIRST,
        credential_id=CredentialId("second"),
        usage=Usage(
            prompt_tokens=1_000, completion_tokens=500, cached_tokens=200, reasoning_tokens=40
        ),
        finish_reason="stop",
        native_finish_reason="end_turn",
        streamed=True,
        requested_model="openai/gpt-4o",
        first_token_ms=250,
        service_tier="default",
        origin=RequestOrigin(
            http_referer="https://app.example",
            user_agent="test/1",
            external_user="émile 👩‍💻",
            session_id="s-1",
        ),
    )
    return msgspec.structs.replace(fact, **changes)


def today() -> date:
    return datetime.now(UTC).date()  # noqa: TID251 - ids of generations are made by the real clock


def activity_query(account: AccountId, *group_by: str) -> QueryActivity:
    return msgspec.convert(
        {
            "account_id": account,
            "first_day": today() - timedelta(days=1),
            "last_day": today(),
            "group_by": group_by,
        },
        QueryActivity,
    )


async def activity(reads: PostgresReads, account: AccountId, *group_by: str) -> list[ActivityRow]:
    return await reads.activity(activity_query(account, *group_by), rows_max=100)


async def the_receipt(reads: PostgresReads, fact: GenerationFinished) -> Receipt:
    receipt = await reads.receipt(fact.account_id, fact.generation_id)
    assert receipt is not None
    return receipt


async def test_a_receipt_tells_of_every_attempt_and_what_was_charged(
    desk: Desk, reads: PostgresReads
) -> None:
    fact = full_fact(await desk.account_with(USD))
    await desk.post([received(fact)])

    receipt = await the_receipt(reads, fact)

    assert receipt.attempts == FAILED_FIRST
    assert (receipt.usage, receipt.prices) == (fact.usage, fact.prices)
    assert (receipt.outcome, receipt.is_byok) == ("completed", True)
    assert receipt.charge.kind == "fee_waived"
    assert receipt.charge.list_cost_nano_usd == LIST_COST
    assert receipt.charge.collected_nano_usd == 0
    told = ("finish_reason", "native_finish_reason", "streamed", "first_token_ms", "service_tier")
    for name in (*told, "origin", "requested_model", "run_id", "api_key_hash", "started_at"):
        assert getattr(receipt, name) == getattr(fact, name), name


async def test_a_receipt_is_shown_to_its_own_account_alone(
    desk: Desk, reads: PostgresReads
) -> None:
    fact = full_fact(await desk.account_with(0))
    await desk.post([received(fact)])

    assert await reads.receipt(AccountId(new_id()), fact.generation_id) is None
    assert await reads.receipt(fact.account_id, new_generation_id()) is None
    assert await reads.receipt(fact.account_id, GenerationId("gen-none")) is None


async def test_a_fee_is_explained_by_its_percentage(desk: Desk, reads: PostgresReads) -> None:
    fact = full_fact(await desk.account_with(USD), spend=Spend(fee_percent=Decimal(5)))
    await desk.post([received(fact)])

    charge = (await the_receipt(reads, fact)).charge

    assert (charge.kind, charge.fee_percent) == ("fee_deducted", Decimal(5))
    assert charge.collected_nano_usd == charge.list_cost_nano_usd * 5 // 100


async def test_what_delivered_nothing_has_a_receipt_of_nothing_and_is_no_activity(
    desk: Desk, reads: PostgresReads
) -> None:
    account = await desk.account_with(USD)
    fact = full_fact(account, outcome="failed", usage=None, finish_reason="error")
    await desk.post([received(fact)])

    receipt = await the_receipt(reads, fact)

    assert receipt.charge.kind == "nothing"
    assert receipt.outcome == "failed"
    assert await activity(reads, account) == []


async def test_activity_adds_receipts_up_and_is_divided_by_key_and_credential(
    desk: Desk, reads: PostgresReads
) -> None:
    account = await desk.account_with(USD)
    own = [full_fact(account) for _ in range(3)]
    shared = full_fact(account, is_byok=False, credential_id=None, spend=None, attempts=())
    await desk.post([received(each) for each in own])
    await desk.post([received(shared)])

    (row,) = await activity(reads, account)
    divided = await activity(reads, account, "credential_id", "api_key_hash")

    receipts = [await the_receipt(reads, each) for each in (*own, shared)]
    assert row.requests == 4
    assert row.prompt_tokens == 4_000
    assert (row.completion_tokens, row.reasoning_tokens, row.cached_tokens) == (2_000, 160, 800)
    assert row.credits_nano_usd == sum(each.charge.collected_nano_usd for each in receipts)
    assert row.byok_list_cost_nano_usd == 3 * LIST_COST
    assert {(each.credential_id, each.requests) for each in divided} == {("second", 3), ("", 1)}
    assert {each.api_key_hash for each in divided} == {shared.api_key_hash}


async def test_receipts_and_activity_tell_completions_and_embeddings_apart(
    desk: Desk, reads: PostgresReads
) -> None:
    account = await desk.account_with(USD)
    embedded, given_back = [full_fact(account, operation="embeddings") for _ in range(2)]
    chat = full_fact(account)
    await desk.post([received(each) for each in (embedded, given_back, chat)])
    abandoned = GenerationAbandoned(
        generation_id=given_back.generation_id, account_id=account, reason="dispatcher_lost"
    )
    await desk.post([received(abandoned)])

    rows = await activity(reads, account)

    assert {(each.operation, each.requests) for each in rows} == {("chat", 1), ("embeddings", 1)}
    assert (await the_receipt(reads, embedded)).operation == "embeddings"


async def test_a_charge_that_is_given_back_leaves_the_activity_and_says_so(
    desk: Desk, reads: PostgresReads
) -> None:
    account = await desk.account_with(USD)
    kept, given_back = full_fact(account), full_fact(account)
    await desk.post([received(kept), received(given_back)])
    abandoned = GenerationAbandoned(
        generation_id=given_back.generation_id, account_id=account, reason="dispatcher_lost"
    )
    await desk.post([received(abandoned), received(abandoned)])

    (row,) = await activity(reads, account)
    receipt = await the_receipt(reads, given_back)

    assert row.requests == 1
    assert receipt.outcome == "abandoned"
    assert receipt.charge.reversed_because == "dispatcher_lost"
    other = full_fact(account)
    await desk.post([received(other)])
    gone = [kept, other]
    await desk.post(
        [
            received(
                GenerationAbandoned(
                    generation_id=each.generation_id, account_id=account, reason="out_of_time"
                )
            )
            for each in gone
        ]
    )
    assert await activity(reads, account) == []


async def test_a_generation_of_which_only_the_abandonment_was_heard_has_a_receipt(
    desk: Desk, reads: PostgresReads
) -> None:
    account, generation_id = await desk.account_with(0), new_generation_id()
    fact = GenerationAbandoned(
        generation_id=generation_id, account_id=account, reason="dispatcher_lost"
    )
    await desk.post([received(fact)])

    receipt = await reads.receipt(account, generation_id)

    assert receipt is not None
    assert (receipt.outcome, receipt.run_id) == ("abandoned", None)
    assert receipt.charge.reversed_because == "dispatcher_lost"
    assert await reads.receipt(AccountId(new_id()), generation_id) is None


async def test_receipts_are_paged_and_filtered(desk: Desk, reads: PostgresReads) -> None:
    account = await desk.account_with(USD)
    facts = [full_fact(account) for _ in range(5)]
    shared = full_fact(account, is_byok=False, credential_id=None, spend=None)
    await desk.post([received(each) for each in (*facts, shared)])
    query = QueryReceipts(
        account_id=account, first_day=today() - timedelta(days=1), last_day=today(), limit=2
    )

    seen: list[GenerationId] = []
    after: GenerationId | None = None
    while True:
        page = await reads.receipts(msgspec.structs.replace(query, after=after), rows_max=2)
        if not page:
            break
        seen.extend(each.generation_id for each in page)
        after = page[-1].generation_id
    own = msgspec.structs.replace(query, credential_id=CredentialId("second"))

    assert seen == sorted(each.generation_id for each in (*facts, shared))
    assert len(await reads.receipts(own, rows_max=10)) == 5
    none = msgspec.structs.replace(query, model="openai/none")
    assert await reads.receipts(none, rows_max=10) == []
    later = msgspec.structs.replace(
        query, first_day=today() + timedelta(days=1), last_day=today() + timedelta(days=1)
    )
    assert await reads.receipts(later, rows_max=10) == []


async def test_credits_are_those_of_the_ledger(
    desk: Desk, reads: PostgresReads, pool: Pool
) -> None:
    account = await desk.account_with(USD)
    await desk.answer(AddCredits(account_id=account, amount_nano_usd=7, key="more"))
    charged = full_fact(account, is_byok=False, credential_id=None, spend=None)
    fee = full_fact(account, spend=Spend(fee_percent=Decimal(5)))
    reversed_one = full_fact(account, is_byok=False, credential_id=None, spend=None)
    await desk.post([received(each) for each in (charged, fee, reversed_one)])
    await desk.post(
        [
            received(
                GenerationAbandoned(
                    generation_id=reversed_one.generation_id, account_id=account, reason="x"
                )
            )
        ]
    )

    told = await reads.credits(account)

    in_ledger = await pool.fetchrow(
        "select sum(amount_nano_usd) filter (where debit = 'cash_in') as added,"
        " sum(case when credit like 'customer%' then amount_nano_usd else 0 end"
        " - case when debit like 'customer%' then amount_nano_usd else 0 end) as left_over"
        " from transfers where account_id = $1",
        account,
    )
    assert in_ledger is not None
    assert told.added_nano_usd == in_ledger["added"] == USD + 7
    assert told.available_nano_usd + told.held_nano_usd == in_ledger["left_over"]
    assert told.used_nano_usd == told.added_nano_usd - in_ledger["left_over"]
    (row,) = await activity(reads, account)
    assert row.credits_nano_usd == told.used_nano_usd


async def read_side(pool: Pool, account: AccountId) -> list[str]:
    """All that the read side has of an account, in order, as text."""
    return await dump(pool, account, "receipts", "activity_days")


async def dump(pool: Pool, account: AccountId, *tables: str) -> list[str]:
    lines: list[str] = []
    for table in tables:
        rows = await pool.fetch(
            f"select t::text as line from {table} t where account_id = $1 order by 1",  # noqa: S608 - names of our own
            account,
        )
        lines.extend(row["line"] for row in rows)
    return lines


async def replay(config: BillingConfig, since: datetime | None = None) -> Replayed:
    async with open_replay(config) as (history, rebuild):
        return await replay_receipts(history, rebuild, since)


async def produced(
    world: World, pool: Pool, config: BillingConfig, account: AccountId, count: int
) -> list[GenerationFinished]:
    """Facts of several shapes, booked and committed by the billing that runs."""
    shapes: Sequence[dict[str, object]] = (
        {},
        {"spend": Spend(fee_percent=Decimal(5))},
        {"is_byok": False, "credential_id": None, "spend": None, "attempts": ()},
        {"outcome": "failed", "usage": None},
        {"outcome": "cancelled"},
        {"operation": "embeddings", "finish_reason": None},
    )
    facts = [full_fact(account, **shapes[number % len(shapes)]) for number in range(count)]
    rival = msgspec.structs.replace(facts[0], run_id=RunId("rival"), streamed=False)
    abandoned = GenerationAbandoned(
        generation_id=facts[1].generation_id, account_id=account, reason="dispatcher_lost"
    )
    for fact in (*facts, rival, abandoned):
        await world.producer.emit(INFERENCE_GENERATIONS, fact, key=account)

    async def is_booked() -> bool:
        rows = await dump(pool, account, "receipts")
        gone = await dump(pool, account, "abandonments")
        return len(rows) == count and len(gone) == 1

    await wait_until(is_booked, deadline_seconds=20)
    last = await pool.fetchrow(
        "select record_partition as partition, max(record_offset) as offset from receipts"
        " where account_id = $1 group by 1",
        account,
    )
    assert last is not None

    async def is_committed() -> bool:
        async with open_replay(config) as (history, _):
            spans = await history.spans(None)
        # rival and abandonment stand behind the last that was booked
        end: int = spans[last["partition"]].end
        return bool(end > last["offset"] + 2)

    await wait_until(is_committed, deadline_seconds=20)
    return facts


async def test_a_replay_makes_identical_rows_and_touches_no_ledger(
    running: Billing, world: World, pool: Pool, config: BillingConfig
) -> None:
    account = AccountId(new_id())
    await produced(world, pool, config, account, 20)
    before = await read_side(pool, account)
    ledger = await dump(pool, account, "generations", "transfers", "accounts", "spending_days")

    replayed = await replay(config)

    assert replayed.replayed >= 20
    assert await read_side(pool, account) == before
    tables = ("generations", "transfers", "accounts", "spending_days")
    assert await dump(pool, account, *tables) == ledger
    assert await replay(config) == replayed
    assert await read_side(pool, account) == before
    assert running.facts.problem() is None


async def test_a_replay_mends_what_was_damaged(
    running: Billing, world: World, pool: Pool, config: BillingConfig
) -> None:
    account = AccountId(new_id())
    facts = await produced(world, pool, config, account, 10)
    before = await read_side(pool, account)
    await pool.execute(
        "delete from receipts where account_id = $1 and generation_id > $2",
        account,
        facts[4].generation_id,
    )
    await pool.execute(
        "update receipts set finish_reason = 'forged', attempts = '[]' where account_id = $1",
        account,
    )
    await pool.execute(
        "update receipts set generation_id = $2 where (account_id, generation_id) = ($1, $3)",
        account,
        new_generation_id(),
        facts[0].generation_id,
    )
    await pool.execute(
        "update activity_days set requests = requests + 5, credits_nano_usd = 1"
        " where account_id = $1",
        account,
    )
    assert await read_side(pool, account) != before

    await replay(config)

    assert await read_side(pool, account) == before
    await pool.execute("delete from activity_days where account_id = $1", account)
    await replay(config)
    assert await read_side(pool, account) == before
    assert running.facts.problem() is None


async def test_what_kafka_no_longer_has_is_kept_as_it_is(
    desk: Desk, pool: Pool, config: BillingConfig
) -> None:
    gone, invented = [full_fact(await desk.account_with(0)) for _ in range(2)]
    await desk.post([received(gone), received(invented)])
    kept = await read_side(pool, gone.account_id)
    # a row of a generation that was never booked
    await pool.execute(
        "update receipts set generation_id = $2 where account_id = $1",
        invented.account_id,
        new_generation_id(),
    )

    # neither stands on the topic
    replayed = await replay(config)

    assert await read_side(pool, gone.account_id) == kept
    assert await dump(pool, invented.account_id, "receipts") == []
    assert replayed.kept >= 1


async def test_a_replay_from_a_moment_leaves_what_is_older(
    running: Billing, world: World, pool: Pool, config: BillingConfig
) -> None:
    older, newer = AccountId(new_id()), AccountId(new_id())
    await produced(world, pool, config, older, 5)
    moment = datetime.now(UTC)  # noqa: TID251 - as Kafka has it
    await produced(world, pool, config, newer, 5)
    before = await read_side(pool, newer)
    for account in (older, newer):
        await pool.execute(
            "update receipts set finish_reason = 'forged' where account_id = $1", account
        )

    await replay(config, moment)

    assert await read_side(pool, newer) == before
    assert all("forged" in each for each in await dump(pool, older, "receipts"))
    await replay(config)
    assert not any("forged" in each for each in await dump(pool, older, "receipts"))
    assert running.facts.problem() is None


async def test_a_replay_takes_over_what_billing_books_meanwhile(
    running: Billing, world: World, pool: Pool, config: BillingConfig
) -> None:
    account, late = AccountId(new_id()), AccountId(new_id())
    await produced(world, pool, config, account, 10)
    before = await read_side(pool, account)
    meanwhile = [full_fact(late) for _ in range(100)]

    async def go_on() -> None:
        for fact in meanwhile:
            await world.producer.emit(INFERENCE_GENERATIONS, fact, key=late)

    async with asyncio.TaskGroup() as group:
        going_on = group.create_task(go_on())
        replays = 0
        while not going_on.done() or not replays:
            await replay(config)
            replays += 1

    async def all_there() -> bool:
        return len(await dump(pool, late, "receipts")) == len(meanwhile)

    await wait_until(all_there, deadline_seconds=20)
    (row,) = await PostgresReads(pool).activity(activity_query(late), rows_max=10)
    assert row.requests == len(meanwhile)
    assert row.byok_list_cost_nano_usd == len(meanwhile) * LIST_COST
    assert await read_side(pool, account) == before
    assert running.facts.problem() is None


async def test_what_is_booked_at_any_moment_of_a_replay_is_there_after_it_once(
    desk: Desk, pool: Pool, config: BillingConfig
) -> None:
    account = await desk.account_with(USD)
    before, reading, *adding = [full_fact(account) for _ in range(4)]
    given_back = [full_fact(account) for _ in range(3)]

    async def give_back(fact: GenerationFinished) -> None:
        abandoned = GenerationAbandoned(
            generation_id=fact.generation_id, account_id=account, reason="out_of_time"
        )
        await desk.post([received(abandoned)])

    await desk.post([received(each) for each in (before, *given_back)])
    async with open_replay(config) as (_, rebuild):
        await rebuild.begin()
        await rebuild.add([(before, Position(0, 0))])
        await give_back(given_back[0])
        await rebuild.keep()
        await desk.post([received(reading)])
        await give_back(given_back[1])
        await rebuild.add_up()
        await desk.post([received(each) for each in adding])
        await give_back(given_back[2])
        await rebuild.swap()

    rows = await dump(pool, account, "receipts")
    (row,) = await PostgresReads(pool).activity(activity_query(account), rows_max=10)
    assert len(rows) == 7
    assert row.requests == 4
    assert row.byok_list_cost_nano_usd == 4 * LIST_COST
    after = await read_side(pool, account)
    await replay(config)
    assert await read_side(pool, account) == after


async def test_two_replays_at_once_are_refused(config: BillingConfig) -> None:
    async with open_replay(config) as (_, first), open_replay(config) as (_, second):
        await first.begin()
        with pytest.raises(Unavailable, match="another one is running"):
            await second.begin()


_OF_BEFORE = """
insert into generations (month, generation_id, account_id, api_key_hash, kind, list_cost_nano_usd,
    collected_nano_usd, uncollected_nano_usd, run_id, outcome, is_byok, model, provider, endpoint,
    started_at, finished_at)
select month_of_generation(id), id, 'a', 'k', 'credits_charged', 1, 1, 0, 'r', 'completed', false,
    model, 'openai', model, now(), now()
from (values ('{0}', 'embeds'), ('{1}', 'chats')) as of_before (id, model);
insert into receipts (account_id, generation_id, month, day, record_partition, record_offset,
    operation, streamed, attempts)
select 'a', generation_id, month, '2026-01-01', 0, 0,
    case model when 'embeds' then 'embeddings' else 'chat' end, false, '[]'
from generations;
insert into activity_days
select 'a', day, model, 'openai', model, 'k', '', 1, 1, 1, 1, 1, 1, 1
from (values ('2026-01-01'::date), ('2026-01-02'::date)) as days (day),
    (values ('embeds'), ('chats')) as models (model)
"""


async def test_activity_from_before_operations_is_of_that_of_its_receipts(
    infrastructure: Infrastructure,
) -> None:
    before = _OF_BEFORE.format(new_generation_id(), new_generation_id())
    name = "0012_activity_by_operation.sql"
    async with migrated(infrastructure, {name: before}) as connection:
        rows = await connection.fetch("select day, model, operation from activity_days")
    embeddings = [(str(row["day"]), row["model"]) for row in rows if row["operation"] != "chat"]
    assert len(rows) == 4
    assert embeddings == [("2026-01-01", "embeds")]
