"""The four ways to consume, on a real broker: what each promises when things go wrong."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError
from typing_extensions import override

from shared.clock import SystemClock
from shared.errors import PoisonRecord, Unavailable
from shared.events.accounts import AccountChanged
from shared.events.billing import AddCredits, CreditsKept
from shared.events.codec import Received
from shared.events.completions import CompletionRequested, GenerationCancelled
from shared.events.credentials import CredentialsHeartbeat
from shared.events.dead_letters import DeadLettered
from shared.events.envelope import CallReply, Refused
from shared.events.generations import GenerationAbandoned
from shared.events.topics import (
    ACCOUNTS_STATE,
    BILLING_COMMANDS,
    CREDENTIALS_STATE,
    DEAD_LETTERS,
    INFERENCE_CANCELLATIONS,
    INFERENCE_GENERATIONS,
    INFERENCE_REQUESTS,
    OPERATIONS_REPLIES,
)
from shared.ids import (
    AccountId,
    ApiKeyHash,
    InstanceId,
    new_generation_id,
    new_id,
)
from shared.kafka.calls import Calls, CallServer, ReceivedCall
from shared.kafka.facts import LANES, FactsConsumer
from shared.kafka.readers import PartitionReader, read_together
from shared.kafka.record import Record
from shared.kafka.view import View
from shared.kafka.work import Claim, WorkConsumer
from tests.integration.shared.kafka.conftest import Clients
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.connected


def abandoned(account: str) -> GenerationAbandoned:
    return GenerationAbandoned(
        generation_id=new_generation_id(), account_id=AccountId(account), reason="test"
    )


def facts(clients: Clients, group: str, handle: "Handler") -> FactsConsumer:
    return FactsConsumer(
        clients.config,
        group=group,
        topics=[INFERENCE_GENERATIONS],
        handle=handle.take,
        dead_letters=clients.dead_letters(group),
        clock=clients.clock,
    )


class Handler:
    """Keeps the facts of one account, and fails as the test wants."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.seen: list[str] = []
        self.unavailable_times = 0
        self.poison: str | None = None

    async def take(self, batch: Sequence[Received]) -> None:
        mine = [
            str(received.event.generation_id)
            for received in batch
            if isinstance(received.event, GenerationAbandoned)
            and received.event.account_id == self.account
        ]
        if self.poison in mine:
            raise PoisonRecord("not for us")
        if mine and self.unavailable_times:
            self.unavailable_times -= 1
            raise Unavailable("postgres")
        self.seen.extend(mine)


async def test_facts_come_in_order_and_are_committed_after_their_effect(clients: Clients) -> None:
    account, group = new_id(), new_id()
    first = Handler(account)
    sent = [abandoned(account) for _ in range(20)]
    stop = asyncio.Event()
    task = clients.run(facts(clients, group, first).run(stop))
    for event in sent:
        await clients.producer.emit(INFERENCE_GENERATIONS, event, key=account)
    await wait_until(lambda: len(first.seen) >= 20, deadline_seconds=20)
    stop.set()
    await task

    second = Handler(account)
    clients.run(facts(clients, group, second).run(clients.stop))
    last = abandoned(account)
    await clients.producer.emit(INFERENCE_GENERATIONS, last, key=account)
    await wait_until(lambda: bool(second.seen), deadline_seconds=20)

    assert first.seen == [event.generation_id for event in sent]
    assert second.seen == [last.generation_id]


async def test_facts_wait_while_their_effect_is_unavailable_and_none_is_lost(
    clients: Clients,
) -> None:
    account = new_id()
    handler = Handler(account)
    handler.unavailable_times = 3
    consumer = facts(clients, new_id(), handler)
    clients.run(consumer.run(clients.stop))
    sent = [abandoned(account) for _ in range(5)]
    for event in sent:
        await clients.producer.emit(INFERENCE_GENERATIONS, event, key=account)

    await wait_until(lambda: len(handler.seen) >= 5, deadline_seconds=20)

    assert handler.seen == [event.generation_id for event in sent]
    assert consumer.problem() is None


