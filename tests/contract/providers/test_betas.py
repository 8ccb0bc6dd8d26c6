"""Beta features that a client names: told to Claude, wherever it runs, and to nobody else."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from services.dispatcher.outbound.providers.registry import ROWS, open_providers
from services.dispatcher.ports import Provider, ProviderSecret
from shared.clock import SystemClock
from shared.events.credential_secrets import BedrockApiKeySecret
from shared.events.generations import Tier
from tests.contract.providers.builders import (
    attempt,
    azure_secret,
    request,
    string_secret,
    vertex_secret,
)
from tests.contract.providers.conftest import CLAUDE, CLAUDE_AT_BEDROCK
from tests.contract.providers.handwritten import Handwritten

_LONG = "context-1m-2025-08-07"
_FREE = "fine-grained-tool-streaming-2025-05-14"
_OURS = "interleaved-thinking-2025-05-14"
_TOOLS = [{"type": "function", "function": {"name": "f"}}]
_THINKS: dict[str, Any] = {"tools": _TOOLS, "reasoning": {"effort": "low"}, "max_tokens": 9000}


@pytest.fixture
async def anywhere(handwritten: Handwritten) -> AsyncIterator[Mapping[str, Provider]]:
    """Every provider at one server, which answers all of them like Google's token endpoint."""
    handwritten.pieces = [b'{"access_token":"token","expires_in":3600}']
    slugs = ("anthropic", "amazon-bedrock", "google-vertex", "google-oauth")
    async with open_providers(
        endpoints=dict.fromkeys((*slugs, *(row.slug for row in ROWS)), handwritten.url),
        egress_allow=frozenset({f"127.0.0.1:{handwritten.port}"}),
        clock=SystemClock(),
    ) as opened:
        yield opened


def _secret(slug: str, url: str) -> ProviderSecret:
    match slug:
        case "amazon-bedrock":
            return BedrockApiKeySecret(api_key="ABSKkey", region="us-east-1")
        case "google-vertex":
            return vertex_secret()
        case "azure":
            return azure_secret(url + "/openai/deployments/gpt-4o/chat/completions")
        case _:
            return string_secret()


def _told(handwritten: Handwritten) -> list[str]:
    """What the last call said of betas, in its header or its body."""
    body = msgspec.json.decode(handwritten.bodies[-1])
    within = body.get("additionalModelRequestFields", body).get("anthropic_beta", [])
    header = handwritten.headers[-1].get("anthropic-beta", "")
    return [*within, *filter(None, header.split(","))]


async def _send(
    anywhere: Mapping[str, Provider],
    handwritten: Handwritten,
    slug: str,
    *,
    tier: Tier = "prioritized",
    fields: Mapping[str, Any],
    **parts: Any,
) -> list[str]:
    asked = msgspec.structs.replace(request(**fields), anthropic_betas=(_LONG, _FREE))
    to = attempt(slug, tier=tier, **parts)
    await anywhere[slug].complete(to, _secret(slug, handwritten.url), asked)
    return _told(handwritten)


CLAUDES: list[Any] = [
    ("anthropic", {"provider_model": CLAUDE}),
    ("amazon-bedrock", {"provider_model": CLAUDE_AT_BEDROCK, "inference_profiles": ("us",)}),
    ("google-vertex", {"provider_model": "claude-haiku-4-5@20251001", "api": "anthropic"}),
]


@pytest.mark.parametrize(("slug", "parts"), CLAUDES)
async def test_claude_is_told_of_them_beside_our_own(
    anywhere: Mapping[str, Provider], handwritten: Handwritten, slug: str, parts: dict[str, Any]
) -> None:
    plain = await _send(anywhere, handwritten, slug, fields={}, **parts)
    thinking = await _send(anywhere, handwritten, slug, fields=_THINKS, **parts)
    assert (plain, thinking) == ([_LONG, _FREE], [_OURS, _LONG, _FREE])


@pytest.mark.parametrize(("slug", "parts"), CLAUDES)
async def test_shared_capacity_keeps_to_what_costs_the_list_price(
    anywhere: Mapping[str, Provider], handwritten: Handwritten, slug: str, parts: dict[str, Any]
) -> None:
    told = await _send(anywhere, handwritten, slug, tier="shared", fields={}, **parts)
    assert told == [_FREE]


@pytest.mark.parametrize(
    ("slug", "parts"),
    [
        ("amazon-bedrock", {"provider_model": "amazon.nova-lite-v1:0"}),
        ("google-vertex", {"provider_model": "gemini-2.5-flash", "api": "gemini"}),
        ("google-vertex", {"provider_model": "openai/gpt-oss-120b-maas", "api": "openai"}),
        ("azure", {}),
        *((row.slug, {}) for row in ROWS),
    ],
)
async def test_nobody_else_is_told(
    anywhere: Mapping[str, Provider], handwritten: Handwritten, slug: str, parts: dict[str, Any]
) -> None:
    assert await _send(anywhere, handwritten, slug, fields={}, **parts) == []
    assert b"2025-" not in handwritten.bodies[-1]
