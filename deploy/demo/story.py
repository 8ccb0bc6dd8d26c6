"""The story that `make demo` tells: what BYOK means, from the first dollar to the last nano-dollar."""

import asyncio
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from deploy.demo.checks import Story
from deploy.local.service_account import new_service_account
from deploy.product import Account, Answer, Product
from deploy.tap import Tap
from shared.events.codec import Received
from shared.events.envelope import Event
from shared.events.fees import CreditsCharged, FeeDeducted, FeeWaived
from shared.events.routing import FallbackDecided
from shared.money import NANO_PER_USD, usd_string

_CREDITS: Final = 5 * NANO_PER_USD
_FREE_REQUESTS: Final = 2
_MODEL: Final = "openai/gpt-4o"
_PROMPT_PRICE: Final = Decimal("0.0000025")
_COMPLETION_PRICE: Final = Decimal("0.00001")
_FEE_PERCENT: Final = 5


def _list_cost(usage: Mapping[str, int]) -> Decimal:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    return prompt * _PROMPT_PRICE + completion * _COMPLETION_PRICE


def _usd(number: Any) -> Decimal:
    return Decimal(str(number))


class Demo:
    """One telling, with an account of its own."""

    def __init__(self, product: Product, story: Story, events: Tap, account: Account) -> None:
        """`events` listens to `billing.fees` and `routing.fallbacks`."""
        self._product = product
        self._story = story
        self._events = events
        self._account = account
        self._azure_secret = f"azure-demo-{account.account_id}"
        self._next_secret = f"azure-next-{account.account_id}"
        self._spent = Decimal(0)

    async def tell(self) -> None:
        """All of it, in order."""
        await self._save_an_azure_array()
        await self._use_the_own_key_for_free()
        await self._pay_the_fee_beyond_the_allotment()
        await self._fall_back_to_the_next_key()
        await self._fall_back_to_shared_credits()
        await self._always_use_this_key()
        await self._ask_other_providers()
        await self._close_the_books()

    async def _save_an_azure_array(self) -> None:
        self._story.step("An Azure key is saved: two deployments in one array")
        saved = await self._product.add_credential(
            self._account,
            provider="azure",
            name="our Azure resource",
            key=[
                self._product.azure_deployment(
                    self._azure_secret, model_slug=slug, model_id=slug.split("/")[1]
                )
                for slug in ("mistralai/mistral-large", _MODEL)
            ],
        )
        self._azure = saved
        self._story.json({name: saved[name] for name in ("id", "provider", "label", "name")})
        listed = await self._product.request("GET", "/byok", key=self._account.management_key)
        self._story.check(
            "it is listed with a masked label", holds=bool(listed.json["total_count"])
        )
        self._story.check(
            "the key itself is never shown again", holds=self._azure_secret not in listed.text
        )

    async def _use_the_own_key_for_free(self) -> None:
        self._story.step(f"Two completions with the account's own key; {_FREE_REQUESTS} are free")
        for stream in (True, False):
            answer = await self._complete("Say twelve words: words=12", stream=stream)
            kind = "streamed" if stream else "plain"
            self._story.tell(f"{kind}: {answer.content}")
            self._story.check(f"{kind}: 200 and the whole answer", holds=_words(answer) == 12)  # noqa: PLR2004 - asked for
            self._story.check(
                f"{kind}: is_byok, and cost 0 beside a list cost of {_list_cost(answer.usage)} USD",
                holds=answer.usage["is_byok"] is True
                and answer.usage["cost"] == 0
                and _usd(answer.usage["cost_details"]["upstream_inference_cost"])
                == _list_cost(answer.usage),
                saw=answer.usage,
            )
            waived = await self._event_of(answer, FeeWaived)
            self._story.check(f"{kind}: FeeWaived is on Kafka", holds=waived is not None)

    async def _pay_the_fee_beyond_the_allotment(self) -> None:
        self._story.step("The allotment is used up: a fee is deducted from credits")
        answer = await self._complete("Say a hundred words: words=100")
        fee = _list_cost(answer.usage) * _FEE_PERCENT / 100
        self._story.check(
            f"the client is told a cost of {fee} USD, {_FEE_PERCENT}% of list price",
            holds=_usd(answer.usage["cost"]) == fee,
            saw=answer.usage,
        )
        received = await self._event_of(answer, FeeDeducted)
        self._story.event(received)
        deducted = received.event
        assert isinstance(deducted, FeeDeducted)  # noqa: S101 - it was asked for by its type
        self._story.check(
            "the event carries the same fee to the nano-dollar",
            holds=deducted.fee_nano_usd == fee * NANO_PER_USD,
            saw=deducted.fee_nano_usd,
        )
        self._spent += fee

    async def _fall_back_to_the_next_key(self) -> None:
        self._story.step("The Azure key is rate limited: the account's next key serves")
        following = await self._product.add_credential(
            self._account,
            provider="azure",
            name="our second Azure resource",
            key=self._product.azure_deployment(
                self._next_secret, model_slug=_MODEL, model_id="gpt-4o"
            ),
        )
        await self._product.script(
            self._azure_secret, [{"kind": "status", "status": 429, "retry_after": "600"}]
        )
        answer = await self._complete("Say five words: words=5")
        self._story.check(
            "200, by a key of the account's own",
            holds=answer.status == 200 and answer.usage["is_byok"] is True,  # noqa: PLR2004 - OK
            saw=answer.text,
        )
        received = await self._event_of(answer, FallbackDecided)
        self._story.event(received)
        decided = received.event
        assert isinstance(decided, FallbackDecided)  # noqa: S101 - it was asked for by its type
        self._story.check(
            "from the first key to the second, because of its 429",
            holds=(decided.from_.credential_id, decided.to.credential_id, decided.provider_status)
            == (self._azure["id"], following["id"], 429),
        )
        self._next = following
        self._spent += _usd(answer.usage["cost"])

    async def _fall_back_to_shared_credits(self) -> None:
        self._story.step("That key fails as well: shared OpenRoute credits serve")
        await self._product.script(
            self._next_secret, [{"kind": "status", "status": 429, "retry_after": "600"}]
        )
        answer = await self._complete("Say five words: words=5")
        received = await self._event_of(answer, FallbackDecided)
        self._story.event(received)
        decided = received.event
        assert isinstance(decided, FallbackDecided)  # noqa: S101 - it was asked for by its type
        self._story.check(
            "the fallback event says: to shared capacity",
            holds=decided.to.tier == "shared" and decided.to.credential_id is None,
            saw=decided.to,
        )
        cost = _list_cost(answer.usage)
        self._story.check(
            f"not BYOK now: {cost} USD of credits, the list price",
            holds=answer.usage["is_byok"] is False and _usd(answer.usage["cost"]) == cost,
            saw=answer.usage,
        )
        charged = await self._event_of(answer, CreditsCharged)
        self._story.check("CreditsCharged is on Kafka", holds=charged is not None)
        self._spent += cost

    async def _always_use_this_key(self) -> None:
        self._story.step('"Always use this key" is switched on: nothing falls back to credits')
        path = f"/byok/{self._next['id']}"
        await self._product.request(
            "PATCH", path, key=self._account.management_key, body={"always_use": True}
        )
        before = len(self._events.seen)
        answer = await self._complete("Say five words: words=5")
        self._story.json(answer.json)
        self._story.check(
            "the provider's 429 reaches the client, with its Retry-After",
            holds=answer.status == 429 and int(answer.headers.get("Retry-After", 0)) > 0,  # noqa: PLR2004 - the status
            saw=(answer.status, dict(answer.headers)),
        )
        charges = [
            received
            for received in self._events.seen[before:]
            if isinstance(received.event, CreditsCharged)
            and received.event.account_id == self._account.account_id
        ]
        self._story.check("and no credits were spent on it", holds=not charges)

    async def _ask_other_providers(self) -> None:
        self._story.step("Other providers: an Amazon Bedrock key and a Google service account")
        name = f"demo-{self._account.account_id}"
        google = await asyncio.to_thread(new_service_account, name)
        await self._product.make_known(google)
        bedrock = "ABSK" + self._account.account_id.replace("-", "")
        for provider, shown, key, model in (
            ("amazon-bedrock", "Amazon Bedrock", bedrock, "anthropic/claude-haiku-4.5"),
            ("google-vertex", "Google Vertex", google, "google/gemini-3.5-flash"),
        ):
            saved = await self._product.add_credential(
                self._account, provider=provider, name=f"our {shown}", key=key
            )
            self._story.check(
                f"{shown}: {saved['label']} is saved, and its check at the provider is good",
                holds=saved["check"]["status"] == "ok",
                saw=saved["check"],
            )
            answer = await self._product.complete(
                self._account, "Say six words: words=6", model=model
            )
            usage = answer.usage
            listed = usage["cost_details"]["upstream_inference_cost"] or 0
            fee = _usd(listed) * _FEE_PERCENT / 100
            self._story.check(
                f"{shown}: {model} answers with that key, for a fee of {fee} USD",
                holds=answer.json["provider"] == shown
                and usage["is_byok"] is True
                and _usd(usage["cost"]) == fee,
                saw=answer.text,
            )
            deducted = await self._event_of(answer, FeeDeducted)
            self._story.check(f"{shown}: FeeDeducted is on Kafka", holds=deducted is not None)
            self._spent += _usd(usage["cost"])

    async def _close_the_books(self) -> None:
        self._story.step("Balances and ledger")
        left = _CREDITS - self._spent * NANO_PER_USD
        key = await self._product.request("GET", "/key", key=self._account.api_key)
        shown = _usd(key.json["data"]["credits"])
        self._story.check(
            f"{usd_string(int(left))} of 5 USD are left, to the nano-dollar",
            holds=shown * NANO_PER_USD == left,
            saw=shown,
        )
        books = json.loads(await self._product.operate("--check-books", service="billing"))
        self._story.json(books)
        self._story.check("debits equal credits: the ledger sums to zero", holds=books["balanced"])
        self._story.check("no hold is left", holds=books["open_holds"] == 0)

    async def _complete(self, prompt: str, *, stream: bool = False) -> Answer:
        return await self._product.complete(self._account, prompt, model=_MODEL, stream=stream)

    async def _event_of(self, answer: Answer, kind: type[Event]) -> Received:
        return await self._events.wait_for(_about(answer.headers["X-Generation-Id"], kind))


def _about(generation_id: str, kind: type[Event]) -> Callable[[Received], bool]:
    def wanted(received: Received) -> bool:
        event = received.event
        return isinstance(event, kind) and getattr(event, "generation_id", "") == generation_id

    return wanted


def _words(answer: Answer) -> int:
    return len(answer.content.split())


async def make_account(product: Product, story: Story) -> Account:
    """The first step: an account with five dollars and a small allotment."""
    story.step("An account with $5 of credits")
    account = await product.make_account(
        name="demo story", credits_nano_usd=_CREDITS, free_requests=_FREE_REQUESTS
    )
    story.tell(
        f"account {account.account_id}, its first {_FREE_REQUESTS} BYOK requests a month free"
    )
    key = await product.request("GET", "/key", key=account.api_key)
    shown = key.json["data"]["credits"]
    story.check("it has 5 USD", holds=_usd(shown) == _CREDITS // NANO_PER_USD, saw=shown)
    return account
