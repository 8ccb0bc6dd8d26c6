"""Only what Stripe signed just now is believed; no header and no body make the check fail."""

import hashlib
import hmac

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.stripe_signature import (
    TOLERANCE_SECONDS,
    problem_of,
    webhook_secrets,
)
from shared.secret import Secret
from tests.support.credit_secrets import OTHER_WEBHOOK_SECRET as OTHER_SECRET
from tests.support.credit_secrets import WEBHOOK_SECRET as SECRET
from tests.support.stripe_events import signature

NOW = 1_770_000_000
BODY = b'{"id": "evt_1", "object": "event"}'
GOOD = signature(BODY, at=NOW)
HEX = GOOD.partition("v1=")[2]
OTHER_HEX = signature(BODY, at=NOW, secret=OTHER_SECRET).partition("v1=")[2]


def problem(
    header: str | None,
    *,
    body: bytes = BODY,
    secrets: tuple[str, ...] = (SECRET,),
    now: float = NOW,
) -> str | None:
    return problem_of(header, body, [Secret(each) for each in secrets], now_seconds=now)


def test_what_stripes_own_client_signs_is_believed_and_it_believes_what_we_would() -> None:
    assert problem(GOOD) is None
    stripe.WebhookSignature.verify_header(BODY, GOOD, SECRET)


def test_the_scheme_is_hmac_sha256_over_time_dot_body() -> None:
    made = hmac.new(SECRET.encode(), f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert problem(f"t={NOW},v1={made}") is None


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW},v1={'0' * 64},v1={HEX}",
        f"t={NOW},v0={'0' * 64},v1={HEX}",
        f"v1={HEX},t={NOW}",
        f"t={NOW}, v1={HEX}",
        f"t={NOW},v1=nonsense,v1={HEX},v2=x,,=",
    ],
)
def test_one_right_signature_among_others_is_enough(header: str) -> None:
    assert problem(header) is None


def test_while_a_secret_is_replaced_either_is_good() -> None:
    both = f"t={NOW},v1={OTHER_HEX},v1={HEX}"
    assert problem(both) is None
    assert problem(both, secrets=(OTHER_SECRET,)) is None
    assert problem(f"t={NOW},v1={OTHER_HEX}", secrets=(SECRET, OTHER_SECRET)) is None
    assert problem(f"t={NOW},v1={OTHER_HEX}") is not None


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS])
def test_a_signature_within_the_tolerance_is_good(seconds: int) -> None:
    assert problem(GOOD, now=NOW + seconds) is None


@pytest.mark.parametrize("seconds", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1, 10**9])
def test_an_old_signature_and_one_of_the_future_are_refused(seconds: int) -> None:
    assert problem(GOOD, now=NOW + seconds) == "is more than 300 s from now"


REFUSED: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "no time": f"v1={HEX}",
    "two times": f"t={NOW},t={NOW},v1={HEX}",
    "another time": f"t={NOW + 1},v1={HEX}",
    "time with a sign": f"t=+{NOW},v1={HEX}",
    "time in other digits": "t=\u0661\u0667,v1=" + HEX,
    "endless time": f"t={'9' * 5000},v1={HEX}",
    "no signature": f"t={NOW}",
    "empty signature": f"t={NOW},v1=",
    "old scheme": f"t={NOW},v0={HEX}",
    "wrong": f"t={NOW},v1={'0' * 64}",
    "cut": f"t={NOW},v1={HEX[:-1]}",
    "upper case": f"t={NOW},v1={HEX.upper()}",
    "another's": f"t={NOW},v1={OTHER_HEX}",
    "too many": f"t={NOW}," + ",".join([f"v1={HEX}"] * 11),
    "no text": f"t={NOW},v1=\udcff",
}


@pytest.mark.parametrize("header", REFUSED.values(), ids=REFUSED)
def test_what_is_not_right_is_refused(header: str | None) -> None:
    assert problem(header) is not None


def test_a_changed_body_is_refused() -> None:
    assert problem(GOOD, body=BODY + b" ") is not None
    assert problem(GOOD, body=BODY.replace(b"1", b"2")) is not None


@given(st.text(), st.binary())
def test_no_header_and_no_body_make_the_check_fail(header: str, body: bytes) -> None:
    assert problem(header, body=body) is not None
    assert problem(f"t={NOW},v1={header}", body=body) is not None


@given(st.binary())
def test_any_body_that_is_signed_is_believed(body: bytes) -> None:
    made = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert problem(f"t={NOW},v1={made}", body=body) is None


def test_one_or_two_secrets_may_be_set() -> None:
    assert webhook_secrets(SECRET) == (Secret(SECRET),)
    assert webhook_secrets(f"{SECRET}, {OTHER_SECRET}") == (Secret(SECRET), Secret(OTHER_SECRET))


@pytest.mark.parametrize(
    "value",
    [
        "whsec_tooshort",
        "sk_live_0123456789012345678901234567",
        f"{SECRET},",
        f"{SECRET} x",
        ",".join([SECRET] * 3),
    ],
)
def test_what_is_no_secret_of_a_webhook_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ValueError, match="must be a secret like whsec_") as refused:
        webhook_secrets(value)
    assert value not in str(refused.value)
