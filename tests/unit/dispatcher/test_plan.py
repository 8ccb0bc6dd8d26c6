from datetime import timedelta

import msgspec
import pytest

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Access, Caller
from services.dispatcher.domain.client_error import of_empty_plan
from services.dispatcher.domain.failure import FailureClass, Next
from services.dispatcher.domain.health import Health
from services.dispatcher.domain.plan import ATTEMPTS_MAX, Plan, WhyLeftOut, plan
from services.dispatcher.use_cases.plan_request import PlanRequest
from shared.events.catalog import ModelListed
from shared.events.credentials import CredentialChanged, Deployment, Filters
from shared.ids import ApiKeyHash, MemberId
from tests.unit.dispatcher.made import (
    KEY,
    MINI,
    MODEL,
    NOW,
    asked,
    catalog_endpoint,
    credential,
    model,
    platform,
    request,
)
from tests.unit.dispatcher.world import WorldCredentials, a_world

CATALOG = {MODEL: model(MODEL), MINI: model(MINI)}
PLATFORM = (platform("openai"), platform("azure"))
CALLER = Caller(api_key_hash=KEY, member_id=None)


def planned(
    *own: CredentialChanged,
    catalog: dict[str, ModelListed] | None = None,
    shared: tuple[CredentialChanged, ...] = PLATFORM,
    byok_only: bool = False,
    caller: Caller = CALLER,
    sick: dict[str, Health] | None = None,
    **fields: object,
) -> Plan:
    def blocking(attempt: Attempt) -> Health | None:
        return (sick or {}).get(attempt.credential.credential_id)

    return plan(
        request(**fields),
        Access(
            caller=caller,
            own=own,
            platform=shared,
            byok_only=byok_only,
            providers=frozenset({"openai", "azure"}),
        ),
        model_of=(CATALOG if catalog is None else catalog).get,
        blocking=blocking,
    )


def steps(found: Plan) -> list[tuple[str, str]]:
    return [(each.tier, each.credential.credential_id) for each in found.attempts]


def reasons(found: Plan) -> set[WhyLeftOut]:
    return {each.why for each in found.left_out}


def cooling(seconds: float, reason: FailureClass = FailureClass.RATE_LIMITED) -> Health:
    return Health(
        state="cooling_down",
        reason=reason,
        provider_status=429,
        until=NOW + timedelta(seconds=seconds),
        failures=1,
        observed_at=NOW,
    )


def test_own_keys_come_first_then_shared_capacity_then_fallback_keys() -> None:
    found = planned(credential("last", section="fallback"), credential("first"))
    assert steps(found) == [
        ("prioritized", "first"),
        ("shared", "platform-openai"),
        ("shared", "platform-azure"),
        ("fallback", "last"),
    ]


def test_keys_of_one_endpoint_stand_in_their_order_and_then_by_age() -> None:
    found = planned(
        credential("young", order=1, created_at=NOW),
        credential("old", order=1, created_at=NOW - timedelta(days=1)),
        credential("zero", order=0),
        shared=(),
    )
    assert [each for _, each in steps(found)] == ["zero", "old", "young"]


def test_the_requests_provider_order_counts_within_a_tier() -> None:
    found = planned(
        credential("openai-key", order=0),
        credential("azure-key", provider="azure", order=5),
        provider={"order": ["Azure", "openai"]},
    )
    assert [each for _, each in steps(found)] == [
        "azure-key",
        "openai-key",
        "platform-azure",
        "platform-openai",
    ]


def test_models_follow_each_other_as_the_client_named_them() -> None:
    found = planned(credential("own"), shared=PLATFORM[:1], models=[MINI, MODEL])
    assert [(each.model, each.tier) for each in found.attempts] == [
        (MODEL, "prioritized"),
        (MODEL, "shared"),
        (MINI, "prioritized"),
        (MINI, "shared"),
    ]


def test_a_key_whose_filters_do_not_match_takes_no_part() -> None:
    elsewhere = (
        Filters(models=[MINI]),
        Filters(api_key_hashes=[ApiKeyHash("b" * 64)]),
        Filters(member_ids=[MemberId("somebody-else")]),
    )
    for filters in elsewhere:
        found = planned(credential("own", filters=filters, always_use=True), shared=PLATFORM[:1])
        assert steps(found) == [("shared", "platform-openai")]


