"""What a client may ask of an API key, and how it is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.domain.api_key_forms import (
    LIMIT_USD_MAX,
    NewKey,
    check_expiry,
    read_key_changes,
    read_new_key,
)
from services.ingress.domain.key_limit import KeyLimit
from services.ingress.domain.refusals import Refusal
from shared.money import NANO_PER_USD, usd_string


def refused(body: str) -> Refusal:
    refusal = read_new_key(body.encode())
    assert isinstance(refusal, Refusal), body
    assert refusal.status == 400
    return refusal


def made(body: str) -> NewKey:
    new = read_new_key(body.encode())
    assert isinstance(new, NewKey), new
    return new


def test_a_name_is_enough() -> None:
    assert made('{"name":"ci"}') == NewKey(
        name="ci", limit=KeyLimit(), is_byok_only=False, expires_at=None, member_id=None
    )


@given(st.integers(0, LIMIT_USD_MAX * NANO_PER_USD))
def test_a_limit_is_kept_to_the_nano_dollar(nano_usd: int) -> None:
    text = usd_string(nano_usd)
    assert made(f'{{"name":"n","limit":{text}}}').limit.amount_nano_usd == nano_usd
    scientific = f"{Decimal(text):E}"
    assert made(f'{{"name":"n","limit":{scientific}}}').limit.amount_nano_usd == nano_usd


@pytest.mark.parametrize(
    "amount",
    [
        "-1",
        "-0.000000001",
        "NaN",
        "Infinity",
        '"5"',
        '"5.00"',
        "true",
        "[]",
        "{}",
        "0.0000000001",
        "0.30000000000000004",
        "1.00000000000000000000000000001",
        "1000000000.000000001",
        "1000000001",
        "1e10",
        "1e999",
        "1e99999999999999999999",
        "-1e99999999999999999999",
        "9" * 40,
        "9" * 5000,
        "0." + "1" * 5000,
    ],
)
def test_an_amount_that_is_none_is_refused_with_its_field(amount: str) -> None:
    for refusal in (
        refused(f'{{"name":"n","limit":{amount}}}'),
        read_key_changes(f'{{"limit":{amount}}}'.encode()),
    ):
        assert isinstance(refusal, Refusal)
        assert refusal.status == 400
        if amount in {"NaN", "Infinity"}:  # no JSON at all
            assert "not valid JSON" in refusal.message
        else:
            assert refusal.field == "limit", refusal.message
        assert len(refusal.message) < 200


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ("{}", "name", "is required"),
        ('{"name":""}', "name", "of length >= 1"),
        ('{"name":null}', "name", "expected string, got null"),
        (f'{{"name":"{"x" * 256}"}}', "name", "of length <= 255"),
        ('{"name":"n","limit_reset":"yearly"}', "limit_reset", "one of daily, weekly, monthly"),
        ('{"name":"n","include_byok_in_limit":1}', "include_byok_in_limit", "expected boolean"),
        ('{"name":"n","include_byok_in_limit":1.5}', "include_byok_in_limit", "got number"),
        ('{"name":"n","expires_at":"2030-01-01T00:00Z"}', "expires_at", "datetime"),
        ('{"name":"n","expires_at":"2030-01-01T00:00:00"}', "expires_at", "timezone"),
        ('{"name":"n","expires_at":"tomorrow"}', "expires_at", "datetime"),
        ('{"name":"n","expires_at":5}', "expires_at", "got integer"),
        ('{"name":"n","expires_at":"9999-12-31T23:59:59-14:00"}', "expires_at", "out of range"),
        ('{"name":"n","workspace_id":"w"}', "workspace_id", "no workspaces"),
        ('{"name":"n","management":true}', "management", "there is no such field"),
        ('{"name":"n","colour":1}', "colour", "there is no such field"),
    ],
)
def test_each_mistake_is_named(body: str, field: str, message: str) -> None:
    refusal = refused(body)
    assert (refusal.field, message in refusal.message) == (field, True), refusal.message


def test_an_expiry_is_kept_in_utc_and_must_be_to_come() -> None:
    new = made('{"name":"n","expires_at":"2030-01-01T01:30:00.25+01:30"}')
    moment = datetime(2030, 1, 1, microsecond=250_000, tzinfo=UTC)
    assert new.expires_at == moment
    assert new.expires_at.tzinfo is UTC
    assert check_expiry(moment, moment - timedelta(microseconds=1)) is None
    for now in (moment, moment + timedelta(seconds=1)):
        refusal = check_expiry(moment, now)
        assert isinstance(refusal, Refusal)
        assert refusal.field == "expires_at"
    assert check_expiry(None, moment) is None


def test_what_stands_for_nothing_here_may_be_sent_back_as_it_was_shown() -> None:
    for workspace in ("null", '""'):
        made(f'{{"name":"n","workspace_id":{workspace}}}')
        changes = read_key_changes(f'{{"workspace_id":{workspace}}}'.encode())
        assert not isinstance(changes, Refusal)


def test_left_out_stays_and_null_clears() -> None:
    changes = read_key_changes(b'{"limit":null,"limit_reset":null}')
    assert not isinstance(changes, Refusal)
    assert (changes.limit_nano_usd, changes.limit_reset) == (None, None)
    for left_out in (
        changes.name,
        changes.is_disabled,
        changes.includes_byok,
        changes.is_byok_only,
    ):
        assert left_out is msgspec.UNSET
    changes = read_key_changes(b'{"disabled":true}')
    assert not isinstance(changes, Refusal)
    assert changes.is_disabled is True
    assert changes.limit_nano_usd is msgspec.UNSET


@pytest.mark.parametrize("field", ["name", "disabled", "include_byok_in_limit", "byok_only"])
def test_what_cannot_be_cleared_is_refused(field: str) -> None:
    refusal = read_key_changes(f'{{"{field}":null}}'.encode())
    assert isinstance(refusal, Refusal)
    assert refusal.field == field


def test_a_keys_expiry_is_for_its_life() -> None:
    refusal = read_key_changes(b'{"expires_at":null}')
    assert isinstance(refusal, Refusal)
    assert refusal.field == "expires_at"
