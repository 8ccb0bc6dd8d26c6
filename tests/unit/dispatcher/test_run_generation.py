"""One generation from request to last frame, everything outside in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import AnswerNamed, StreamEnded, UsageSeen
from services.dispatcher.domain.request import ChatRequest
from services.dispatcher.domain.run import Cancelled, Completed, Dropped, Failed
from shared.events.billing import (
    ApiKeyLimit,
    AuthorizeSpend,
    KeyLimitReached,
    RateLimitReached,
    SpendAuthorized,
    SpendRefused,
)
from shared.events.completions import GenerationCancelled
from shared.events.generations import GenerationAbandoned, GenerationFinished, RequestOrigin
from shared.events.replies import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted
from shared.events.routing import FallbackDecided, HealthChanged
from shared.events.usage import Usage
from shared.ids import CredentialId, HoldId, RunId
from tests.fakes.scripted_provider import StreamStep
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.made import (
    LIST_COST,
    MINI,
    STREAM,
    USAGE,
    asked,
    balance,
    credential,
    platform,
    text,
    whole,
)
from tests.unit.dispatcher.world import OneClaim, World, sealed, won

LIMITED = ProviderFailure(
    failure=FailureClass.RATE_LIMITED, status=429, retry_after_seconds=7, raw="slow down"
)


def cancellation(
    world: World, request_id: str, *, run_id: str | None = None, seconds: float = 60
) -> GenerationCancelled:
    request = asked(now=world.clock.now(), deadline_seconds=seconds)
    return GenerationCancelled(
        generation_id=request_id,  # type: ignore[arg-type] # a NewType of str
        run_id=None if run_id is None else RunId(run_id),
        reason="client_gone",
        deadline=request.deadline,
    )


# --- plain answers and money ---------------------------------------------------------------------


async def test_an_own_key_answers_and_its_fee_is_waived_without_asking_billing(
    world: World,
) -> None:
    world.own = [credential("own")]
    assert isinstance(await world.run(whole()), Completed)
    assert world.of(AuthorizeSpend) == []
    fact, last = world.fact, world.last
    assert (fact.outcome, fact.is_byok, fact.credential_id) == ("completed", True, "own")
    assert fact.spend is not None
    assert (fact.spend.waived, fact.spend.hold_id) == (True, None)
    assert isinstance(last, ReplyCompleted)
    assert (last.usage.cost_nano_usd, last.usage.list_cost_nano_usd) == (0, LIST_COST)
    assert last.choices[0].message.content == "hello"
    assert world.provider.calls[0].secret.value == "secret of own"  # type: ignore[union-attr]


async def test_beta_features_reach_the_provider(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())
    named = msgspec.structs.replace(request, anthropic_betas=("context-1m-2025-08-07",))
    assert isinstance(await world.run(whole(), request=named), Completed)
    sent = world.provider.calls[0].request
    assert isinstance(sent, ChatRequest)
    assert sent.anthropic_betas == ("context-1m-2025-08-07",)


async def test_without_ample_allotment_billing_is_asked_and_its_promise_is_told(
    world: World,
) -> None:
    world.own = [credential("own")]
    world.is_fresh = False
    world.answers = [SpendAuthorized(hold_id=HoldId("hold"), waived=False, fee_percent=Decimal(5))]
    await world.run(whole())
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert last.usage.cost_nano_usd == LIST_COST * 5 // 100
    assert world.fact.spend is not None
    assert world.fact.spend.hold_id == "hold"


async def test_the_allotment_of_another_month_promises_nothing(world: World) -> None:
    world.own = [credential("own")]
    world.seen = balance(month="2020-01")
    world.answers = [SpendAuthorized(hold_id=HoldId("hold"), waived=True)]
    await world.run(whole())
    assert len(world.of(AuthorizeSpend)) == 1


async def test_shared_capacity_is_always_held_for_its_worst_case_and_costs_the_list_price(
    world: World,
) -> None:
    world.platform = [platform()]
    await world.run(whole(), max_tokens=1000)
    asked_for = world.of(AuthorizeSpend)[0]
    assert isinstance(asked_for, AuthorizeSpend)
    assert asked_for.worst_case_nano_usd >= 1000 * 10_000
    assert not asked_for.is_byok
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert (last.usage.is_byok, last.usage.cost_nano_usd) == (False, LIST_COST)
    assert world.fact.credential_id is None


async def test_the_fact_has_all_that_a_receipt_shows(world: World) -> None:
    world.own = [credential("own")]
    world.platform = [platform()]
    origin = RequestOrigin(user_agent="test/1")
    request = msgspec.structs.replace(asked(now=world.clock.now()), origin=origin)
    await world.run(
        ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429), whole(), request=request
    )

    fact = world.fact
    failed, answered = fact.attempts
    assert (failed.credential_id, failed.credential_label) == ("own", "sk-...abcd")
    assert failed.prices == fact.prices
    # nothing of a platform credential is told, and the generation's own prices say the rest
    assert (answered.credential_id, answered.credential_label) == (None, None)
    assert answered.prices is None
    assert fact.requested_model == fact.model
    assert fact.first_token_ms is not None
    assert fact.origin == origin


async def test_each_attempt_is_named_by_the_providers_own_id_however_it_ends(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    named = msgspec.structs.replace(whole(), upstream_id="chatcmpl-2")
    await world.run(
        (AnswerNamed("chatcmpl-1"), ProviderFailure(failure=FailureClass.PROVIDER_ERROR)),
        (AnswerNamed("chatcmpl-2"), *STREAM),
        stream=True,
    )
    assert [each.upstream_id for each in world.fact.attempts] == ["chatcmpl-1", "chatcmpl-2"]
    world.out.clear()
    await world.run(named)
    assert [each.upstream_id for each in world.fact.attempts] == ["chatcmpl-2"]
    world.out.clear()
    cut = (
        AnswerNamed("chatcmpl-3"),
        text("hello"),
        ProviderFailure(failure=FailureClass.STREAM_CUT),
    )
    await world.run(cut, stream=True)
    assert [each.upstream_id for each in world.fact.attempts] == ["chatcmpl-3"]


async def test_what_one_attempt_was_told_is_not_the_next_ones(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    world.answers = [_refused(0)]
    await world.run(
        (
            AnswerNamed("chatcmpl-1"),
            UsageSeen(USAGE),
            ProviderFailure(failure=FailureClass.PROVIDER_ERROR),
        ),
        stream=True,
    )
    named, refused = world.fact.attempts
    assert (named.upstream_id, named.usage) == ("chatcmpl-1", USAGE)
    assert (refused.upstream_id, refused.usage) == (None, None)
    assert refused.failure == "insufficient_credits"


async def test_a_providers_own_words_are_cut_and_printable_in_the_fact(world: World) -> None:
    world.own = [credential("own")]
    answer = whole()
    (choice,) = answer.choices
    choice = msgspec.structs.replace(choice, native_finish_reason="end\x00\u00fc" + "x" * 99)
    await world.run(msgspec.structs.replace(answer, choices=[choice], service_tier="\n"))

    assert world.fact.native_finish_reason == "end??" + "x" * 59
    assert world.fact.service_tier == "?"


async def test_an_unanswered_request_still_says_what_was_asked_for(world: World) -> None:
    await world.run()

    assert world.fact.model is None
    assert world.fact.requested_model is not None


async def test_the_fact_is_durable_before_the_last_frame(world: World) -> None:
    world.own = [credential("own")]
    await world.run(whole())
    kinds = [type(each) for each in world.out]
    assert kinds == [GenerationFinished, ReplyCompleted]


async def test_a_fact_that_is_not_acknowledged_ends_the_answer_with_an_error_and_is_taken_back(
    world: World,
) -> None:
    world.own = [credential("own")]
    world.away.facts = True
    assert isinstance(await world.run(*[STREAM], stream=True), Failed)
    failed = world.of(ReplyFailed)
    told = [(each.status, each.abandon) for each in failed if isinstance(each, ReplyFailed)]
    assert told == [(503, True)]
    assert world.of(ReplyCompleted) == []
    assert len(world.of(GenerationAbandoned)) == 1


async def test_missing_usage_is_estimated_and_marked(world: World) -> None:
    world.own = [credential("own")]
    await world.run(whole("x" * 41, usage=None))
    assert world.fact.usage is not None
    assert (world.fact.usage.completion_tokens, world.fact.usage.estimated) == (11, True)
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert last.usage.estimated


async def test_a_completion_of_zero_tokens_costs_nothing(world: World) -> None:
    world.platform = [platform()]
    await world.run(whole("", usage=Usage(prompt_tokens=10, completion_tokens=0)))
    last = world.last
    assert isinstance(last, ReplyCompleted)
    assert last.usage.cost_nano_usd == 0


async def test_billing_not_answering_is_never_free_service(world: World) -> None:
    world.platform = [platform()]
    world.away.billing = True
    await world.run()
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.retry_after_seconds) == (503, 1)
    assert world.provider.calls == []
    assert world.fact.outcome == "failed"


async def test_refused_credits_let_a_fallback_key_serve(world: World) -> None:
    world.platform = [platform()]
    world.own = [credential("own", section="fallback")]
    world.answers = [_refused()]
    await world.run(whole())
    assert world.called_with == ["own"]
    assert world.fact.outcome == "completed"
    assert [each.failure for each in world.fact.attempts] == ["insufficient_credits", None]


async def test_refused_credits_with_nothing_else_to_try_are_a_402_that_says_what_is_missing(
    world: World,
) -> None:
    world.platform = [platform()]
    world.answers = [_refused()]
    await world.run()
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (402, "payment_required")
    assert "$0.5" in last.message
    assert "$0.25" in last.message


async def test_a_402_says_how_many_tokens_could_be_afforded(world: World) -> None:
    world.platform = [platform()]
    world.answers = [_refused(affordable_nano_usd=1_000_000)]
    await world.run(max_tokens=1_000)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.payment is not None
    assert last.payment.requested_max_tokens == 1_000
    assert last.payment.affordable_max_tokens is not None
    # a token costs 10,000 nano-USD, and the prompt something as well
    affordable = last.payment.affordable_max_tokens
    assert affordable is not None
    assert 90 <= affordable < 100
    assert "You requested up to 1000 tokens, but can only afford 9" in last.message


async def test_a_key_limit_that_counts_own_keys_is_asked_for_though_the_allotment_is_ample(
    world: World,
) -> None:
    world.own = [credential("own")]
    limit = ApiKeyLimit(version=1, limit_nano_usd=2 * 10**9, include_byok=True)
    request = msgspec.structs.replace(
        asked(now=world.clock.now()), api_key_limit_counts_byok=True, api_key_limit=limit
    )
    world.answers = [
        msgspec.structs.replace(
            _refused(),
            code="key_limit_exceeded",
            key_limit=KeyLimitReached(
                limit_nano_usd=2 * 10**9,
                left_nano_usd=10**9 // 4,
                limit_reset="daily",
                resets_at=datetime(2026, 11, 24, tzinfo=UTC),
            ),
        )
    ]
    await world.run(request=request)
    last = world.last
    (command,) = world.of(AuthorizeSpend)
    assert isinstance(command, AuthorizeSpend)
    assert command.api_key_limit == limit
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (402, "payment_required")
    assert "Key limit exceeded (daily limit)" in last.message
    assert "$0.25 of the API key's $2 are left" in last.message
    assert "2026-11-24T00:00:00Z" in last.message
    assert world.provider.calls == []


async def test_a_key_limit_that_does_not_count_own_keys_asks_nobody(world: World) -> None:
    world.own = [credential("own")]
    limit = ApiKeyLimit(version=1, limit_nano_usd=0)
    request = msgspec.structs.replace(asked(now=world.clock.now()), api_key_limit=limit)
    await world.run(whole(), request=request)
    assert isinstance(world.last, ReplyCompleted)
    assert world.of(AuthorizeSpend) == []


async def test_a_rate_limit_of_shared_capacity_lets_the_next_attempt_serve(world: World) -> None:
    world.platform = [platform("openai"), platform("azure")]
    world.answers = [_too_fast(world)]
    await world.run(whole())
    assert world.called_with == ["platform-azure"]
    (fallback,) = world.of(FallbackDecided)
    assert isinstance(fallback, FallbackDecided)
    assert (fallback.reason, fallback.provider_status) == ("shared_rate_limited", None)
    # it says nothing about the platform's key, which serves other accounts
    assert world.of(HealthChanged) == []


async def test_a_rate_limit_of_shared_capacity_is_a_429_that_says_until_when(world: World) -> None:
    world.platform = [platform("openai")]
    world.answers = [_too_fast(world)]
    await world.run()
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (429, "rate_limit_exceeded")
    assert last.retry_after_seconds == 42
    assert last.rate_limit is not None
    assert (last.rate_limit.limit, last.rate_limit.remaining) == (60, 0)
    assert "60 requests a minute of shared capacity at Openai" in last.message
    assert world.observations.take() == {}


def _too_fast(world: World) -> SpendRefused:
    return msgspec.structs.replace(
        _refused(),
        code="rate_limited",
        rate_limit=RateLimitReached(
            counted="requests",
            limit=60,
            remaining=0,
            resets_at=world.clock.now() + timedelta(seconds=41.5),
        ),
    )


def _refused(affordable_nano_usd: int | None = None) -> SpendRefused:
    return SpendRefused(
        code="insufficient_credits",
        message="",
        needed_nano_usd=500_000_000,
        available_nano_usd=250_000_000,
        affordable_nano_usd=affordable_nano_usd,
    )


# --- failures and fallbacks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        FailureClass.KEY_REFUSED,
        FailureClass.PERMISSION_DENIED,
        FailureClass.RATE_LIMITED,
        FailureClass.QUOTA_EXHAUSTED,
        FailureClass.PROVIDER_ERROR,
        FailureClass.TIMED_OUT,
        FailureClass.UNREACHABLE,
        FailureClass.MISCONFIGURED,
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_these_failures_fall_back_to_shared_credits_with_an_event(
    world: World,
    failure: FailureClass,
    stream: bool,  # noqa: FBT001 - pytest gives it by name
) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    answer = STREAM if stream else whole()
    await world.run(ProviderFailure(failure=failure, status=418), answer, stream=stream)
    assert world.called_with == ["own", "platform-openai"]
    fell_back = world.of(FallbackDecided)[0]
    assert isinstance(fell_back, FallbackDecided)
    assert (fell_back.reason, fell_back.provider_status) == (failure.value, 418)
    assert (fell_back.from_.credential_id, fell_back.from_.tier) == ("own", "prioritized")
    assert (fell_back.to.credential_id, fell_back.to.tier) == (None, "shared")
    assert world.fact.outcome == "completed"
    used = [(each.credential_id, each.failure) for each in world.fact.attempts]
    assert used == [("own", failure.value), (None, None)]


@pytest.mark.parametrize(
    ("failure", "status", "error_type"),
    [
        (FailureClass.KEY_REFUSED, 401, "authentication"),
        (FailureClass.PERMISSION_DENIED, 403, "permission_denied"),
        (FailureClass.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (FailureClass.QUOTA_EXHAUSTED, 402, "payment_required"),
        (FailureClass.PROVIDER_ERROR, 502, "provider_unavailable"),
        (FailureClass.TIMED_OUT, 504, "timeout"),
        (FailureClass.UNREACHABLE, 502, "provider_unavailable"),
        (FailureClass.MISCONFIGURED, 404, "not_found"),
        (FailureClass.CONTEXT_TOO_LONG, 400, "context_length_exceeded"),
        (FailureClass.CONTENT_REFUSED, 400, "content_policy_violation"),
        (FailureClass.INVALID_REQUEST, 400, "invalid_request"),
        (FailureClass.UNSUPPORTED, 400, "invalid_request"),
    ],
)
async def test_always_use_lets_the_failure_itself_reach_the_client(
    world: World, failure: FailureClass, status: int, error_type: str
) -> None:
    world.own, world.platform = [credential("own", always_use=True)], [platform()]
    await world.run(ProviderFailure(failure=failure, raw="their words", retry_after_seconds=7))
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (status, error_type)
    assert (last.provider_name, last.raw, last.retry_after_seconds) == ("Openai", "their words", 7)
    assert last.attempts[0].failure == failure.value
    assert world.called_with == ["own"]
    assert world.fact.outcome == "failed"
    assert world.fact.usage is None


async def test_a_platform_keys_failure_is_ours_and_not_shown_as_the_clients(world: World) -> None:
    world.platform = [platform()]
    await world.run(ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401))
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 503


async def test_an_invalid_request_is_answered_at_once(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    await world.run(
        ProviderFailure(failure=FailureClass.INVALID_REQUEST, status=422), models=[MINI]
    )
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (422, "unprocessable")
    assert world.called_with == ["own"]


async def test_a_context_too_long_goes_to_the_next_model_past_other_keys(world: World) -> None:
    world.own = [credential("own"), credential("other", order=1)]
    failure = ProviderFailure(failure=FailureClass.CONTEXT_TOO_LONG, status=400)
    await world.run(failure, whole(), models=[MINI])
    assert [call.attempt.model for call in world.provider.calls] == ["openai/gpt-4o", MINI]
    assert world.fact.model == MINI


async def test_a_refused_key_is_not_tried_again_at_another_endpoint_or_by_the_next_request(
    world: World,
) -> None:
    world.own = [credential("own")]
    world.platform = [platform()]
    refused = ProviderFailure(failure=FailureClass.KEY_REFUSED, status=401)
    await world.run(refused, whole(), models=[MINI])
    world.clock.advance(1)
    await world.run(whole(), run_id="run-2")
    assert world.called_with == ["own", "platform-openai", "platform-openai"]
    change = world.of(HealthChanged)[0]
    assert isinstance(change, HealthChanged)
    assert (change.state, change.endpoint) == ("failing", "*")


async def test_a_recovered_key_is_told_once(world: World) -> None:
    world.own = [credential("own")]
    await world.run(LIMITED)
    world.clock.advance(8)
    await world.run(whole(), run_id="run-2")
    await world.run(whole(), run_id="run-3")
    states = [each.state for each in world.of(HealthChanged) if isinstance(each, HealthChanged)]
    assert states == ["cooling_down", "recovered"]


async def test_a_key_that_was_disabled_meanwhile_is_passed_over(world: World) -> None:
    world.own = [credential("first"), credential("second", order=1), credential("third", order=2)]

    def disable() -> None:
        del world.own[1]

    failing = (disable, ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=500))
    await world.run(failing, STREAM, stream=True)
    assert world.called_with == ["first", "third"]


async def test_a_secret_that_does_not_open_is_the_keys_fault_and_vault_away_is_ours(
    world: World,
) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    world.unopened = {"own"}
    await world.run(whole())
    assert world.called_with == ["platform-openai"]
    world.unopened = set()
    world.health.forget(world.own[0].credential_id)
    world.away.vault = True
    await world.run(run_id="run-2")
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 503
    assert world.called_with == ["platform-openai"]


async def test_unread_credentials_never_turn_into_spent_credits(world: World) -> None:
    world.platform = [platform()]
    world.away.credentials = "credentials.state is stale"
    await world.run()
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 503
    assert world.provider.calls == []


async def test_a_bug_in_an_adapter_is_a_500_and_logged(world: World) -> None:
    world.own = [credential("own")]
    await world.run(KeyError("oops"))
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.message) == (500, "internal error")
    assert len(world.bugs) == 1
    assert world.fact.outcome == "failed"


# --- streams -------------------------------------------------------------------------------------


async def test_a_stream_begins_with_its_first_token_and_ends_with_usage(world: World) -> None:
    world.own = [credential("own")]
    await world.run(STREAM, stream=True)
    kinds = [type(each) for each in world.out]
    assert kinds == [
        ReplyStarted,
        ReplyDelta,
        ReplyDelta,
        ReplyDelta,
        ReplyDelta,
        GenerationFinished,
        ReplyCompleted,
    ]
    assert world.fact.usage == USAGE
    assert world.fact.finish_reason == "stop"
    assert world.fact.streamed


async def test_a_failure_behind_an_empty_first_delta_still_falls_back_in_silence(
    world: World,
) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    error = ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=200)
    await world.run((text("", role="assistant"), error), STREAM, stream=True)
    assert len(world.of(ReplyStarted)) == 1
    assert world.fact.outcome == "completed"
    assert not world.fact.is_byok


async def test_no_first_token_in_time_falls_back_and_stops_the_call(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    silent = (text("", role="assistant"), asyncio.Event())
    await world.run(silent, STREAM, stream=True, first_token_seconds_max=0.05)
    assert world.provider.calls[0].is_stopped
    assert [each.failure for each in world.fact.attempts] == ["timed_out", None]


async def test_a_provider_that_never_answers_a_plain_request_is_given_up(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    await world.run(asyncio.Event(), whole(), whole_answer_seconds_max=0.05)
    assert world.provider.calls[0].is_stopped
    assert [each.failure for each in world.fact.attempts] == ["timed_out", None]


@pytest.mark.parametrize(
    "cut",
    [
        (text("hello"),),
        (text("hello"), ProviderFailure(failure=FailureClass.UNREACHABLE)),
    ],
)
async def test_a_stream_that_breaks_after_the_first_token_ends_with_an_error_and_no_charge(
    world: World, cut: tuple[ReplyDelta, ...]
) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    await world.run(cut, stream=True)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 502
    assert world.called_with == ["own"]
    assert world.fact.outcome == "failed"
    assert world.fact.attempts[0].failure == "stream_cut"
    assert world.of(FallbackDecided) == []


async def test_a_stream_without_any_piece_is_a_failure_that_falls_back(world: World) -> None:
    world.own, world.platform = [credential("own")], [platform()]
    await world.run((), STREAM, stream=True)
    assert world.called_with == ["own", "platform-openai"]


async def test_a_stream_that_properly_ends_without_a_token_is_an_empty_answer(
    world: World,
) -> None:
    world.own = [credential("own")]
    usage = Usage(prompt_tokens=10, completion_tokens=0)
    await world.run((text(None, finish_reason="stop"), StreamEnded(usage=usage)), stream=True)
    assert world.fact.outcome == "completed"
    assert world.fact.usage == usage


async def test_a_client_that_reads_slowly_slows_the_provider_down(world: World) -> None:
    world.own = [credential("own")]
    world.room.clear()
    read: list[str] = []
    pieces: list[StreamStep] = [
        text("a"),
        text("b"),
        lambda: read.append("c"),
        text("c", finish_reason="stop"),
        StreamEnded(usage=USAGE),
    ]
    async with asyncio.TaskGroup() as group:
        _ = group.create_task(world.run(pieces, stream=True))
        await wait_until(lambda: len(world.of(ReplyDelta)) == 2)
        assert read == []
        world.room.set()
    assert read == ["c"]


async def test_a_reply_that_kafka_does_not_take_ends_the_run_uncharged(world: World) -> None:
    world.own = [credential("own")]

    def break_replies() -> None:
        world.away.replies = True

    steps = (text("a"), break_replies, text("b"), StreamEnded(usage=USAGE))
    assert isinstance(await world.run(steps, stream=True), Failed)
    assert world.fact.outcome == "failed"
    assert world.provider.calls[0].is_stopped


# --- cancellation, deadlines, claims -------------------------------------------------------------


async def test_a_client_that_leaves_in_the_middle_pays_for_what_was_delivered(
    world: World,
) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())

    def leave() -> None:
        world.running.cancel(cancellation(world, request.generation_id), world.clock.now())

    seen = UsageSeen(Usage(prompt_tokens=33, completion_tokens=1))
    steps = (seen, text("x" * 40), leave, asyncio.Event())
    ending = await world.run(steps, request=request, stream=True)
    assert ending == Cancelled("client_gone")
    assert world.provider.calls[0].is_stopped
    assert world.fact.outcome == "cancelled"
    assert world.fact.usage == Usage(prompt_tokens=33, completion_tokens=10, estimated=True)
    assert world.fact.attempts[0].failure == "interrupted"
    assert world.of(ReplyCompleted) == world.of(ReplyFailed) == []


async def test_a_client_that_leaves_a_plain_request_pays_nothing(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.run(asyncio.Event(), request=request))
        await wait_until(lambda: len(world.provider.calls) == 1)
        world.running.cancel(cancellation(world, request.generation_id), world.clock.now())
    assert running.result() == Cancelled("client_gone")
    assert world.provider.calls[0].is_stopped
    assert world.fact.usage is None


async def test_a_cancellation_that_overtakes_its_request_drops_it(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())
    world.running.cancel(cancellation(world, request.generation_id), world.clock.now())
    assert isinstance(await world.run(request=request), Dropped)
    assert world.out == []


async def test_a_rival_run_that_is_cancelled_leaves_the_others_alone(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())

    def cancel_other() -> None:
        other = cancellation(world, request.generation_id, run_id="another-run")
        world.running.cancel(other, world.clock.now())

    await world.run((text("a"), cancel_other, *STREAM), request=request, stream=True)
    assert world.fact.outcome == "completed"


async def test_a_silent_ingress_ends_its_generations_only(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())

    def die() -> None:
        world.running.ingress_died(request.reply_instance)

    ending = await world.run((text("a"), die, asyncio.Event()), request=request, stream=True)
    assert ending == Cancelled("ingress_gone")


async def test_a_cancellation_while_the_fact_is_being_sent_changes_nothing(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())
    world.on_finished = lambda: world.running.cancel(
        cancellation(world, request.generation_id), world.clock.now()
    )
    assert isinstance(await world.run(whole(), request=request), Completed)
    assert world.fact.outcome == "completed"


async def test_a_stopping_dispatcher_tells_the_client_and_does_not_charge(world: World) -> None:
    world.own = [credential("own")]

    def stop() -> None:
        world.running.end_all("stopping")

    await world.run((text("a"), stop, asyncio.Event()), stream=True)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 503
    assert world.fact.outcome == "failed"


async def test_a_deadline_ends_the_run_with_a_timeout(world: World) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now(), deadline_seconds=0.1)
    await world.run(asyncio.Event(), request=request)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert (last.status, last.error_type) == (504, "timeout")
    assert world.provider.calls[0].is_stopped


async def test_nothing_is_called_before_the_claim_is_won(world: World) -> None:
    world.own = [credential("own")]
    pending: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        _ = group.create_task(world.run(whole(), claim=OneClaim(pending)))
        await wait_until(lambda: len(world.running) == 1)
        await asyncio.sleep(0)
        assert world.provider.calls == []
        pending.set_result(True)
    assert len(world.provider.calls) == 1


async def test_a_lost_claim_is_dropped_without_a_trace(world: World) -> None:
    world.own = [credential("own")]
    assert isinstance(await world.run(claim=won(outcome=False)), Dropped)
    assert world.out == []


async def test_a_run_cancelled_before_its_claim_is_won_leaves_the_fact_to_the_winner(
    world: World,
) -> None:
    world.own = [credential("own")]
    request = asked(now=world.clock.now())
    pending: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.run(request=request, claim=OneClaim(pending)))
        await wait_until(lambda: len(world.running) == 1)
        world.running.cancel(cancellation(world, request.generation_id), world.clock.now())
    assert isinstance(running.result(), Dropped)
    assert world.out == []


async def test_a_request_that_does_not_open_or_read_is_a_400(world: World) -> None:
    request = asked(now=world.clock.now())
    whole_content = sealed(request)
    damaged = whole_content[:-1] + bytes([whole_content[-1] ^ 1])
    await world.run(request=request, content=damaged)
    last = world.last
    assert isinstance(last, ReplyFailed)
    assert last.status == 400


# --- what is observed of credentials ---------------------------------------------------------------


async def test_each_attempt_is_noted_for_its_own_credential(world: World) -> None:
    world.own = [credential("first"), credential("second", order=1)]
    await world.run(LIMITED, whole())
    taken = {key[1]: seen for key, seen in world.observations.take().items()}
    assert set(taken) == {"first", "second"}
    first, second = taken[CredentialId("first")], taken[CredentialId("second")]
    assert first.last_error is not None
    assert (first.last_error.failure, first.last_error.provider_status) == ("rate_limited", 429)
    assert (first.attempts, first.failures, first.last_success_at) == (1, 1, None)
    assert (second.attempts, second.failures, second.last_error) == (1, 0, None)
    assert second.last_success_at is not None
