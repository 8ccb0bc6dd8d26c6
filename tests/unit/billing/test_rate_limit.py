"""Rate limits of shared capacity: exact in any minute, tokens put right, never for own keys."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.abandon import release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.page import Page
from services.billing.domain.rate_limit import (
    COUNTED_SECONDS,
    WINDOW_SECONDS,
    LimitsByProvider,
    RateSecond,
    RateUse,
    SharedUser,
    UsedSeconds,
    limit_of,
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

SECOND_NOW = int(NOW.timestamp())
COUNTED = timedelta(seconds=COUNTED_SECONDS)
WINDOW = timedelta(seconds=WINDOW_SECONDS)
USER = SharedUser(ACCOUNT, "openai")
THREE = {"default": SharedLimit(requests_per_minute=3)}
TOKENS = {"openai": SharedLimit(tokens_per_minute=5_000)}
SECOND = timedelta(seconds=1)


def page_at(now: datetime = NOW, nano_usd: int = USD) -> Page:
    """A page that was read in a second, in which nothing was used before."""
    page = page_with(nano_usd)
    page.shared_use.now = int(now.timestamp())
    return page


def use_of(page: Page) -> RateUse:
    """What counts all in all."""
    used = page.shared_use.used.get(USER, UsedSeconds())
    return RateUse(sum(used.requests.values()), sum(used.tokens.values()))


def ask(
    page: Page,
    number: int,
    limits: LimitsByProvider,
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
    return authorize_spend(page, command, POLICY, limits)


def passes(answer: CallReply) -> bool:
    return isinstance(answer, SpendAuthorized)


def test_as_many_requests_pass_in_a_minute_as_the_limit_says() -> None:
    page = page_at()
    answers = [ask(page, number, THREE) for number in range(5)]
    assert [passes(answer) for answer in answers] == [True, True, True, False, False]
    refused = answers[-1]
    assert isinstance(refused, SpendRefused)
    assert refused.code == "rate_limited"
    assert refused.rate_limit == RateLimitReached(
        counted="requests", limit=3, remaining=0, resets_at=NOW + COUNTED
    )
    assert page.shared_use.added == {RateSecond(*USER, SECOND_NOW): RateUse(3, 0)}


def test_what_was_used_frees_as_it_leaves_the_window_and_a_refusal_says_when_enough_has() -> None:
    page = page_at()
    for at, tokens in ((0, 1_000), (10, 3_000), (59, 500)):
        page.shared_use.now = SECOND_NOW + at
        assert passes(ask(page, at, TOKENS, tokens=tokens))
    for number, (needed, resets_at, remaining) in enumerate(
        (
            (501, NOW + COUNTED, 500),
            (1_500, NOW + COUNTED, 500),
            (1_501, NOW + 10 * SECOND + COUNTED, 500),
            (5_000, NOW + 59 * SECOND + COUNTED, 500),
            # which no wait will ever bring
            (5_001, NOW + 59 * SECOND + WINDOW, 500),
        )
    ):
        refused = ask(page, 100 + number, TOKENS, tokens=needed)
        assert isinstance(refused, SpendRefused)
        assert refused.rate_limit == RateLimitReached(
            counted="tokens", limit=5_000, remaining=remaining, resets_at=resets_at
        )


def test_of_two_limits_that_are_reached_the_one_that_lasts_longer_is_told() -> None:
    page = page_at()
    both = {"openai": SharedLimit(requests_per_minute=2, tokens_per_minute=100)}
    assert passes(ask(page, 1, both, tokens=10))
    page.shared_use.now = SECOND_NOW + 5
    assert passes(ask(page, 2, both, tokens=90))
    for number, tokens, counted, seconds in ((3, 10, "requests", 0), (4, 11, "tokens", 5)):
        refused = ask(page, number, both, tokens=tokens)
        assert isinstance(refused, SpendRefused)
        assert refused.rate_limit is not None
        assert refused.rate_limit.counted == counted
        assert refused.rate_limit.resets_at == NOW + seconds * SECOND + COUNTED


def test_each_provider_and_each_account_counts_by_itself() -> None:
    page = page_at()
    for number in range(3):
        ask(page, number, THREE)
    assert passes(ask(page, 3, THREE, provider="azure"))
    other = authorize(4, account=OTHER_ACCOUNT, is_byok=False, worst_case_nano_usd=0)
    assert passes(authorize_spend(page, other, POLICY, THREE))


def test_own_keys_are_never_limited_nor_counted() -> None:
    page = page_at()
    none_at_all = {"default": SharedLimit(requests_per_minute=0, tokens_per_minute=0)}
    assert passes(authorize_spend(page, authorize(1), POLICY, none_at_all))
    assert page.shared_use.added == {}


def test_the_same_hold_again_counts_once_and_its_refusal_sticks() -> None:
    page = page_at()
    one = {"default": SharedLimit(requests_per_minute=1)}
    assert ask(page, 1, one) == ask(page, 1, one)
    refused = ask(page, 2, one)
    page.shared_use.used.clear()
    assert ask(page, 2, one) == refused
    assert page.shared_use.added == {RateSecond(*USER, SECOND_NOW): RateUse(1, 0)}


def test_tokens_are_reserved_at_their_worst_and_put_right_when_posted() -> None:
    page = page_at()
    assert passes(ask(page, 1, TOKENS, tokens=4_000))
    refused = ask(page, 2, TOKENS, tokens=1_001)
    assert isinstance(refused, SpendRefused)
    assert refused.rate_limit is not None
    assert (refused.rate_limit.counted, refused.rate_limit.remaining) == ("tokens", 1_000)
    settle_finished(page, finished(1, is_byok=False, spend=promised(1)), POLICY)
    used = USAGE.prompt_tokens + USAGE.completion_tokens
    assert use_of(page) == RateUse(1, used)
    assert passes(ask(page, 3, TOKENS, tokens=5_000 - used))


def test_an_attempt_that_gave_way_or_came_to_nothing_gives_its_tokens_back() -> None:
    page = page_at()
    ask(page, 1, TOKENS, tokens=5_000, hold="first")
    assert passes(ask(page, 1, TOKENS, tokens=5_000, hold="second"))
    release(page, generation(1), ACCOUNT, "gone")
    assert use_of(page) == RateUse(2, 0)
    ask(page, 2, TOKENS, tokens=5_000)
    # the own key that answered in the end had ample allotment and so no hold
    settle_finished(page, finished(2, spend=Spend(waived=True)), POLICY)
    assert use_of(page) == RateUse(3, 0)


def test_what_left_the_window_gives_nothing_back_to_it() -> None:
    page = page_at(NOW)
    ask(page, 1, TOKENS, tokens=5_000, hold="first")
    ask(page, 2, TOKENS, tokens=0)
    page.shared_use.used.clear()
    page.shared_use.now = SECOND_NOW + COUNTED_SECONDS
    assert passes(ask(page, 1, TOKENS, tokens=3_000, hold="second"))
    release(page, generation(2), ACCOUNT, "gone")
    assert use_of(page) == RateUse(1, 3_000)
    assert not passes(ask(page, 3, TOKENS, tokens=2_001))
    assert passes(ask(page, 4, TOKENS, tokens=2_000))


def test_what_credits_refuse_counts_nothing() -> None:
    page = page_at(nano_usd=0)
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


REQUESTS_MAX, TOKENS_MAX = 8, 9_000
BOTH = {"openai": SharedLimit(requests_per_minute=REQUESTS_MAX, tokens_per_minute=TOKENS_MAX)}


@dataclass
class Books:
    """Rows of seconds, and when, to the microsecond, each request was admitted."""

    page: Page = field(default_factory=page_at)
    rows: dict[int, RateUse] = field(default_factory=dict)
    admitted: dict[str, datetime] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    def read(self, now: datetime) -> None:
        """What a transaction reads that begins now."""
        second = int(now.timestamp())
        counting = {each: use for each, use in self.rows.items() if each > second - COUNTED_SECONDS}
        self.page.shared_use.now = second
        self.page.shared_use.used = {
            USER: UsedSeconds(
                requests={each: use.requests for each, use in counting.items()},
                tokens={each: use.tokens for each, use in counting.items()},
            )
        }
        self.page.shared_use.added = {}

    def store(self) -> None:
        for row, use in self.page.shared_use.added.items():
            known = self.rows.get(row.second, RateUse())
            self.rows[row.second] = known.plus(use.requests, use.tokens)

    def ask(self, number: int, now: datetime, tokens: int) -> RateLimitReached | None:
        self.read(now)
        answer = ask(self.page, number, BOTH, tokens=tokens)
        self.store()
        if isinstance(answer, SpendRefused):
            assert answer.rate_limit is not None
            return answer.rate_limit
        assert passes(answer)
        self.admitted[generation(number)] = now
        self.tokens[generation(number)] = tokens
        return None

    def end(self, now: datetime, *, is_posted: bool) -> None:
        """One that runs is posted, or released."""
        if not self.page.open_holds:
            return
        self.read(now)
        hold = next(iter(self.page.open_holds.values()))
        if is_posted:
            fact = finished(
                generation_id=hold.generation_id,
                is_byok=False,
                spend=Spend(hold_id=hold.hold_id),
            )
            settle_finished(self.page, fact, POLICY)
        else:
            release(self.page, hold.generation_id, ACCOUNT, "gone")
        self.store()
        used = USAGE.prompt_tokens + USAGE.completion_tokens
        self.tokens[hold.generation_id] = used if is_posted else 0

    def most(self) -> tuple[int, int]:
        """The most requests and tokens that any 60 seconds hold: such a window begins with one."""
        windows = [
            [each for each, at in self.admitted.items() if begin <= at < begin + WINDOW]
            for begin in self.admitted.values()
        ]
        return (
            max((len(window) for window in windows), default=0),
            max((sum(self.tokens[each] for each in window) for window in windows), default=0),
        )


_steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "post", "release"]),
        # often to where something leaves the window; also back, since a clock may be set
        st.integers(0, 1_000_000)
        | st.integers(58_900_000, 61_100_000)
        | st.integers(-2_000_000, 45_000_000),
        st.integers(1_500, 6_500),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(_steps)
def test_no_sixty_seconds_overshoot_whatever_the_order_and_the_times(
    steps: list[tuple[str, int, int]],
) -> None:
    books, now = Books(), NOW
    for number, (kind, microseconds, tokens) in enumerate(steps):
        now += timedelta(microseconds=microseconds)
        if kind == "ask":
            books.ask(number, now, tokens)
        else:
            books.end(now, is_posted=kind == "post")
        requests_used, tokens_used = books.most()
        assert requests_used <= REQUESTS_MAX
        assert tokens_used <= TOKENS_MAX


def test_what_was_used_at_the_end_of_a_second_counts_for_its_sixty_seconds() -> None:
    books = Books()
    used = NOW + timedelta(seconds=0.9)
    assert books.ask(1, used, TOKENS_MAX) is None
    early = books.ask(2, used + timedelta(seconds=59.9), 1)
    assert early is not None
    assert early.resets_at == NOW + timedelta(seconds=61)
    assert books.ask(3, NOW + timedelta(seconds=61), 1) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9_000_000), st.integers(0, 3_000)), max_size=40),
    st.integers(0, TOKENS_MAX),
)
def test_what_a_refusal_says_is_the_first_second_at_which_the_same_passes(
    before: list[tuple[int, int]], tokens: int
) -> None:
    books, now = Books(), NOW
    for number, (microseconds, used) in enumerate(before):
        now += timedelta(microseconds=microseconds)
        books.ask(number, now, used)
    refused = books.ask(1_000, now, tokens)
    if refused is not None:
        early = refused.resets_at - timedelta(microseconds=1)
        assert early >= now.replace(microsecond=0)
        assert refused.resets_at - now <= COUNTED
        again = books.ask(1_001, early, tokens)
        assert again is not None
        assert again.resets_at == refused.resets_at
        assert books.ask(1_002, refused.resets_at, tokens) is None
