"""The rest of the world as ingress sees it, played by the tests on the real Kafka and Vault.

`ScriptedDispatcher` takes requests and answers as its script says. `Books` plays billing and
key_vault as far as ingress talks to them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from shared.clock import SystemClock
from shared.events.accounts import AccountChanged
from shared.events.billing import (
    AccountBalance,
    AddCredits,
    CreditsKept,
    KeySpending,
    QuerySpending,
    QuerySpendingByKey,
    Spending,
    SpendingByKey,
    SpendingPeriod,
)
from shared.events.codec import Received
from shared.events.completions import (
    CompletionRequested,
    DispatcherAlive,
    GenerationCancelled,
    IngressAlive,
    ReplyFrame,
)
from shared.events.credential_audit import Actor
from shared.events.credential_health import CheckCredential, CheckDescription
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialDescription,
    CredentialForgotten,
    CredentialKept,
    CredentialsListed,
    CredentialsReordered,
    DeleteCredential,
    Filters,
    GetCredential,
    ListCredentials,
    ReorderCredentials,
)
from shared.events.envelope import CallReply, Refused, StateEvent, type_of
from shared.events.generations import GenerationAbandoned
from shared.events.replies import ReplyPart
from shared.events.topics import (
    ACCOUNTS_STATE,
    BILLING_ACCOUNTS,
    BILLING_COMMANDS,
    CREDENTIALS_COMMANDS,
    INFERENCE_CANCELLATIONS,
    INFERENCE_GENERATIONS,
    INFERENCE_REQUESTS,
    INGRESS_REPLIES,
)
from shared.ids import (
    AccountId,
    ApiKeyHash,
    CredentialId,
    GenerationId,
    InstanceId,
    RunId,
    month_of,
    new_id,
)
from shared.kafka.calls import CallServer, ReceivedCall
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.facts import FactsConsumer
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import View
from shared.kafka.work import Claim, WorkConsumer
from shared.sealing import Seal
from shared.tasks import TaskScope
from shared.vault.transit import Transit
from tests.support.wait_until import wait_until

READY_SECONDS = 30.0
_PERIOD = SpendingPeriod(credits_nano_usd=1, byok_list_cost_nano_usd=36_079_500)
_SPENT = Spending(total=_PERIOD, day=_PERIOD, week=_PERIOD, month=_PERIOD)


@dataclass(slots=True)
class Run:
    """One request in the hands of the scripted dispatcher."""

    event: CompletionRequested
    body: dict[str, Any]
    data_key: bytes
    producer: EventProducer
    run_id: RunId = field(default_factory=lambda: RunId(new_id()))
    next_number: int = 0

    async def send(self, *parts: ReplyPart, last: bool = False, skip: int = 0) -> None:
        """Send one frame; `skip` leaves numbers out."""
        number = self.next_number + skip
        self.next_number = number + 1
        frame = ReplyFrame(
            generation_id=self.event.generation_id, run_id=self.run_id, number=number, last=last
        )
        content = msgspec.json.encode(list(parts))
        seal = Seal(self.data_key, self.event.generation_id)
        await self.producer.emit(
            INGRESS_REPLIES,
            frame,
            key=self.event.generation_id,
            partition=self.event.reply_partition,
            content=seal.seal(type_of(ReplyFrame), self.run_id, number, content),
        )

    async def say_alive(self) -> None:
        """Name this generation, as a dispatcher does once a second."""
        await self.producer.emit(
            INGRESS_REPLIES,
            DispatcherAlive(
                instance_id=InstanceId("dispatcher-0-test"),
                generation_ids=[self.event.generation_id],
            ),
            key="dispatcher-0-test",
            partition=self.event.reply_partition,
        )

    def rival(self) -> "Run":
        """Another run of the same generation."""
        return Run(self.event, self.body, self.data_key, self.producer)


Script = Callable[[Run], Awaitable[None]]


@dataclass(slots=True)
class ScriptedDispatcher:
    """Takes every request and does what `script` says."""

    producer: EventProducer
    transit: Transit
    scope: TaskScope
    script: Script
    requests: list[CompletionRequested] = field(default_factory=list)
    cancelled: list[GenerationCancelled] = field(default_factory=list)
    abandoned: list[GenerationAbandoned] = field(default_factory=list)
    beats: list[IngressAlive] = field(default_factory=list)

    def start(self, received: Received, claim: Claim) -> None:
        """Called by the work consumer."""
        self.scope.start(self._carry_out(received, claim), name="scripted run")

    def note(self, received: Received) -> None:
        """Called by the reader of broadcasts."""
        match received.event:
            case GenerationCancelled() as cancelled:
                self.cancelled.append(cancelled)
            case IngressAlive() as beat:
                self.beats.append(beat)
            case _:
                return

    async def note_facts(self, batch: Sequence[Received]) -> None:
        """Called by the facts consumer."""
        self.abandoned.extend(
            each.event for each in batch if isinstance(each.event, GenerationAbandoned)
        )

    def cancellations_of(self, generation_id: str) -> list[str]:
        """The reasons for which a generation was cancelled."""
        return [each.reason for each in self.cancelled if each.generation_id == generation_id]

    def abandonments_of(self, generation_id: str) -> list[str]:
        """The reasons for which a generation was abandoned."""
        return [each.reason for each in self.abandoned if each.generation_id == generation_id]

    async def _carry_out(self, received: Received, claim: Claim) -> None:
        event = received.event
        assert isinstance(event, CompletionRequested)
        try:
            if not await claim.won() or received.content is None:
                return
            self.requests.append(event)
            data_key = await self.transit.decrypt("wire", event.wire_key, context=None)
            seal = Seal(data_key, event.generation_id)
            opened = seal.open(type_of(CompletionRequested), "", 0, received.content)
            await self.script(Run(event, msgspec.json.decode(opened), data_key, self.producer))
        finally:
            claim.done()


@dataclass(slots=True)
class Books:
    """Plays key_vault and billing: keeps credentials in a dictionary, knows every account."""

    producer: EventProducer
    credentials: dict[tuple[AccountId, CredentialId], CredentialDescription] = field(
        default_factory=dict
    )
    sealed_keys: list[str] = field(default_factory=list)
    actors: list[Actor | None] = field(default_factory=list)
    checks_pending: dict[CredentialId, int] = field(default_factory=dict)
    """How often each credential is still to be answered with its check pending."""
    credited: list[AddCredits] = field(default_factory=list)
    spending_asked: list[QuerySpendingByKey] = field(default_factory=list)
    spent: dict[ApiKeyHash, KeySpending] = field(default_factory=dict)
    """Of keys about which a test has something to tell."""
    knows_spending: bool = True
    background: TaskScope | None = None

    async def answer_credentials(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """One answer each."""
        return [self._credential(call.command) for call in calls]

    async def answer_billing(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        """One answer each."""
        return [self._billing(call.command) for call in calls]

    def on_account(self, key: str, state: StateEvent | None) -> None:
        """An account changed: say that its policy is applied."""
        assert self.background is not None
        if isinstance(state, AccountChanged):
            self.background.start(self._publish(AccountId(key), state), name="balance")

    async def _publish(self, account_id: AccountId, account: AccountChanged) -> None:
        balance = AccountBalance(
            version=account.version,
            account_id=account_id,
            credits_nano_usd=5_000_000_001,
            held_nano_usd=0,
            month=month_of(SystemClock().now()),
            allotment_used=3,
            free_requests=10 if account.free_requests is None else account.free_requests,
            fee_percent=account.fee_percent or Decimal(5),
            policy_version=account.version,
            allotment_rule=account.allotment_rule or "requests",
            list_cost_used_nano_usd=250_000_000,
            free_list_cost_nano_usd=account.free_list_cost_nano_usd or 0,
        )
        await self.producer.emit(BILLING_ACCOUNTS, balance, key=account_id)

    def _billing(self, command: object) -> CallReply:
        match command:
            case QuerySpending():
                known = self.spent.get(command.api_key_hash)
                return _SPENT if known is None else known.spending
            case QuerySpendingByKey() if self.knows_spending:
                self.spending_asked.append(command)
                keys = [
                    self.spent.get(each, KeySpending(api_key_hash=each, spending=_SPENT))
                    for each in command.api_key_hashes
                ]
                return SpendingByKey(keys=tuple(keys))
            case AddCredits() as add:
                repeated = any(each.key == add.key for each in self.credited)
                self.credited.append(add)
                return CreditsKept(
                    account_id=add.account_id,
                    amount_nano_usd=add.amount_nano_usd,
                    credits_nano_usd=add.amount_nano_usd,
                    repeated=repeated,
                )
            case _:
                return Refused(code="invalid", message="not played here")

    def _credential(self, command: object) -> CallReply:
        if isinstance(
            command, AddCredential | ChangeCredential | DeleteCredential | ReorderCredentials
        ):
            self.actors.append(command.actor)
        match command:
            case AddCredential() as add:
                self.sealed_keys.append(add.sealed_key)
                kept = CredentialDescription(
                    credential_id=add.credential_id,
                    provider=add.provider,
                    label="sk-...abcd",
                    name=add.name,
                    note=add.note,
                    enabled=add.enabled,
                    section=add.section,
                    always_use=add.always_use,
                    order=add.order or 0,
                    filters=add.filters,
                    created_at=SystemClock().now(),
                )
                self.credentials[add.account_id, add.credential_id] = kept
                self.checks_pending[add.credential_id] = 2
                return CredentialKept(credential=self._checked(kept))
            case ListCredentials() as query:
                found = [
                    each
                    for (account_id, _), each in self.credentials.items()
                    if account_id == query.account_id and query.provider in {None, each.provider}
                ]
                page = found[query.offset : query.offset + query.limit]
                return CredentialsListed(credentials=page, total=len(found))
            case ReorderCredentials() as order:
                return CredentialsReordered(
                    provider=order.provider,
                    prioritized=order.prioritized,
                    fallback=order.fallback,
                )
            case CheckCredential():
                self.checks_pending[command.credential_id] = 2
                return self._known(command)
            case GetCredential() | ChangeCredential() | DeleteCredential():
                return self._known(command)
            case _:
                return Refused(code="invalid", message="not played here")

    def _known(
        self, command: GetCredential | ChangeCredential | DeleteCredential | CheckCredential
    ) -> CallReply:
        key = (command.account_id, command.credential_id)
        known = self.credentials.get(key)
        if known is None:
            return Refused(code="not_found", message="no such credential")
        if isinstance(command, DeleteCredential):
            del self.credentials[key]
            return CredentialForgotten(credential_id=command.credential_id)
        if isinstance(command, ChangeCredential):
            known = _changed(known, command)
            self.credentials[key] = known
        return CredentialKept(credential=self._checked(known))

    def _checked(self, known: CredentialDescription) -> CredentialDescription:
        """With its check: pending for as many answers as it was set to."""
        left = self.checks_pending.get(known.credential_id)
        if left is None:
            return known
        self.checks_pending[known.credential_id] = left - 1
        now = SystemClock().now()
        check = (
            CheckDescription(status="pending", requested_at=now)
            if left > 0
            else CheckDescription(
                status="refused",
                message="The provider refuses the key.",
                provider_status=401,
                requested_at=now,
                checked_at=now,
            )
        )
        return msgspec.structs.replace(known, check=check)


def _changed(known: CredentialDescription, change: ChangeCredential) -> CredentialDescription:
    given = {
        name: getattr(change, name)
        for name in ("name", "note", "enabled", "section", "always_use", "order")
        if getattr(change, name) is not msgspec.UNSET
    }
    models = change.allowed_models
    if models is not msgspec.UNSET:
        given["filters"] = Filters(models=models)
    return msgspec.structs.replace(known, **given)


async def never_answers(_run: Run) -> None:
    """A script that does nothing at all."""


@asynccontextmanager
async def surroundings(
    kafka: KafkaConfig, transit: Transit
) -> AsyncIterator[tuple[ScriptedDispatcher, Books]]:
    """Both, at work."""
    clock = SystemClock()
    stop = asyncio.Event()
    async with (
        open_producer(
            kafka, source=InstanceId("dispatcher-0-test"), clock=clock, new_id=new_id
        ) as producer,
        TaskScope() as scope,
    ):
        dispatcher = ScriptedDispatcher(producer, transit, scope, never_answers)
        books = Books(producer, background=scope)
        dead_letters = DeadLetters(producer, consumer="test", clock=clock)
        work = WorkConsumer(
            kafka,
            group=f"dispatcher-{new_id()}",
            topic=INFERENCE_REQUESTS,
            start=dispatcher.start,
            dead_letters=dead_letters,
            in_flight_max=1000,
            bytes_max=2**30,
        )
        broadcasts = PartitionReader(
            kafka,
            topic=INFERENCE_CANCELLATIONS,
            partition=0,
            start="end",
            on_record=dispatcher.note,
            dead_letters=dead_letters,
            clock=clock,
        )
        facts = FactsConsumer(
            kafka,
            group=f"facts-{new_id()}",
            topics=[INFERENCE_GENERATIONS],
            handle=dispatcher.note_facts,
            dead_letters=dead_letters,
            clock=clock,
        )
        accounts = View(
            kafka,
            ACCOUNTS_STATE,
            clock=clock,
            dead_letters=dead_letters,
            on_change=books.on_account,
        )
        servers = [
            CallServer(
                kafka,
                group=group,
                topic=topic,
                handle=handle,
                producer=producer,
                dead_letters=dead_letters,
                clock=clock,
            )
            for group, topic, handle in (
                ("key-vault", CREDENTIALS_COMMANDS, books.answer_credentials),
                ("billing", BILLING_COMMANDS, books.answer_billing),
            )
        ]
        for name, run in (
            ("work", work.run),
            ("broadcasts", broadcasts.run),
            ("facts", facts.run),
            ("accounts", accounts.run),
            *((f"server {index}", server.run) for index, server in enumerate(servers)),
        ):
            scope.start(run(stop), name=name)
        problems = [work.problem, facts.problem, *(server.problem for server in servers)]
        await wait_until(
            lambda: (
                broadcasts.ready.is_set()
                and accounts.ready.is_set()
                and not any(problem() for problem in problems)
            ),
            deadline_seconds=READY_SECONDS,
        )
        yield dispatcher, books
        stop.set()
        with suppress(TimeoutError):
            await scope.drain(5)


def generation_of(headers: Any) -> GenerationId:
    """The generation that an answer belongs to."""
    return GenerationId(headers["X-Generation-Id"])
