"""What each way a generation can go costs: carried out by the dispatcher, booked by billing.

Each row runs for shared capacity, for an own key with a fee and for an own key that is waived; and
its facts come once, come twice, or come only after its hold has expired.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import pytest
from typing_extensions import override

from services.billing.domain.abandon import abandon
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.credits import add_credits
from services.billing.domain.page import Page, expire
from services.billing.domain.policy import FeePolicy
from services.billing.domain.settle import settle_finished
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.reply import StreamEnded, UsageSeen
from shared.events.billing import AddCredits, AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.completions import GenerationCancelled
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.replies import ReplyCompleted
from shared.events.usage import Usage
from shared.ids import CredentialId, month_of, started_at
from tests.fakes.scripted_provider import Script
from tests.support.wait_until import wait_until
from tests.unit.dispatcher.made import (
    ACCOUNT,
    STREAM,
    USAGE,
    asked,
    credential,
    platform,
    text,
    whole,
)
from tests.unit.dispatcher.world import World, world_of

_USD = 1_000_000_000
_NONE_FREE = FeePolicy(fee_percent=Decimal(5), free_requests=0)
_ALL_FREE = FeePolicy(fee_percent=Decimal(5), free_requests=1_000)
_LIMITED = ProviderFailure(failure=FailureClass.RATE_LIMITED, status=429)
_BROKEN = ProviderFailure(failure=FailureClass.PROVIDER_ERROR, status=500)


class _PricedWorld(World):
    """The dispatcher's surroundings with billing's own rules behind `AuthorizeSpend`."""

    page: Page
    policy: FeePolicy

    @override
    async def authorize(self, command: AuthorizeSpend) -> SpendAuthorized | SpendRefused:
        self.out.append(command)
        answer = authorize_spend(self.page, command, self.policy)
        assert isinstance(answer, SpendAuthorized | SpendRefused)
        return answer


@dataclass(frozen=True, kw_only=True)
class _Way:
    """`steps` get a function with which the client leaves. `completion_tokens` are those charged for.

    `prompt_tokens` None: they were estimated as well.
    """

    name: str
    steps: Callable[[Callable[[], None]], tuple[Script, ...]]
    stream: bool = True
    leaves_a_plain_call: bool = False
    leaves_after_the_last_token: bool = False
    facts_are_away: bool = False
    prompt_tokens: int | None = USAGE.prompt_tokens
    completion_tokens: int = 0
    estimated: bool = False
    attempts: int = 1


_NOTHING, _ALL = 0, USAGE.completion_tokens
_WAYS = (
    _Way(name="all goes well", steps=lambda _: (STREAM,), completion_tokens=_ALL),
    _Way(
        name="all goes well, whole",
        steps=lambda _: (whole(),),
        stream=False,
        completion_tokens=_ALL,
    ),
    _Way(
        name="the client leaves before the first token",
        steps=lambda leave: ((text("", role="assistant"), leave, asyncio.Event()),),
    ),
    _Way(
        name="the client leaves before a whole answer",
        steps=lambda _: (asyncio.Event(),),
        stream=False,
        leaves_a_plain_call=True,
    ),
    _Way(
        name="the client leaves in the stream, nothing counted yet",
        steps=lambda leave: ((text("x" * 41), leave, asyncio.Event()),),
        prompt_tokens=None,
        completion_tokens=11,
        estimated=True,
    ),
    _Way(
        name="the client leaves in the stream, the count behind",
        steps=lambda leave: (
            (
                UsageSeen(Usage(prompt_tokens=33, completion_tokens=1)),
                text("x" * 40),
                leave,
                asyncio.Event(),
            ),
        ),
        prompt_tokens=33,
        completion_tokens=10,
        estimated=True,
    ),
    _Way(
        name="the client leaves in the stream, all counted",
        steps=lambda leave: (
            (
                text("x" * 40),
                UsageSeen(Usage(prompt_tokens=33, completion_tokens=12)),
                leave,
                asyncio.Event(),
            ),
        ),
        prompt_tokens=33,
        completion_tokens=12,
    ),
    _Way(
        name="the client leaves after the last token",
        steps=lambda _: (STREAM,),
        leaves_after_the_last_token=True,
        completion_tokens=_ALL,
    ),
    _Way(name="it fails in the stream", steps=lambda _: ((text("hello"), _BROKEN),)),
    _Way(name="the stream just ends", steps=lambda _: ((text("hello"),),)),
    _Way(name="it fails at once", steps=lambda _: (_BROKEN, _BROKEN), attempts=2),
    _Way(
        name="usage is missing",
        steps=lambda _: ((text("x" * 41), text(None, finish_reason="stop"), StreamEnded()),),
        prompt_tokens=None,
        completion_tokens=11,
        estimated=True,
    ),
    _Way(
        name="usage is missing, whole",
        steps=lambda _: (whole("x" * 41, usage=None),),
        stream=False,
        prompt_tokens=None,
        completion_tokens=11,
        estimated=True,
    ),
    _Way(
        name="one attempt fails before the next succeeds",
        steps=lambda _: (_LIMITED, STREAM),
        completion_tokens=_ALL,
        attempts=2,
    ),
    _Way(
        name="a completion of no tokens",
        steps=lambda _: (whole("", usage=Usage(prompt_tokens=9, completion_tokens=0)),),
        stream=False,
    ),
    _Way(
        name="nothing told and nothing delivered",
        steps=lambda _: (whole("", usage=None),),
        stream=False,
    ),
    _Way(name="the fact is not acknowledged", steps=lambda _: (STREAM,), facts_are_away=True),
)

_Payer = Literal["credits", "fee", "allotment"]


@pytest.fixture
async def world() -> AsyncIterator[_PricedWorld]:
    async with world_of(_PricedWorld) as made:
        made.page = Page()
        command = AddCredits(account_id=ACCOUNT, amount_nano_usd=_USD, key="k")
        add_credits(made.page, command, "2026-11")
        yield made


async def _run(world: _PricedWorld, way: _Way) -> None:
    request = asked(now=world.clock.now())

    def leave() -> None:
        gone = GenerationCancelled(
            generation_id=request.generation_id, reason="client_gone", deadline=request.deadline
        )
        world.running.cancel(gone, world.clock.now())

    if way.leaves_after_the_last_token:
        world.on_finished = leave
    world.away.facts = way.facts_are_away
    async with asyncio.TaskGroup() as group:
        group.create_task(world.run(*way.steps(leave), request=request, stream=way.stream))
        if way.leaves_a_plain_call:
            await wait_until(lambda: len(world.provider.calls) == 1)
            leave()


def _deliver(world: _PricedWorld) -> None:
    for fact in world.out:
        match fact:
            case GenerationFinished():
                settle_finished(world.page, fact, world.policy)
            case GenerationAbandoned():
                abandon(world.page, fact.generation_id, fact.account_id, fact.reason)
            case _:
                continue


@pytest.mark.parametrize("delivery", ["once", "twice", "after its hold expired"])
@pytest.mark.parametrize("payer", ["credits", "fee", "allotment"])
@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.name)
async def test_each_way_costs_what_was_delivered_and_the_client_is_told_so(
    world: _PricedWorld, way: _Way, payer: _Payer, delivery: str
) -> None:
    world.policy = _ALL_FREE if payer == "allotment" else _NONE_FREE
    if payer == "credits":
        world.platform = [platform(), platform("azure")]
    else:
        world.own, world.is_fresh = [credential("own"), credential("next", order=1)], False
    await _run(world, way)
    if delivery == "after its hold expired":
        expire(world.page, list(world.page.open_holds.values()))
    for _ in range(2 if delivery == "twice" else 1):
        _deliver(world)

    facts = [each for each in world.out if isinstance(each, GenerationFinished)]
    told = [each.event for each in world.page.entries.fee_events[1:]]
    account = world.page.account(ACCOUNT)
    assert account.held_nano_usd == 0
    assert world.page.open_holds == {}
    if facts:
        assert len(facts[0].attempts) == way.attempts
    if not way.completion_tokens:
        assert told == []
        assert account.available_nano_usd == _USD
        assert _used(world, facts) == (0, 0, 0)
        return
    (fact,), (event,) = facts, told
    assert isinstance(event, CreditsCharged | FeeDeducted | FeeWaived)
    usage = fact.usage
    assert usage is not None
    assert (usage.completion_tokens, usage.estimated) == (way.completion_tokens, way.estimated)
    assert way.prompt_tokens in {None, usage.prompt_tokens}
    assert usage.prompt_tokens > 0
    list_cost = usage.prompt_tokens * 2_500 + usage.completion_tokens * 10_000
    due = {"credits": list_cost, "fee": list_cost * 5 // 100, "allotment": 0}[payer]
    assert event.usage == usage, "what was estimated is marked where it is charged"
    assert event.list_cost_nano_usd == list_cost
    assert account.available_nano_usd == _USD - due
    waived = list_cost if payer == "allotment" else 0
    assert _used(world, facts) == (payer != "credits", waived, 0)
    last = world.out[-1]
    if isinstance(last, ReplyCompleted):
        assert (last.usage.cost_nano_usd, last.usage.estimated) == (due, way.estimated)
    served = CredentialId("next" if way.attempts > 1 else "own")
    assert event.credential_id == (None if payer == "credits" else served)


def _used(world: _PricedWorld, facts: list[GenerationFinished]) -> tuple[int, int, int]:
    if not facts:
        return 0, 0, 0
    month = month_of(started_at(facts[0].generation_id))
    allotment = world.page.allotment(ACCOUNT, month)
    return allotment.used, allotment.list_cost_used_nano_usd, allotment.reserved
