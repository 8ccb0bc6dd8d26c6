"""What stands in Kafka, read from one offset to another as evidence for reconciliation.

No group is joined and nothing is committed; memory does not grow with the topics.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, contextmanager
from decimal import Decimal
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.billing.domain.dead_letter import DeadLetter, distinct
from services.billing.domain.evidence import (
    ACCOUNT,
    EVENT,
    GENERATION,
    Abandoned,
    Delivered,
    Finished,
    Published,
    Told,
    Unreadable,
    event_subject,
    subject,
)
from services.billing.domain.fact import checked_fact
from services.billing.domain.period import CLOCKS_APART, Period
from services.billing.domain.settle import delivered_cost
from services.billing.outbound.dead_letters import dead_letter
from services.billing.ports.reconciliation import Begins, Ends, Row, Starts
from shared.errors import PoisonRecord, Unavailable
from shared.events.billing import AccountBalance
from shared.events.envelope import Event
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.topic import Topic
from shared.events.topics import BILLING_ACCOUNTS, BILLING_FEES, DEAD_LETTERS, INFERENCE_GENERATIONS
from shared.kafka.admin import partition_counts
from shared.kafka.config import KafkaConfig
from shared.kafka.consuming import POLL_SECONDS_MAX, decode_record, open_consumer

_SECONDS_MAX: Final = 30.0
_RECORDS_AT_ONCE: Final = 2_000
_GATHER_SECONDS: Final = 0.02
DEAD_LETTERS_MAX: Final = 100_000
"""Dead letters are kept in memory; more of them need a person, not a program."""


class KafkaEvidence:
    """The port KafkaRecords."""

    def __init__(
        self, config: KafkaConfig, *, facts_group: str, consumers_of_money: AbstractSet[str]
    ) -> None:
        """`facts_group` is the group whose committed offsets say what must be booked.

        What `consumers_of_money` put aside may be money that is missing.
        """
        self._config = config
        self._facts_group = facts_group
        self._consumers_of_money = consumers_of_money

    async def starts(self, period: Period) -> Starts:
        """Where to begin reading, and how far the group has certainly come; before a snapshot."""
        with _translated():
            facts = await self._partitions(INFERENCE_GENERATIONS)
            fees = await self._partitions(BILLING_FEES)
            accounts = await self._partitions(BILLING_ACCOUNTS)
            async with asyncio.timeout(_SECONDS_MAX), _open(self._config) as consumer:
                ends = await consumer.end_offsets([*fees, *accounts])
                committed = await self._committed()
                since = int((period.begin - CLOCKS_APART).timestamp() * 1000)
                return Starts(
                    facts=await _first_since(consumer, facts, since),
                    fees=await _first_since(consumer, fees, since),
                    facts_committed={tp.partition: committed.get(tp, 0) for tp in facts},
                    fees_certain={tp.partition: ends[tp] for tp in fees},
                    accounts_certain={tp.partition: ends[tp] for tp in accounts},
                )

    async def ends(self) -> Ends:
        """Where reading may end; after a snapshot."""
        found: list[dict[int, int]] = []
        with _translated():
            for topic in (INFERENCE_GENERATIONS, BILLING_FEES, BILLING_ACCOUNTS, DEAD_LETTERS):
                partitions = await self._partitions(topic)
                async with asyncio.timeout(_SECONDS_MAX), _open(self._config) as consumer:
                    ends = await consumer.end_offsets(partitions)
                found.append({tp.partition: end for tp, end in ends.items()})
        facts, fees, accounts, dead_letters = found
        return Ends(facts=facts, fees=fees, accounts=accounts, dead_letters=dead_letters)

    async def begins(self) -> Begins:
        """The first offsets that Kafka still has; after everything was read."""
        found: list[dict[int, int]] = []
        with _translated():
            for topic in (INFERENCE_GENERATIONS, BILLING_FEES):
                partitions = await self._partitions(topic)
                async with asyncio.timeout(_SECONDS_MAX), _open(self._config) as consumer:
                    begins = await consumer.beginning_offsets(partitions)
                found.append({tp.partition: begin for tp, begin in begins.items()})
        return Begins(facts=found[0], fees=found[1])

    async def dead_letters(self, ends: Ends) -> Sequence[DeadLetter]:
        """What billing put aside of what moves money, and payments that were not booked."""
        found: list[DeadLetter] = []
        async for records in self._read(DEAD_LETTERS, {}, ends.dead_letters):
            letters = (_letter(record, self._consumers_of_money) for record in records)
            found += [each for each in letters if each is not None]
            if len(found) > DEAD_LETTERS_MAX:
                raise Unavailable("kafka", f"over {DEAD_LETTERS_MAX} dead letters about money")
        return distinct(found)

    async def facts(
        self, starts: Starts, ends: Ends, period: Period, dead: AbstractSet[tuple[int, int]]
    ) -> AsyncIterator[Sequence[Row]]:
        """Facts, and their deliveries, but those at these partitions and offsets."""
        async for records in self._read(INFERENCE_GENERATIONS, starts.facts, ends.facts):
            rows: list[Row] = []
            for record in records:
                if (record.partition, record.offset) not in dead:
                    certain = record.offset < starts.facts_committed.get(record.partition, 0)
                    rows += _fact(record, period, is_certain=certain)
            yield rows

    async def fees(
        self, starts: Starts, ends: Ends, period: Period
    ) -> AsyncIterator[Sequence[Row]]:
        """What the world was told of money."""
        async for records in self._read(BILLING_FEES, starts.fees, ends.fees):
            rows: list[Row] = []
            for record in records:
                certain = record.offset < starts.fees_certain.get(record.partition, 0)
                rows += _told(record, period, is_certain=certain)
            yield rows

    async def states(self, starts: Starts, ends: Ends) -> AsyncIterator[Sequence[Row]]:
        """The published states of accounts, the older ones of a key too."""
        async for records in self._read(BILLING_ACCOUNTS, {}, ends.accounts):
            yield [
                (
                    subject(ACCOUNT, event.account_id),
                    Published(
                        offset=record.offset,
                        is_certain=record.offset < starts.accounts_certain.get(record.partition, 0),
                        version=event.version,
                        credits=Decimal(event.credits_nano_usd),
                        held=Decimal(event.held_nano_usd),
                        month=event.month,
                        used=event.allotment_used,
                        list_cost_used=Decimal(event.list_cost_used_nano_usd),
                        policy_version=event.policy_version,
                        fee_percent=event.fee_percent,
                        allotment_rule=event.allotment_rule,
                        free_requests=event.free_requests,
                        free_list_cost=Decimal(event.free_list_cost_nano_usd),
                    ),
                )
                for record in records
                if isinstance(event := _event(record), AccountBalance)
            ]

    async def _partitions(self, topic: Topic) -> list[TopicPartition]:
        counts = await partition_counts(self._config.bootstrap_servers, [topic.name])
        return [TopicPartition(topic.name, number) for number in range(counts[topic.name])]

    async def _committed(self) -> dict[TopicPartition, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._config.bootstrap_servers)
        try:
            await admin.start()
            found = await admin.list_consumer_group_offsets(self._facts_group)
        finally:
            await admin.close()
        return {tp: max(0, committed.offset) for tp, committed in found.items()}

    async def _read(
        self, topic: Topic, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> AsyncIterator[Sequence[Any]]:
        """Records of all partitions, in order within each, from `starts` until `ends`."""
        async with _open(self._config) as consumer:
            with _translated(topic.name):
                partitions = await self._partitions(topic)
                begins = {tp: starts.get(tp.partition, 0) for tp in partitions}
                left = await _seek(consumer, begins, ends)
                while left:
                    async with asyncio.timeout(_SECONDS_MAX):
                        batch = await consumer.getmany(
                            timeout_ms=int(POLL_SECONDS_MAX * 1000), max_records=_RECORDS_AT_ONCE
                        )
                        for tp in [*left]:
                            if await consumer.position(tp) >= left[tp]:
                                del left[tp]
                                consumer.pause(tp)
                    records = [
                        record
                        for each in batch.values()
                        for record in each
                        if record.offset < ends[record.partition]
                    ]
                    if records:
                        yield records


def _open(config: KafkaConfig) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """A consumer of no group; at the end of what there is it waits for no more than a moment."""
    return open_consumer(config, gather_seconds=_GATHER_SECONDS)


@contextmanager
def _translated(what: str = "offsets") -> Iterator[None]:
    """Raise Unavailable for what Kafka raises in the block, silence included."""
    try:
        yield
    except (KafkaError, TimeoutError, LookupError) as error:
        raise Unavailable("kafka", f"cannot read {what}: {type(error).__name__}") from error


async def _seek(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[int, int]
) -> dict[TopicPartition, int]:
    """Go where reading begins; gives where it ends, of partitions that hold anything."""
    async with asyncio.timeout(_SECONDS_MAX):
        consumer.assign(list(starts))
        begins = await consumer.beginning_offsets(list(starts))
        left: dict[TopicPartition, int] = {}
        for tp, start in starts.items():
            begin = max(start, begins[tp])
            consumer.seek(tp, begin)
            if begin < ends.get(tp.partition, 0):
                left[tp] = ends[tp.partition]
            else:
                consumer.pause(tp)
    return left


async def _first_since(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], since_ms: int
) -> dict[int, int]:
    """The first offset at or after a moment; where there is none, the end."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    ends = await consumer.end_offsets(list(partitions))
    return {tp.partition: ends[tp] if found[tp] is None else found[tp].offset for tp in partitions}