class LanedHandler:
    """Takes large batches in lanes, of which it refuses those that the test wants."""

    def __init__(self, accounts: Collection[str], refuses: Callable[[set[int]], bool]) -> None:
        self.refuses = refuses
        self.has_refused = False
        self.lanes: list[set[int]] = []
        self.seen: dict[str, list[str]] = {account: [] for account in accounts}

    async def take(self, batch: Sequence[Received]) -> None:
        mine = [
            (received.partition, received.event)
            for received in batch
            if isinstance(received.event, GenerationAbandoned)
            and received.event.account_id in self.seen
        ]
        partitions = {partition for partition, _ in mine}
        if mine:
            self.lanes.append(partitions)
            if self.refuses(partitions):
                self.has_refused = True
                raise Unavailable("postgres")
        for _, event in mine:
            self.seen[event.account_id].append(event.generation_id)

    def count(self) -> int:
        return sum(map(len, self.seen.values()))


class ManyFacts:
    """More facts of more accounts than one lane takes, in every partition."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.group = new_id()
        self.sent: dict[str, list[str]] = {new_id(): [] for _ in range(16)}

    async def send(self) -> None:
        """Some more of each account."""
        records = []
        for _ in range(24):
            for account, ids in self.sent.items():
                event = abandoned(account)
                ids.append(str(event.generation_id))
                records.append(
                    self.clients.producer.record(INFERENCE_GENERATIONS, event, key=account)
                )
        await self.clients.producer.send_many(records)

    def count(self) -> int:
        return sum(map(len, self.sent.values()))

    def consumer(self, handler: LanedHandler) -> FactsConsumer:
        return FactsConsumer(
            self.clients.config,
            group=self.group,
            topics=[INFERENCE_GENERATIONS],
            handle=handler.take,
            dead_letters=self.clients.dead_letters(self.group),
            clock=self.clients.clock,
        )


async def test_a_lane_that_must_wait_keeps_its_order_and_the_other_goes_on(
    clients: Clients,
) -> None:
    facts_sent = ManyFacts(clients)
    await facts_sent.send()
    handler = LanedHandler(facts_sent.sent, lambda _: len(handler.lanes) == 1)
    consumer = facts_sent.consumer(handler)
    clients.run(consumer.run(clients.stop))

    await wait_until(lambda: handler.count() >= facts_sent.count(), deadline_seconds=30)

    assert handler.seen == facts_sent.sent
    assert any(one.isdisjoint(other) for one in handler.lanes for other in handler.lanes)
    assert consumer.problem() is None


async def test_nothing_is_committed_while_one_lane_has_no_effect(clients: Clients) -> None:
    facts_sent = ManyFacts(clients)
    stuck = LanedHandler(
        facts_sent.sent,
        lambda partitions: stuck.count() > 0 and all(each % LANES for each in partitions),
    )
    stop = asyncio.Event()
    task = clients.run(facts_sent.consumer(stuck).run(stop))
    try:
        while not stuck.has_refused:  # a batch may hold one lane's partitions alone
            await facts_sent.send()
            await wait_until(
                lambda: stuck.has_refused or stuck.count() == facts_sent.count(),
                deadline_seconds=30,
            )
    finally:
        stop.set()
    await task

    after = LanedHandler(facts_sent.sent, lambda _: False)
    clients.run(facts_sent.consumer(after).run(clients.stop))

    await wait_until(
        lambda: all(
            set(ids) == {*stuck.seen[account], *after.seen[account]}
            for account, ids in facts_sent.sent.items()
        ),
        deadline_seconds=30,
    )


async def test_a_poison_fact_goes_to_the_dead_letters_and_the_rest_goes_on(
    clients: Clients,
) -> None:
    account = new_id()
    handler = Handler(account)
    letters: list[DeadLettered] = []

    def on_letter(received: Received) -> None:
        if isinstance(received.event, DeadLettered):
            letters.append(received.event)

    reader = PartitionReader(
        clients.config,
        topic=DEAD_LETTERS,
        partition=0,
        start="end",
        on_record=on_letter,
        dead_letters=clients.dead_letters("letters"),
        clock=clients.clock,
    )
    clients.run(reader.run(clients.stop))
    await reader.ready.wait()
    group = new_id()
    clients.run(facts(clients, group, handler).run(clients.stop))
    good, unwelcome = abandoned(account), abandoned(account)
    handler.poison = unwelcome.generation_id
    good_record = clients.producer.record(INFERENCE_GENERATIONS, good, key=account)
    broken_record = Record(
        topic=good_record.topic,
        key=good_record.key,
        value=b'{"generation_id": 5}',
        headers=good_record.headers,
    )
    await clients.producer.send_many(
        [
            broken_record,
            clients.producer.record(INFERENCE_GENERATIONS, unwelcome, key=account),
            good_record,
        ]
    )

    def mine() -> list[DeadLettered]:
        return [letter for letter in letters if letter.consumer == group]

    await wait_until(lambda: len(mine()) >= 2 and bool(handler.seen), deadline_seconds=20)

    assert handler.seen == [good.generation_id]
    reasons = {letter.reason for letter in mine()}
    assert "not for us" in reasons
    assert any(reason.startswith("invalid openroute.GenerationAbandoned.v1") for reason in reasons)
    assert {letter.topic for letter in mine()} == {INFERENCE_GENERATIONS.name}
    assert all(letter.offset >= 0 for letter in mine())


def requested(clients: Clients) -> CompletionRequested:
    now = clients.clock.now()
    return CompletionRequested(
        generation_id=new_generation_id(),
        account_id=AccountId("a"),
        api_key_hash=ApiKeyHash("h"),
        wire_key="k",
        reply_instance=InstanceId("i"),
        reply_partition=0,
        received_at=now,
        start_by=now,
        deadline=now,
    )


class Worker:
    """Takes work of this test only, and holds it until told."""

    def __init__(self, clients: Clients, wanted: set[str]) -> None:
        self.clients = clients
        self.wanted = wanted
        self.started: list[str] = []
        self.won: list[str] = []
        self.release = asyncio.Event()
        self.release.set()

    def start(self, received: Received, claim: Claim) -> None:
        self.clients.run(self._work(received, claim))

    async def _work(self, received: Received, claim: Claim) -> None:
        assert isinstance(received.event, CompletionRequested)
        try:
            if received.event.generation_id not in self.wanted:
                return
            self.started.append(received.event.generation_id)
            if await claim.won():
                self.won.append(received.event.generation_id)
            await self.release.wait()
        finally:
            claim.done()


def worker_consumer(
    clients: Clients, worker: Worker, group: str, in_flight_max: int = 100
) -> WorkConsumer:
    return WorkConsumer(
        clients.config,
        group=group,
        topic=INFERENCE_REQUESTS,
        start=worker.start,
        dead_letters=clients.dead_letters(group),
        in_flight_max=in_flight_max,
        bytes_max=64 * 1024 * 1024,
    )


async def test_work_is_claimed_once_and_never_seen_again_by_the_next_process(
    clients: Clients,
) -> None:
    group = new_id()
    requests = [requested(clients) for _ in range(10)]
    wanted: set[str] = {request.generation_id for request in requests}
    first, second = Worker(clients, wanted), Worker(clients, wanted)
    stop = asyncio.Event()
    task = clients.run(worker_consumer(clients, first, group).run(stop))
    for request in requests:
        await clients.producer.emit(
            INFERENCE_REQUESTS, request, key=request.generation_id, content=b"sealed"
        )
    await wait_until(lambda: len(first.won) >= 10, deadline_seconds=20)
    stop.set()
    await task

    last = requested(clients)
    wanted.add(last.generation_id)
    clients.run(worker_consumer(clients, second, group).run(clients.stop))
    await clients.producer.emit(INFERENCE_REQUESTS, last, key=last.generation_id, content=b"sealed")
    await wait_until(lambda: bool(second.won), deadline_seconds=20)

    assert sorted(first.won) == sorted(request.generation_id for request in requests)
    assert second.won == [last.generation_id]


async def test_work_taken_just_before_the_end_learns_whether_it_is_ours(clients: Clients) -> None:
    request = requested(clients)
    worker = Worker(clients, {request.generation_id})
    stop = asyncio.Event()
    take = worker.start

    def take_and_stop(received: Received, claim: Claim) -> None:
        take(received, claim)
        if received.event == request:
            stop.set()

    worker.start = take_and_stop  # type: ignore[method-assign] # the moment is the point
    task = clients.run(worker_consumer(clients, worker, new_id()).run(stop))
    await clients.producer.emit(
        INFERENCE_REQUESTS, request, key=request.generation_id, content=b"sealed"
    )
    await task

    await wait_until(lambda: worker.won == [request.generation_id])


async def test_work_whose_commit_fails_is_told_to_be_somebody_elses(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fenced(_consumer: AIOKafkaConsumer, _offsets: object) -> None:
        raise CommitFailedError

    monkeypatch.setattr(AIOKafkaConsumer, "commit", fenced)
    request = requested(clients)
    worker, ended = Worker(clients, {request.generation_id}), asyncio.Event()
    claims: list[bool] = []

    async def ask(claim: Claim) -> None:
        claims.append(await claim.won())
        claim.done()
        ended.set()

    def take(received: Received, claim: Claim) -> None:
        if received.event == request:
            clients.run(ask(claim))

    worker.start = take  # type: ignore[method-assign] # only the claim's answer is the point
    clients.run(worker_consumer(clients, worker, new_id()).run(clients.stop))
    await clients.producer.emit(
        INFERENCE_REQUESTS, request, key=request.generation_id, content=b"sealed"
    )

    async with asyncio.timeout(20):
        await ended.wait()
    assert claims == [False]


async def test_no_more_work_is_taken_than_may_be_in_flight(clients: Clients) -> None:
    requests = [requested(clients) for _ in range(12)]
    worker = Worker(clients, {request.generation_id for request in requests})
    worker.release.clear()
    consumer = worker_consumer(clients, worker, new_id(), in_flight_max=4)
    clients.run(consumer.run(clients.stop))
    for request in requests:
        await clients.producer.emit(
            INFERENCE_REQUESTS, request, key=request.generation_id, content=b"sealed"
        )
    await wait_until(lambda: len(worker.started) == 4, deadline_seconds=20)

    assert consumer.in_flight == 4
    worker.release.set()
    await wait_until(lambda: len(worker.won) == 12, deadline_seconds=20)


async def test_a_record_as_large_as_the_largest_body_passes(clients: Clients) -> None:
    request = requested(clients)
    worker = Worker(clients, {request.generation_id})
    clients.run(worker_consumer(clients, worker, new_id()).run(clients.stop))

    await clients.producer.emit(
        INFERENCE_REQUESTS,
        request,
        key=request.generation_id,
        content=bytes(20 * 1024 * 1024 + 28),
    )

    await wait_until(lambda: bool(worker.won), deadline_seconds=30)


def account(version: int, name: str, account_id: str) -> AccountChanged:
    return AccountChanged(version=version, account_id=AccountId(account_id), name=name)


async def test_a_view_holds_the_newest_version_and_forgets_what_is_gone(clients: Clients) -> None:
    ids = [new_id() for _ in range(2)]
    for event in (account(2, "new", ids[0]), account(1, "old", ids[0]), account(1, "b", ids[1])):
        await clients.producer.emit(ACCOUNTS_STATE, event, key=event.account_id)
    view = View(
        clients.config,
        ACCOUNTS_STATE,
        clock=clients.clock,
        dead_letters=clients.dead_letters("view"),
    )
    assert view.problem() is not None
    clients.run(view.run(clients.stop))
    await wait_until(lambda: view.problem() is None)

    state = view.get(ids[0])
    assert isinstance(state, AccountChanged)
    assert state.name == "new"
    await clients.producer.send(Record(topic=ACCOUNTS_STATE.name, key=ids[1].encode(), value=None))
    await wait_until(lambda: view.get(ids[1]) is None)


async def test_sources_over_one_consumer_each_get_their_own(clients: Clients) -> None:
    past, present = account(1, "past", new_id()), account(1, "present", new_id())
    await clients.producer.emit(ACCOUNTS_STATE, past, key=past.account_id)
    seen: list[object] = []
    reader = PartitionReader(
        clients.config,
        topic=INFERENCE_CANCELLATIONS,
        partition=0,
        start="end",
        on_record=lambda received: seen.append(received.event),
        dead_letters=clients.dead_letters("cancellations"),
        clock=clients.clock,
    )
    view = View(
        clients.config,
        ACCOUNTS_STATE,
        clock=clients.clock,
        dead_letters=clients.dead_letters("view"),
    )
    clients.run(read_together((reader, view), clients.stop))
    await wait_until(lambda: reader.ready.is_set() and view.ready.is_set())
    assert view.get(past.account_id) == past

    await clients.producer.emit(ACCOUNTS_STATE, present, key=present.account_id)
    cancelled = GenerationCancelled(
        generation_id=new_generation_id(), reason="client_gone", deadline=clients.clock.now()
    )
    await clients.producer.emit(INFERENCE_CANCELLATIONS, cancelled, key=cancelled.generation_id)

    await wait_until(lambda: cancelled in seen and view.get(present.account_id) == present)
    assert past not in seen


async def test_a_view_whose_writer_is_silent_must_not_be_relied_on(clients: Clients) -> None:
    view = View(
        clients.config,
        ACCOUNTS_STATE,
        clock=clients.clock,
        dead_letters=clients.dead_letters("view"),
        heartbeat=CredentialsHeartbeat,
    )
    clients.run(view.run(clients.stop))
    async with asyncio.timeout(20):
        await view.ready.wait()

    assert "silent" in (view.problem() or "")


class MovedClock(SystemClock):
    """The machine's clock, moved on by as much as the test says."""

    def __init__(self) -> None:
        self.moved_seconds = 0.0

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.moved_seconds


