"""What the commands work with: PostgreSQL, Kafka, Vault. Built for one command, then closed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.ingress.config import OperationsConfig
from services.ingress.outbound.postgres_accounts import PostgresAccounts
from services.ingress.outbound.postgres_management_keys import PostgresManagementKeys
from services.ingress.outbound.vault_intake import VaultIntake
from services.ingress.wiring import MIGRATIONS
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events.billing import AccountBalance
from shared.events.envelope import CallReply, Event, StateEvent
from shared.events.topic import Topic
from shared.events.topics import BILLING_ACCOUNTS, OPERATIONS_REPLIES
from shared.ids import AccountId, new_id, new_instance_id
from shared.kafka.calls import Calls
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer, open_producer
from shared.kafka.readers import PartitionReader
from shared.kafka.view import View
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.tasks import TaskScope
from shared.vault.session import open_vault
from shared.vault.transit import Transit

_CALL_SECONDS_MAX: Final = 10.0
_READY_SECONDS_MAX: Final = 20.0
APPLIED_SECONDS_MAX: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Open connections and what is asked through them."""

    config: OperationsConfig
    producer: EventProducer
    accounts: PostgresAccounts
    management_keys: PostgresManagementKeys
    clock: Clock
    new_id: Callable[[], str]

    async def ask(self, topic: Topic, command: Event, *, key: str, callee: str) -> CallReply:
        """Ask another service; Unavailable(callee) when it does not answer in time."""
        calls = Calls(
            self.producer,
            reply_topic=OPERATIONS_REPLIES,
            reply_partition=0,
            clock=self.clock,
            new_id=self.new_id,
        )

        reader = PartitionReader(
            self.config.kafka,
            topic=OPERATIONS_REPLIES,
            partition=0,
            start="end",
            on_record=lambda received: _ignore(calls.on_record(received)),
            dead_letters=self._dead_letters(),
            clock=self.clock,
        )
        async with TaskScope() as scope:
            scope.start(reader.run(asyncio.Event()), name="replies")
            await _ready(reader.ready, scope)
            return await calls.call(
                topic, command, key=key, callee=callee, deadline_seconds=_CALL_SECONDS_MAX
            )

    async def is_applied(self, account_id: AccountId, version: int) -> bool:
        """Wait until billing goes by this version of the account's policy; False after 10 s."""
        applied = asyncio.Event()

        def on_change(key: str, state: StateEvent | None) -> None:
            if (
                key == account_id
                and isinstance(state, AccountBalance)
                and state.policy_version >= version
            ):
                applied.set()

        view = View(
            self.config.kafka,
            BILLING_ACCOUNTS,
            clock=self.clock,
            dead_letters=self._dead_letters(),
            on_change=on_change,
        )
        async with TaskScope() as scope:
            scope.start(view.run(asyncio.Event()), name="balances")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(APPLIED_SECONDS_MAX):
                    await applied.wait()
        return applied.is_set()

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[VaultIntake]:
        """Vault, as ingress' role."""
        async with open_vault(self.config.vault, self.clock) as vault:
            yield VaultIntake(Transit(vault))

    def _dead_letters(self) -> DeadLetters:
        return DeadLetters(self.producer, consumer="operations", clock=self.clock)


@asynccontextmanager
async def open_connections(config: OperationsConfig) -> AsyncIterator[Connections]:
    """Connect; the schema is brought up to date first, for ingress may never have run."""
    clock = SystemClock()
    instance = new_instance_id("operations", 0)
    async with (
        open_pool(config.postgres, application_name="operations") as pool,
        open_producer(config.kafka, source=instance, clock=clock, new_id=new_id) as producer,
    ):
        await migrate(pool, MIGRATIONS)
        yield Connections(
            config=config,
            producer=producer,
            accounts=PostgresAccounts(pool, producer),
            management_keys=PostgresManagementKeys(pool, producer),
            clock=clock,
            new_id=new_id,
        )


def _ignore(_taken: bool) -> None:  # noqa: FBT001 - what the callback gives
    """A reply that nobody waits for belongs to another command."""


async def _ready(ready: asyncio.Event, scope: TaskScope) -> None:
    async with TaskScope() as waiting:
        tasks = [
            waiting.start(ready.wait(), name="ready"),
            waiting.start(scope.failed.wait(), name="failed"),
        ]
        await asyncio.wait(tasks, timeout=_READY_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
    if scope.failure is not None:
        raise scope.failure
    if not ready.is_set():
        raise Unavailable("kafka", "the reply partition cannot be read")
