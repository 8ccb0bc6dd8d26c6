"""The dispatcher on real Kafka and OpenBao against the provider simulator."""

import asyncio
import os
import signal

from services.dispatcher.config import DispatcherConfig
from services.dispatcher.process import Dispatcher
from shared.events.credentials import credential_key
from shared.events.replies import ReplyCompleted, ReplyDelta, ReplyFailed, ReplyStarted
from shared.ids import AccountId, CredentialId, new_generation_id
from tests.conftest import Infrastructure
from tests.integration.dispatcher.conftest import World, running_dispatcher
from tests.simulator.scripts import Ok, Script, Status
from tests.support.wait_until import wait_until


async def test_a_plain_completion_with_an_own_key(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    own = await world.add_credential("sk-own", account_id=account)
    generation_id = await world.ask(account)
    answer = await world.answer(generation_id)
    assert dispatcher.unready() is None
    end = answer.end
    assert isinstance(end, ReplyCompleted), end
    assert [frame.number for frame in answer.frames] == [0]
    assert len((end.choices[0].message.content or "").split()) == 8
    assert (end.usage.completion_tokens, end.usage.is_byok, end.usage.cost_nano_usd) == (8, True, 0)
    fact = await world.fact(generation_id)
    assert (fact.outcome, fact.credential_id) == ("completed", own)
    assert fact.usage is not None
    assert fact.usage.completion_tokens == 8


async def test_a_streamed_completion_comes_in_numbered_frames(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    generation_id = await world.ask(account, stream=True, words="words=30 pause_ms=5")
    answer = await world.answer(generation_id)
    assert dispatcher.unready() is None
    assert [frame.number for frame in answer.frames] == list(range(len(answer.frames)))
    assert len(answer.frames) > 3
    assert isinstance(answer.parts[0], ReplyStarted)
    text = "".join(
        choice.message.content or ""
        for part in answer.parts
        if isinstance(part, ReplyDelta)
        for choice in part.choices
    )
    assert len(text.split()) == 30
    assert isinstance(answer.end, ReplyCompleted)


async def test_a_rate_limited_key_falls_back_to_the_next_key_and_then_to_shared_credits(
    world: World, dispatcher: Dispatcher, account: AccountId, shared_capacity: CredentialId
) -> None:
    first = await world.add_credential("sk-first-429-", account_id=account)
    second = await world.add_credential("sk-second-429-", account_id=account, order=1)
    generation_id = await world.ask(account)
    answer = await world.answer(generation_id)
    assert dispatcher.unready() is None
    assert isinstance(answer.end, ReplyCompleted)
    assert not answer.end.usage.is_byok
    assert answer.end.usage.cost_nano_usd == answer.end.usage.list_cost_nano_usd > 0
    fact = await world.fact(generation_id)
    assert [each.failure for each in fact.attempts] == ["rate_limited", "rate_limited", None]
    await wait_until(lambda: len(world.fallbacks(generation_id)) == 2)
    assert [
        (each.from_.credential_id, each.to.tier) for each in world.fallbacks(generation_id)
    ] == [
        (first, "prioritized"),
        (second, "shared"),
    ]
    await wait_until(lambda: len(world.health(first)) == 1)
    assert world.health(first)[0].state == "cooling_down"
    assert shared_capacity not in {each.credential_id for each in fact.attempts}
    again = await world.fact(await world.ask(account))
    assert [each.tier for each in again.attempts] == ["shared"]


async def test_always_use_this_key_lets_the_429_reach_the_client(
    world: World, dispatcher: Dispatcher, account: AccountId, shared_capacity: CredentialId
) -> None:
    assert shared_capacity
    await world.add_credential("sk-own-429-", account_id=account, always_use=True)
    for _ in range(2):  # the second is answered from what is known of the key's health
        end = (await world.answer(await world.ask(account))).end
        assert dispatcher.unready() is None
        assert isinstance(end, ReplyFailed)
        assert (end.status, end.retry_after_seconds) == (429, 2)
    assert len(world.simulator.calls.since()) == 1


async def test_a_client_without_credits_gets_a_402(
    world: World, dispatcher: Dispatcher, account: AccountId, shared_capacity: CredentialId
) -> None:
    assert shared_capacity
    world.refuse_spend = True
    end = (await world.answer(await world.ask(account))).end
    assert dispatcher.unready() is None
    assert isinstance(end, ReplyFailed)
    assert end.status == 402
    assert world.simulator.calls.since() == []


async def test_a_stream_that_is_cut_ends_with_an_error_and_is_not_charged(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own-cut-", account_id=account)
    generation_id = await world.ask(account, stream=True)
    end = (await world.answer(generation_id)).end
    assert dispatcher.unready() is None
    assert isinstance(end, ReplyFailed)
    assert end.status == 502
    assert (await world.fact(generation_id)).outcome == "failed"


async def test_a_cancellation_stops_the_provider_and_tells_what_was_used(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    generation_id = await world.ask(account, stream=True, words="words=500 pause_ms=20")
    await wait_until(
        lambda: generation_id in world.answers and world.answers[generation_id].named > 0
    )
    await world.cancel(generation_id)
    fact = await world.fact(generation_id)
    assert dispatcher.unready() is None
    assert fact.outcome == "cancelled"
    assert fact.usage is not None
    assert 0 < fact.usage.completion_tokens < 400
    await wait_until(
        lambda: [each.outcome for each in world.simulator.calls.since()] == ["client_gone"]
    )


async def test_a_cancellation_from_before_the_start_is_read_again(
    world: World, config: DispatcherConfig, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    cancelled = new_generation_id()
    await world.cancel(cancelled)
    async with running_dispatcher(config):
        await world.ask(account, generation_id=cancelled)
        await world.answer(await world.ask(account))
    assert len(world.simulator.calls.since()) == 1


async def test_a_request_that_comes_too_late_is_dropped(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    late = await world.ask(account, start_by_seconds=-1)
    await world.answer(await world.ask(account))
    assert dispatcher.unready() is None
    assert late not in world.answers
    assert len(world.simulator.calls.since()) == 1


async def test_the_generations_of_a_silent_ingress_are_ended(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    generation_id = await world.ask(account, stream=True, words="words=900 pause_ms=50")
    await wait_until(lambda: generation_id in world.answers)
    world.is_alive = False
    fact = await world.fact(generation_id)
    assert dispatcher.unready() is None
    assert fact.outcome == "cancelled"


async def test_a_changed_secret_is_used_at_once_and_a_removed_key_no_more(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    assert isinstance((await world.answer(await world.ask(account))).end, ReplyCompleted)
    keys = [credential_key(*each) for each in world.made]
    await world.forget_credentials()
    world.made.clear()
    # others' credentials may stand on the topic, which is the session's
    await wait_until(lambda: all(world.credentials.get(key) is None for key in keys))
    end = (await world.answer(await world.ask(account))).end
    assert dispatcher.unready() is None
    assert isinstance(end, ReplyFailed)
    assert end.status == 404


async def test_a_stopping_dispatcher_ends_what_it_cannot_finish_and_finishes_the_rest(
    world: World, config: DispatcherConfig, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    async with running_dispatcher(config):
        long = await world.ask(account, stream=True, words="words=900 pause_ms=50")
        short = await world.ask(account, stream=True, words="words=20 pause_ms=40")
        await wait_until(lambda: {long, short} <= world.answers.keys())
    assert isinstance((await world.answer(short)).end, ReplyCompleted)
    end = (await world.answer(long)).end
    assert isinstance(end, ReplyFailed)
    assert end.status == 503
    assert (await world.fact(long)).outcome == "failed"


async def test_a_burst_is_answered_whole_with_one_call_each(
    world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    world.simulator.scripts.put("sk-own", Script([Ok(), Status(status=500), Ok()], repeat="last"))
    asked = [await world.ask(account, stream=number % 2 == 0) for number in range(60)]
    ends = [(await world.answer(each)).end for each in asked]
    assert dispatcher.unready() is None
    failed = [each for each in ends if isinstance(each, ReplyFailed)]
    assert [each.status for each in failed] == [502]
    assert len(world.simulator.calls.since()) == 60
    await asyncio.gather(*(world.fact(each) for each in asked))


async def test_a_broker_that_stands_still_ends_running_answers_uncharged(
    infrastructure: Infrastructure, world: World, dispatcher: Dispatcher, account: AccountId
) -> None:
    await world.add_credential("sk-own", account_id=account)
    generation_id = await world.ask(account, stream=True, words="words=900 pause_ms=20")
    await wait_until(lambda: generation_id in world.answers)
    kafka = infrastructure.stack.manifest["pids"]["kafka"]
    os.kill(kafka, signal.SIGSTOP)
    try:
        await wait_until(
            lambda: [each.outcome for each in world.simulator.calls.since()] == ["client_gone"],
            deadline_seconds=15,
        )
    finally:
        os.kill(kafka, signal.SIGCONT)
    end = (await world.answer(generation_id)).end
    assert isinstance(end, ReplyFailed)
    assert end.status == 503
    assert (await world.fact(generation_id)).outcome == "failed"
    assert len(dispatcher.running) == 0
    assert isinstance((await world.answer(await world.ask(account))).end, ReplyCompleted)
