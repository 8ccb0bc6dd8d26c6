"""CSV that a spreadsheet opens as it was meant: RFC 4180, in UTF-8, and no cell is a formula."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r")
_QUOTED: Final = frozenset(',"\r\n')


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table with a head; a row's values by column, those it does not have stay empty."""
    lines = [",".join(columns)]
    lines.extend(",".join(_cell(row.get(column)) for column in columns) for row in rows)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case msgspec.Raw():  # an exact number
            return bytes(value).decode()
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """Text that begins like a formula gets an apostrophe before it, as spreadsheets write it."""
    shown = f"'{text}" if text.startswith(_FORMULA_BEGINS) else text
    if _QUOTED.isdisjoint(shown):
        return shown
    return '"' + shown.replace('"', '""') + '"'