def test_a_key_whose_filters_all_match_takes_part() -> None:
    filters = Filters(models=[MODEL], api_key_hashes=[KEY], member_ids=[MemberId("me")])
    caller = Caller(api_key_hash=KEY, member_id=MemberId("me"))
    assert steps(planned(credential("own", filters=filters), caller=caller))[0][1] == "own"


def test_always_use_forbids_shared_capacity_at_every_provider() -> None:
    found = planned(credential("own", always_use=True), credential("other", order=1))
    assert steps(found) == [("prioritized", "own"), ("prioritized", "other")]
    assert reasons(found) == {WhyLeftOut.ALWAYS_USE}


A = credential("A", filters=Filters(models=[MODEL]), always_use=True)
B = credential("B", order=1)
OPENAI, AZURE = PLATFORM
OWN_A, OWN_B = ("prioritized", "A"), ("prioritized", "B")
SHARED_OPENAI, SHARED_AZURE = ("shared", "platform-openai"), ("shared", "platform-azure")
WORKED_EXAMPLE = {
    "with a model filter that matches, A insists: A, then B, never shared": (
        (A, B),
        MODEL,
        (OPENAI,),
        [OWN_A, OWN_B],
    ),
    "A does not match: B, then shared": ((A, B), MINI, (OPENAI,), [OWN_B, SHARED_OPENAI]),
    # here OpenRouter would go on to Azure's shared capacity; ours is no shared capacity anywhere
    "shared capacity of another provider is forbidden too": (
        (A, B),
        MODEL,
        (OPENAI, AZURE),
        [OWN_A, OWN_B],
    ),
    "also where only another provider has any": ((A, B), MODEL, (AZURE,), [OWN_A, OWN_B]),
    "where A does not match, every provider's is allowed": (
        (A, B),
        MINI,
        (OPENAI, AZURE),
        [OWN_B, SHARED_OPENAI, SHARED_AZURE],
    ),
    "disabling A lifts it": (
        (msgspec.structs.replace(A, enabled=False), B),
        MODEL,
        (OPENAI, AZURE),
        [OWN_B, SHARED_OPENAI, SHARED_AZURE],
    ),
    "a fallback key may insist as well": (
        (msgspec.structs.replace(A, section="fallback"), B),
        MODEL,
        (OPENAI,),
        [OWN_B, ("fallback", "A")],
    ),
}
"""OpenRouter's own example (its guide to BYOK: A and B are keys of OpenAI), and where we differ."""


@pytest.mark.parametrize("row", WORKED_EXAMPLE.values(), ids=WORKED_EXAMPLE)
def test_the_worked_example_of_always_use_with_a_model_filter(
    row: tuple[
        tuple[CredentialChanged, ...], str, tuple[CredentialChanged, ...], list[tuple[str, str]]
    ],
) -> None:
    own, slug, shared, expected = row
    assert steps(planned(*own, shared=shared, model=slug)) == expected


def test_own_keys_stand_before_the_provider_that_the_request_orders_first() -> None:
    # OpenRouter's example: order [bedrock, vertex] and a key for vertex alone
    found = planned(credential("own"), provider={"order": ["azure", "openai"]})
    assert [(each.tier, each.endpoint.provider) for each in found.attempts] == [
        ("prioritized", "openai"),
        ("shared", "azure"),
        ("shared", "openai"),
    ]


def test_a_cooling_key_still_forbids_shared_capacity_with_always_use() -> None:
    found = planned(credential("own", always_use=True), sick={"own": cooling(7)})
    assert found.attempts == ()
    error = of_empty_plan(found, NOW)
    assert (error.status, error.error_type, error.retry_after_seconds) == (
        429,
        "rate_limit_exceeded",
        7,
    )


def test_always_use_holds_even_when_the_request_ignores_the_keys_provider() -> None:
    found = planned(credential("own", always_use=True), provider={"ignore": ["openai"]})
    assert found.attempts == ()
    error = of_empty_plan(found, NOW)
    assert error.status == 404
    assert "Always use this key" in error.message


def test_a_disabled_key_with_always_use_forbids_nothing() -> None:
    found = planned(credential("own", always_use=True, enabled=False), shared=PLATFORM[:1])
    assert steps(found) == [("shared", "platform-openai")]


