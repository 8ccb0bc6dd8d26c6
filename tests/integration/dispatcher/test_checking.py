"""Checks and observations of a dispatcher on real Kafka and OpenBao."""

import asyncio

from deploy.tap import Tap, tap
from services.dispatcher.process import Dispatcher
from shared.clock import SystemClock
from shared.events.credential_health import (
    CredentialChecked,
    CredentialCheckRequested,
    CredentialsObserved,
)
from shared.events.topics import CREDENTIALS_CHECKS, CREDENTIALS_OBSERVATIONS
from shared.ids import AccountId, CredentialId
from shared.kafka.config import KafkaConfig
from tests.conftest import Infrastructure
from tests.integration.dispatcher.conftest import World
from tests.simulator.scripts import Ok, Script, Status
from tests.support.wait_until import wait_until

_CLOCK = SystemClock()


async def ask_check(world: World, account: AccountId, credential: CredentialId) -> None:
    request = CredentialCheckRequested(
        account_id=account,
        credential_id=credential,
        secret_revision=1,
        requested_at=_CLOCK.now(),
    )
    await world.producer.emit(CREDENTIALS_CHECKS, request, key=account)


async def result_of(told: Tap, credential: CredentialId, status: str) -> CredentialChecked:
    received = await told.wait_for(
        lambda each: (
            isinstance(each.event, CredentialChecked)
            and each.event.credential_id == credential
            and each.event.status == status
        ),
        deadline_seconds=20,
    )
    assert isinstance(received.event, CredentialChecked)
    return received.event


async def test_a_revoked_key_is_told_as_refused_and_rests_until_a_check_finds_it_good(
    world: World, dispatcher: Dispatcher, account: AccountId, infrastructure: Infrastructure
) -> None:
    assert dispatcher.unready() is None
    secret = f"sk-revoked-{account}"
    own = await world.add_credential(secret, account_id=account)
    world.simulator.scripts.put(secret, Script(script=[Status(status=401)]))
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    async with tap(kafka, [CREDENTIALS_OBSERVATIONS]) as told:
        await ask_check(world, account, own)
        refused = await result_of(told, own, "refused")
        assert refused.provider_status == 401
        assert "Make a new one" in refused.message
        assert secret not in refused.message
        await wait_until(lambda: [each.state for each in world.health(own)] == ["failing"])
        world.simulator.scripts.put(secret, Script(script=[Ok()]))
        await ask_check(world, account, own)
        await result_of(told, own, "ok")
        await wait_until(lambda: world.health(own)[-1].state == "recovered")
    fact = await world.fact(await world.ask(account))
    assert [each.failure for each in fact.attempts] == [None]


async def test_many_generations_are_one_record_an_account_and_second(
    world: World, dispatcher: Dispatcher, account: AccountId, infrastructure: Infrastructure
) -> None:
    assert dispatcher.unready() is None
    good = await world.add_credential(f"sk-good-{account}", account_id=account, order=1)
    limited = await world.add_credential(f"sk-limited-429-{account}", account_id=account)
    kafka = KafkaConfig(bootstrap_servers=infrastructure.kafka)
    async with tap(kafka, [CREDENTIALS_OBSERVATIONS]) as told:
        generations = await asyncio.gather(*(world.ask(account) for _ in range(40)))
        await asyncio.gather(*(world.answer(each) for each in generations))

        def events() -> list[CredentialsObserved]:
            return [
                each.event
                for each in told.seen
                if isinstance(each.event, CredentialsObserved) and each.event.account_id == account
            ]

        def uses(credential: CredentialId) -> int:
            return sum(
                use.attempts
                for event in events()
                for use in event.credentials
                if use.credential_id == credential
            )

        await wait_until(lambda: uses(good) == 40, deadline_seconds=10)
    assert len(events()) <= 5
    errors = [
        use
        for event in events()
        for use in event.credentials
        if use.credential_id == limited and use.last_error is not None
    ]
    last = errors[0].last_error
    assert last is not None
    assert (last.failure, last.provider_status) == ("rate_limited", 429)
    assert last.endpoint == "openai/gpt-made-up"
    assert errors[0].cooling_down_until is not None
