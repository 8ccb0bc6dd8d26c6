"""Tables that no spreadsheet takes for a program."""

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.inbound.http.csv_text import csv_text


def _read(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_begins_like_a_formula_is_text(begins: str) -> None:
    rows = _read(csv_text(["name"], [{"name": begins + "HYPERLINK(1)"}]))

    assert rows[1] == ["'" + begins + "HYPERLINK(1)"]


def test_numbers_stay_numbers_and_nothing_stays_empty() -> None:
    row = {"a": 1, "b": msgspec.Raw(b"-0.000000001"), "c": None, "d": True, "e": False}

    assert csv_text("abcdef", [row]) == b"a,b,c,d,e,f\r\n1,-0.000000001,,true,false,\r\n"


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
def test_any_text_comes_back_as_it_was_but_for_the_apostrophe(cells: list[str]) -> None:
    columns = [f"c{number}" for number in range(len(cells))]

    _, *rows = _read(csv_text(columns, [dict(zip(columns, cells, strict=True))]))

    if cells == [""]:
        assert rows == [[]]
        return
    for was, read in zip(cells, rows[0], strict=True):
        assert read in {was, "'" + was}
        assert not read.startswith(("=", "+", "-", "@"))
