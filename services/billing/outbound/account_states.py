"""Reads the published states of accounts as they are now."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.billing.domain.policy import FeePolicy
from shared.clock import Clock
from shared.events.billing import AccountBalance
from shared.events.topics import BILLING_ACCOUNTS
from shared.ids import AccountId, month_of
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.postgres.pool import Connection

_STATES: Final = """
select accounts.account_id,
       available_nano_usd, held_nano_usd, version, fee_percent, free_requests, policy_version,
       coalesce(used + reserved, 0) as allotment_used
from accounts left join allotments on allotments.account_id = accounts.account_id and month = $2
where accounts.account_id = any($1::text[])
"""


class AccountStates:
    """The states behind dirty keys of `billing.accounts`, for this UTC month."""

    def __init__(self, producer: EventProducer, clock: Clock, installation: FeePolicy) -> None:
        """`installation` is the fee policy of accounts without their own."""
        self._producer = producer
        self._clock = clock
        self._installation = installation

    async def __call__(
        self, connection: Connection, topic: str, keys: Sequence[str]
    ) -> Mapping[str, Record | None]:
        """The records to publish, of the accounts that exist."""
        if topic != BILLING_ACCOUNTS.name:
            raise ValueError(f"billing keeps no state for {topic}")
        month = month_of(self._clock.now())
        rows = await connection.fetch(_STATES, list(keys), month)
        return {row["account_id"]: self._record(row, month) for row in rows}

    def _record(self, row: Any, month: str) -> Record:
        key = row["account_id"]
        policy = self._installation.overridden(row["fee_percent"], row["free_requests"])
        balance = AccountBalance(
            version=row["version"],
            account_id=AccountId(key),
            credits_nano_usd=int(row["available_nano_usd"]),
            held_nano_usd=int(row["held_nano_usd"]),
            month=month,
            allotment_used=row["allotment_used"],
            free_requests=policy.free_requests,
            fee_percent=policy.fee_percent,
            policy_version=row["policy_version"],
        )
        return self._producer.record(BILLING_ACCOUNTS, balance, key=key)
