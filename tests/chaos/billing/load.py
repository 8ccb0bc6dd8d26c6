"""The load: requests at a steady rate, each with a prompt of its own length.

The provider counts the words of a prompt, so that its count of prompt tokens names the request.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

import aiohttp

from deploy.product import Account, Product
from shared.money import NANO_PER_USD
from shared.tasks import TaskScope

MODEL: Final = "openai/gpt-4o-mini"
CREDITS: Final = 20 * NANO_PER_USD
POOR_CREDITS: Final = 2_000_000
"""Two tenths of a cent: enough for some of its requests."""
FREE_REQUESTS: Final = 60
_ACCOUNTS_OF_A_KIND: Final = 3
_IN_FLIGHT_MAX: Final = 150
_WORDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An account of the load; `secret` is its own key, None when it pays with credits."""

    account: Account
    credits: int
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one request ended for its client."""

    number: int
    owner: Owner
    generation_id: str | None
    answered: bool
    why: str = ""


async def make_accounts(product: Product) -> list[Owner]:
    """Accounts with own keys and a small allotment, accounts with credits, and one nearly without."""
    owners: list[Owner] = []
    for _ in range(_ACCOUNTS_OF_A_KIND):
        account = await product.make_account(
            credits_nano_usd=CREDITS, free_requests=FREE_REQUESTS, name="own key"
        )
        secret = f"sk-chaos-{account.account_id}"
        await product.add_credential(account, key=secret, always_use=True)
        owners.append(Owner(account=account, credits=CREDITS, secret=secret))
        paying = await product.make_account(credits_nano_usd=CREDITS, name="credits")
        owners.append(Owner(account=paying, credits=CREDITS))
    poor = await product.make_account(credits_nano_usd=POOR_CREDITS, name="nearly empty")
    return [*owners, Owner(account=poor, credits=POOR_CREDITS)]


def prompt_of(number: int) -> str:
    """Four fixed words and `number` fillers."""
    return " ".join(["x"] * number + [f"words={_WORDS}", "pause_ms=10", "please", "go"])


def prompt_tokens_of(number: int) -> int:
    """What the provider counts: the words, and 3 for the message."""
    return number + 4 + 3


class Load:
    """Requests of all accounts in turn."""

    def __init__(self, product: Product, owners: list[Owner], *, rate: float) -> None:
        """`rate` in requests a second."""
        self._product = product
        self.owners = owners
        self._rate = rate
        self._gate = asyncio.Semaphore(_IN_FLIGHT_MAX)
        self.outcomes: list[Outcome] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, then wait for all answers."""
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        async with TaskScope() as scope:
            sent: list[asyncio.Task[None]] = []
            while not stop.is_set():
                await self._gate.acquire()
                sent.append(scope.start(self._one(number), name=f"request {number}"))
                number += 1
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - loop.time()))
            await asyncio.gather(*sent)

    def refusals(self) -> Counter[str]:
        """Why requests were not answered, and how many each."""
        return Counter(each.why for each in self.outcomes if not each.answered)

    async def _one(self, number: int) -> None:
        try:
            self.outcomes.append(await self._outcome(number))
        finally:
            self._gate.release()

    async def _outcome(self, number: int) -> Outcome:
        owner = self.owners[number % len(self.owners)]
        try:
            answer = await self._product.complete(
                owner.account,
                prompt_of(number),
                model=MODEL,
                stream=number % 2 == 0,
                max_tokens=_WORDS,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            return Outcome(
                number=number,
                owner=owner,
                generation_id=None,
                answered=False,
                why=type(error).__name__,
            )
        streamed = "data: " in answer.text
        whole = "data: [DONE]" in answer.text and '"usage"' in answer.text
        answered = answer.status == 200 and (whole or not streamed)
        why = "" if answered else f"{answer.status}{' ended early' if streamed else ''}"
        return Outcome(
            number=number,
            owner=owner,
            generation_id=answer.headers.get("X-Generation-Id"),
            answered=answered,
            why=why,
        )