def _event(record: Any) -> Event | None:
    """The event, or None for a tombstone and for what cannot be read."""
    try:
        return None if record.value is None else decode_record(record).event
    except PoisonRecord:
        return None


def _letter(record: Any, consumers: AbstractSet[str]) -> DeadLetter | None:
    try:
        return dead_letter(decode_record(record), consumers)
    except PoisonRecord:
        return None


def _fact(record: Any, period: Period, *, is_certain: bool) -> list[Row]:
    """A fact under its generation, if that started in the period, and under its own id."""
    place = {
        "partition": record.partition,
        "offset": record.offset,
        "is_certain": is_certain,
    }
    try:
        received = decode_record(record)
        event = checked_fact(received.event)
    except (PoisonRecord, ValueError, OverflowError, OSError) as error:
        name = f"at partition {record.partition} offset {record.offset}"
        return [(subject(EVENT, name), Unreadable(**place, reason=str(error)))]
    name = f"{received.envelope.source} {received.envelope.id}"
    rows: list[Row] = [(subject(EVENT, name), Delivered(**place))]
    if not isinstance(event, GenerationFinished | GenerationAbandoned):
        return rows
    if not period.holds(event.generation_id):
        return rows
    key = subject(GENERATION, event.generation_id)
    if isinstance(event, GenerationAbandoned):
        return [*rows, (key, Abandoned(**place, account_id=event.account_id))]
    cost, spend = delivered_cost(event), event.spend
    finished = Finished(
        **place,
        account_id=event.account_id,
        run_id=event.run_id,
        is_byok=event.is_byok,
        cost=None if cost is None else Decimal(cost),
        hold_id=None if spend is None else spend.hold_id,
        waived=spend is not None and spend.waived,
        fee_percent=None if spend is None else spend.fee_percent,
    )
    return [*rows, (key, finished)]


