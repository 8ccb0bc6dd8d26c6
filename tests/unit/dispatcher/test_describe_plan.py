"""The answer to a question about a plan, as it leaves the dispatcher."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from services.dispatcher.domain.health import ANY_ENDPOINT
from services.dispatcher.inbound.kafka_plans import BROKEN, UNAVAILABLE, Plans
from services.dispatcher.ports import BalanceSeen
from services.dispatcher.use_cases.describe_plan import DescribePlan
from services.dispatcher.use_cases.plan_request import PlanRequest
from shared.events.billing import AccountBalance
from shared.events.credentials import Filters
from shared.events.envelope import Event, Refused
from shared.events.plans import ByokFee, ExplainPlan, PlanExplained, PlannedCredential
from shared.events.routing import HealthChanged
from shared.events.topics import INGRESS_REPLIES
from shared.ids import PLATFORM_ACCOUNT, AccountId, CredentialId
from shared.kafka.calls import ReceivedCall
from tests.unit.dispatcher.made import (
    ACCOUNT,
    KEY,
    MINI,
    MODEL,
    NOW,
    OTHER_ACCOUNT,
    PRICES,
    balance,
    credential,
    platform,
)
from tests.unit.dispatcher.world import World, WorldCredentials

MONTH = "2026-11"
QUESTION = ExplainPlan(account_id=ACCOUNT, api_key_hash=KEY, models=(MODEL,))


class KnownBalance:
    def __init__(self, seen: AccountBalance | None, *, is_fresh: bool = True) -> None:
        self._seen = BalanceSeen(balance=seen, is_fresh=is_fresh, used_recently=0)

    def of(self, _account_id: AccountId) -> BalanceSeen:
        return self._seen


def use_case(world: World, balances: KnownBalance | None = None) -> DescribePlan:
    planner = PlanRequest(
        catalog=world,
        credentials=WorldCredentials(world),
        health=world.health,
        providers=("openai",),
    )
    known = balances or KnownBalance(balance(month=MONTH))
    return DescribePlan(planner=planner, balances=known, clock=world.clock)


def sick(account_id: AccountId, credential_id: str, state: Any = "failing") -> HealthChanged:
    return HealthChanged(
        account_id=account_id,
        credential_id=CredentialId(credential_id),
        endpoint=ANY_ENDPOINT,
        state=state,
        reason="key_refused",
        provider_status=401,
        until=NOW + timedelta(minutes=5),
        observed_at=NOW,
    )


async def ask(world: World, command: Event) -> Any:
    call = ReceivedCall(
        command=command,
        call_id="call",
        source="ingress-0",
        expires_at=NOW,
        reply_topic=INGRESS_REPLIES,
        reply_partition=0,
    )
    (answer,) = await Plans(use_case(world))([call])
    return answer


async def test_attempts_name_whose_credential_and_the_price(world: World) -> None:
    world.own[:] = [credential("own")]
    world.platform[:] = [platform("openai")]
    own, shared = use_case(world).describe(QUESTION).attempts
    assert (own.tier, own.endpoint, own.prices) == ("prioritized", "openai/gpt-4o", PRICES)
    assert own.credential == PlannedCredential(
        credential_id=CredentialId("own"), label="sk-...abcd"
    )
    assert (shared.tier, shared.credential) == ("shared", None)


async def test_each_thing_left_out_has_its_reason(world: World) -> None:
    world.own[:] = [
        credential("off", enabled=False),
        credential("mini", filters=Filters(models=[MINI])),
        credential("refused"),
        credential("azure", provider="azure"),
        credential("elsewhere", provider="groq"),
    ]
    world.health.heard(sick(ACCOUNT, "refused"))
    found = use_case(world).describe(QUESTION)
    assert found.attempts == ()
    told = {
        each.credential.credential_id: (each.reason, each.filter, each.endpoint)
        for each in found.left_out
        if each.credential is not None
    }
    assert told == {
        "off": ("disabled", None, None),
        "mini": ("filter", "model", None),
        "refused": ("failing", None, "openai/gpt-4o"),
        "azure": ("no_adapter", None, "azure/gpt-4o"),
        "elsewhere": ("no_endpoint", None, None),
    }
    (refused,) = [each for each in found.left_out if each.reason == "failing"]
    assert (refused.failure, refused.provider_status) == ("key_refused", 401)
    assert refused.until == NOW + timedelta(minutes=5)
    assert [(each.provider, each.reason) for each in found.left_out if each.tier == "shared"] == [
        ("openai", "no_shared_capacity"),
        ("azure", "no_shared_capacity"),
    ]


async def test_what_providers_say_to_platform_keys_is_not_told(world: World) -> None:
    world.platform[:] = [platform("openai")]
    world.health.heard(sick(PLATFORM_ACCOUNT, "platform-openai", "cooling_down"))
    (shared,) = [each for each in use_case(world).describe(QUESTION).left_out if each.endpoint]
    assert (shared.reason, shared.credential) == ("cooling_down", None)
    assert (shared.failure, shared.provider_status) == (None, None)
    assert shared.until is not None


async def test_only_the_accounts_own_credentials_are_told_of(world: World) -> None:
    world.own[:] = [credential("theirs", account_id=OTHER_ACCOUNT, always_use=True, enabled=False)]
    found = use_case(world).describe(QUESTION)
    assert [each for each in found.left_out if each.credential is not None] == []


@pytest.mark.parametrize(
    ("balances", "fee"),
    [
        (KnownBalance(None), None),
        (KnownBalance(balance(month=MONTH)), ByokFee(percent=Decimal(5), waived=True)),
        (
            KnownBalance(balance(month=MONTH, used=10, free=10)),
            ByokFee(percent=Decimal(5), waived=False),
        ),
        (
            KnownBalance(balance(month=MONTH, used=9, free=10)),
            ByokFee(percent=Decimal(5), waived=None),
        ),
        (
            KnownBalance(balance(month="2026-10", used=10, free=10)),
            ByokFee(percent=Decimal(5), waived=None),
        ),
        (
            KnownBalance(balance(month=MONTH), is_fresh=False),
            ByokFee(percent=Decimal(5), waived=None),
        ),
    ],
    ids=["unheard", "ample", "used up", "nearly used up", "a new month", "stale"],
)
async def test_the_fee_is_told_as_far_as_it_is_known(
    world: World, balances: KnownBalance, fee: ByokFee | None
) -> None:
    assert use_case(world, balances).describe(QUESTION).byok_fee == fee


async def test_a_question_is_answered_and_while_credentials_are_unread_refused(
    world: World,
) -> None:
    assert isinstance(await ask(world, QUESTION), PlanExplained)
    world.away.credentials = "has not been read to its end"
    refused = await ask(world, QUESTION)
    assert isinstance(refused, Refused)
    assert refused.code == UNAVAILABLE


async def test_a_bug_in_an_explanation_ends_that_answer_alone(world: World) -> None:
    broken: Any = None  # nothing that the view could hold
    world.own[:] = [credential("own")]
    world.models[MODEL] = msgspec.structs.replace(world.models[MODEL], endpoints=broken)
    with capture_logs() as lines:
        refused = await ask(world, QUESTION)
    assert isinstance(refused, Refused)
    assert refused.code == BROKEN
    assert [(line["log_level"], line["outcome"]) for line in lines] == [("error", "failed")]
