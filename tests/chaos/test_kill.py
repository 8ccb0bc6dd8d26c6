"""kill -9 in the middle of a load: money stays exact.

What it shows: every answered generation is charged or waived exactly once, none that was not
answered is charged, each calls the provider once, no hold is left, and the balance equals what the
provider's own call log comes to. How: each generation has a prompt of its own length, so that the
provider's count of prompt tokens names it; the books are then worked out again with decimal from
that log alone.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import aiohttp
import pytest

from deploy.product import Account, Product
from deploy.tap import Tap, tap
from shared.events.fees import ChargeReversed, CreditsCharged, FeeDeducted, FeeWaived
from shared.events.topics import BILLING_FEES
from shared.money import NANO_PER_USD
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(280)]

GENERATIONS: Final = 500
CONCURRENT: Final = 32
FREE_REQUESTS: Final = 60
CREDITS: Final = 20 * NANO_PER_USD
MODEL: Final = "openai/gpt-4o-mini"
PROMPT_PRICE: Final = Decimal("0.00000015")
COMPLETION_PRICE: Final = Decimal("0.0000006")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one generation ended for its client."""

    number: int
    account: Account
    generation_id: str | None
    answered: bool


def prompt_of(number: int) -> str:
    # four fixed words and `number` fillers: the provider counts them, plus 3 for the message
    return " ".join(["x"] * number + ["words=20", "pause_ms=15", "please", "go"])


def prompt_tokens_of(number: int) -> int:
    return number + 4 + 3


async def generate(product: Product, account: Account, number: int) -> Outcome:
    try:
        answer = await product.complete(
            account, prompt_of(number), model=MODEL, stream=number % 4 < 2, max_tokens=20
        )
    except (aiohttp.ClientError, TimeoutError):
        return Outcome(number, account, None, answered=False)
    generation_id = answer.headers.get("X-Generation-Id")
    if answer.status != 200:
        return Outcome(number, account, generation_id, answered=False)
    streamed = "data: " in answer.text
    answered = "data: [DONE]" in answer.text and '"usage"' in answer.text if streamed else True
    return Outcome(number, account, generation_id, answered=answered)


async def load(product: Product, accounts: list[Account], progress: Counter[str]) -> list[Outcome]:
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(number: int) -> Outcome:
        async with gate:
            outcome = await generate(product, accounts[number % len(accounts)], number)
            progress["ended"] += 1
            return outcome

    return list(await asyncio.gather(*(one(number) for number in range(GENERATIONS))))


async def kill_and_restart(product: Product, name: str) -> None:
    await asyncio.to_thread(product.stack.kill, name)
    await asyncio.to_thread(product.stack.up)


async def checked_books(product: Product) -> Any:
    return json.loads(await product.operate("--check-books", service="billing"))


async def test_killing_dispatcher_and_billing_under_load_keeps_the_books_exact(
    product: Product,
) -> None:
    byok = await product.make_account(credits_nano_usd=CREDITS, free_requests=FREE_REQUESTS)
    paying = await product.make_account(credits_nano_usd=CREDITS)
    secret = f"sk-kill-{byok.account_id}"
    await product.add_credential(byok, key=secret, always_use=True)
    progress: Counter[str] = Counter()
    shared_before = len(await product.provider_calls("sk-platform-openai"))
    async with tap(product.kafka, [BILLING_FEES]) as events:
        loading = asyncio.gather(load(product, [byok, paying], progress))
        await wait_until(lambda: progress["ended"] > GENERATIONS // 5, deadline_seconds=60)
        await kill_and_restart(product, "dispatcher")
        await wait_until(lambda: progress["ended"] > GENERATIONS // 2, deadline_seconds=90)
        await kill_and_restart(product, "billing")
        [outcomes] = await loading
        await wait_until(
            lambda: settled(events, outcomes),
            deadline_seconds=60,
            otherwise=lambda: f"unsettled: {unsettled(events, outcomes)}",
        )
        booked = bookings(events)
    calls = await product.provider_calls(secret)
    calls += (await product.provider_calls("sk-platform-openai"))[shared_before:]

    answered = {outcome.generation_id for outcome in outcomes if outcome.answered}
    assert len(answered) > GENERATIONS // 2, "the kills should interrupt some, not most"
    assert len(answered) < GENERATIONS, "the kill of the dispatcher should interrupt some"
    for outcome in outcomes:
        net = booked.get(outcome.generation_id or "", 0)
        assert net == (1 if outcome.answered else 0), outcome

    per_prompt = Counter(call["usage"]["prompt_tokens"] for call in calls if call["usage"])
    assert max(per_prompt.values()) == 1, "a generation called its provider twice"
    for outcome in outcomes:
        if outcome.answered:
            assert per_prompt[prompt_tokens_of(outcome.number)] == 1

    await assert_balances(product, events, outcomes, calls)


def bookings(events: Tap) -> dict[str, int]:
    """Charges and waivers of each generation, less what was reversed.

    An event that a crash made billing publish again has the same id and counts once.
    """
    net: Counter[str] = Counter()
    for event in {received.envelope.id: received.event for received in events.seen}.values():
        match event:
            case FeeWaived() | FeeDeducted() | CreditsCharged():
                net[event.generation_id] += 1
            case ChargeReversed():
                net[event.generation_id] -= 1
            case _:
                pass
    return net


def unsettled(events: Tap, outcomes: list[Outcome]) -> list[Outcome]:
    booked = bookings(events)
    return [
        outcome
        for outcome in outcomes
        if booked.get(outcome.generation_id or "", 0) != (1 if outcome.answered else 0)
    ]


def settled(events: Tap, outcomes: list[Outcome]) -> bool:
    return not unsettled(events, outcomes)


async def assert_balances(
    product: Product, events: Tap, outcomes: list[Outcome], calls: list[Any]
) -> None:
    """The books against an independent calculation from the provider's log."""
    by_prompt = {call["usage"]["prompt_tokens"]: call["usage"] for call in calls if call["usage"]}
    waived = {
        received.event.generation_id
        for received in events.seen
        if isinstance(received.event, FeeWaived)
    }
    spent: dict[str, Decimal] = {}
    waivers: Counter[str] = Counter()
    for outcome in outcomes:
        if not outcome.answered:
            continue
        usage = by_prompt[prompt_tokens_of(outcome.number)]
        cost = (
            usage["prompt_tokens"] * PROMPT_PRICE + usage["completion_tokens"] * COMPLETION_PRICE
        ) * NANO_PER_USD
        account_id = outcome.account.account_id
        if outcome.number % 2 == 0:  # the first account: its own key, a fee beyond the allotment
            if outcome.generation_id in waived:
                waivers[account_id] += 1
                cost = Decimal(0)
            else:
                cost = (cost * 5 / 100).quantize(Decimal(1), rounding="ROUND_HALF_UP")
        spent[account_id] = spent.get(account_id, Decimal(0)) + cost
    # a slot that was reserved when its dispatcher died may come back too late for this load
    for count in waivers.values():
        assert FREE_REQUESTS - CONCURRENT <= count <= FREE_REQUESTS

    async def no_hold_is_left() -> bool:
        return bool((await checked_books(product))["open_holds"] == 0)

    await wait_until(no_hold_is_left, deadline_seconds=60, otherwise="a hold is left")
    for account in {outcome.account.account_id: outcome.account for outcome in outcomes}.values():
        key = await product.request("GET", "/key", key=account.api_key)
        credits_left = Decimal(str(key.json["data"]["credits"])) * NANO_PER_USD
        assert credits_left == CREDITS - spent[account.account_id]
