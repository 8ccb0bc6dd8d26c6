"""GET /byok/plan on the real servers, with a played dispatcher."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from shared.clock import SystemClock
from shared.events.envelope import CallReply, Refused
from shared.events.plans import (
    AttemptLeftOut,
    ByokFee,
    ExplainPlan,
    PlanExplained,
    PlannedAttempt,
    PlannedCredential,
)
from shared.events.topics import ROUTING_PLANS
from shared.events.usage import Prices
from shared.ids import CredentialId, hash_api_key, new_id
from shared.kafka.calls import CallServer, ReceivedCall
from shared.kafka.dead_letters import DeadLetters
from shared.tasks import TaskScope
from tests.integration.ingress.conftest import MODEL, World, make_account
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = PlannedCredential(credential_id=CredentialId("c"), label="sk-...abcd")
EXPLAINED = PlanExplained(
    attempts=(
        PlannedAttempt(
            model=MODEL,
            provider="openai",
            provider_name="OpenAI",
            endpoint="openai/gpt-4o",
            tier="prioritized",
            credential=OWN,
            prices=Prices(prompt=2_500_000, completion=10_000_000),
        ),
    ),
    left_out=(
        AttemptLeftOut(
            model=MODEL,
            provider="openai",
            endpoint="openai/gpt-4o",
            tier="shared",
            credential=None,
            reason="always_use",
            forbidden_by=(OWN,),
        ),
    ),
    byok_fee=ByokFee(percent=Decimal("5.00"), waived=None),
)


@dataclass(slots=True)
class PlayedDispatcher:
    answer: CallReply = EXPLAINED
    asked: list[ExplainPlan] = field(default_factory=list)

    async def __call__(self, calls: Sequence[ReceivedCall]) -> Sequence[CallReply]:
        self.asked.extend(each.command for each in calls if isinstance(each.command, ExplainPlan))
        return [self.answer for _ in calls]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dispatchers(world: World) -> AsyncIterator[PlayedDispatcher]:
    """One that answers what it is told to."""
    played, stop, producer = PlayedDispatcher(), asyncio.Event(), world.dispatcher.producer
    clock = SystemClock()
    server = CallServer(
        world.config.kafka,
        group=f"plans-{new_id()}",
        topic=ROUTING_PLANS,
        handle=played,
        producer=producer,
        dead_letters=DeadLetters(producer, consumer="test", clock=clock),
        clock=clock,
    )
    async with TaskScope() as scope:
        work = scope.start(server.run(stop), name="plans")
        await wait_until(lambda: server.problem() is None, deadline_seconds=30)
        yield played
        stop.set()
        await work


@pytest.fixture
def dispatcher(dispatchers: PlayedDispatcher) -> PlayedDispatcher:
    dispatchers.answer = EXPLAINED
    dispatchers.asked.clear()
    return dispatchers


async def ask(world: World, query: str, *, key: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key or world.account.management_key}"}
    async with world.http.get(f"{world.base_url}/byok/plan{query}", headers=headers) as response:
        return response.status, await response.json()


async def test_the_plan_is_told_with_every_key_of_its_shape(
    world: World, dispatcher: PlayedDispatcher
) -> None:
    status, body = await ask(world, f"?model={MODEL}")
    assert status == 200, body
    data = body["data"]
    (asked,) = dispatcher.asked
    assert (asked.account_id, asked.models) == (world.account.account_id, (MODEL,))
    assert asked.api_key_hash == hash_api_key(world.account.management_key)
    assert (asked.byok_only, asked.allow_fallbacks, asked.only) == (False, True, None)
    assert data == {
        "models": [MODEL],
        "api_key_hash": asked.api_key_hash,
        "user_id": asked.member_id,
        "byok_only": [],
        "attempts": [
            {
                "model": MODEL,
                "provider": "openai",
                "provider_name": "OpenAI",
                "endpoint": "openai/gpt-4o",
                "tier": "prioritized",
                "credential": {"id": "c", "label": "sk-...abcd"},
                "pricing": {"prompt": "0.0000025", "completion": "0.00001", "request": "0"},
                "byok_fee": {"percent": "5", "waived": None},
            }
        ],
        "left_out": [
            {
                "model": MODEL,
                "provider": "openai",
                "endpoint": "openai/gpt-4o",
                "tier": "shared",
                "credential": None,
                "reason": "always_use",
                "message": (
                    "'Always use this key' of sk-...abcd forbids shared capacity for the model."
                ),
                "filter": None,
                "failure": None,
                "provider_status": None,
                "until": None,
                "forbidden_by": [{"id": "c", "label": "sk-...abcd"}],
            }
        ],
    }


async def test_it_is_asked_for_the_api_key_and_the_preferences_given(
    world: World, dispatcher: PlayedDispatcher
) -> None:
    api_key_hash = hash_api_key(world.account.api_key)
    status, body = await ask(
        world,
        f"?model={MODEL},{MODEL}&model={MODEL}&api_key_hash={api_key_hash}&byok_only=true"
        "&only=openai,azure&ignore=groq&order=azure&allow_fallbacks=false",
    )
    assert status == 200, body
    (asked,) = dispatcher.asked
    assert asked.models == (MODEL,)
    assert (asked.api_key_hash, asked.byok_only) == (api_key_hash, True)
    assert asked.member_id is not None
    assert (asked.only, asked.ignore) == (("openai", "azure"), ("groq",))
    assert (asked.order, asked.allow_fallbacks) == (("azure",), False)
    assert body["data"]["byok_only"] == ["request"]


REFUSED = {
    "no model": ("", "model: name a model"),
    "empty model": ("?model=,", "model: name a model"),
    "unknown model": ("?model=openai/gpt-4q", "openai/gpt-4q is not a known model; did you mean"),
    "one of two models": (f"?model={MODEL}&model=nobody/x", "nobody/x is not a known model"),
    "too many models": (
        "?model=" + ",".join(f"m{n}" for n in range(17)),
        "model: expected at most",
    ),
    "hash": (f"?model={MODEL}&api_key_hash=ABC", "api_key_hash: expected 64 lowercase"),
    "unknown hash": (f"?model={MODEL}&api_key_hash={'0' * 64}", "api_key_hash: is not one of this"),
    "byok_only": (f"?model={MODEL}&byok_only=perhaps", "byok_only: expected true or false"),
    "allow_fallbacks": (f"?model={MODEL}&allow_fallbacks=", "allow_fallbacks: expected true or"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_question_is_refused_by_field_and_nobody_is_asked(
    world: World, dispatcher: PlayedDispatcher, name: str
) -> None:
    query, expected = REFUSED[name]
    status, body = await ask(world, query)
    assert (status, body["error"]["code"]) == (400, 400)
    assert expected in body["error"]["message"]
    assert dispatcher.asked == []


async def test_anothers_api_key_is_refused_as_if_there_were_none(
    world: World, dispatcher: PlayedDispatcher
) -> None:
    other = await make_account(world.operations, "other")
    status, body = await ask(world, f"?model={MODEL}&api_key_hash={hash_api_key(other.api_key)}")
    assert status == 400
    assert "is not one of this account's API keys" in body["error"]["message"]
    assert dispatcher.asked == []


async def test_a_management_key_is_needed(world: World, dispatcher: PlayedDispatcher) -> None:
    status, body = await ask(world, f"?model={MODEL}", key=world.account.api_key)
    assert (status, body["error"]["code"]) == (403, 403)
    assert dispatcher.asked == []


async def test_a_dispatcher_that_is_not_ready_is_a_503(
    world: World, dispatcher: PlayedDispatcher
) -> None:
    dispatcher.answer = Refused(code="unavailable", message="routing is unavailable")
    status, body = await ask(world, f"?model={MODEL}")
    assert (status, body["error"]["code"]) == (503, 503)


async def test_a_bug_of_a_dispatcher_is_a_500(world: World, dispatcher: PlayedDispatcher) -> None:
    dispatcher.answer = Refused(code="internal", message="internal error")
    status, body = await ask(world, f"?model={MODEL}")
    assert (status, body["error"]["code"]) == (500, 500)


async def test_the_path_knows_its_methods_and_is_no_credential(world: World) -> None:
    async with world.http.delete(
        f"{world.base_url}/byok/plan", headers=world.account.management_headers
    ) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
