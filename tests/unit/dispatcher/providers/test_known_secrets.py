"""A key does not come back in what a provider says, whole, in an address, or in pieces."""

import base64
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.outbound.providers.failures import FailureReader
from services.dispatcher.outbound.providers.known_secrets import (
    PIECE_CHARACTERS_MIN,
    mask_pieces,
    mask_whole,
)
from tests.contract.providers.builders import NOW

_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
_HEX = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"


def _raw(key: str, message: str, *more: str) -> str:
    reader = FailureReader(key, more)
    body = msgspec.json.encode({"error": {"message": message, "code": message}})
    failure = reader.from_answer(401, {}, body, NOW)
    return f"{failure.raw} {failure.code} {failure!r}"


@pytest.mark.parametrize(
    "told",
    [
        _KEY,
        quote(_KEY, safe=""),
        _KEY[:20] + "...",
        "..." + _KEY[-20:],
        _KEY[5:17],
        f"{_KEY[:15]} and {_KEY[20:]}",
        "x" * 8000 + _KEY,
    ],
)
def test_a_provider_that_repeats_a_key_does_not_get_it_through(told: str) -> None:
    shown = _raw(_KEY, f"Incorrect key provided: {told}")
    for start in range(len(_KEY) - PIECE_CHARACTERS_MIN + 1):
        assert _KEY[start : start + PIECE_CHARACTERS_MIN] not in shown


def test_every_part_of_a_credential_of_several_is_known() -> None:
    token = base64.b64encode(b"a session token that is long").decode()
    shown = _raw("AKIDwithout-a-shape", f"{_HEX} {token} are wrong", _HEX, token)
    assert _HEX[:12] not in shown
    assert token[:12] not in shown
    assert "are wrong" in shown


def test_what_is_no_secret_stays() -> None:
    text = "The model gpt-4o of deployment x is not found. Check https://aka.ms/oai."
    assert mask_pieces(mask_whole(text, (_KEY, "")), (_KEY, "")) == text


@given(
    before=st.text(max_size=40),
    after=st.text(max_size=40),
    start=st.integers(0, len(_HEX) - PIECE_CHARACTERS_MIN),
    length=st.integers(PIECE_CHARACTERS_MIN, len(_HEX)),
)
def test_a_piece_is_masked_wherever_it_stands(
    before: str, after: str, start: int, length: int
) -> None:
    piece = _HEX[start : start + length]
    shown = mask_pieces(f"{before}{piece}{after}", (_HEX,))
    assert piece not in shown
    assert "***" in shown
    assert len(shown) <= len(before) + len(after) + len(piece)
