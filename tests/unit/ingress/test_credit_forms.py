"""What operators send: exact amounts in USD, a key, nothing unknown."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.credit_forms import (
    CorrectionForm,
    CreditForm,
    RefundForm,
    read_key,
    read_movement,
)
from services.ingress.domain.refusals import Refusal
from shared.events.billing import AddCredits, CorrectCredits, RefundCredits
from shared.ids import AccountId

ACCOUNT = AccountId("0192aaaa-0000-7000-8000-000000000001")


def read(body: Any, kind: type = CreditForm) -> Any:
    return read_movement(json.dumps(body).encode(), kind, account_id=ACCOUNT, key="k")


def test_each_form_is_the_command_that_it_says() -> None:
    assert read({"amount": "5.000000001", "currency": "USD", "kind": "promotion"}) == AddCredits(
        account_id=ACCOUNT, amount_nano_usd=5_000_000_001, key="k", kind="promotion"
    )
    assert read({"amount": "5"}) == AddCredits(
        account_id=ACCOUNT, amount_nano_usd=5_000_000_000, key="k"
    )
    assert read({"amount": "0.1", "reason": "asked"}, RefundForm) == RefundCredits(
        account_id=ACCOUNT, amount_nano_usd=100_000_000, key="k", reason="asked"
    )
    corrected = {"amount": "-0.1", "reason": "priced twice", "reference": "gen-1"}
    assert read(corrected, CorrectionForm) == CorrectCredits(
        account_id=ACCOUNT,
        amount_nano_usd=-100_000_000,
        key="k",
        reason="priced twice",
        reference="gen-1",
    )


REFUSED: dict[str, tuple[Any, type, str]] = {
    "number": ({"amount": 5}, CreditForm, "amount: expected string, got integer"),
    "too fine": ({"amount": "0.0000000001"}, CreditForm, "amount: must be a decimal number"),
    "exponent": ({"amount": "1e3"}, CreditForm, "amount: must be"),
    "other digits": ({"amount": "\u0665"}, CreditForm, "amount: must be"),
    "spaces": ({"amount": " 5"}, CreditForm, "amount: must be"),
    "nothing": ({"amount": "NaN"}, CreditForm, "amount: must be"),
    "currency": ({"amount": "5", "currency": "EUR"}, CreditForm, "currency: expected one of USD"),
    "kind": ({"amount": "5", "kind": "gift"}, CreditForm, "kind: expected one of cash, promotion"),
    "unknown": ({"amount": "5", "x": 1}, CreditForm, "x: there is no such field"),
    "no amount": ({}, RefundForm, "amount: is required"),
    "no reason": ({"amount": "5"}, CorrectionForm, "reason: is required"),
    "empty reason": ({"amount": "5", "reason": ""}, CorrectionForm, "reason: "),
    "no object": ([], CreditForm, "the request body: expected object, got array"),
}


@pytest.mark.parametrize(("body", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(body: Any, kind: type, message: str) -> None:
    refusal = read(body, kind)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
    assert refusal.message.startswith(message)


@pytest.mark.parametrize("key", [None, "", " ", "a\tb", "é", "k" * 201, " k", "k "])
def test_a_key_is_needed_and_printable(key: str | None) -> None:
    refusal = read_key(key)
    assert isinstance(refusal, Refusal)
    assert refusal.field == "Idempotency-Key"


@pytest.mark.parametrize("key", ["k", "stripe/pi_1", "order 7", "k" * 200])
def test_a_key_that_is_good_is_taken_as_it_is(key: str) -> None:
    assert read_key(key) == key


@given(st.binary(), st.sampled_from([CreditForm, RefundForm, CorrectionForm]))
def test_no_bytes_make_reading_fail(body: bytes, kind: type) -> None:
    assert isinstance(read_movement(body, kind, account_id=ACCOUNT, key="k"), Refusal)
