"""Builds what operators' commands work with: beside `wiring.py` the only file that names adapters."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from services.billing.config import BillingConfig
from services.billing.domain.dead_letter import Acknowledgement, Position
from services.billing.domain.period import Period, first_moment
from services.billing.inbound.kafka_inbound import CONSUMERS_OF_MONEY, FACTS_GROUP
from services.billing.outbound.kafka_evidence import KafkaEvidence
from services.billing.outbound.kafka_history import KafkaHistory
from services.billing.outbound.postgres_acknowledgements import PostgresAcknowledgements
from services.billing.outbound.postgres_rebuild import PostgresRebuild
from services.billing.outbound.postgres_seals import PostgresSeals
from services.billing.outbound.postgres_snapshot import open_snapshot
from services.billing.outbound.spilled_gathering import open_gathering
from services.billing.ports.reconciliation import Reconciled
from services.billing.use_cases.acknowledge import NotThere, acknowledge
from services.billing.use_cases.reconcile import Reconcile, Tell
from services.billing.use_cases.seal_month import NotSealed, Sealed, seal_month
from shared.clock import Clock
from shared.postgres.pool import open_pool


@asynccontextmanager
async def open_replay(config: BillingConfig) -> AsyncIterator[tuple[KafkaHistory, PostgresRebuild]]:
    """What a replay reads and writes; nothing is migrated."""
    history = KafkaHistory(config.kafka, group=FACTS_GROUP)
    async with (
        open_pool(config.postgres, application_name="billing-replay") as pool,
        pool.acquire() as connection,
    ):
        yield history, PostgresRebuild(connection)


class Acknowledge(Protocol):
    """Keeps a decision about a dead letter. Raises Unavailable."""

    def __call__(
        self, position: Position, *, reason: str, by: str
    ) -> Awaitable[Acknowledgement | NotThere]:
        """The decision that is kept, which may be an earlier one."""
        ...


@asynccontextmanager
async def open_acknowledging(config: BillingConfig) -> AsyncIterator[Acknowledge]:
    """What keeps a decision; nothing is migrated or published."""
    async with open_pool(config.postgres, application_name="billing-tool") as pool:
        yield partial(
            acknowledge,
            history=_evidence(config),
            acknowledgements=PostgresAcknowledgements(pool),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciling:
    """Reconciliation and the sealing of months, connected."""

    places: Reconciled
    reconcile: Reconcile
    seals: PostgresSeals
    clock: Clock

    async def period(self, begin: datetime | None, end: datetime) -> Period:
        """The period until `end`; without `begin`, all that is neither sealed nor out of Kafka."""
        if begin is None:
            async with self.places.snapshot() as snapshot:
                first = await snapshot.first_unsealed_month()
            begin = first_moment(first, end)
        return Period(begin=begin, end=end)

    async def seal_month(self, month: str) -> Sealed | NotSealed:
        """Seal a month, or say why not."""
        return await seal_month(month, self.places, self.seals, self.reconcile, self.clock)


@asynccontextmanager
async def open_reconciling(
    config: BillingConfig, *, clock: Clock, tell: Tell, progress: Tell
) -> AsyncIterator[Reconciling]:
    """Compare the books with everything around them; nothing is migrated or published."""
    async with open_pool(config.postgres, application_name="billing-tool") as pool:
        places = Reconciled(
            snapshot=lambda: open_snapshot(pool),
            history=_evidence(config),
            gathering=open_gathering,
        )
        yield Reconciling(
            places=places,
            reconcile=Reconcile(places, clock, tell=tell, progress=progress),
            seals=PostgresSeals(pool),
            clock=clock,
        )


def _evidence(config: BillingConfig) -> KafkaEvidence:
    return KafkaEvidence(
        config.kafka, facts_group=FACTS_GROUP, consumers_of_money=CONSUMERS_OF_MONEY
    )
