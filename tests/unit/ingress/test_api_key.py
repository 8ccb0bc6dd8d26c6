import pytest

from services.ingress.domain import api_key
from services.ingress.domain.api_key import read_authorization
from shared.ids import hash_api_key

KEY = api_key.PREFIX + "a1" * 32


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer  {KEY} "])
def test_a_key_is_read_as_its_hash(header: str) -> None:
    assert read_authorization(header) == hash_api_key(KEY)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", KEY])
def test_a_missing_key_is_told_so(header: str | None) -> None:
    assert read_authorization(header) is api_key.MISSING


@pytest.mark.parametrize(
    "key", [KEY[:-1], KEY + "0", KEY.upper(), "sk-or-v1-" + "é" * 64, "\udce9\udcff", "a\0b"]
)
def test_a_malformed_key_is_unknown(key: str) -> None:
    assert read_authorization(f"Bearer {key}") is api_key.UNKNOWN


def test_a_label_shows_little_of_its_key() -> None:
    assert api_key.label_of(KEY) == "sk-or-v1-a1a...1a1"