class CountedView:
    """A view of credentials whose writer counts as the test says."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.clock = MovedClock()
        self.beats = 0
        self.view = View(
            clients.config,
            CREDENTIALS_STATE,
            clock=self.clock,
            dead_letters=clients.dead_letters("view"),
            heartbeat=CredentialsHeartbeat,
            count_of=lambda beat: beat.live_count if isinstance(beat, CredentialsHeartbeat) else 0,
        )

    async def beat(self, *, more_than_there_are: int) -> None:
        self.beats += 1
        beat = CredentialsHeartbeat(
            instance_id=f"test-{new_id()}",
            sent_at=self.clock.now(),
            live_count=len(self.view) + more_than_there_are,
        )
        await self.clients.producer.emit(CREDENTIALS_STATE, beat, key="heartbeat/test")
        await wait_until(lambda: self.view.latest_heartbeat == beat)


async def test_a_view_whose_writer_counts_other_keys_must_not_be_relied_on(
    clients: Clients,
) -> None:
    counted = CountedView(clients)
    clients.run(counted.view.run(clients.stop))
    await wait_until(counted.view.ready.is_set)

    for _ in range(3):
        await counted.beat(more_than_there_are=1)
    assert "incomplete" in (counted.view.problem() or "")
    await counted.beat(more_than_there_are=0)
    assert counted.view.problem() is None


async def test_a_view_whose_writer_falls_silent_must_not_be_relied_on_any_longer(
    clients: Clients,
) -> None:
    counted = CountedView(clients)
    clients.run(counted.view.run(clients.stop))
    await wait_until(counted.view.ready.is_set)
    await counted.beat(more_than_there_are=0)
    assert counted.view.problem() is None

    counted.clock.moved_seconds = 16

    assert "silent" in (counted.view.problem() or "")


class CallHarness:
    """A caller and its reply reader on `operations.replies`."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.calls = Calls(
            clients.producer,
            reply_topic=OPERATIONS_REPLIES,
            reply_partition=0,
            clock=clients.clock,
            new_id=new_id,
        )
        self.reader = PartitionReader(
            clients.config,
            topic=OPERATIONS_REPLIES,
            partition=0,
            start="end",
            on_record=self.calls.on_record,
            dead_letters=clients.dead_letters("replies"),
            clock=clients.clock,
        )

    async def add_credits(self, amount: int, deadline_seconds: float) -> CallReply:
        return await self.calls.call(
            BILLING_COMMANDS,
            AddCredits(account_id=AccountId("a"), amount_nano_usd=amount, key="k"),
            key="a",
            callee="billing",
            deadline_seconds=deadline_seconds,
        )


