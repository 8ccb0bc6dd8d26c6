"""A label lets an owner recognise a key, and nobody else guess it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.label import label_of, label_of_several


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("sk-proj-0123456789abcdefAbCd", "sk-...AbCd"),
        ("pk-live-two-0123456789WxYz", "pk-...WxYz"),
        ("0123456789abcdef0123456789abcdef", "...cdef"),
        ("AIzaSy0123456789abcdefghi-jklmno", "...lmno"),
        ("-0123456789abcdefghijkl", "...ijkl"),
        ("sk-0123456789abcdefg", "sk-...defg"),
        ("sk-0123456789abcdef", "..."),
        ("short", "..."),
        ("", "..."),
    ],
)
def test_a_label_shows_the_makers_mark_and_four_characters(key: str, label: str) -> None:
    assert label_of(key) == label


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80))
def test_a_label_never_shows_more_than_a_prefix_and_four_characters(key: str) -> None:
    prefix, _, tail = label_of(key).partition("...")

    assert len(prefix) <= 7
    assert len(tail) <= 4
    assert key.startswith(prefix)
    assert key.endswith(tail)
    assert len(key) >= 20 or label_of(key) == "..."


def test_several_keys_have_the_first_ones_label() -> None:
    keys = ["0123456789abcdef0123456789abcdef", "x", "y"]

    assert label_of_several(keys[:1]) == "...cdef"
    assert label_of_several(keys) == "...cdef (+2)"
