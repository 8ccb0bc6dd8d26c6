"""Rate limits of shared capacity: exact numbers a minute, tokens put right, never for own keys."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.abandon import release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.page import Page
from services.billing.domain.rate_limit import (
    RateUse,
    RateWindow,
    SharedCapacity,
    limit_of,
    minute_of,
)
from services.billing.domain.settle import settle_finished
from shared.events.accounts import SharedLimit
from shared.events.billing import RateLimitReached, SpendAuthorized, SpendRefused
from shared.events.envelope import CallReply
from shared.events.generations import Spend
from tests.unit.billing.made import (
    ACCOUNT,
    NOW,
    OTHER_ACCOUNT,
    POLICY,
    USAGE,
    USD,
    authorize,
    finished,
    generation,
    page_with,
    promised,
)

MINUTE = minute_of(NOW)
WINDOW = RateWindow(ACCOUNT, "openai", MINUTE)
THREE = SharedCapacity({"default": SharedLimit(requests_per_minute=3)}, MINUTE)
TOKENS = SharedCapacity({"openai": SharedLimit(tokens_per_minute=5_000)}, MINUTE)


def ask(
    page: Page,
    number: int,
    capacity: SharedCapacity,
    *,
    tokens: int = 0,
    provider: str = "openai",
    hold: str | None = None,
) -> CallReply:
    command = authorize(
        number,
        hold=hold,
        is_byok=False,
        worst_case_nano_usd=1,
        worst_case_tokens=tokens,
        provider=provider,
    )
    return authorize_spend(page, command, POLICY, capacity)


def passes(answer: CallReply) -> bool:
    return isinstance(answer, SpendAuthorized)


def test_as_many_requests_pass_as_the_limit_says_and_the_next_minute_begins_anew() -> None:
    page = page_with(USD)
    answers = [ask(page, number, THREE) for number in range(5)]
    assert [passes(answer) for answer in answers] == [True, True, True, False, False]
    refused = answers[-1]
    assert isinstance(refused, SpendRefused)
    assert refused.code == "rate_limited"
    assert refused.rate_limit == RateLimitReached(
        counted="requests", limit=3, remaining=0, resets_at=MINUTE + timedelta(minutes=1)
    )
    assert page.shared_use.added == {WINDOW: RateUse(3, 0)}
    later = SharedCapacity(THREE.installation, MINUTE + timedelta(minutes=1))
    assert passes(ask(page, 9, later))


def test_each_provider_and_each_account_has_minutes_of_its_own() -> None:
    page = page_with(USD)
    for number in range(3):
        ask(page, number, THREE)
    assert passes(ask(page, 3, THREE, provider="azure"))
    other = authorize(4, account=OTHER_ACCOUNT, is_byok=False, worst_case_nano_usd=0)
    assert passes(authorize_spend(page, other, POLICY, THREE))


def test_own_keys_are_never_limited_nor_counted() -> None:
    page = page_with(USD)
    none_at_all = SharedCapacity(
        {"default": SharedLimit(requests_per_minute=0, tokens_per_minute=0)}, MINUTE
    )
    assert passes(authorize_spend(page, authorize(1), POLICY, none_at_all))
    assert page.shared_use.added == {}


def test_the_same_hold_again_counts_once_and_its_refusal_sticks() -> None:
    page = page_with(USD)
    one = SharedCapacity({"default": SharedLimit(requests_per_minute=1)}, MINUTE)
    assert ask(page, 1, one) == ask(page, 1, one)
    refused = ask(page, 2, one)
    page.shared_use.used.clear()
    assert ask(page, 2, one) == refused
    assert page.shared_use.added == {WINDOW: RateUse(1, 0)}


def test_tokens_are_reserved_at_their_worst_and_put_right_when_posted() -> None:
    page = page_with(USD)
    assert passes(ask(page, 1, TOKENS, tokens=4_000))
    refused = ask(page, 2, TOKENS, tokens=1_001)
    assert isinstance(refused, SpendRefused)
    assert refused.rate_limit is not None
    assert (refused.rate_limit.counted, refused.rate_limit.remaining) == ("tokens", 1_000)
    settle_finished(page, finished(1, is_byok=False, spend=promised(1)), POLICY)
    used = USAGE.prompt_tokens + USAGE.completion_tokens
    assert page.shared_use.used[WINDOW] == RateUse(1, used)
    assert passes(ask(page, 3, TOKENS, tokens=5_000 - used))


def test_an_attempt_that_gave_way_or_came_to_nothing_gives_its_tokens_back() -> None:
    page = page_with(USD)
    ask(page, 1, TOKENS, tokens=5_000, hold="first")
    assert passes(ask(page, 1, TOKENS, tokens=5_000, hold="second"))
    release(page, generation(1), ACCOUNT, "gone")
    assert page.shared_use.used[WINDOW] == RateUse(2, 0)
    ask(page, 2, TOKENS, tokens=5_000)
    # the own key that answered in the end had ample allotment and so no hold
    settle_finished(page, finished(2, spend=Spend(waived=True)), POLICY)
    assert page.shared_use.used[WINDOW] == RateUse(3, 0)


def test_what_credits_refuse_counts_nothing() -> None:
    page = page_with(0)
    answer = ask(page, 1, THREE)
    assert isinstance(answer, SpendRefused)
    assert answer.code == "insufficient_credits"
    assert page.shared_use.added == {}


def test_the_accounts_own_limit_comes_before_the_installations_and_the_providers_before_all() -> (
    None
):
    installation = {
        "default": SharedLimit(requests_per_minute=1, tokens_per_minute=2),
        "openai": SharedLimit(requests_per_minute=3),
    }
    own = {"default": SharedLimit(requests_per_minute=5)}
    assert limit_of("openai", {}, installation) == SharedLimit(
        requests_per_minute=3, tokens_per_minute=2
    )
    assert limit_of("openai", own, installation) == SharedLimit(
        requests_per_minute=5, tokens_per_minute=2
    )
    assert limit_of("azure", {}, {}) == SharedLimit()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "ask", "post", "release"]), st.integers(0, 5_000)),
        max_size=40,
    )
)
def test_no_minute_overshoots_whatever_the_order(steps: list[tuple[str, int]]) -> None:
    limits = {"openai": SharedLimit(requests_per_minute=8, tokens_per_minute=9_000)}
    capacity = SharedCapacity(limits, MINUTE)
    page = page_with(USD)
    for number, (kind, tokens) in enumerate(steps):
        if kind == "ask":
            ask(page, number, capacity, tokens=tokens + 1_500)
        elif kind == "post" and page.open_holds:
            hold = next(iter(page.open_holds.values()))
            fact = finished(
                generation_id=hold.generation_id,
                is_byok=False,
                spend=Spend(hold_id=hold.hold_id),
            )
            settle_finished(page, fact, POLICY)
        elif page.open_holds:
            release(page, next(iter(page.open_holds)), ACCOUNT, "gone")
        use = page.shared_use.used.get(WINDOW, RateUse())
        assert 0 <= use.requests <= 8
        assert 0 <= use.tokens <= 9_000
