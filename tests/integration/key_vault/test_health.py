"""Checks and health: asked for, kept and told, with the dispatcher and billing played."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from deploy.tap import Tap, tap
from shared.clock import SystemClock
from shared.events.credential_health import (
    CheckCredential,
    CheckDescription,
    CheckStatus,
    CredentialChecked,
    CredentialCheckRequested,
    CredentialError,
    CredentialsObserved,
    CredentialUse,
    DeploymentCheck,
    HealthDescription,
)
from shared.events.credentials import CredentialForgotten, CredentialKept, GetCredential
from shared.events.envelope import Event
from shared.events.fees import ChargeReversed, FeeDeducted, FeeWaived
from shared.events.topic import Topic
from shared.events.topics import BILLING_FEES, CREDENTIALS_CHECKS, CREDENTIALS_OBSERVATIONS
from shared.ids import (
    CredentialId,
    InstanceId,
    month_of,
    new_generation_id,
    new_id,
)
from shared.kafka.config import KafkaConfig
from shared.kafka.producer import EventProducer, open_producer
from tests.conftest import Infrastructure
from tests.integration.key_vault.client import Client
from tests.integration.key_vault.conftest import KeyVaultProcess

pytestmark = pytest.mark.connected
_SECONDS_MAX = 20.0


@dataclass(slots=True)
class Neighbours:
    """A dispatcher and billing, as far as key_vault hears them."""

    client: Client
    producer: EventProducer
    asked: Tap

    async def request(self, credential: CredentialId, revision: int) -> CredentialCheckRequested:
        def wanted(event: object) -> bool:
            return (
                isinstance(event, CredentialCheckRequested)
                and event.credential_id == credential
                and event.secret_revision == revision
            )

        received = await self.asked.wait_for(
            lambda each: wanted(each.event), deadline_seconds=_SECONDS_MAX
        )
        assert isinstance(received.event, CredentialCheckRequested)
        return received.event

    async def tell(self, topic: Topic, *events: Event, ids: list[str] | None = None) -> None:
        """In one batch, so that they are read in this order."""
        await self.producer.send_many(
            [
                self.producer.record(
                    topic, event, key=self.client.account, event_id=ids[place] if ids else None
                )
                for place, event in enumerate(events)
            ]
        )

    def result(self, asked: CredentialCheckRequested, status: CheckStatus) -> CredentialChecked:
        return CredentialChecked(
            account_id=asked.account_id,
            credential_id=asked.credential_id,
            secret_revision=asked.secret_revision,
            requested_at=asked.requested_at,
            checked_at=datetime.now(UTC),  # noqa: TID251 - a moment of the test
            status=status,
            message=f"it is {status}",
            provider_status=401 if status == "refused" else 200,
            deployments=[
                DeploymentCheck(model_slug="m/m", model_id="m", status=status, message="this one")
            ],
        )

    async def told(self, credential: CredentialId) -> tuple[CheckDescription, HealthDescription]:
        query = GetCredential(account_id=self.client.account, credential_id=credential)
        kept = (await self.client.ask(query, CredentialKept)).credential
        assert kept.check is not None
        assert kept.health is not None
        return kept.check, kept.health

    async def told_status(self, credential: CredentialId, status: str) -> CheckDescription:
        return (await self._until(credential, lambda check, _: check.status == status))[0]

    async def told_requests(self, credential: CredentialId, requests: int) -> HealthDescription:
        return (await self._until(credential, lambda _, health: health.requests == requests))[1]

    async def told_used(self, credential: CredentialId, at: datetime) -> HealthDescription:
        return (await self._until(credential, lambda _, health: health.last_used_at == at))[1]

    async def _until(
        self, credential: CredentialId, wanted: "Wanted"
    ) -> tuple[CheckDescription, HealthDescription]:
        clock = SystemClock()
        deadline = clock.monotonic() + _SECONDS_MAX
        while True:  # each look is a call through Kafka, which takes its time
            found = await self.told(credential)
            if wanted(*found):
                return found
            assert clock.monotonic() < deadline, found


Wanted = Callable[[CheckDescription, HealthDescription], bool]


@pytest.fixture
async def neighbours(infrastructure: Infrastructure, client: Client) -> AsyncIterator[Neighbours]:
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    async with (
        open_producer(
            kafka, source=InstanceId("billing-0-test"), clock=SystemClock(), new_id=new_id
        ) as producer,
        tap(kafka, [CREDENTIALS_CHECKS]) as asked,
    ):
        yield Neighbours(client, producer, asked)


async def test_a_save_asks_for_a_check_and_its_result_is_told(neighbours: Neighbours) -> None:
    credential = await neighbours.client.add("openai", "sk-checked-0123456789")
    asked = await neighbours.request(credential, 1)
    check, _ = await neighbours.told(credential)
    assert check == CheckDescription(status="pending", requested_at=asked.requested_at)
    result = neighbours.result(asked, "refused")
    await neighbours.tell(CREDENTIALS_OBSERVATIONS, result)
    check = await neighbours.told_status(credential, "refused")
    assert (check.message, check.provider_status) == ("it is refused", 401)
    assert (check.checked_at, check.deployments) == (result.checked_at, result.deployments)


async def test_a_result_of_an_older_key_never_stands_for_the_newer(neighbours: Neighbours) -> None:
    client = neighbours.client
    credential = await client.add("openai", "sk-older-0123456789")
    older = await neighbours.request(credential, 1)
    command_id = new_id()
    await client.change(
        credential,
        command_id=command_id,
        sealed_key=await client.seal("sk-newer-0123456789", credential, command_id),
    )
    newer = await neighbours.request(credential, 2)
    late = neighbours.result(older, "ok")
    await neighbours.tell(CREDENTIALS_OBSERVATIONS, late, neighbours.result(newer, "refused"), late)
    await neighbours.told_status(credential, "refused")
    # a later fact of the same account has been taken in, so the late result has been too
    at = newer.requested_at
    await neighbours.tell(CREDENTIALS_OBSERVATIONS, late, _observed(client, credential, at))
    await neighbours.told_used(credential, at)
    check, _ = await neighbours.told(credential)
    assert check.status == "refused"


async def test_a_check_on_demand_asks_anew_once_the_last_is_over(neighbours: Neighbours) -> None:
    client = neighbours.client
    credential = await client.add("openai", "sk-again-0123456789")
    first = await neighbours.request(credential, 1)
    command = CheckCredential(account_id=client.account, credential_id=credential)
    kept = (await client.ask(command, CredentialKept)).credential
    assert kept.check is not None
    assert kept.check.requested_at == first.requested_at
    await neighbours.tell(CREDENTIALS_OBSERVATIONS, neighbours.result(first, "ok"))
    await neighbours.told_status(credential, "ok")
    kept = (await client.ask(command, CredentialKept)).credential
    assert kept.check is not None
    assert kept.check.status == "pending"
    second = await neighbours.asked.wait_for(
        lambda each: (
            isinstance(each.event, CredentialCheckRequested)
            and each.event.credential_id == credential
            and each.event.requested_at > first.requested_at
        )
    )
    assert isinstance(second.event, CredentialCheckRequested)


async def test_health_is_the_newest_of_each_kind_and_makes_no_new_state(
    neighbours: Neighbours,
) -> None:
    client = neighbours.client
    credential = await client.add("openai", "sk-health-0123456789")
    now = SystemClock().now()
    error = CredentialError(
        failure="rate_limited", provider_status=429, endpoint="openai/gpt-4o", at=now
    )
    await neighbours.tell(
        CREDENTIALS_OBSERVATIONS,
        _observed(client, credential, now - timedelta(seconds=9), last_success_at=now),
        _observed(
            client,
            credential,
            now,
            last_error=error,
            cooling_down_until=now + timedelta(minutes=10),
        ),
        _observed(client, credential, now - timedelta(seconds=5)),
        _observed(client, CredentialId(new_id()), now),
    )
    health = await neighbours.told_used(credential, now)
    assert (health.last_success_at, health.last_error) == (now, error)
    assert health.cooling_down_until == now + timedelta(minutes=10)
    assert (await client.row(credential))["version"] == 1
    later = now + timedelta(seconds=1)
    await neighbours.tell(CREDENTIALS_OBSERVATIONS, _observed(client, credential, later))
    health = await neighbours.told_used(credential, later)
    assert (health.last_error, health.cooling_down_until) == (error, None)


async def test_what_billing_booked_counts_once_however_often_it_comes(
    neighbours: Neighbours,
) -> None:
    client = neighbours.client
    credential = await client.add("openai", "sk-usage-0123456789")
    month = month_of(SystemClock().now())
    events: list[Event] = [
        _fee(FeeWaived, client, credential, month, 0),
        _fee(FeeDeducted, client, credential, month, 50),
        _fee(FeeDeducted, client, credential, month, 70),
        _fee(FeeDeducted, client, credential, "2020-01", 900),
        _fee(FeeDeducted, client, None, month, 900),
        ChargeReversed(
            generation_id=new_generation_id(),
            account_id=client.account,
            credential_id=credential,
            amount_nano_usd=70,
            waived=False,
            month=month,
            credits_nano_usd=0,
        ),
    ]
    ids = [new_id() for _ in events]
    await neighbours.tell(BILLING_FEES, *events, *events, ids=[*ids, *ids])
    await neighbours.tell(BILLING_FEES, *events, ids=ids)
    await neighbours.tell(BILLING_FEES, _fee(FeeWaived, client, credential, month, 0))
    health = await neighbours.told_requests(credential, 3)
    assert (health.month, health.fees_nano_usd) == (month, 50)


async def test_a_deleted_credential_leaves_nothing_to_be_told_of(
    neighbours: Neighbours,
    key_vault: KeyVaultProcess,
) -> None:
    client = neighbours.client
    gone = await client.add("openai", "sk-gone-0123456789")
    asked = await neighbours.request(gone, 1)
    stays = await client.add("openai", "sk-stays-0123456789")
    await client.ask(client.to_delete(gone), CredentialForgotten)
    now = SystemClock().now()
    month = month_of(now)
    await neighbours.tell(BILLING_FEES, _fee(FeeWaived, client, gone, month, 0))
    await neighbours.tell(
        CREDENTIALS_OBSERVATIONS,
        neighbours.result(asked, "ok"),
        _observed(client, gone, now),
        _observed(client, stays, now),
    )
    await neighbours.told_used(stays, now)
    assert key_vault.readiness()[0] == 200


def _observed(
    client: Client, credential: CredentialId, at: datetime, **fields: object
) -> CredentialsObserved:
    use = CredentialUse(
        credential_id=credential,
        attempts=1,
        failures=0,
        last_used_at=at,
        **fields,  # type: ignore[arg-type] # of the test
    )
    return CredentialsObserved(account_id=client.account, observed_at=at, credentials=[use])


def _fee(
    kind: type[FeeWaived | FeeDeducted],
    client: Client,
    credential: CredentialId | None,
    month: str,
    fee: int,
) -> FeeWaived | FeeDeducted:
    return kind(
        generation_id=new_generation_id(),
        account_id=client.account,
        credential_id=credential,
        model="openai/gpt-4o",
        list_cost_nano_usd=fee * 20,
        fee_percent=Decimal(5),
        fee_nano_usd=fee,
        month=month,
        allotment_used=1,
        credits_nano_usd=0,
    )
