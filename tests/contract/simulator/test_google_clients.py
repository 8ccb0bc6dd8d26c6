"""Google's own library gets a token of the simulator, and Anthropic's client for Vertex an answer."""

import asyncio
from typing import Any

import pytest
from anthropic import AsyncAnthropicVertex, PermissionDeniedError
from anthropic.types import TextBlock
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from tests.simulator import usage
from tests.simulator.app import Simulator
from tests.support.pasted_keys import rsa_pem, rsa_public_pem, service_account

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EMAIL = "sk-official@my-project-123.iam.gserviceaccount.com"
MODEL = "claude-haiku-4-5@20251001"


def _refreshed(simulator: Simulator, scope: str = SCOPE, **changes: Any) -> str:
    info = service_account() | {"token_uri": simulator.url + "/token", "client_email": EMAIL}
    credentials = Credentials.from_service_account_info(  # type: ignore[no-untyped-call] # google-auth's own
        info | changes, scopes=[scope]
    )
    credentials.refresh(Request())
    return str(credentials.token)


async def test_google_auth_gets_a_token_that_its_account_holds(simulator: Simulator) -> None:
    simulator.accounts.put(EMAIL, rsa_public_pem())
    token = await asyncio.to_thread(_refreshed, simulator)
    assert simulator.accounts.holder_of(token) == EMAIL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_email": "nobody@my-project-123.iam.gserviceaccount.com"}, "account not found"),
        ({"private_key": rsa_pem(3072)}, "Invalid JWT Signature"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "Invalid OAuth scope"),
    ],
    ids=["unknown account", "another key", "another scope"],
)
async def test_a_wrong_assertion_gets_none(
    simulator: Simulator, changes: dict[str, Any], words: str
) -> None:
    simulator.accounts.put(EMAIL, rsa_public_pem())
    with pytest.raises(RefreshError, match=words):
        await asyncio.to_thread(lambda: _refreshed(simulator, **changes))
    assert simulator.accounts.mints == 0


async def test_anthropics_client_for_vertex_is_answered(simulator: Simulator) -> None:
    simulator.accounts.put(EMAIL, rsa_public_pem())
    token = await asyncio.to_thread(_refreshed, simulator)
    async with AsyncAnthropicVertex(
        region="us-central1",
        project_id="my-project-123",
        access_token=token,
        base_url=simulator.url + "/v1",
        max_retries=0,
    ) as client:
        asked: Any = [{"role": "user", "content": "hello words=3"}]
        answer = await client.messages.create(model=MODEL, max_tokens=9, messages=asked)
        async with client.messages.stream(model=MODEL, max_tokens=9, messages=asked) as stream:
            final = await stream.get_final_message()
    for each in (answer, final):
        assert isinstance(each.content[0], TextBlock)
        assert each.content[0].text == usage.answer_text(3)


async def test_a_permission_that_is_missing_is_named(simulator: Simulator) -> None:
    email = "sk-official-403-x@my-project-123.iam.gserviceaccount.com"
    simulator.accounts.put(email, rsa_public_pem())
    token = await asyncio.to_thread(lambda: _refreshed(simulator, client_email=email))
    async with AsyncAnthropicVertex(
        region="global",
        project_id="my-project-123",
        access_token=token,
        base_url=simulator.url + "/v1",
        max_retries=0,
    ) as client:
        with pytest.raises(PermissionDeniedError, match=r"aiplatform\.endpoints\.predict"):
            await client.messages.create(
                model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            )