def test_an_always_use_key_of_a_provider_that_has_not_the_model_forbids_nothing() -> None:
    found = planned(credential("own", provider="groq", always_use=True), shared=PLATFORM[:1])
    assert steps(found) == [("shared", "platform-openai")]


def test_byok_only_takes_all_shared_capacity_out_and_says_so() -> None:
    assert steps(planned(credential("own"), byok_only=True)) == [("prioritized", "own")]
    error = of_empty_plan(planned(byok_only=True), NOW)
    assert error.status == 404
    assert "byok_only" in error.message


def test_each_azure_deployment_makes_an_endpoint_of_its_own_with_the_catalogs_price() -> None:
    deployments = [
        Deployment(model_slug=MODEL, model_id="my-gpt"),
        Deployment(model_slug=MINI, model_id="my-mini"),
    ]
    found = planned(credential("own", provider="azure", deployments=deployments), shared=())
    assert [each.endpoint.id for each in found.attempts] == ["azure/my-gpt"]
    assert found.attempts[0].endpoint.prices == catalog_endpoint("azure").prices


def test_an_azure_deployment_serves_a_model_that_the_catalog_has_not_at_azure() -> None:
    catalog = {MODEL: model(MODEL, catalog_endpoint("openai"))}
    deployments = [Deployment(model_slug=MODEL, model_id="mine")]
    own = credential("own", provider="azure", deployments=deployments)
    found = planned(own, credential("direct", order=9), catalog=catalog, shared=PLATFORM)
    assert [each.endpoint.id for each in found.attempts] == [
        "openai/gpt-4o",
        "azure/mine",
        "openai/gpt-4o",
    ]


def test_a_whole_azure_resource_serves_every_model_that_the_catalog_has_at_azure() -> None:
    catalog = CATALOG | {"a/b": model("a/b", catalog_endpoint("openai"))}
    own = credential("own", provider="azure", deployments=[], resources=("first", "second"))

    found = planned(own, catalog=catalog, shared=(), models=[MINI, "a/b"])

    assert [(each.model, each.endpoint.id, each.endpoint.resource) for each in found.attempts] == [
        (MODEL, "azure/first/gpt-4o", "first"),
        (MODEL, "azure/second/gpt-4o", "second"),
        (MINI, "azure/first/gpt-4o", "first"),
        (MINI, "azure/second/gpt-4o", "second"),
    ]
    assert found.attempts[0].endpoint.provider_model == "gpt-4o"
    assert found.attempts[0].endpoint.prices == catalog_endpoint("azure").prices


def test_a_deployment_wins_over_a_resource_for_its_model() -> None:
    deployments = [Deployment(model_slug=MODEL, model_id="mine")]
    own = credential("own", provider="azure", deployments=deployments, resources=("whole",))

    found = planned(own, shared=(), models=[MINI])

    assert [(each.model, each.endpoint.id) for each in found.attempts] == [
        (MODEL, "azure/mine"),
        (MINI, "azure/whole/gpt-4o"),
    ]


def test_a_whole_resource_of_the_platform_is_shared_only_where_the_catalog_says() -> None:
    whole = credential("p", provider="azure", deployments=[], resources=("whole",))
    catalog = {
        MODEL: model(MODEL, catalog_endpoint("azure", byok_only=True)),
        MINI: model(MINI, catalog_endpoint("azure")),
    }

    found = planned(catalog=catalog, shared=(whole,), models=[MINI])

    assert [(each.model, each.tier) for each in found.attempts] == [(MINI, "shared")]


def test_always_use_of_a_whole_resource_counts_for_the_models_that_it_serves() -> None:
    own = credential("own", provider="azure", deployments=[], resources=("whole",), always_use=True)
    elsewhere = CATALOG | {MINI: model(MINI, catalog_endpoint("openai"))}

    found = planned(own, catalog=elsewhere, models=[MINI])

    assert [(each.model, each.tier) for each in found.attempts] == [
        (MODEL, "prioritized"),
        (MINI, "shared"),
    ]