def _told(record: Any, period: Period, *, is_certain: bool) -> list[Row]:
    try:
        received = decode_record(record)
    except PoisonRecord:
        return []
    event = received.event
    generation_id = getattr(event, "generation_id", None)
    if generation_id is not None and not period.holds(generation_id):
        return []
    percent, list_cost = (
        getattr(event, "fee_percent", None),
        getattr(event, "list_cost_nano_usd", None),
    )
    told = Told(
        event_id=received.envelope.id,
        name=type(event).__name__,
        partition=record.partition,
        offset=record.offset,
        is_certain=is_certain,
        account_id=getattr(event, "account_id", ""),
        amount=Decimal(_amount(event)),
        uncollected=Decimal(getattr(event, "uncollected_nano_usd", 0)),
        list_cost=None if list_cost is None else Decimal(list_cost),
        fee_percent=percent,
        at=received.envelope.time.timestamp(),
    )
    return [(event_subject(generation_id, received.envelope.id), told)]


def _amount(event: Event) -> int:
    """What an event of `billing.fees` says was charged, added or given back."""
    match event:
        case FeeDeducted() | FeeWaived():
            return event.fee_nano_usd
        case CreditsCharged():
            return event.charge_nano_usd
        case _:
            return int(getattr(event, "amount_nano_usd", 0))
