"""Whatever credentials, filters, preferences and health there are: the plan's promises hold.

What must hold is told here from scratch, not by the code that is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Access, Caller, NotAdmitted
from services.dispatcher.domain.explanation import Explanation, NoEndpoint
from services.dispatcher.domain.failure import FailureClass, Next, ProviderFailure, next_after
from services.dispatcher.domain.health import ANY_ENDPOINT, HealthTable
from services.dispatcher.domain.known_routes import KnownRoutes
from services.dispatcher.domain.plan import ATTEMPTS_MAX, Plan, routes
from services.dispatcher.use_cases.plan_request import PlanRequest
from shared.events.catalog import ModelListed
from shared.events.credentials import CredentialChanged, Deployment, Filters
from shared.events.plans import ExplainPlan
from shared.events.routing import HealthChanged
from shared.ids import PLATFORM_ACCOUNT, AccountId, ApiKeyHash, CredentialId, MemberId
from tests.unit.dispatcher.made import (
    ACCOUNT,
    KEY,
    MINI,
    MODEL,
    NOW,
    OTHER_ACCOUNT,
    asked,
    catalog_endpoint,
    credential,
    model,
    platform,
    request,
)

PROVIDERS = ("openai", "azure", "groq")
ADAPTERS = frozenset({"openai", "azure"})
TIERS = {"prioritized": 0, "shared": 1, "fallback": 2}
ME, SOMEBODY = MemberId("me"), MemberId("somebody")
MODELS = {
    MODEL: model(MODEL, catalog_endpoint("openai"), catalog_endpoint("azure", byok_only=True)),
    MINI: model(MINI, catalog_endpoint("groq"), catalog_endpoint("openai")),
}
NUMBERS = st.integers(0, 23)

# most take part: what is to go wrong needs several that meet at one endpoint
_filters = st.one_of(
    st.just(Filters()),
    st.just(Filters()),
    st.builds(
        Filters,
        models=st.sampled_from([None, [MODEL], [MINI], []]),
        api_key_hashes=st.sampled_from([None, [KEY], [ApiKeyHash("b" * 64)]]),
        member_ids=st.sampled_from([None, [ME], [SOMEBODY]]),
    ),
)
_resources = st.sampled_from([(), ("r1",), ("r1", "r2")])
_credential = st.builds(
    credential,
    NUMBERS.map(lambda number: f"c{number}"),
    provider=st.sampled_from(["openai", "openai", "openai", "azure", "groq"]),
    enabled=st.sampled_from([True, True, True, True, False]),
    section=st.sampled_from(["prioritized", "fallback"]),
    always_use=st.sampled_from([False, False, False, False, False, True]),
    order=st.integers(0, 3),
    created_at=st.integers(0, 2).map(lambda days: NOW - timedelta(days=days)),
    filters=_filters,
    deployments=st.sampled_from(
        [
            None,
            None,
            None,
            [
                Deployment(model_slug=MODEL, model_id="d1"),
                Deployment(model_slug=MINI, model_id="d2"),
            ],
            [Deployment(model_slug=MINI, model_id="d2")],
        ]
    ),
    resources=_resources,
)
_health = st.builds(
    HealthChanged,
    account_id=st.sampled_from([ACCOUNT, ACCOUNT, OTHER_ACCOUNT, PLATFORM_ACCOUNT]),
    credential_id=st.one_of(
        NUMBERS.map(lambda number: f"c{number}"), st.sampled_from(["platform-openai"])
    ),
    endpoint=st.sampled_from([ANY_ENDPOINT, "openai/gpt-4o", "azure/gpt-4o", "openai/d2"]),
    state=st.sampled_from(["cooling_down", "failing"]),
    reason=st.sampled_from(["rate_limited", "key_refused"]),
    until=st.integers(-5, 60).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    observed_at=st.just(NOW),
)
_slugs = st.lists(st.sampled_from(PROVIDERS), max_size=2)
_preferences = st.fixed_dictionaries(
    {},
    optional={
        "order": _slugs,
        "only": _slugs,
        "ignore": _slugs,
        "allow_fallbacks": st.booleans(),
    },
)


def _of_other(mine: CredentialChanged) -> CredentialChanged:
    return msgspec.structs.replace(mine, account_id=OTHER_ACCOUNT)


@dataclass(frozen=True)
class Setting:
    """All that a plan depends on; also the planner's ports."""

    own: list[CredentialChanged]
    foreign: list[CredentialChanged]
    shared: list[CredentialChanged]
    health: list[HealthChanged]
    preferences: dict[str, object]
    byok_only: bool
    member_id: MemberId | None
    changed: frozenset[str]
    """Credentials that are changed or gone once the plan is made."""
    table: HealthTable = field(default_factory=HealthTable)

    def __post_init__(self) -> None:
        for change in self.health:
            self.table.heard(change)

    # Catalog, Credentials
    def model(self, slug: str) -> ModelListed | None:
        return MODELS.get(slug)

    def of(self, account_id: AccountId) -> Sequence[CredentialChanged]:
        every = (*self.foreign, *self.own, *self.shared)
        return [each for each in every if each.account_id == account_id]

    def find(self, account_id: AccountId, credential_id: CredentialId) -> CredentialChanged | None:
        found = (each for each in self.of(account_id) if each.credential_id == credential_id)
        return next(found, None)

    def is_current(self, credential: CredentialChanged) -> bool:
        return credential.credential_id not in self.changed

    def problem(self) -> str | None:
        return None

    @property
    def planner(self) -> PlanRequest:
        return PlanRequest(catalog=self, credentials=self, health=self.table, providers=ADAPTERS)

    def plan(self) -> Plan:
        return self.planner.plan(
            msgspec.structs.replace(asked(byok_only=self.byok_only), member_id=self.member_id),
            request(models=[MINI], provider=self.preferences),
            NOW,
        )

    def explain(self) -> Explanation:
        def slugs(name: str) -> tuple[str, ...] | None:
            given_slugs = self.preferences.get(name)
            return tuple(given_slugs) if isinstance(given_slugs, list) else None

        question = ExplainPlan(
            account_id=ACCOUNT,
            api_key_hash=KEY,
            member_id=self.member_id,
            models=(MODEL, MINI),
            byok_only=self.byok_only,
            order=slugs("order"),
            only=slugs("only"),
            ignore=slugs("ignore"),
            allow_fallbacks=self.preferences.get("allow_fallbacks") is not False,
        )
        return self.planner.explain(question, NOW)

    def permuted(self, data: st.DataObject) -> "Setting":
        return Setting(
            own=data.draw(st.permutations(self.own)),
            foreign=data.draw(st.permutations(self.foreign)),
            shared=data.draw(st.permutations(self.shared)),
            health=self.health,
            preferences=self.preferences,
            byok_only=self.byok_only,
            member_id=self.member_id,
            changed=self.changed,
        )

    # what must hold, from scratch
    def may_serve(self, own: CredentialChanged, slug: str) -> bool:
        filters = own.filters
        return all(
            (
                own.enabled,
                filters.models is None or slug in filters.models,
                filters.api_key_hashes is None or KEY in filters.api_key_hashes,
                filters.member_ids is None or self.member_id in filters.member_ids,
            )
        )

    def has_endpoint(self, own: CredentialChanged, slug: str) -> bool:
        if any(each.model_slug == slug for each in own.deployments or ()):
            return True
        if own.deployments is not None and not own.resources:
            return False
        return any(each.provider == own.provider for each in MODELS[slug].endpoints)

    def insisting(self, slug: str) -> set[str]:
        return {
            each.credential_id
            for each in self.own
            if each.always_use and self.may_serve(each, slug) and self.has_endpoint(each, slug)
        }

    def is_sick(self, attempt: Attempt) -> bool:
        newest = {
            (each.account_id, each.credential_id, each.endpoint): each for each in self.health
        }
        used = attempt.credential
        return any(
            change.until is not None and change.until > NOW
            for endpoint in (ANY_ENDPOINT, attempt.endpoint.id)
            if (change := newest.get((used.account_id, used.credential_id, endpoint)))
        )