def server(clients: Clients, answer: "Answerer") -> CallServer:
    return CallServer(
        clients.config,
        group=new_id(),
        topic=BILLING_COMMANDS,
        handle=answer.take,
        producer=clients.producer,
        dead_letters=clients.dead_letters("server"),
        clock=clients.clock,
    )


class Answerer:
    def __init__(self) -> None:
        self.amounts: list[int] = []
        self.unavailable_times = 0

    async def take(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        if self.unavailable_times:
            self.unavailable_times -= 1
            raise Unavailable("postgres")
        return [self._answer(call.command) for call in calls]

    def _answer(self, command: object) -> CallReply:
        if not isinstance(command, AddCredits):  # another test's, whose caller may still wait
            return Refused(code="invalid", message="only AddCredits here")
        self.amounts.append(command.amount_nano_usd)
        return CreditsKept(
            account_id=command.account_id,
            amount_nano_usd=command.amount_nano_usd,
            credits_nano_usd=0,
            repeated=False,
        )


async def test_each_caller_gets_its_own_answer(clients: Clients) -> None:
    harness, answerer = CallHarness(clients), Answerer()
    clients.run(harness.reader.run(clients.stop))
    await harness.reader.ready.wait()
    clients.run(server(clients, answerer).run(clients.stop))

    answers = await asyncio.gather(
        *(harness.add_credits(amount, deadline_seconds=20) for amount in range(50))
    )

    assert [a.amount_nano_usd for a in answers if isinstance(a, CreditsKept)] == list(range(50))


async def test_a_call_that_nobody_answers_ends_at_its_deadline_and_is_not_carried_out_later(
    clients: Clients,
) -> None:
    harness, answerer = CallHarness(clients), Answerer()
    clients.run(harness.reader.run(clients.stop))
    await harness.reader.ready.wait()

    with pytest.raises(Unavailable, match="billing"):
        await harness.add_credits(111_222, deadline_seconds=0.3)
    clients.run(server(clients, answerer).run(clients.stop))
    await harness.add_credits(2, deadline_seconds=20)

    assert 2 in answerer.amounts
    assert 111_222 not in answerer.amounts


async def test_a_server_whose_store_is_away_answers_as_soon_as_it_is_back(
    clients: Clients,
) -> None:
    harness, answerer = CallHarness(clients), Answerer()
    answerer.unavailable_times = 2
    clients.run(harness.reader.run(clients.stop))
    await harness.reader.ready.wait()
    clients.run(server(clients, answerer).run(clients.stop))

    answer = await harness.add_credits(7, deadline_seconds=20)

    assert isinstance(answer, CreditsKept)


async def test_a_reader_can_begin_some_time_back(clients: Clients) -> None:
    event = account(1, "past", new_id())
    await clients.producer.emit(ACCOUNTS_STATE, event, key=event.account_id)
    seen: list[object] = []
    reader = PartitionReader(
        clients.config,
        topic=ACCOUNTS_STATE,
        partition=0,
        start=timedelta(minutes=10),
        on_record=lambda received: seen.append(received.event),
        dead_letters=clients.dead_letters("past"),
        clock=clients.clock,
    )
    clients.run(reader.run(clients.stop))

    await wait_until(lambda: event in seen)
    assert reader.problem() is None
