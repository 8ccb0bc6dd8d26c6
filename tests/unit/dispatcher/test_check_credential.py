"""Checks: what is called, what is told, and what requests learn from it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.ports import Claim, Provider
from services.dispatcher.use_cases import check_credential
from services.dispatcher.use_cases.check_credential import CheckCredential
from shared.errors import Unavailable
from shared.events.credential_health import CredentialChecked, CredentialCheckRequested
from shared.events.credentials import CredentialChanged, Deployment
from shared.events.routing import HealthChanged
from shared.tasks import TaskScope
from tests.fakes.scripted_provider import ScriptedProvider
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.made import NOW, attempt, credential, whole
from tests.unit.dispatcher.world import World, WorldCredentials, WorldSecrets, won

REFUSED = ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401)
LIMITED = ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429)
GONE = ProviderFailure(failure=FailureClass.MISCONFIGURED, status=404)


@dataclass(slots=True)
class Checking:
    """The use case over the world of runs."""

    world: World
    results: list[CredentialChecked] = field(default_factory=list)
    kafka_is_away: bool = False
    providers: dict[str, Provider] = field(default_factory=dict)

    @property
    def provider(self) -> ScriptedProvider:
        return self.world.provider

    async def checked(self, result: CredentialChecked) -> None:
        if self.kafka_is_away:
            raise Unavailable("kafka")
        self.results.append(result)

    def use_case(self) -> CheckCredential:
        return CheckCredential(
            credentials=WorldCredentials(self.world),
            secrets=WorldSecrets(self.world),
            providers=self.providers or {"openai": self.provider, "azure": self.provider},
            health=self.world.health,
            broadcast=self.world,
            observations=self.world.observations,
            results=self,
            clock=self.world.clock,
        )

    async def check(
        self, of: CredentialChanged, *, revision: int | None = None, claim: Claim | None = None
    ) -> CredentialChecked | None:
        asked = CredentialCheckRequested(
            account_id=of.account_id,
            credential_id=of.credential_id,
            secret_revision=of.secret_revision if revision is None else revision,
            requested_at=NOW,
        )
        await self.use_case().run(asked, claim or won())
        return self.results[-1] if self.results else None

    def start(self, of: CredentialChanged) -> "asyncio.Task[CredentialChecked | None]":
        return self.world.background.start(self.check(of), name="check")

    def told(self) -> list[tuple[str, str]]:
        return [
            (each.endpoint, each.state)
            for each in self.world.out
            if isinstance(each, HealthChanged)
        ]


@pytest.fixture
async def checking() -> AsyncIterator[Checking]:
    async with TaskScope() as background:
        yield Checking(World(background))
        assert background.failure is None


def azure() -> CredentialChanged:
    return credential(
        provider="azure",
        deployments=[
            Deployment(model_slug="openai/gpt-4o", model_id="good"),
            Deployment(model_slug="openai/gpt-4o-mini", model_id="gone"),
        ],
    )


async def test_a_good_key_is_told_with_its_revision_and_request(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.provider.scripts = [whole()]
    result = await checking.check(own)
    assert result is not None
    assert (result.status, result.secret_revision, result.requested_at) == ("ok", 1, NOW)
    assert result.deployments is None
    assert len(checking.provider.calls) == 1


async def test_each_azure_deployment_is_tried(checking: Checking) -> None:
    own = azure()
    checking.world.own = [own]
    checking.provider.scripts = [whole(), GONE]
    result = await checking.check(own)
    assert result is not None
    assert result.status == "refused"
    assert result.deployments is not None
    assert [(each.model_id, each.status) for each in result.deployments] == [
        ("good", "ok"),
        ("gone", "refused"),
    ]
    assert [call.attempt.endpoint.provider_model for call in checking.provider.calls] == [
        "good",
        "gone",
    ]
    assert checking.told() == [("azure/gone", "failing")]


async def test_a_refused_key_is_failing_everywhere_at_once(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.provider.scripts = [REFUSED]
    result = await checking.check(own)
    assert result is not None
    assert (result.status, result.provider_status) == ("refused", 401)
    blocked = checking.world.health.blocking(attempt(own), checking.world.clock.now())
    assert blocked is not None
    assert blocked.state == "failing"
    assert checking.told() == [("*", "failing")]
    assert len(checking.world.observations) == 1


async def test_a_good_check_lets_a_failing_key_be_tried_again_but_not_a_cooling_one(
    checking: Checking,
) -> None:
    own = credential()
    checking.world.own = [own]
    health, clock = checking.world.health, checking.world.clock
    began = clock.now() - timedelta(seconds=1)
    for failure in (REFUSED, LIMITED):
        health.failed(attempt(own), failure, began_at=began, now=began)
    checking.provider.scripts = [whole()]
    await checking.check(own)
    blocked = health.blocking(attempt(own), began)
    assert blocked is not None
    assert blocked.reason is FailureClass.RATE_LIMITED
    assert checking.told() == [("*", "recovered")]


async def test_a_failure_seen_during_the_check_outlives_it(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    gate = asyncio.Event()
    checking.provider.scripts = [gate, whole()]
    running = checking.start(own)
    await wait_until(lambda: bool(checking.provider.calls))
    checking.world.clock.advance(1)
    now = checking.world.clock.now()
    checking.world.health.failed(attempt(own), REFUSED, began_at=now, now=now)
    gate.set()
    await running
    assert checking.world.health.blocking(attempt(own), now) is not None


async def test_a_missing_permission_to_list_models_spares_no_request(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    denied = ProviderFailure(failure=FailureClass.PERMISSION_DENIED, status=403)
    checking.provider.scripts = [denied]
    result = await checking.check(own)
    assert result is not None
    assert result.status == "no_permission"
    assert len(checking.world.health) == 0


async def test_a_provider_without_an_adapter_is_told_as_unknown(checking: Checking) -> None:
    own = credential(provider="google-vertex")
    checking.world.own = [own]
    result = await checking.check(own)
    assert result is not None
    assert result.status == "unknown"
    assert checking.provider.calls == []


async def test_a_replaced_key_is_not_tried_for_its_predecessor(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    assert await checking.check(own, revision=0) is None
    assert checking.provider.calls == []


async def test_a_key_that_comes_after_its_request_is_waited_for(checking: Checking) -> None:
    own = credential()
    checking.provider.scripts = [whole()]
    running = checking.start(own)
    await asyncio.sleep(0)
    checking.world.own = [own]
    result = await running
    assert result is not None
    assert result.status == "ok"


async def test_a_key_that_never_comes_is_told_as_such(checking: Checking) -> None:
    running = checking.start(credential())
    await asyncio.sleep(0)
    checking.world.clock.advance(check_credential.VIEW_SECONDS_MAX)
    result = await running
    assert result is not None
    assert result.status == "unknown"
    assert "has not reached" in result.message


async def test_vault_away_says_nothing_about_the_key(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.world.away.vault = True
    result = await checking.check(own)
    assert result is not None
    assert (result.status, checking.provider.calls) == ("unknown", [])


async def test_a_ciphertext_that_does_not_open_must_be_saved_again(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.world.unopened = {own.credential_id}
    result = await checking.check(own)
    assert result is not None
    assert result.status == "refused"
    assert "Save it again" in result.message


async def test_a_bug_in_an_adapter_ends_one_check_and_no_more(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.provider.scripts = [ValueError("bug")]
    with capture_logs() as logs:
        result = await checking.check(own)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["check broke"]
    assert result is not None
    assert result.status == "unknown"


async def test_a_lost_claim_calls_nobody(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    claim = won(outcome=False)
    assert await checking.check(own, claim=claim) is None
    assert checking.provider.calls == []
    assert claim.is_done


async def test_a_result_that_kafka_does_not_take_is_lost_quietly(checking: Checking) -> None:
    own = credential()
    checking.world.own = [own]
    checking.kafka_is_away = True
    checking.provider.scripts = [whole()]
    claim = won()
    assert await checking.check(own, claim=claim) is None
    assert claim.is_done


async def test_no_more_checks_run_at_once_than_may(checking: Checking) -> None:
    count = check_credential.CHECKS_AT_ONCE + 3
    keys = [credential(f"c{number}") for number in range(count)]
    checking.world.own = list(keys)
    gate = asyncio.Event()
    checking.provider.scripts = [gate] * check_credential.CHECKS_AT_ONCE
    use_case = checking.use_case()
    running = [
        checking.world.background.start(
            use_case.run(
                CredentialCheckRequested(
                    account_id=each.account_id,
                    credential_id=each.credential_id,
                    secret_revision=1,
                    requested_at=NOW,
                ),
                won(),
            ),
            name="check",
        )
        for each in keys
    ]
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(checking.provider.calls) == check_credential.CHECKS_AT_ONCE
    checking.provider.scripts += [whole()] * count
    gate.set()
    await asyncio.gather(*running)
    assert [each.status for each in checking.results] == ["ok"] * count