_settings = st.builds(
    Setting,
    own=st.one_of(
        st.lists(_credential, max_size=4, unique_by=lambda each: each.credential_id),
        # enough to meet at one endpoint, and to be more than a plan takes
        st.lists(_credential, min_size=10, max_size=24, unique_by=lambda each: each.credential_id),
    ),
    foreign=st.lists(
        _credential.map(_of_other), max_size=3, unique_by=lambda each: each.credential_id
    ),
    shared=st.lists(st.sampled_from(PROVIDERS), min_size=1, max_size=3, unique=True).map(
        lambda providers: [platform(each) for each in providers]
    ),
    health=st.lists(_health, max_size=12),
    preferences=_preferences,
    byok_only=st.sampled_from([False, False, False, True]),
    member_id=st.sampled_from([None, ME]),
    changed=st.frozensets(NUMBERS.map(lambda number: f"c{number}"), max_size=3),
)
_failures = st.lists(
    st.sampled_from([each for each in FailureClass if each is not FailureClass.STREAM_CUT]),
    min_size=ATTEMPTS_MAX + 1,
    max_size=ATTEMPTS_MAX + 1,
)


@given(_settings)
def test_the_plans_promises_hold(setting: Setting) -> None:
    found = setting.plan()
    assert len(found.attempts) <= ATTEMPTS_MAX
    for attempt in found.attempts:
        used = attempt.credential
        assert used in (setting.own if attempt.is_byok else setting.shared)
        assert used.provider == attempt.endpoint.provider
        assert used.provider in ADAPTERS
        assert setting.has_endpoint(used, attempt.model)
        assert _is_named(attempt)
        assert not setting.is_sick(attempt)
        _check_preferences(attempt, setting.preferences)
        if attempt.is_byok:
            assert attempt.tier == used.section
            assert setting.may_serve(used, attempt.model)
        else:
            assert not setting.byok_only
            assert not setting.insisting(attempt.model)
            assert any(
                each.provider == used.provider and not each.byok_only
                for each in MODELS[attempt.model].endpoints
            )


