"""Every record delivered twice, in any legal order and any batches: the same rows, the same events.

Legal means: what comes first of one account's records keeps their order, as in its partition; what
comes again may come any time later; accounts do not wait for each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.billing.config import BillingConfig
from shared.events.accounts import AccountChanged
from shared.events.billing import AddCredits, ReleaseHolds
from shared.events.codec import Received
from shared.events.envelope import Event
from shared.events.generations import GenerationAbandoned, Spend
from shared.events.usage import Usage
from shared.ids import AccountId, GenerationId, HoldId, new_id
from tests.integration.billing.bookkeeping import Bookkeeping
from tests.integration.billing.conftest import received
from tests.unit.billing.made import LIST_COST, authorize, finished, generation

_ACCOUNTS = 3
_SALT_DIGITS = 8
_MIDNIGHT = datetime(2045, 3, 1, tzinfo=UTC)
_TABLES = {
    "accounts": "account_id, available_nano_usd, held_nano_usd, fee_percent, allotment_rule,"
    " free_requests, free_list_cost_nano_usd, policy_version",
    "allotments": "*",
    "transfers": "month, transfer_id, kind, account_id, generation_id, hold_id, debit, credit,"
    " amount_nano_usd",
    "generations": "month, generation_id, account_id, api_key_hash, kind, list_cost_nano_usd,"
    " collected_nano_usd, uncollected_nano_usd, run_id, outcome, is_byok, hold_id, prompt_tokens,"
    " completion_tokens, estimated, started_at, finished_at",
    "abandonments": "month, generation_id, kind, account_id, reason",
    "holds": "hold_id, month, generation_id, account_id, waived, fee_percent, worst_case_nano_usd,"
    " amount_nano_usd, is_open, (select ending from hold_endings"
    " where hold_endings.hold_id = holds.hold_id) as ending",
    "spend_refusals": "hold_id, account_id, code, message, needed_nano_usd, available_nano_usd",
    "credit_movements": "account_id, key, kind, amount_nano_usd, uncollected_nano_usd, credits_nano_usd",
    "spending_days": "*",
}

_Item: TypeAlias = Event | Received
"""A command, or a fact as it comes out of Kafka."""


@dataclass
class _Story:
    """One account's records. All ids hold `salt`, so that the story can be told again beside."""

    salt: str
    number: int
    items: list[_Item] = field(default_factory=list)

    @property
    def account(self) -> AccountId:
        return AccountId(f"account-{self.salt}-{self.number}")

    def generation(self, number: int) -> GenerationId:
        """Half of them began before midnight of the month's end."""
        at = _MIDNIGHT + timedelta(seconds=1 if number % 2 else -1)
        plain = generation(1, at)
        return GenerationId(f"{plain[:-12]}{self.salt}{self.number:02x}{number:02x}")

    def hold(self, number: int, attempt: int = 0) -> HoldId:
        return HoldId(f"{self.generation(number)}/{attempt}")

    def fact(self, event: Event) -> None:
        self.items.append(received(event, event_id=f"{self.salt}/{self.number}/{len(self.items)}"))

    def authorize(self, number: int, attempt: int = 0, **how: object) -> None:
        self.items.append(
            authorize(
                hold=self.hold(number, attempt),
                account=self.account,
                generation_id=self.generation(number),
                **how,  # type: ignore[arg-type] # of `authorize`
            )
        )

    def finish(self, number: int, spend: Spend | None, **how: object) -> None:
        self.fact(
            finished(
                account=self.account,
                generation_id=self.generation(number),
                spend=spend,
                **how,  # type: ignore[arg-type] # of `finished`
            )
        )

    def abandon(self, number: int) -> None:
        self.fact(
            GenerationAbandoned(
                generation_id=self.generation(number), account_id=self.account, reason="ours"
            )
        )


