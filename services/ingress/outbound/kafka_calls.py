"""Asking key_vault, billing and the dispatchers."""

from typing import Final

from typing_extensions import override

from services.ingress.ports import Billing, CredentialCommands, Plans
from shared.events.envelope import CallReply, Event
from shared.events.plans import ExplainPlan
from shared.events.topics import (
    BILLING_COMMANDS,
    BILLING_QUERIES,
    CREDENTIALS_COMMANDS,
    ROUTING_PLANS,
)
from shared.ids import AccountId
from shared.kafka.calls import Calls

CALL_SECONDS_MAX: Final = 5.0


class KafkaCredentialCommands(CredentialCommands):
    """key_vault, by calls."""

    def __init__(self, calls: Calls) -> None:
        """Use the process's calls."""
        self._calls = calls

    @override
    async def ask(self, command: Event, *, account_id: AccountId) -> CallReply:
        return await self._calls.call(
            CREDENTIALS_COMMANDS,
            command,
            key=account_id,
            callee="key-vault",
            deadline_seconds=CALL_SECONDS_MAX,
        )


class KafkaBilling(Billing):
    """billing, by calls."""

    def __init__(self, calls: Calls) -> None:
        """Use the process's calls."""
        self._calls = calls

    @override
    async def ask(self, query: Event, *, account_id: AccountId) -> CallReply:
        return await self._calls.call(
            BILLING_COMMANDS,
            query,
            key=account_id,
            callee="billing",
            deadline_seconds=CALL_SECONDS_MAX,
        )


class KafkaBillingQueries(Billing):
    """billing, by calls that change nothing."""

    def __init__(self, calls: Calls) -> None:
        """Use the process's calls."""
        self._calls = calls

    @override
    async def ask(self, query: Event, *, account_id: AccountId) -> CallReply:
        return await self._calls.call(
            BILLING_QUERIES,
            query,
            key=account_id,
            callee="billing",
            deadline_seconds=CALL_SECONDS_MAX,
        )


class KafkaPlans(Plans):
    """Any dispatcher, by calls."""

    def __init__(self, calls: Calls) -> None:
        """Use the process's calls."""
        self._calls = calls

    @override
    async def ask(self, question: ExplainPlan) -> CallReply:
        return await self._calls.call(
            ROUTING_PLANS,
            question,
            key=question.account_id,
            callee="dispatcher",
            deadline_seconds=CALL_SECONDS_MAX,
        )
