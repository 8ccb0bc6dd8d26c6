"""Whatever credentials, filters, preferences and health there are: the plan's promises hold."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Caller, is_admitted
from services.dispatcher.domain.failure import FailureClass
from services.dispatcher.domain.health import Health
from services.dispatcher.domain.plan import ATTEMPTS_MAX, Plan, plan
from shared.events.credentials import CredentialChanged, Deployment, Filters
from shared.ids import ApiKeyHash, MemberId
from tests.unit.dispatcher.made import (
    KEY,
    MINI,
    MODEL,
    NOW,
    catalog_endpoint,
    credential,
    model,
    platform,
    request,
)

_PROVIDERS = ("openai", "azure", "groq")
_TIERS = {"prioritized": 0, "shared": 1, "fallback": 2}
_CALLER = Caller(api_key_hash=KEY, member_id=MemberId("me"))

_filters = st.builds(
    Filters,
    models=st.sampled_from([None, [MODEL], [MINI], []]),
    api_key_hashes=st.sampled_from([None, [KEY], [ApiKeyHash("b" * 64)]]),
    member_ids=st.sampled_from([None, [MemberId("me")], [MemberId("another")]]),
)
_deployments = st.sampled_from(
    [
        None,
        [Deployment(model_slug=MODEL, model_id="d1")],
        [Deployment(model_slug=MINI, model_id="d2")],
    ]
)
_credential = st.builds(
    credential,
    st.integers(0, 9).map(lambda number: f"c{number}"),
    provider=st.sampled_from(_PROVIDERS),
    enabled=st.booleans(),
    section=st.sampled_from(["prioritized", "fallback"]),
    always_use=st.booleans(),
    order=st.integers(0, 3),
    filters=_filters,
    deployments=_deployments,
)
_own = st.lists(_credential, max_size=8, unique_by=lambda each: each.credential_id)
_shared = st.lists(st.sampled_from(_PROVIDERS).map(platform), max_size=3, unique_by=id)
_slugs = st.lists(st.sampled_from(_PROVIDERS), max_size=2)
_preferences = st.fixed_dictionaries(
    {},
    optional={
        "order": _slugs,
        "only": _slugs,
        "ignore": _slugs,
        "allow_fallbacks": st.booleans(),
    },
)
_models = {
    MODEL: model(MODEL, catalog_endpoint("openai"), catalog_endpoint("azure", byok_only=True)),
    MINI: model(MINI, catalog_endpoint("groq"), catalog_endpoint("openai")),
}


def _made(
    own: list[CredentialChanged],
    shared: list[CredentialChanged],
    preferences: dict[str, object],
    *,
    byok_only: bool,
    sick: frozenset[str],
) -> Plan:
    def blocking(attempt: Attempt) -> Health | None:
        if attempt.credential.credential_id not in sick:
            return None
        return Health(
            state="cooling_down",
            reason=FailureClass.RATE_LIMITED,
            provider_status=429,
            until=NOW + timedelta(seconds=5),
            failures=1,
            observed_at=NOW,
        )

    return plan(
        request(models=[MINI], provider=preferences),
        model_of=_models.get,
        own=own,
        platform=shared,
        blocking=blocking,
        byok_only=byok_only,
        caller=_CALLER,
        providers=_PROVIDERS,
    )


@given(_own, _shared, _preferences, st.booleans(), st.frozensets(st.sampled_from(["c0", "c1"])))
def test_the_plans_promises_hold(
    own: list[CredentialChanged],
    shared: list[CredentialChanged],
    preferences: dict[str, object],
    byok_only: bool,  # noqa: FBT001 - hypothesis gives it by place
    sick: frozenset[str],
) -> None:
    found = _made(own, shared, preferences, byok_only=byok_only, sick=sick)
    assert len(found.attempts) <= ATTEMPTS_MAX
    places = [([MODEL, MINI].index(each.model), _TIERS[each.tier]) for each in found.attempts]
    assert places == sorted(places)
    assert len(set(map(id, found.attempts))) == len(found.attempts)
    for attempt in found.attempts:
        used = attempt.credential
        assert used in (own if attempt.is_byok else shared)
        assert is_admitted(used, attempt.model, _CALLER)
        assert used.enabled
        _assert_let_in(used.filters, attempt.model)
        assert used.credential_id not in sick
        assert used.provider == attempt.endpoint.provider
        if "only" in preferences:
            assert attempt.endpoint.provider in preferences["only"]  # type: ignore[operator]
        if not attempt.is_byok:
            assert not byok_only
            assert not any(_insists(each, attempt.model) for each in own)
    again = _made(
        list(reversed(own)), list(reversed(shared)), preferences, byok_only=byok_only, sick=sick
    )
    assert [each for each in again.attempts if each.is_byok] == [
        each for each in found.attempts if each.is_byok
    ]


def _assert_let_in(filters: Filters, slug: str) -> None:
    """Every filter lets the caller in, told from scratch."""
    assert filters.models is None or slug in filters.models
    assert filters.api_key_hashes is None or _CALLER.api_key_hash in filters.api_key_hashes
    assert filters.member_ids is None or _CALLER.member_id in filters.member_ids


def _insists(own: CredentialChanged, slug: str) -> bool:
    """Whether always_use of this credential counts for a model, told from scratch."""
    if not (own.always_use and is_admitted(own, slug, _CALLER)):
        return False
    if own.deployments is not None:
        return any(each.model_slug == slug for each in own.deployments)
    return any(each.provider == own.provider for each in _models[slug].endpoints)