def _story(salt: str, number: int) -> _Story:
    """Everything that can become of a generation, with credits that run out towards the end."""
    story = _Story(salt, number)
    story.fact(
        AccountChanged(
            version=1,
            account_id=story.account,
            name="a",
            fee_percent=Decimal("7.5"),
            allotment_rule="list_cost" if number % 2 else "requests",
            free_requests=2,
            free_list_cost_nano_usd=LIST_COST + 1,
        )
    )
    story.items.append(
        AddCredits(account_id=story.account, amount_nano_usd=12 * LIST_COST, key="first")
    )
    for each in range(4):  # until the allotments of two months are used up
        story.authorize(each)
        story.finish(each, Spend(hold_id=story.hold(each)))
    story.authorize(4, is_byok=False)
    story.authorize(4, 1, is_byok=False, worst_case_nano_usd=2 * LIST_COST)
    story.finish(4, Spend(hold_id=story.hold(4, 1)), is_byok=False)
    story.finish(4, None, usage=Usage(prompt_tokens=1, completion_tokens=1))  # a rival run
    story.finish(5, Spend(waived=True))
    story.finish(6, None, outcome="cancelled")
    story.authorize(7, is_byok=False)
    story.finish(7, Spend(hold_id=story.hold(7)), is_byok=False, outcome="failed")
    story.authorize(8)
    story.finish(8, Spend(hold_id=story.hold(8)))
    story.abandon(8)
    story.authorize(9, is_byok=False)
    story.abandon(9)
    story.finish(9, Spend(hold_id=story.hold(9)), is_byok=False)
    story.items.append(
        ReleaseHolds(generation_id=story.generation(10), account_id=story.account, reason="theirs")
    )
    story.authorize(10)
    story.authorize(11, is_byok=False, worst_case_nano_usd=100 * LIST_COST)
    story.items.append(AddCredits(account_id=story.account, amount_nano_usd=1, key="second"))
    huge = Usage(prompt_tokens=1_000, completion_tokens=50_000, estimated=True)
    story.finish(12, None, is_byok=False, usage=huge)
    return story


def _as_told(stories: list[_Story]) -> list[list[_Item]]:
    return [[item] for story in stories for item in story.items]


def _shuffled(stories: list[_Story], draw: st.DataObject) -> list[list[_Item]]:
    """Batches of commands or of facts, with everything in them twice."""
    waiting = [_with_repetitions(story, draw) for story in stories]
    turns = [number for number, items in enumerate(waiting) for _ in items]
    mixed = [waiting[which].pop(0) for which in draw.draw(st.permutations(turns), label="turns")]
    return list(_batches(mixed, draw))


def _with_repetitions(story: _Story, draw: st.DataObject) -> list[_Item]:
    order: list[_Item] = list(story.items)
    places = draw.draw(
        st.lists(st.integers(0, 2 * len(order)), min_size=len(order), max_size=len(order)),
        label="places",
    )
    for item, place in zip(story.items, places, strict=True):
        first = next(at for at, each in enumerate(order) if each is item)
        order.insert(first + 1 + place % (len(order) - first), item)
    return order


def _batches(items: list[_Item], draw: st.DataObject) -> Iterator[list[_Item]]:
    for _, alike in groupby(items, key=lambda each: isinstance(each, Received)):
        rest = list(alike)
        while rest:
            size = draw.draw(st.integers(1, len(rest)))
            yield rest[:size]
            rest = rest[size:]


async def _tell(books: Bookkeeping, batches: list[list[_Item]]) -> None:
    for batch in batches:
        facts = [each for each in batch if isinstance(each, Received)]
        if facts:
            await books.deliver(facts)
        else:
            await books.answer(*[each for each in batch if isinstance(each, Event)])


async def _dump(books: Bookkeeping, stories: list[_Story]) -> dict[str, list[str]]:
    """All rows and all events, without the salt; transfers and events in order of their ids."""
    accounts = [story.account for story in stories]
    salt = stories[0].salt
    dump: dict[str, list[str]] = {}
    for table, columns in _TABLES.items():
        rows = await books.database.fetch(
            f"select {columns} from {table} where account_id = any($1::text[])",  # noqa: S608 - constants
            accounts,
        )
        dump[table] = sorted(str(dict(row)).replace(salt, "") for row in rows)
    for account in accounts:
        told = [
            (dict(record.headers)["ce_id"].decode() + record.value.decode()).replace(salt, "")
            for record in await books.told([account])
            if record.value is not None
        ]
        dump[account.replace(salt, "")] = told
    return dump


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_delivered_twice_and_shuffled_leaves_identical_rows_and_events(
    config: BillingConfig,
) -> None:
    def stories() -> list[_Story]:
        salt = new_id()[-_SALT_DIGITS:]
        return [_story(salt, number) for number in range(_ACCOUNTS)]

    with Bookkeeping(config) as books:
        once = stories()
        books.run(_tell(books, _as_told(once)))
        expected = books.run(_dump(books, once))
        assert all(expected.values()), "of every kind of row there is one"

        @settings(
            max_examples=max(1, settings().max_examples // 10),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(st.data())
        def whatever_the_order(draw: st.DataObject) -> None:
            again = stories()
            books.run(_tell(books, _shuffled(again, draw)))
            assert books.run(_dump(books, again)) == expected

        whatever_the_order()
        assert books.run(books.problems()) == []
