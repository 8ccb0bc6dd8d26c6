"""Credits in and out as customers, operators and Stripe do it, over HTTP on the whole product."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from deploy.product import Account, Answer, Product
from deploy.tap import tap
from shared.events.codec import Received
from shared.events.fees import CreditsAdded, CreditsCorrected, CreditsRefunded, RefundReversed
from shared.events.payments import PaymentNotBooked
from shared.events.topics import BILLING_FEES, DEAD_LETTERS
from shared.ids import new_id
from shared.money import NANO_PER_USD
from tests.support.credit_secrets import OPERATOR_TOKEN, OTHER_WEBHOOK_SECRET, WEBHOOK_SECRET
from tests.support.stripe_events import charge, dispute, event, session, signature

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

_SEEN_SECONDS = 20
COMPLETED = "checkout.session.completed"


async def stripe_says(
    product: Product,
    kind: str,
    about: Any,
    *,
    event_id: str | None = None,
    secret: str = WEBHOOK_SECRET,
    live: bool = False,
) -> Answer:
    """Send one event as Stripe does."""
    event_id = event_id or f"evt_{new_id().replace('-', '')}"
    body = event(kind, about, event_id=event_id, live=live)
    now = int(time.time())  # noqa: TID251 - the time at Stripe
    return await send(product, body, signature(body, at=now, secret=secret))


async def send(product: Product, body: bytes, header: str | None) -> Answer:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if header is not None:
        headers["Stripe-Signature"] = header
    return await product.request("POST", "/webhooks/stripe", data=body, headers=headers)


async def operate(
    product: Product,
    account: str,
    what: str,
    body: Any,
    *,
    key: str | None = "k",
    token: str | None = OPERATOR_TOKEN,
) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    path = f"/operator/accounts/{account}/{what}"
    return await product.request("POST", path, key=token, body=body, headers=headers)


async def credits_are(product: Product, account: Account, usd: str) -> None:
    """Wait until the account sees these credits."""
    wanted, seen = Decimal(usd), None
    try:
        async with asyncio.timeout(_SEEN_SECONDS):
            while seen != wanted:
                answer = await product.request("GET", "/key", key=account.api_key)
                seen = answer.json["data"]["credits"]
                seen = None if seen is None else Decimal(str(seen))
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the credits are {seen}, not {wanted}") from None


def payment() -> str:
    return f"pi_{new_id().replace('-', '')}"


def outcome(answer: Answer) -> str:
    assert answer.status == 200, answer.text
    return str(answer.json["outcome"])


async def test_a_payment_at_stripe_becomes_credits_once(product: Product) -> None:
    account, intent = await product.make_account(), payment()
    paid = session(intent, account.account_id, 1_234)
    async with tap(product.kafka, [BILLING_FEES]) as events:
        first = await stripe_says(product, COMPLETED, paid, event_id="evt_one")
        again = await stripe_says(product, COMPLETED, paid, event_id="evt_one")
        other_event = await stripe_says(
            product, "checkout.session.async_payment_succeeded", paid, secret=OTHER_WEBHOOK_SECRET
        )
        added = (await events.wait_for(lambda each: _is(each, CreditsAdded, account))).event
    assert [outcome(each) for each in (first, again, other_event)] == [
        "booked",
        "repeated",
        "repeated",
    ]
    await credits_are(product, account, "12.34")
    assert isinstance(added, CreditsAdded)
    assert (added.payment_id, added.kind) == (f"stripe/{intent}", "cash")
    assert added.amount_nano_usd == 1_234 * NANO_PER_USD // 100


async def test_what_was_paid_for_can_be_spent_and_a_refund_takes_what_is_left(
    product: Product,
) -> None:
    account, intent = await product.make_account(), payment()
    await stripe_says(product, COMPLETED, session(intent, account.account_id, 1_000))
    await credits_are(product, account, "10")
    spent = await product.complete(account, "words=50")
    assert spent.status == 200, spent.text
    cost = Decimal(str(spent.usage["cost"]))
    await credits_are(product, account, str(10 - cost))
    async with tap(product.kafka, [BILLING_FEES]) as events:
        partly = await stripe_says(product, "charge.refunded", charge(intent, 300))
        late = await stripe_says(product, "charge.refunded", charge(intent, 200))
        await credits_are(product, account, str(7 - cost))
        rest = await stripe_says(product, "charge.refunded", charge(intent, 1_000))
        await credits_are(product, account, "0")
        refunds = [
            (await events.wait_for(lambda each: _is(each, CreditsRefunded, account))).event,
            (
                await events.wait_for(
                    lambda each: (
                        _is(each, CreditsRefunded, account)
                        and getattr(each.event, "uncollected_nano_usd", 0) > 0
                    )
                )
            ).event,
        ]
    assert [outcome(each) for each in (partly, late, rest)] == ["booked"] * 3
    first, last = refunds
    assert isinstance(first, CreditsRefunded)
    assert isinstance(last, CreditsRefunded)
    assert first.amount_nano_usd == 3 * NANO_PER_USD
    assert last.amount_nano_usd + last.uncollected_nano_usd == 7 * NANO_PER_USD
    assert last.uncollected_nano_usd == cost * NANO_PER_USD
    assert (await product.complete(account)).status == 402


async def test_a_refund_that_overtakes_its_payment_waits_for_it(product: Product) -> None:
    account, intent = await product.make_account(), payment()
    early = await stripe_says(product, "charge.refunded", charge(intent, 400))
    paid = await stripe_says(product, COMPLETED, session(intent, account.account_id, 1_000))
    assert [outcome(early), outcome(paid)] == ["waiting", "booked"]
    await credits_are(product, account, "6")


async def test_a_dispute_takes_credits_and_a_won_one_gives_them_back(product: Product) -> None:
    account, intent = await product.make_account(), payment()
    await stripe_says(product, COMPLETED, session(intent, account.account_id, 1_000))
    open_dispute = dispute(intent, 1_000, "needs_response")
    async with tap(product.kafka, [BILLING_FEES]) as events:
        await stripe_says(product, "charge.dispute.created", open_dispute)
        withdrawn = await stripe_says(product, "charge.dispute.funds_withdrawn", open_dispute)
        assert outcome(withdrawn) == "repeated"
        await credits_are(product, account, "0")
        await stripe_says(product, "charge.dispute.closed", dispute(intent, 1_000, "won"))
        await credits_are(product, account, "10")
        reversed_ = (await events.wait_for(lambda each: _is(each, RefundReversed, account))).event
    assert isinstance(reversed_, RefundReversed)
    assert reversed_.dispute_id == "dp_1"


async def test_what_cannot_be_booked_is_told_to_operators_and_never_sent_again(
    product: Product,
) -> None:
    account, intent = await product.make_account(), payment()
    known = account.account_id
    cases = {
        "no such account": (session(intent, new_id(), 500), False),
        "only USD": (session(intent, known, 500, currency="eur"), False),
        "client_reference_id": (session(intent, None, 500), False),
        "livemode": (session(intent, known, 500), True),
    }
    async with tap(product.kafka, [DEAD_LETTERS]) as letters:
        for reason, (about, live) in cases.items():
            event_id = f"evt_{new_id().replace('-', '')}"
            answer = await stripe_says(product, COMPLETED, about, event_id=event_id, live=live)
            assert outcome(answer) == "not_booked"
            letter = await letters.wait_for(
                lambda each, event_id=event_id: getattr(each.event, "event_id", None) == event_id  # type: ignore[misc]
            )
            assert isinstance(letter.event, PaymentNotBooked)
            assert reason in letter.event.reason
            assert letter.envelope.id == f"stripe/{event_id}"
            assert letter.event.event_type == COMPLETED
    await stripe_says(product, COMPLETED, session(intent, known, 500))
    changed = await stripe_says(product, COMPLETED, session(intent, known, 700))
    assert outcome(changed) == "not_booked"
    await credits_are(product, account, "5")


async def test_what_stripe_did_not_sign_just_now_is_refused(product: Product) -> None:
    account = await product.make_account()
    body = event(COMPLETED, session(payment(), account.account_id, 500), event_id="evt_forged")
    now = int(time.time())  # noqa: TID251 - the time at Stripe
    for header in (
        None,
        "nonsense",
        signature(body, at=now, secret="whsec_" + "x" * 32),
        signature(body, at=now - 301),
        signature(body, at=now + 310),
        signature(body + b" ", at=now),
    ):
        answer = await send(product, body, header)
        assert answer.status == 400, header
        assert answer.json["error"]["metadata"]["field"] == "Stripe-Signature"
    too_large = await send(product, b" " * (512 * 1024 + 1), signature(body, at=now))
    assert too_large.status == 413
    wrong_method = await product.request("GET", "/webhooks/stripe")
    assert (wrong_method.status, wrong_method.headers["Allow"]) == (405, "POST")
    key = await product.request("GET", "/key", key=account.api_key)
    assert key.json["data"]["credits"] == 0


async def test_an_operator_moves_credits_once_for_each_key(product: Product) -> None:
    account = await product.make_account()
    name = account.account_id
    async with tap(product.kafka, [BILLING_FEES]) as events:
        first = await operate(product, name, "credits", {"amount": "5.000000001"}, key="in")
        again = await operate(product, name, "credits", {"amount": "5.000000001"}, key="in")
        promotion = {"amount": "2", "kind": "promotion"}
        await operate(product, name, "credits", promotion, key="gift")
        refund = {"amount": "1.5", "reason": "asked for it"}
        refunded = await operate(product, name, "refunds", refund, key="out")
        correction = {"amount": "-0.5", "reason": "priced twice", "reference": "gen-1"}
        corrected = await operate(product, name, "corrections", correction, key="fix")
        told = (await events.wait_for(lambda each: _is(each, CreditsCorrected, account))).event
    assert first.status == 200, first.text
    data = {"account_id": name, "amount": "5.000000001", "uncollected": "0"}
    assert first.json["data"] == data | {"credits": "5.000000001", "repeated": False}
    assert again.json["data"] == data | {"credits": "5.000000001", "repeated": True}
    assert refunded.json["data"]["amount"] == "-1.5"
    assert corrected.json["data"]["credits"] == "5.000000001"
    assert isinstance(told, CreditsCorrected)
    assert (told.reason, told.reference) == ("priced twice", "gen-1")
    await credits_are(product, account, "5.000000001")

    for what, body, key in (
        ("credits", {"amount": "6"}, "in"),
        ("refunds", {"amount": "5.000000001"}, "in"),
        ("corrections", {"amount": "1", "reason": "x"}, "out"),
        ("refunds", {"amount": "4"}, "more than was paid in"),
        ("corrections", {"amount": "-9", "reason": "x"}, "more than there is"),
    ):
        conflict = await operate(product, name, what, body, key=key)
        assert conflict.status == 409, (what, conflict.text)
    await credits_are(product, account, "5.000000001")


async def test_forty_operators_at_once_with_one_key_are_one_movement(product: Product) -> None:
    account = await product.make_account()
    answers = await asyncio.gather(
        *[operate(product, account.account_id, "credits", {"amount": "3"}) for _ in range(40)]
    )
    assert {answer.status for answer in answers} == {200}
    assert sum(not answer.json["data"]["repeated"] for answer in answers) == 1
    await credits_are(product, account, "3")


async def test_the_operator_api_is_for_operators(product: Product) -> None:
    account = await product.make_account()
    name = account.account_id
    for token in (None, "", account.api_key, account.management_key, OPERATOR_TOKEN[:-1]):
        answer = await operate(product, name, "credits", {"amount": "3"}, token=token)
        assert answer.status == 401
    assert (await operate(product, new_id(), "credits", {"amount": "3"})).status == 404
    assert (await operate(product, "nonsense", "credits", {"amount": "3"})).status == 404
    assert (await operate(product, name, "credits", {"amount": "3"}, key=None)).status == 400
    assert (await operate(product, name, "credits", {"amount": "-3"})).status == 400
    assert (await operate(product, name, "credits", {"amount": 3})).status == 400
    assert (await operate(product, name, "presents", {"amount": "3"})).status == 404


async def test_the_command_line_does_the_same(product: Product) -> None:
    account = await product.make_account()
    of = ("--account", account.account_id)
    await product.operate("credit", *of, "--amount", "5", "--key", "in")
    await product.operate("credit", *of, "--amount", "2", "--kind", "promotion")
    for repeated in ("false", "true"):
        refunded = await product.operate("refund", *of, "--amount", "1", "--key", "out")
        assert f'"repeated":{repeated}' in refunded
    correction = ("--amount=-0.25", "--reason", "priced twice", "--reference", "gen-1")
    await product.operate("correct", *of, *correction)
    await credits_are(product, account, "5.75")


def _is(received: Received, kind: type, account: Account) -> bool:
    event = received.event
    return isinstance(event, kind) and getattr(event, "account_id", None) == account.account_id
