"""Books what happened: a batch of facts in one transaction, each once, whatever comes twice."""

from collections.abc import Sequence
from typing import assert_never

from services.billing.domain.abandon import abandon
from services.billing.domain.change_policy import change_key_limit, change_policy
from services.billing.domain.fact import Fact, checked_fact
from services.billing.domain.generation import month_of_generation
from services.billing.domain.page import Entries, Page
from services.billing.domain.policy import FeePolicy
from services.billing.domain.receipt import Position, receipts_of
from services.billing.domain.settle import settle_finished
from services.billing.ports.ledger import Ledger, Observer, Scope, Transaction
from shared.clock import Clock
from shared.errors import PoisonRecord
from shared.events.accounts import AccountChanged, ApiKeyChanged
from shared.events.codec import Received
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.ids import GenerationId
from shared.telemetry.logging import Journal, get_logger, unit_of_work


class PostFacts:
    """Takes batches of `inference.generations`, `accounts.state` and `api-keys.state`."""

    def __init__(
        self, ledger: Ledger, installation: FeePolicy, clock: Clock, observer: Observer
    ) -> None:
        """`installation` is the fee policy of accounts without their own."""
        self._ledger = ledger
        self._installation = installation
        self._clock = clock
        self._observer = observer
        self._journal = Journal("facts")
        self._logger = get_logger("facts")

    async def __call__(self, received: Sequence[Received]) -> None:
        """Book a batch. Raises PoisonRecord when one in it can never be booked, Unavailable."""
        with unit_of_work(self._journal, "facts posted", self._clock, facts=len(received)) as line:
            began = self._clock.monotonic()

            async def work(transaction: Transaction) -> tuple[int, Entries]:
                return await self._post(transaction, received)

            repeated, entries = await self._ledger.transact(work)
            uncollected = sum(each.settlement.uncollected_nano_usd for each in entries.finished)
            line.add(
                posted=len(entries.finished),
                abandoned=len(entries.abandonments),
                duplicates=repeated + entries.duplicates,
                accounts=len(entries.changed_accounts),
                uncollected_nano_usd=uncollected,
            )
            self._observer.posted(entries, repeated, self._clock.monotonic() - began)
        if uncollected:
            self._logger.error("not all was collected", uncollected_nano_usd=uncollected)

    async def _post(
        self, transaction: Transaction, received: Sequence[Received]
    ) -> tuple[int, Entries]:
        fresh = await transaction.take_new(received)
        repeated = len(received) - len(fresh)
        if not fresh:
            return repeated, Entries()
        facts = [_readable(each) for each in fresh]
        page = await transaction.read_page(_scope(facts))
        for fact in facts:
            self._book(page, fact)
        await transaction.store(page)
        await transaction.store_receipts(receipts_of(page, _positions(fresh)))
        return repeated, page.entries

    def _book(self, page: Page, fact: Fact) -> None:
        match fact:
            case GenerationFinished():
                settle_finished(page, fact, self._installation)
            case GenerationAbandoned():
                abandon(page, fact.generation_id, fact.account_id, fact.reason)
            case AccountChanged():
                change_policy(page, fact)
            case ApiKeyChanged():
                change_key_limit(page, fact)
            case _:
                assert_never(fact)


def _readable(received: Received) -> Fact:
    try:
        return checked_fact(received.event)
    except (ValueError, OverflowError, OSError) as error:
        raise PoisonRecord(f"{type(received.event).__name__}: {error}") from None


def _positions(received: Sequence[Received]) -> dict[GenerationId, Position]:
    """Where each generation was first told of: of several facts the first is booked."""
    positions: dict[GenerationId, Position] = {}
    for each in received:
        if isinstance(each.event, GenerationFinished):
            position = Position(each.partition, each.offset)
            positions.setdefault(each.event.generation_id, position)
    return positions


def _scope(facts: Sequence[Fact]) -> Scope:
    scope = Scope()
    for fact in facts:
        if not isinstance(fact, ApiKeyChanged):
            scope.account_ids.add(fact.account_id)
        match fact:
            case GenerationFinished() | GenerationAbandoned():
                scope.generation_ids.add(fact.generation_id)
                scope.months.add(month_of_generation(fact.generation_id))
            case AccountChanged() | ApiKeyChanged():
                pass
        if isinstance(fact, GenerationFinished) and fact.spend and fact.spend.hold_id:
            scope.hold_ids.add(fact.spend.hold_id)
    return scope
