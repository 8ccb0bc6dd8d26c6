"""A whole Azure resource: where its key goes, and where it never goes."""

from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import WholeReply
from services.dispatcher.outbound.providers.azure_resources import resource_url
from services.dispatcher.outbound.providers.registry import open_providers
from services.dispatcher.ports import Provider, ProviderSecret
from shared.clock import SystemClock
from shared.events.credential_secrets import AZURE, AzureResourceSecret, AzureSecret
from tests.contract.providers.builders import (
    attempt,
    azure_resource_secret,
    azure_secret,
    request,
)
from tests.contract.providers.handwritten import Handwritten

_WHOLE = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}'
)
OPENAI = AzureResourceSecret(resource_name="my-res", resource_type="openai", api_key="k")
FOUNDRY = AzureResourceSecret(resource_name="my-res", resource_type="ai_foundry", api_key="k")


@pytest.fixture
async def azure(handwritten: Handwritten) -> AsyncIterator[Provider]:
    handwritten.pieces = [_WHOLE]
    async with open_providers(
        endpoints={AZURE: handwritten.url + "/"},
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened[AZURE]


@pytest.mark.parametrize(
    ("resource", "deployment", "host", "path"),
    [
        (
            OPENAI,
            "gpt-4o",
            "https://my-res.openai.azure.com",
            "/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview",
        ),
        (
            OPENAI,
            "a/../b?c",
            "https://my-res.openai.azure.com",
            "/openai/deployments/a%2F..%2Fb%3Fc/chat/completions?api-version=2025-04-01-preview",
        ),
        (
            FOUNDRY,
            "gpt-4o",
            "https://my-res.services.ai.azure.com",
            "/models/chat/completions?api-version=2024-05-01-preview",
        ),
    ],
)
def test_without_a_base_url_a_resource_is_called_at_the_host_of_its_name(
    resource: AzureResourceSecret, deployment: str, host: str, path: str
) -> None:
    assert resource_url(resource, deployment, base_url=None) == host + path


async def test_an_openai_resource_has_its_deployment_in_the_path(
    azure: Provider, handwritten: Handwritten
) -> None:
    reply = await azure.complete(attempt(AZURE, resource="res"), azure_resource_secret(), request())

    assert isinstance(reply, WholeReply)
    assert handwritten.paths == [
        "/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview"
    ]
    (headers,) = handwritten.headers
    assert headers["api-key"] == "azure-test-key-0001"
    assert headers.keys().isdisjoint({"Authorization", "extra-parameters"})


@pytest.mark.parametrize(
    ("model", "extra"), [("openai/gpt-4o", "pass-through"), ("mistralai/mistral-large", "drop")]
)
async def test_a_foundry_resource_has_its_deployment_in_the_body(
    azure: Provider, handwritten: Handwritten, model: str, extra: str
) -> None:
    to = attempt(AZURE, model=model, resource="res")
    secret = azure_resource_secret("ai_foundry")

    pieces = [each async for each in azure.stream(to, secret, request(stream=True))]

    assert pieces
    assert handwritten.paths == ["/models/chat/completions?api-version=2024-05-01-preview"]
    assert handwritten.headers[0]["extra-parameters"] == extra
    sent = msgspec.json.decode(handwritten.bodies[0])
    assert sent["model"] == model.partition("/")[2]
    assert sent["stream_options"] == {"include_usage": True}


async def test_each_resource_is_called_with_its_own_key(
    azure: Provider, handwritten: Handwritten
) -> None:
    secret = AzureSecret(
        deployments=azure_secret("https://elsewhere.openai.azure.com/x").deployments,
        resources=[
            *azure_resource_secret(key="first-key", name="first").resources,
            *azure_resource_secret(key="second-key", name="second").resources,
        ],
    )

    await azure.complete(attempt(AZURE, resource="second"), secret, request())

    assert [each["api-key"] for each in handwritten.headers] == ["second-key"]


@pytest.mark.parametrize(
    ("secret", "resource"),
    [
        (azure_resource_secret(name="other"), "res"),
        (azure_resource_secret(), None),
        (azure_secret("https://res.openai.azure.com/chat/completions"), "res"),
    ],
)
async def test_a_key_is_never_sent_where_its_credential_does_not_name_the_place(
    azure: Provider, handwritten: Handwritten, secret: ProviderSecret, resource: str | None
) -> None:
    answer = await azure.complete(attempt(AZURE, resource=resource), secret, request())

    assert answer == ProviderFailure(failure=FailureClass.MISCONFIGURED, code="no_such_deployment")
    assert handwritten.bodies == []


async def test_a_deployments_own_address_stays_whatever_the_base_url_of_resources_is(
    providers: Mapping[str, Provider], handwritten: Handwritten
) -> None:
    handwritten.pieces = [_WHOLE]
    secret = azure_secret(handwritten.url + "/mine/chat/completions?api-version=1")

    reply = await providers[AZURE].complete(attempt(AZURE), secret, request())

    assert isinstance(reply, WholeReply)
    assert handwritten.paths == ["/mine/chat/completions?api-version=1"]


async def test_a_base_url_that_cannot_be_called_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="the base URL of azure cannot be called"):
        async with open_providers(
            endpoints={AZURE: "http://10.0.0.7"}, egress_allow=frozenset(), clock=SystemClock()
        ):
            pass