def _is_named(attempt: Attempt) -> bool:
    """Whether the credential names where the attempt goes: its deployment, or else its resource."""
    used = attempt.credential
    if used.deployments is None:
        return attempt.endpoint.resource is None
    for_model = [each.model_id for each in used.deployments if each.model_slug == attempt.model]
    if for_model:
        return attempt.endpoint.resource is None and attempt.endpoint.provider_model in for_model
    return attempt.endpoint.resource in [each.resource_name for each in used.resources]


def _check_preferences(attempt: Attempt, preferences: dict[str, object]) -> None:
    provider = attempt.endpoint.provider
    only, ignore = preferences.get("only"), preferences.get("ignore")
    assert not isinstance(only, list) or provider in only
    assert not isinstance(ignore, list) or provider not in ignore
    order = preferences.get("order")
    if preferences.get("allow_fallbacks") is False and isinstance(order, list) and order:
        assert provider in order


@given(_settings)
def test_models_tiers_and_then_the_credentials_order_decide_what_comes_first(
    setting: Setting,
) -> None:
    attempts = setting.plan().attempts
    places = [([MODEL, MINI].index(each.model), TIERS[each.tier]) for each in attempts]
    assert places == sorted(places)
    by_endpoint: dict[tuple[str, str, str], list[tuple[object, ...]]] = {}
    for each in attempts:
        used = each.credential
        place = (used.order, used.created_at, used.credential_id)
        by_endpoint.setdefault((each.model, each.tier, each.endpoint.id), []).append(place)
    for placed in by_endpoint.values():
        assert placed == sorted(placed)
        assert len(set(placed)) == len(placed), "no attempt is planned twice"


@given(_settings, st.data())
def test_the_order_in_which_credentials_are_known_changes_nothing(
    setting: Setting, data: st.DataObject
) -> None:
    again = setting.permuted(data)
    assert again.plan().attempts == setting.plan().attempts
    assert again.explain() == setting.explain()


@given(st.lists(_settings, min_size=1, max_size=4))
def test_remembered_routes_are_those_found_anew(settings: list[Setting]) -> None:
    remembering = KnownRoutes()
    first = settings[0]
    platform = tuple(first.shared)
    own_of_each = [tuple(each.of(ACCOUNT)) for each in settings]
    asked_for = [
        *((each, own, tuple(each.shared)) for each, own in zip(settings, own_of_each, strict=True)),
        *((first, own, platform) for own in own_of_each),  # nothing but own credentials differs
    ]
    for wanted, own, shared in [*asked_for, *asked_for]:
        asked_with = request(models=[MINI], provider=wanted.preferences)
        access = Access(
            caller=Caller(api_key_hash=KEY, member_id=wanted.member_id),
            own=own,
            platform=shared,
            byok_only=wanted.byok_only,
            providers=ADAPTERS,
        )
        for listed in MODELS.values():
            assert remembering(listed, asked_with, access) == routes(listed, asked_with, access)


