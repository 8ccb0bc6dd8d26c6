"""Whatever happens in whatever order, and wherever a connection dies: the books stay right.

Hypothesis drives billing's own use cases on PostgreSQL. Facts stand in a log for each account, as in
its Kafka partition; offsets may stay behind, so that what was posted comes again. A transaction may
die before any of its statements, or with its commit done and the answer lost. After each step the
rows are added up once more, by this file's own reckoning.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, ClassVar

import asyncpg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from services.billing.config import BillingConfig
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.events.accounts import AccountChanged
from shared.events.billing import (
    AddCredits,
    AllotmentRule,
    AuthorizeSpend,
    ReleaseHolds,
    SpendAuthorized,
)
from shared.events.codec import Received
from shared.events.envelope import CallReply, Event
from shared.events.generations import GenerationAbandoned, GenerationFinished, Spend
from shared.events.usage import Usage
from shared.ids import AccountId, GenerationId, HoldId, new_generation_id, new_id
from tests.integration.billing.bookkeeping import AFTER_COMMIT, Bookkeeping
from tests.integration.billing.conftest import received
from tests.unit.billing.made import LIST_COST, authorize, finished

_ACCOUNTS = 2
_GENERATIONS = 5
_STATEMENTS_MAX = 18
_BATCH_MAX = 6
_STEPS = 25

_accounts = st.integers(0, _ACCOUNTS - 1)
_generations = st.integers(0, _GENERATIONS - 1)
_deaths = st.none() | st.integers(1, _STATEMENTS_MAX) | st.just(AFTER_COMMIT)
"""Where the connection dies; most steps have no such luck."""


@dataclass
class _Log:
    """An account's facts, as its partition holds them; those before `offset` are committed."""

    facts: list[Received] = field(default_factory=list)
    offset: int = 0