@pytest.mark.parametrize("provider", ["amazon-bedrock", "google-vertex"])
def test_a_key_of_a_provider_without_an_adapter_is_left_out_and_says_so(provider: str) -> None:
    catalog = {MODEL: model(MODEL, catalog_endpoint(provider), catalog_endpoint("openai"))}

    found = planned(credential("own", provider=provider), catalog=catalog, shared=PLATFORM[:1])

    assert steps(found) == [("shared", "platform-openai")]
    assert [(each.attempt.credential.credential_id, each.why) for each in found.left_out] == [
        ("own", WhyLeftOut.NO_ADAPTER)
    ]


def test_endpoints_that_only_serve_own_keys_have_no_shared_capacity() -> None:
    catalog = {MODEL: model(MODEL, catalog_endpoint("openai", byok_only=True))}
    assert planned(catalog=catalog).attempts == ()
    assert len(planned(credential("own"), catalog=catalog).attempts) == 1


def test_of_two_endpoints_at_one_provider_only_the_one_for_own_keys_is_not_shared() -> None:
    mine = msgspec.structs.replace(catalog_endpoint("openai", byok_only=True), model="mine-alone")
    found = planned(
        credential("own"), catalog={MODEL: model(MODEL, catalog_endpoint("openai"), mine)}
    )
    assert [(each.tier, each.endpoint.id) for each in found.attempts] == [
        ("prioritized", "openai/gpt-4o"),
        ("prioritized", "openai/mine-alone"),
        ("shared", "openai/gpt-4o"),
    ]


def test_provider_only_ignore_and_order_without_fallbacks_restrict() -> None:
    def providers(**preferences: object) -> list[str]:
        return [each.endpoint.provider for each in planned(provider=preferences).attempts]

    assert providers(only=["azure"]) == ["azure"]
    assert providers(ignore=["openai"]) == ["azure"]
    assert providers(order=["azure"], allow_fallbacks=False) == ["azure"]
    assert providers(order=["azure"]) == ["azure", "openai"]
    assert providers(allow_fallbacks=False) == ["openai"]


def test_require_parameters_leaves_out_a_model_that_does_not_take_them() -> None:
    assert planned(provider={"require_parameters": True}, temperature=1).attempts
    found = planned(provider={"require_parameters": True}, top_a=0.5)
    assert reasons(found) == {WhyLeftOut.PARAMETERS}
    assert planned(
        provider={"require_parameters": True}, top_a=None, user="u", metadata={}
    ).attempts


def test_how_many_choices_there_are_is_for_the_provider_to_say_and_not_for_the_model() -> None:
    assert planned(provider={"require_parameters": True}, n=2).attempts


def test_an_unknown_model_is_named_and_others_still_serve() -> None:
    found = planned(model="no/such", models=[MODEL])
    assert found.unknown_models == ("no/such",)
    assert found.attempts
    error = of_empty_plan(planned(model="no/such"), NOW)
    assert (error.status, "no/such" in error.message) == (400, True)


def test_when_all_keys_cool_down_the_earliest_ones_error_is_told() -> None:
    sick = {
        "slow": cooling(60),
        "soon": cooling(2.5, FailureClass.PROVIDER_ERROR),
    }
    found = planned(credential("slow"), credential("soon"), byok_only=True, sick=sick)
    error = of_empty_plan(found, NOW)
    assert (error.status, error.retry_after_seconds) == (502, 3)


def test_a_plan_has_an_end() -> None:
    own = [credential(f"own-{number}", order=number) for number in range(40)]
    found = planned(*own)
    assert [each for _, each in steps(found)] == [f"own-{n}" for n in range(ATTEMPTS_MAX)]
    assert reasons(found) == {WhyLeftOut.TOO_MANY}
    assert len(found.left_out) == 40 - ATTEMPTS_MAX + len(PLATFORM)


async def test_two_endpoints_that_are_listed_alike_are_each_tried_once() -> None:
    async with a_world() as world:
        world.models = {MODEL: model(MODEL, catalog_endpoint("openai"), catalog_endpoint("openai"))}
        world.own = [credential("own")]
        planner = PlanRequest(
            catalog=world,
            credentials=WorldCredentials(world),
            health=world.health,
            providers=("openai",),
        )
        first, second = planner_attempts = planner.plan(asked(), request(), NOW).attempts
        both = Plan(attempts=planner_attempts, left_out=(), unknown_models=())

        assert first == second
        assert planner.following(both, first, Next.ATTEMPT, NOW) is second
        assert planner.following(both, second, Next.ATTEMPT, NOW) is None
