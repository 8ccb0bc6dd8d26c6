"""Checking a key at each adapter: the cheapest call, and what every answer to it means."""

from collections.abc import Mapping

import msgspec
import pytest

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.check import attempts_to_check
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.outbound.egress import open_egress
from services.dispatcher.outbound.providers import quirks
from services.dispatcher.outbound.providers.completions_client import CompletionsClient
from services.dispatcher.outbound.providers.openai_compatible import OpenAICompatible, ProviderRow
from services.dispatcher.outbound.providers.registry import ROWS, open_providers
from services.dispatcher.ports import Provider
from shared.clock import SystemClock
from shared.events.credentials import Deployment, Resource
from tests.contract.providers.builders import azure_secret, credential, string_secret
from tests.contract.providers.conftest import AZURE_PATH, Wire
from tests.contract.providers.handwritten import Handwritten
from tests.simulator.app import Simulator

DEPLOYMENT = Deployment(model_slug="openai/gpt-4o", model_id="gpt-4o")


def attempt_of(slug: str, *, is_resource: bool = False) -> Attempt:
    kept = credential(slug)
    if is_resource:
        resources = (Resource(resource_name="res"),)
        kept = msgspec.structs.replace(kept, deployments=[], resources=resources)
    elif slug == "azure":
        kept = msgspec.structs.replace(kept, deployments=[DEPLOYMENT])
    (only,) = attempts_to_check(kept)
    return only


def attempt_at(wire: Wire) -> Attempt:
    return attempt_of(wire.slug, is_resource=wire.resource_type is not None)


async def test_a_good_key_is_taken(wire: Wire, simulator: Simulator) -> None:
    assert await wire.provider.check(attempt_at(wire), wire.secret()) is None
    calls = simulator.calls.since()
    if wire.slug == "azure" and wire.resource_type is None:
        (call,) = calls
        assert (call.model, call.streamed) == ("gpt-4o", False)
        assert call.usage is not None
        assert call.usage.completion_tokens == 1
    else:
        assert calls == []  # no completion was asked for


@pytest.mark.parametrize(
    ("marker", "status", "failure"),
    [
        ("401", 401, FailureClass.KEY_REFUSED),
        ("invalid", 401, FailureClass.KEY_REFUSED),
        ("402", 402, FailureClass.QUOTA_EXHAUSTED),
        ("403", 403, FailureClass.PERMISSION_DENIED),
        ("404", 404, FailureClass.MISCONFIGURED),
        ("429", 429, FailureClass.RATE_LIMITED),
        ("500", 500, FailureClass.PROVIDER_ERROR),
        ("503", 503, FailureClass.PROVIDER_ERROR),
        ("quota", 429, FailureClass.QUOTA_EXHAUSTED),
        ("garbage", 200, FailureClass.PROVIDER_ERROR),
        ("reset", None, FailureClass.UNREACHABLE),
    ],
)
async def test_a_failure_says_what_it_means(
    wire: Wire, marker: str, status: int | None, failure: FailureClass
) -> None:
    found = await wire.provider.check(attempt_at(wire), wire.secret(marker))
    assert found is not None
    if wire.slug == "anthropic" and marker == "quota":
        status = 400  # an empty balance is a 400 there
    assert (found.failure, found.status) == (failure, status)
    assert f"-{marker}-" not in (found.raw or "")


async def test_a_deployment_that_is_not_there_is_a_misconfiguration(
    simulator: Simulator, providers: Mapping[str, Provider]
) -> None:
    gone = azure_secret(simulator.url + AZURE_PATH.replace("gpt-4o", "missing"))
    found = await providers["azure"].check(attempt_of("azure"), gone)
    assert found is not None
    assert (found.failure, found.status) == (FailureClass.MISCONFIGURED, 404)


async def test_a_secret_of_another_form_is_not_sent(wire: Wire, simulator: Simulator) -> None:
    other = string_secret() if wire.slug == "azure" else azure_secret(simulator.url + AZURE_PATH)
    found = await wire.provider.check(attempt_at(wire), other)
    assert found is not None
    assert found.code == "credential_shape"


@pytest.mark.parametrize("row", ROWS, ids=[row.slug for row in ROWS])
async def test_every_row_asks_for_what_only_a_good_key_is_told(
    row: ProviderRow, handwritten: Handwritten
) -> None:
    handwritten.answer_headers = {"Content-Type": "application/json"}
    async with open_providers(
        endpoints={row.slug: handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as providers:
        found = await providers[row.slug].check(attempt_of(row.slug), string_secret("sk-row-0001"))
    assert found is None
    assert handwritten.paths == ["/key" if row.slug == "openrouter" else "/models"]
    assert handwritten.headers[0]["Authorization"] == "Bearer sk-row-0001"
    assert handwritten.bodies == [b""]


async def test_a_row_without_such_a_path_asks_its_cheapest_model_for_one_token(
    simulator: Simulator,
) -> None:
    row = ProviderRow(
        slug="made-up",
        name="Made up",
        base_url=simulator.url + "/v1",
        quirks=quirks.OPENAI,
        check_path=None,
        check_model="tiny",
    )
    allow = frozenset({f"127.0.0.1:{simulator.port}"})
    async with open_egress(allow=allow) as egress:
        provider = OpenAICompatible(row, CompletionsClient(egress, SystemClock()))
        good = await provider.check(attempt_of("made-up"), string_secret())
        bad = await provider.check(attempt_of("made-up"), string_secret("sk-test-401-key"))
    assert good is None
    assert isinstance(bad, ProviderFailure)
    assert bad.failure is FailureClass.KEY_REFUSED
    taken = [call for call in simulator.calls.since() if call.outcome == "completed"]
    assert [(call.model, call.usage and call.usage.completion_tokens) for call in taken] == [
        ("tiny", 1)
    ]


async def test_a_redirect_is_not_followed_and_proves_nothing(handwritten: Handwritten) -> None:
    handwritten.status = 302
    handwritten.answer_headers = {"Location": handwritten.url + "/elsewhere"}
    async with open_providers(
        endpoints={"openai": handwritten.url},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as providers:
        found = await providers["openai"].check(attempt_of("openai"), string_secret())
    assert found is not None
    assert found.status == 302
    assert handwritten.paths == ["/models"]


async def test_an_address_that_egress_forbids_is_not_called(
    providers: Mapping[str, Provider],
) -> None:
    inside = azure_secret("https://10.0.0.1/openai" + AZURE_PATH.removeprefix("/openai"))
    found = await providers["azure"].check(attempt_of("azure"), inside)
    assert found is not None
    assert found.code == "address_forbidden"