class BooksMachine(RuleBasedStateMachine):
    """See above."""

    books: ClassVar[Bookkeeping]

    def __init__(self) -> None:
        super().__init__()
        self.accounts = [AccountId(new_id()) for _ in range(_ACCOUNTS)]
        self.generations = [new_generation_id() for _ in range(_GENERATIONS)]
        self.logs = [_Log() for _ in range(_ACCOUNTS)]
        self.commands: list[Event] = []
        self.answers: dict[Event, CallReply] = {}
        self.holders: dict[HoldId, AuthorizeSpend] = {}
        self.released: set[GenerationId] = set()
        self.paid_in: dict[tuple[AccountId, str], int] = {}
        self.versions = Counter[int]()

    # --- what is asked of billing ----------------------------------------------------------------

    @initialize(amount=st.sampled_from([0, LIST_COST, 10 * LIST_COST]))
    def begin(self, amount: int) -> None:
        if amount:
            self.top_up(0, amount, "k0", None)

    @rule(
        account=_accounts,
        amount=st.sampled_from([1, LIST_COST, 5 * LIST_COST]),
        key=st.sampled_from(["k0", "k1", "k2"]),
        death=_deaths,
    )
    def top_up(self, account: int, amount: int, key: str, death: int | None) -> None:
        name = self.accounts[account]
        self.paid_in.setdefault((name, key), amount)
        amount = self.paid_in[name, key]
        self._ask(AddCredits(account_id=name, amount_nano_usd=amount, key=key), death)

    @rule(
        generation=_generations,
        attempt=st.integers(0, 2),
        is_byok=st.booleans(),
        worst_case=st.sampled_from([0, LIST_COST // 2, LIST_COST, 4 * LIST_COST]),
        is_late=st.booleans(),
        death=_deaths,
    )
    def authorize(
        self,
        generation: int,
        attempt: int,
        is_byok: bool,  # noqa: FBT001 - Hypothesis gives it by name
        worst_case: int,
        is_late: bool,  # noqa: FBT001 - the same
        death: int | None,
    ) -> None:
        later = timedelta(seconds=-1) if is_late else timedelta(hours=1)
        command = authorize(
            hold=self._hold(generation, attempt),
            account=self._owner(generation),
            generation_id=self.generations[generation],
            is_byok=is_byok,
            worst_case_nano_usd=worst_case,
            hold_until=SystemClock().now() + later,
        )
        self._ask(command, death)

    @rule(generation=_generations, death=_deaths)
    def release(self, generation: int, death: int | None) -> None:
        generation_id = self.generations[generation]
        self.released.add(generation_id)
        self._ask(
            ReleaseHolds(
                generation_id=generation_id, account_id=self._owner(generation), reason="theirs"
            ),
            death,
        )

    @precondition(lambda self: self.commands)
    @rule(which=st.integers(0, 99), death=_deaths)
    def ask_again(self, which: int, death: int | None) -> None:
        self._ask(self.commands[which % len(self.commands)], death)

    @rule(death=_deaths)
    def expire(self, death: int | None) -> None:
        self._live_or_die(death, lambda: self.books.run(self.books.house.expire_holds()))

    # --- what happens, and when billing hears of it ----------------------------------------------

    @rule(
        generation=_generations,
        attempt=st.integers(0, 2),
        is_byok=st.booleans(),
        promise=st.sampled_from(["hold", "waived", "percent", "none"]),
        outcome=st.sampled_from(["completed", "completed", "failed", "cancelled"]),
        tokens=st.none() | st.sampled_from([0, 500, 1_777]),
    )
    def finish(
        self,
        generation: int,
        attempt: int,
        is_byok: bool,  # noqa: FBT001 - Hypothesis gives it by name
        promise: str,
        outcome: str,
        tokens: int | None,
    ) -> None:
        spend = {
            "hold": Spend(hold_id=HoldId(self._hold(generation, attempt))),
            "waived": Spend(waived=True),
            "percent": Spend(fee_percent=Decimal("2.5")),
        }.get(promise)
        usage = None if tokens is None else Usage(prompt_tokens=1_001, completion_tokens=tokens)
        fact = finished(
            account=self._owner(generation),
            generation_id=self.generations[generation],
            is_byok=is_byok,
            outcome=outcome,  # type: ignore[arg-type] # one of the three, drawn above
            usage=usage,
            spend=spend,
        )
        self._log(generation % _ACCOUNTS, fact)

    @rule(generation=_generations)
    def abandon(self, generation: int) -> None:
        fact = GenerationAbandoned(
            generation_id=self.generations[generation],
            account_id=self._owner(generation),
            reason="ours",
        )
        self._log(generation % _ACCOUNTS, fact)

    @rule(
        account=_accounts,
        allotment_rule=st.sampled_from(["requests", "list_cost"]),
        free=st.integers(0, 3),
        percent=st.sampled_from(["0", "5", "12.5"]),
    )
    def change_policy(
        self, account: int, allotment_rule: AllotmentRule, free: int, percent: str
    ) -> None:
        self.versions[account] += 1
        fact = AccountChanged(
            version=self.versions[account],
            account_id=self.accounts[account],
            name="a",
            allotment_rule=allotment_rule,
            free_requests=free,
            free_list_cost_nano_usd=free * LIST_COST,
            fee_percent=Decimal(percent),
        )
        self._log(account, fact)

    @precondition(lambda self: any(log.offset < len(log.facts) for log in self.logs))
    @rule(counts=st.tuples(*[st.integers(0, _BATCH_MAX)] * _ACCOUNTS), death=_deaths)
    def deliver(self, counts: tuple[int, ...], death: int | None) -> None:
        taken = [
            min(log.offset + n, len(log.facts)) for log, n in zip(self.logs, counts, strict=True)
        ]
        batch = [
            fact
            for log, end in zip(self.logs, taken, strict=True)
            for fact in log.facts[log.offset : end]
        ]
        if batch and self._live_or_die(death, lambda: self.books.run(self.books.deliver(batch))):
            for log, end in zip(self.logs, taken, strict=True):
                log.offset = end

    @precondition(lambda self: any(log.offset for log in self.logs))
    @rule(account=_accounts, back=st.integers(1, 5))
    def lose_offsets(self, account: int, back: int) -> None:
        log = self.logs[account]
        log.offset = max(0, log.offset - back)

    # --- what holds after every step -------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        _Rows.read(self.books, self.accounts).check(self.paid_in)

    @override
    def teardown(self) -> None:
        """In the end everything arrives, and everything has ended as it must."""
        self.books.fuse.arm(None)
        for log in self.logs:
            if log.facts[log.offset :]:
                self.books.run(self.books.deliver(log.facts[log.offset :]))
        rows = _Rows.read(self.books, self.accounts)
        rows.check(self.paid_in)
        for log in self.logs:
            for generation_id in {_generation(each.event) for each in log.facts} - {None}:
                assert generation_id is not None
                self._check_end(rows, generation_id, [each.event for each in log.facts])

    def _check_end(self, rows: "_Rows", generation_id: GenerationId, events: list[Event]) -> None:
        mine = [each for each in events if _generation(each) == generation_id]
        ends = [each for each in mine if isinstance(each, GenerationFinished)]
        is_abandoned = any(isinstance(each, GenerationAbandoned) for each in mine)
        assert (generation_id in rows.abandoned) == is_abandoned
        posted = rows.generations.get(generation_id)
        assert (posted is None) == (not ends)
        assert generation_id not in {row["generation_id"] for row in rows.open_holds}
        if is_abandoned:
            assert rows.net_collected(generation_id) == 0
        if posted is None or posted["kind"] == "nothing":
            free = is_abandoned or generation_id in self.released or not ends
            assert free or _list_cost(ends[0]) is None
            return
        assert posted["list_cost_nano_usd"] == _list_cost(ends[0])
        due = posted["collected_nano_usd"] + posted["uncollected_nano_usd"]
        most = {"fee_waived": 0, "credits_charged": posted["list_cost_nano_usd"]}
        assert due <= most.get(posted["kind"], posted["list_cost_nano_usd"] * Decimal("0.125") + 1)
        if posted["kind"] == "credits_charged":
            assert due == posted["list_cost_nano_usd"]

    # --- how ---------------------------------------------------------------------------------------

    def _owner(self, generation: int) -> AccountId:
        return self.accounts[generation % _ACCOUNTS]

    def _hold(self, generation: int, attempt: int) -> str:
        return f"{self.generations[generation]}/{attempt}"

    def _log(self, account: int, event: Event) -> None:
        self.logs[account].facts.append(received(event))

    def _ask(self, command: Event, death: int | None) -> None:
        self.commands.append(command)
        answers: list[CallReply] = []
        self._live_or_die(death, lambda: answers.extend(self.books.run(self.books.answer(command))))
        if answers and isinstance(command, AuthorizeSpend):
            assert answers[0] == self.answers.setdefault(command, answers[0])
            if isinstance(answers[0], SpendAuthorized):
                holder = self.holders.setdefault(command.hold_id, command)
                assert command == holder, "a hold id stands for one command"

    def _live_or_die(self, death: int | None, act: Any) -> bool:
        self.books.fuse.arm(death)
        try:
            act()
        except Unavailable:
            assert death is not None
            return False
        finally:
            self.books.fuse.arm(None)
        return True


def _generation(event: Event) -> GenerationId | None:
    found: GenerationId | None = getattr(event, "generation_id", None)
    return found


def _list_cost(fact: GenerationFinished) -> int | None:
    usage = fact.usage
    if fact.outcome == "failed" or usage is None or usage.completion_tokens == 0:
        return None
    dollars = usage.prompt_tokens * Decimal("0.0000025") + usage.completion_tokens * Decimal(
        "0.00001"
    )
    return int((dollars * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_UP))


@dataclass(frozen=True)
class _Rows:
    """Everything that the books hold of some accounts."""

    accounts: list[asyncpg.Record]
    transfers: list[asyncpg.Record]
    holds: list[asyncpg.Record]
    generations: dict[GenerationId, asyncpg.Record]
    abandoned: set[GenerationId]
    allotments: list[asyncpg.Record]
    top_ups: list[asyncpg.Record]
    spending: list[asyncpg.Record]

    @classmethod
    def read(cls, books: Bookkeeping, accounts: list[AccountId]) -> "_Rows":
        async def fetch(table: str) -> list[asyncpg.Record]:
            query = f"select * from {table} where account_id = any($1::text[])"  # noqa: S608 - constants
            return list(await books.database.fetch(query, accounts))

        async def read() -> "_Rows":
            return cls(
                accounts=await fetch("accounts"),
                transfers=await fetch("transfers"),
                holds=await fetch("holds left join hold_endings using (hold_id)"),
                generations={
                    GenerationId(row["generation_id"]): row for row in await fetch("generations")
                },
                abandoned={
                    GenerationId(row["generation_id"])
                    for row in await fetch("abandonments")
                    if row["kind"] == "abandoned"
                },
                allotments=await fetch("allotments"),
                top_ups=await fetch("credit_movements"),
                spending=await fetch("spending_days"),
            )

        return books.run(read())

    @property
    def open_holds(self) -> list[asyncpg.Record]:
        return [row for row in self.holds if row["is_open"]]

    def net_collected(self, generation_id: GenerationId) -> int:
        signs = {"paid_from_hold": 1, "paid_from_credits": 1, "credits_given_back": -1}
        return sum(
            signs.get(row["kind"], 0) * int(row["amount_nano_usd"])
            for row in self.transfers
            if row["generation_id"] == generation_id
        )

    def check(self, paid_in: dict[tuple[AccountId, str], int]) -> None:
        self._check_holds()
        balances = self._check_transfers()
        standing = {
            generation_id: row
            for generation_id, row in self.generations.items()
            if generation_id not in self.abandoned
        }
        for row in self.generations.values():
            collected = int(row["collected_nano_usd"]) if row["generation_id"] in standing else 0
            assert self.net_collected(GenerationId(row["generation_id"])) == collected
        for row in self.top_ups:
            assert int(row["amount_nano_usd"]) == paid_in[row["account_id"], row["key"]]
        for account in self.accounts:
            self._check_account(account, balances, list(standing.values()))

    def _check_holds(self) -> None:
        for row in self.holds:
            assert row["is_open"] == (row["ending"] is None)
        assert (
            max(Counter(row["generation_id"] for row in self.open_holds).values(), default=0) <= 1
        )

    def _check_transfers(self) -> dict[str, int]:
        balances: dict[str, int] = defaultdict(int)
        of_generations: dict[str, int] = defaultdict(int)
        for row in self.transfers:
            amount = int(row["amount_nano_usd"])
            balances[row["credit"]] += amount
            balances[row["debit"]] -= amount
            for side, sign in (("credit", 1), ("debit", -1)):
                if row[side] == "clearing":
                    of_generations[row["generation_id"]] += sign * amount
        assert sum(balances.values()) == 0
        assert not any(of_generations.values())
        return balances

    def _check_account(
        self, account: asyncpg.Record, balances: dict[str, int], standing: list[asyncpg.Record]
    ) -> None:
        account_id = account["account_id"]

        def mine(rows: list[asyncpg.Record]) -> list[asyncpg.Record]:
            return [row for row in rows if row["account_id"] == account_id]

        available, held = int(account["available_nano_usd"]), int(account["held_nano_usd"])
        assert available >= 0
        assert available == balances[f"customer_credits/{account_id}"]
        assert held == balances[f"customer_holds/{account_id}"]
        assert held == sum(int(row["amount_nano_usd"]) for row in mine(self.open_holds))
        collected = sum(int(row["collected_nano_usd"]) for row in mine(standing))
        assert available + held + collected == sum(
            int(row["amount_nano_usd"]) for row in mine(self.top_ups)
        )
        charged = [row for row in mine(standing) if row["kind"] != "nothing"]
        byok = [row for row in charged if row["is_byok"]]
        waived = [row for row in byok if row["kind"] == "fee_waived"]
        promised = [row for row in mine(self.open_holds) if row["waived"]]
        assert _sums(mine(self.allotments), "used", "reserved") == [len(byok), len(promised)]
        assert _sums(mine(self.allotments), "list_cost_used_nano_usd") == _sums(
            waived, "list_cost_nano_usd"
        )
        assert _sums(mine(self.allotments), "list_cost_reserved_nano_usd") == _sums(
            promised, "worst_case_nano_usd"
        )
        assert _sums(mine(self.spending), "credits_nano_usd", "requests") == [
            collected,
            len(charged),
        ]
        assert _sums(mine(self.spending), "byok_list_cost_nano_usd") == _sums(
            byok, "list_cost_nano_usd"
        )


def _sums(rows: list[asyncpg.Record], *columns: str) -> list[int]:
    return [sum(int(row[column]) for row in rows) for column in columns]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_money_is_conserved_whatever_happens_and_wherever_a_transaction_dies(
    config: BillingConfig,
) -> None:
    with Bookkeeping(config) as books:

        class Machine(BooksMachine):
            pass

        Machine.books = books
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=max(1, settings().max_examples * 3 // 5),
                stateful_step_count=_STEPS,
                deadline=None,
            ),
        )
        assert books.run(books.problems()) == []