@given(_settings, _failures)
def test_what_follows_a_failure_is_new_and_healthy_and_comes_to_an_end(
    setting: Setting, failures: list[FailureClass]
) -> None:
    planner, planned = setting.planner, setting.plan()
    tried: list[int] = []
    attempt = planned.attempts[0] if planned.attempts else None
    for failure in failures:
        if attempt is None:
            break
        tried.append(next(i for i, each in enumerate(planned.attempts) if each is attempt))
        failed, where = attempt, next_after(failure)
        setting.table.failed(failed, ProviderFailure(failure=failure), began_at=NOW, now=NOW)
        attempt = planner.following(planned, failed, where, NOW)
        if attempt is not None:
            assert where is not Next.STOP
            assert where is not Next.MODEL or attempt.model != failed.model
            assert attempt.credential.credential_id not in setting.changed
            assert setting.table.blocking(attempt, NOW) is None
    assert attempt is None
    assert tried == sorted(set(tried))
    assert len(tried) <= len(planned.attempts)


@given(_settings)
def test_the_explanation_is_of_the_very_plan_that_is_carried_out(setting: Setting) -> None:
    explained, carried_out = setting.explain().plan, setting.plan()
    assert explained.attempts == carried_out.attempts
    assert [(each.attempt, each.why, each.health) for each in explained.left_out] == [
        (each.attempt, each.why, each.health) for each in carried_out.left_out
    ]


@given(_settings)
def test_the_explanation_says_of_everything_why_it_is_not_tried(setting: Setting) -> None:
    found = setting.explain()
    planned = found.plan
    looked_at = [*planned.attempts, *(each.attempt for each in planned.left_out)]
    used = {(each.model, each.credential.credential_id) for each in looked_at if each.is_byok}
    unused = [(each.model, each.credential.credential_id) for each in found.unused]
    every = {(slug, each.credential_id) for slug in (MODEL, MINI) for each in setting.own}
    assert not used & set(unused)
    assert used | set(unused) == every
    assert len(set(unused)) == len(unused)
    for each in found.unused:
        _check_reason(setting, each.credential, each.model, each.why)
    for left_out in planned.left_out:
        assert (left_out.health is not None) is (left_out.why.value == "unhealthy")
        if left_out.why.value == "unhealthy":
            assert setting.is_sick(left_out.attempt)
        forbidding = {each.credential_id for each in left_out.forbidden_by}
        if left_out.why.value == "always_use":
            assert forbidding == setting.insisting(left_out.attempt.model) != set()
        else:
            assert not forbidding
    shared = {(each.model, each.endpoint.provider) for each in looked_at if not each.is_byok}
    not_shared = {(each.model, each.provider) for each in found.not_shared}
    assert not shared & not_shared
    assert shared | not_shared == {
        (slug, each.provider) for slug, listed in MODELS.items() for each in listed.endpoints
    }


def _check_reason(
    setting: Setting, own: CredentialChanged, slug: str, why: NotAdmitted | NoEndpoint
) -> None:
    filters = own.filters
    match why:
        case NotAdmitted.DISABLED:
            assert not own.enabled
        case NotAdmitted.MODEL:
            assert filters.models is not None
            assert slug not in filters.models
        case NotAdmitted.API_KEY:
            assert filters.api_key_hashes is not None
            assert KEY not in filters.api_key_hashes
        case NotAdmitted.MEMBER:
            assert filters.member_ids is not None
            assert setting.member_id not in filters.member_ids
        case NoEndpoint.FOR_THE_MODEL:
            assert setting.may_serve(own, slug)
            assert not setting.has_endpoint(own, slug)


@given(_settings)
def test_byok_only_alone_keeps_off_shared_capacity(setting: Setting) -> None:
    """Nothing else does here, so that no other rule hides it."""
    willing = [msgspec.structs.replace(each, always_use=False) for each in setting.own[:4]]
    open_to_all = replace(
        setting,
        own=willing,
        shared=[platform(each) for each in ADAPTERS],
        health=[],
        preferences={},
        byok_only=False,
        table=HealthTable(),
    )
    kept_off = replace(open_to_all, byok_only=True, table=HealthTable())

    assert any(not each.is_byok for each in open_to_all.plan().attempts)
    assert all(each.is_byok for each in kept_off.plan().attempts)
