"""Reads the published state of an account as it is now."""

from typing import Final

from services.billing.domain.policy import FeePolicy
from services.billing.outbound.postgres_page import own_policy
from shared.clock import Clock
from shared.events.billing import AccountBalance
from shared.events.topics import BILLING_ACCOUNTS
from shared.ids import AccountId, month_of
from shared.kafka.producer import EventProducer
from shared.kafka.record import Record
from shared.postgres.pool import Connection

_STATE: Final = """
select available_nano_usd, held_nano_usd, version, policy_version,
       fee_percent, allotment_rule, free_requests, free_list_cost_nano_usd,
       coalesce(used + reserved, 0) as allotment_used,
       coalesce(list_cost_used_nano_usd + list_cost_reserved_nano_usd, 0) as list_cost_used_nano_usd
from accounts left join allotments on allotments.account_id = accounts.account_id and month = $2
where accounts.account_id = $1
"""


class AccountStates:
    """The state behind a dirty key of `billing.accounts`, for this UTC month."""

    def __init__(self, producer: EventProducer, clock: Clock, installation: FeePolicy) -> None:
        """`installation` is the fee policy of accounts without their own."""
        self._producer = producer
        self._clock = clock
        self._installation = installation

    async def __call__(self, connection: Connection, topic: str, key: str) -> Record | None:
        """The record to publish; None for an account that does not exist."""
        if topic != BILLING_ACCOUNTS.name:
            raise ValueError(f"billing keeps no state for {topic}")
        month = month_of(self._clock.now())
        row = await connection.fetchrow(_STATE, key, month)
        if row is None:
            return None
        policy = self._installation.overridden(own_policy(row))
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
            allotment_rule=policy.allotment_rule,
            list_cost_used_nano_usd=int(row["list_cost_used_nano_usd"]),
            free_list_cost_nano_usd=policy.free_list_cost_nano_usd,
        )
        return self._producer.record(BILLING_ACCOUNTS, balance, key=key)
