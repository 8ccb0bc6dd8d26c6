"""Access tokens: minted once, kept until shortly before they end, replaced when they die."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.egress import open_egress
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.vertex.tokens import (
    EARLY_SECONDS,
    AccessTokens,
    open_access_tokens,
)
from shared.clock import SystemClock
from shared.tasks import TaskScope
from tests.contract.providers.builders import vertex_secret
from tests.simulator.app import Simulator, running_simulator
from tests.simulator.call_log import CallLog
from tests.support.pasted_keys import rsa_public_pem


class _LaterClock(SystemClock):
    """The system's, and as much later as a test says."""

    def __init__(self) -> None:
        self.later_seconds = 0.0

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.later_seconds


@pytest.fixture
def clock() -> _LaterClock:
    return _LaterClock()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator(CallLog(SystemClock(), id_prefix="t")) as running:
        for name in ("one", "two"):
            running.accounts.put(vertex_secret(name).client_email, rsa_public_pem())
        yield running


@pytest.fixture
async def tokens(simulator: Simulator, clock: _LaterClock) -> AsyncIterator[AccessTokens]:
    async with (
        open_egress(allow=frozenset({f"127.0.0.1:{simulator.port}"})) as egress,
        open_access_tokens(
            CompletionsClient(egress, clock), token_url=simulator.url + "/token", clock=clock
        ) as opened,
    ):
        yield opened


async def test_many_who_need_a_token_at_once_mint_one(
    tokens: AccessTokens, simulator: Simulator
) -> None:
    got = await asyncio.gather(*(tokens.get(vertex_secret("one")) for _ in range(20)))
    assert len(set(map(str, got))) == 1
    assert simulator.accounts.mints == 1


async def test_each_credential_has_its_own(tokens: AccessTokens, simulator: Simulator) -> None:
    one, two = await tokens.get(vertex_secret("one")), await tokens.get(vertex_secret("two"))
    assert isinstance(one, str)
    assert isinstance(two, str)
    assert simulator.accounts.holder_of(one) == vertex_secret("one").client_email
    assert simulator.accounts.holder_of(two) == vertex_secret("two").client_email


async def test_a_token_is_minted_anew_before_it_ends(
    tokens: AccessTokens, simulator: Simulator, clock: _LaterClock
) -> None:
    first = await tokens.get(vertex_secret("one"))
    clock.later_seconds = simulator.accounts.seconds - EARLY_SECONDS - 5
    assert await tokens.get(vertex_secret("one")) == first
    clock.later_seconds += 10
    assert await tokens.get(vertex_secret("one")) != first
    assert simulator.accounts.mints == 2


async def test_a_token_that_lives_shortly_is_still_used(
    tokens: AccessTokens, simulator: Simulator
) -> None:
    simulator.accounts.seconds = 60
    assert await tokens.get(vertex_secret("one")) == await tokens.get(vertex_secret("one"))
    assert simulator.accounts.mints == 1


async def test_many_whose_token_died_mint_one_together(
    tokens: AccessTokens, simulator: Simulator
) -> None:
    dead = await tokens.get(vertex_secret("one"))
    assert isinstance(dead, str)
    got = await asyncio.gather(
        *(tokens.get(vertex_secret("one"), not_this=dead) for _ in range(20))
    )
    assert len(set(map(str, got))) == 1
    assert dead not in got
    assert simulator.accounts.mints == 2


async def test_a_refusal_is_told_to_all_and_not_kept(
    tokens: AccessTokens, simulator: Simulator
) -> None:
    stranger = vertex_secret("three")
    for failure in await asyncio.gather(tokens.get(stranger), tokens.get(stranger)):
        assert isinstance(failure, ProviderFailure)
        assert (failure.failure, failure.code) == (FailureClass.KEY_REFUSED, "invalid_grant")
    simulator.accounts.put(stranger.client_email, rsa_public_pem())
    assert isinstance(await tokens.get(stranger), str)


async def test_who_asked_first_may_leave_without_the_others(
    tokens: AccessTokens, simulator: Simulator
) -> None:
    async with TaskScope() as scope:
        first = scope.start(tokens.get(vertex_secret("one")), name="first")
        second = scope.start(tokens.get(vertex_secret("one")), name="second")
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, str)
    assert simulator.accounts.mints == 1
    assert len(tokens) == 1
