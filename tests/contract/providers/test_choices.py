"""Several choices, where the client insists on them: those that give them serve, no other is called."""

from collections.abc import Mapping

import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.ports import Provider
from tests.contract.providers.capabilities import TABLE
from tests.contract.providers.conftest import wire_of
from tests.simulator.app import Simulator

_ONE_ONLY = {
    "amazon-bedrock",
    "anthropic",
    "cohere",
    "deepseek",
    "google-vertex:anthropic",
    "groq",
}


@pytest.mark.parametrize("name", TABLE)
async def test_an_endpoint_with_one_choice_only_is_left_out_for_who_insists(
    every_provider: Mapping[str, Provider], simulator: Simulator, name: str
) -> None:
    wire = wire_of(name, every_provider, simulator)
    insisting = {"require_parameters": True}

    assert isinstance(await wire.complete(provider=insisting, n=1), WholeReply)
    assert isinstance(await wire.complete(n=2), WholeReply)
    called = len(simulator.calls.since())
    answer = await wire.complete(provider=insisting, n=2)

    if name in _ONE_ONLY:
        assert isinstance(answer, ProviderFailure)
        assert (answer.failure, answer.code) == (FailureClass.UNSUPPORTED, "unsupported_parameter")
        assert len(simulator.calls.since()) == called
    else:
        assert isinstance(answer, WholeReply)
