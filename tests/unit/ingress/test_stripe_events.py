"""What Stripe's events come to; whatever a body holds, it is an answer and never an error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.stripe_events import (
    EVENT_TYPES,
    Ignored,
    PaymentNews,
    StripeEvent,
    read_event,
)
from shared.events.payments import PaymentNotBooked, RecordDispute, RecordPayment, RecordRefund
from shared.ids import AccountId
from tests.support.stripe_events import charge, dispute, event, session

ACCOUNT = AccountId("0192aaaa-0000-7000-8000-000000000001")
OTHER = "0192aaaa-0000-7000-8000-000000000002"
COMPLETED = "checkout.session.completed"
CENT = 10_000_000


def news(kind: str, about: Any, *, live: bool = False) -> PaymentNews:
    return read_event(event(kind, about, event_id="evt_1", live=live), live_mode=False).news


def reason(given: PaymentNews) -> str:
    assert isinstance(given, PaymentNotBooked), given
    assert (given.provider, given.event_id) == ("stripe", "evt_1")
    return given.reason


@pytest.mark.parametrize("kind", [COMPLETED, "checkout.session.async_payment_succeeded"])
def test_a_paid_session_is_a_payment_of_the_account_that_it_names(kind: str) -> None:
    paid = RecordPayment(payment_id="stripe/pi_1", account_id=ACCOUNT, amount_nano_usd=1_234 * CENT)
    assert news(kind, session("pi_1", ACCOUNT, 1_234)) == paid
    named = session("pi_1", None, 1_234, metadata={"account_id": ACCOUNT})
    assert news(kind, named) == paid
    both = session("pi_1", ACCOUNT, 1_234, metadata={"account_id": ACCOUNT})
    assert news(kind, both) == paid


@pytest.mark.parametrize("status", ["unpaid", "no_payment_required"])
def test_a_session_that_is_not_paid_is_passed_over(status: str) -> None:
    assert news(COMPLETED, session("pi_1", ACCOUNT, 5, payment_status=status)) == Ignored()


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (session("pi_1", ACCOUNT, 5, currency="eur"), "only USD is booked"),
        (session("pi_1", None, 5), "client_reference_id"),
        (session("pi_1", "order 7", 5), "client_reference_id"),
        (session("pi_1", ACCOUNT.upper(), 5), "client_reference_id"),
        (session("pi_1", ACCOUNT, 5, metadata={"account_id": OTHER}), "differ"),
        (session(None, ACCOUNT, 5), "payment_intent"),
        (session("pi_1/2", ACCOUNT, 5), "payment_intent"),
        (session("pi_1", ACCOUNT, -5), "session cannot be read"),
        (session("pi_1", ACCOUNT, 10**30), "session cannot be read"),
        (session("pi_1", ACCOUNT, 5, amount_total="5"), "session cannot be read"),
        ({}, "session cannot be read"),
    ],
)
def test_a_payment_that_cannot_become_credits_is_told_with_its_reason(
    about: Any, said: str
) -> None:
    assert said in reason(news(COMPLETED, about))


def test_what_was_not_booked_says_what_was_named() -> None:
    report = news(COMPLETED, session("pi_1", ACCOUNT, 500, currency="eur"))
    assert report == PaymentNotBooked(
        provider="stripe",
        event_id="evt_1",
        event_type=COMPLETED,
        reason="only USD is booked",
        payment_id="stripe/pi_1",
        account_id=ACCOUNT,
        amount=500,
        currency="eur",
    )


def test_a_refund_is_told_as_all_that_was_refunded_by_now() -> None:
    assert news("charge.refunded", charge("pi_1", 300)) == RecordRefund(
        payment_id="stripe/pi_1", refunded_nano_usd=300 * CENT
    )
    assert news("charge.refunded", charge(None, 300)) == Ignored()
    assert "USD" in reason(news("charge.refunded", charge("pi_1", 300, currency="jpy")))


def test_a_refund_that_failed_at_the_bank_is_for_an_operator() -> None:
    failed = {"object": "refund", "amount": 300, "currency": "usd", "payment_intent": "pi_1"}
    assert "failed at the bank" in reason(news("refund.failed", failed))


@pytest.mark.parametrize(
    ("kind", "status", "is_reinstated"),
    [
        ("charge.dispute.created", "needs_response", False),
        ("charge.dispute.funds_withdrawn", "needs_response", False),
        ("charge.dispute.closed", "won", True),
        ("charge.dispute.funds_reinstated", "won", True),
        ("charge.dispute.created", "warning_needs_response", None),
        ("charge.dispute.closed", "lost", None),
        ("charge.dispute.closed", "warning_closed", None),
    ],
)
def test_a_dispute_takes_money_and_gives_it_back_when_it_is_won(
    kind: str,
    status: str,
    is_reinstated: bool | None,  # noqa: FBT001 - of the table
) -> None:
    expected: PaymentNews = Ignored()
    if is_reinstated is not None:
        expected = RecordDispute(
            payment_id="stripe/pi_1",
            dispute_id="dp_1",
            amount_nano_usd=1_000 * CENT,
            is_reinstated=is_reinstated,
        )
    assert news(kind, dispute("pi_1", 1_000, status)) == expected


def test_an_event_of_the_other_mode_is_not_booked() -> None:
    assert "livemode" in reason(news(COMPLETED, session("pi_1", ACCOUNT, 5), live=True))


def test_types_that_move_no_money_of_ours_are_passed_over() -> None:
    assert news("customer.created", {"id": "cus_1"}, live=True) == Ignored()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_fields = st.sampled_from(
    [
        "id",
        "amount",
        "amount_total",
        "amount_refunded",
        "currency",
        "status",
        "payment_status",
        "payment_intent",
        "client_reference_id",
        "metadata",
    ]
)


@given(st.binary())
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    assert isinstance(read_event(body, live_mode=False), StripeEvent)


@given(st.sampled_from(sorted(EVENT_TYPES)), st.dictionaries(_fields, _json))
def test_no_object_makes_reading_fail(kind: str, changes: dict[str, Any]) -> None:
    about = session("pi_1", ACCOUNT, 5) | charge("pi_1", 5) | dispute("pi_1", 5, "won") | changes
    read = read_event(event(kind, about, event_id="evt_1"), live_mode=False)
    assert isinstance(read, StripeEvent)
    json.dumps(read.not_booked("for the test").account_id)


def test_a_body_that_cannot_be_read_is_told_without_an_id() -> None:
    for body in (b"", b"[]", b"{}", b'{"id": "evt_1"}', b"\xff", b"[" * 100_000):
        read = read_event(body, live_mode=False)
        assert isinstance(read.news, PaymentNotBooked)
        assert (read.event_id, read.event_type) == ("", "")
