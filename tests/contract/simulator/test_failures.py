"""Refusals and spoilt answers: each is the exception that the official client has for it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.contract.simulator.conftest import AzureClients, OpenAIClients
from tests.simulator.app import Simulator
from tests.simulator.scripts import Script, SlowFirstByte, Status
from tests.support.wait_until import wait_until

MESSAGES: Any = [{"role": "user", "content": "hello words=6"}]


async def refused(client: AsyncOpenAI, **arguments: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(
            **({"model": "gpt-4o", "messages": MESSAGES} | arguments)
        )
    return caught.value


@pytest.mark.parametrize(
    ("key", "kind", "code"),
    [
        ("sk-x-401-x", openai.AuthenticationError, "invalid_api_key"),
        ("sk-invalid", openai.AuthenticationError, "invalid_api_key"),
        ("nonsense", openai.AuthenticationError, "invalid_api_key"),
        ("sk-x-403-x", openai.PermissionDeniedError, "unsupported_country_region_territory"),
        ("sk-x-404-x", openai.NotFoundError, "model_not_found"),
        ("sk-x-429-x", openai.RateLimitError, "rate_limit_exceeded"),
        ("sk-x-quota-x", openai.RateLimitError, "insufficient_quota"),
        ("sk-x-402-x", openai.APIStatusError, "insufficient_balance"),
        ("sk-x-408-x", openai.APIStatusError, None),
        ("sk-x-500-x", openai.InternalServerError, None),
        ("sk-x-503-x", openai.InternalServerError, None),
        ("sk-x-context-x", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_a_marker_in_an_openai_key_chooses_the_error(
    openai_client: OpenAIClients, key: str, kind: type[openai.APIStatusError], code: str | None
) -> None:
    error = await refused(openai_client(key))

    assert type(error) is kind
    assert error.code == code
    assert isinstance(error.body, dict)
    assert error.body.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("key", "kind", "code"),
    [
        ("azure-401-x", openai.AuthenticationError, "401"),
        ("nonsense", openai.AuthenticationError, "401"),
        ("azure-403-x", openai.PermissionDeniedError, "403"),
        ("azure-404-x", openai.NotFoundError, "DeploymentNotFound"),
        ("azure-429-x", openai.RateLimitError, "429"),
        ("azure-500-x", openai.InternalServerError, "InternalServerError"),
        ("azure-503-x", openai.InternalServerError, "ServiceUnavailable"),
        ("azure-filter-x", openai.BadRequestError, "content_filter"),
        ("azure-context-x", openai.BadRequestError, "context_length_exceeded"),
        ("azure-quota-x", openai.RateLimitError, "insufficient_quota"),
    ],
)
async def test_a_marker_in_an_azure_key_chooses_the_error(
    azure_client: AzureClients, key: str, kind: type[openai.APIStatusError], code: str
) -> None:
    error = await refused(azure_client(key))

    assert type(error) is kind
    assert error.code == code


async def test_a_rate_limit_says_when_to_come_back(
    openai_client: OpenAIClients, azure_client: AzureClients
) -> None:
    for client in (openai_client("sk-x-429-x"), azure_client("azure-429-x")):
        error = await refused(client)
        assert error.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"extra_body": {"provider": {}}}, "Unrecognized request argument supplied: provider"),
        (
            {"extra_body": {"usage": {}, "models": []}},
            "Unrecognized request arguments supplied: models, usage",
        ),
        ({"model": "gpt-5", "max_tokens": 5}, "Unsupported parameter: 'max_tokens'"),
        ({"model": "o3-mini", "max_tokens": 5}, "Unsupported parameter: 'max_tokens'"),
        ({"messages": "hello"}, "Invalid type for 'messages'"),
        ({"messages": []}, "Invalid 'messages': empty array"),
        ({"extra_body": {"stream_options": {}}}, "only allowed when 'stream' is enabled"),
    ],
)
async def test_both_wires_are_as_strict_as_openai(
    openai_client: OpenAIClients,
    azure_client: AzureClients,
    arguments: dict[str, Any],
    message: str,
) -> None:
    for client in (openai_client("sk-plain"), azure_client("azure-plain")):
        error = await refused(client, **arguments)
        assert error.status_code == 400
        assert error.type == "invalid_request_error"
        assert message in error.message


async def test_an_unknown_model_or_deployment_is_not_found(
    openai_client: OpenAIClients, azure_client: AzureClients
) -> None:
    openai_error = await refused(openai_client("sk-plain"), model="missing-model")
    azure_error = await refused(azure_client("azure-plain"), model="missing-model")

    assert (openai_error.status_code, openai_error.code) == (404, "model_not_found")
    assert (azure_error.status_code, azure_error.code) == (404, "DeploymentNotFound")


async def test_azure_wants_an_api_version_and_old_ones_know_no_stream_options(
    azure_client: AzureClients,
) -> None:
    client = azure_client("azure-plain")
    for version in ("", "latest"):
        error = await refused(client, extra_query={"api-version": version})
        assert (error.status_code, error.code) == (404, "404")
        assert "Resource not found" in error.message
    old = await refused(
        client,
        stream=True,
        stream_options={"include_usage": True},
        extra_query={"api-version": "2024-02-01"},
    )
    assert "Unrecognized request argument supplied: stream_options" in old.message


@pytest.mark.parametrize("marker", ["cut", "errorfirst", "errorafter"])
async def test_a_spoilt_stream_raises(
    openai_client: OpenAIClients, azure_client: AzureClients, simulator: Simulator, marker: str
) -> None:
    for client in (openai_client(f"sk-x-{marker}-x"), azure_client(f"azure-{marker}-x")):
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True
        )
        expected = openai.APIConnectionError if marker == "cut" else openai.APIError
        with pytest.raises(expected):
            _ = [chunk async for chunk in stream]
    assert [call.outcome for call in simulator.calls.since()] == ["failed", "failed"]


async def test_a_stream_can_just_end_after_three_words(
    openai_client: OpenAIClients, simulator: Simulator
) -> None:
    stream = await openai_client("sk-x-enddone-x").chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    )
    choices = [chunk.choices[0] async for chunk in stream]

    assert "".join(choice.delta.content or "" for choice in choices) == "amber birch cedar"
    assert all(choice.finish_reason is None for choice in choices)
    [call] = simulator.calls.since()
    assert call.usage is not None
    assert (call.outcome, call.usage.completion_tokens) == ("failed", 3)


@pytest.mark.parametrize("marker", ["cut", "reset"])
async def test_a_broken_connection_is_a_connection_error(
    openai_client: OpenAIClients, marker: str
) -> None:
    with pytest.raises(openai.APIConnectionError):
        await openai_client(f"sk-x-{marker}-x").chat.completions.create(
            model="gpt-4o", messages=MESSAGES
        )


async def test_a_client_that_gives_up_is_noted_as_gone(
    openai_client: OpenAIClients, simulator: Simulator
) -> None:
    simulator.scripts.put("sk-slow", Script([SlowFirstByte(30)]))
    for key in ("sk-slow", "sk-x-hang-x"):
        with pytest.raises(openai.APITimeoutError):
            await openai_client(key).chat.completions.create(
                model="gpt-4o", messages=MESSAGES, timeout=0.2
            )
    await wait_until(
        lambda: all(call.ended for call in simulator.calls.since()), deadline_seconds=5
    )
    assert [call.outcome for call in simulator.calls.since()] == ["client_gone", "client_gone"]


async def test_a_client_that_leaves_a_stream_is_noted_with_the_usage_so_far(
    openai_client: OpenAIClients, simulator: Simulator
) -> None:
    stream = await openai_client("sk-plain").chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "words=1000 pause_ms=20"}],
        stream=True,
    )
    seen = 0
    async for _chunk in stream:
        seen += 1
        if seen == 4:
            break
    await stream.close()
    await wait_until(
        lambda: all(call.ended for call in simulator.calls.since()), deadline_seconds=5
    )
    [call] = simulator.calls.since()
    assert call.usage is not None
    assert call.outcome == "client_gone"
    assert 3 <= call.usage.completion_tokens < 1000


async def test_after_a_script_that_runs_once_everything_succeeds(
    simulator: Simulator, openai_client: OpenAIClients
) -> None:
    script = Script([Status(429), Status(500)], repeat="once-then-ok")
    simulator.scripts.put("sk-recovers", script)
    client = openai_client("sk-recovers")
    statuses = [(await refused(client)).status_code for _ in range(2)]
    answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    assert statuses == [429, 500]
    assert answer.choices[0].finish_reason == "stop"
