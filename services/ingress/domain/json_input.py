"""Reading a request body: whatever a client sends is either of the type or refused with its path.

Decoding everything first and converting then makes hostile input fail wherever it stands, in
fields that we do not know too: lone surrogates, invalid UTF-8, numbers beyond any range, nesting
without end.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal

T = TypeVar("T")

_JSON_NAMES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "decimal": "number",
    "bool": "boolean",
    "object": "object",
    "array": "array",
    "null": "null",
}
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL, and not an escaped backslash with `u0000` after it."""
_EXPECTED: Final = re.compile(
    r"Expected `(?P<expected>[^`]+)`(?P<bound> [^,]+)?(?:, got `(?P<got>\w+)`)?$"
)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]+)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.+)`$", re.DOTALL)
_NAME_SHOWN_MAX: Final = 100
_TOO_DEEP: Final = refusals.invalid("the request body is nested too deeply")
_NOT_UTF8: Final = refusals.invalid("the request body is not valid UTF-8")
_HAS_NUL: Final = refusals.invalid("the request body holds a NUL character (\\u0000)")
_EMPTY: Final = refusals.invalid("the request body is empty; it must be a JSON object")


def read_json(
    body: bytes,
    kind: type[T],
    *,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    has_amounts: bool = False,
) -> T | Refusal:
    """The body as `kind`, or a refusal that names the path of what is wrong.

    `choices` lists, by field name, the words that an enumerated field may have. With `has_amounts`
    numbers with a fraction or an exponent are Decimal, digit for digit, where `kind` has Any.
    """
    if not body or _has_nul(body):
        return _HAS_NUL if body else _EMPTY
    try:
        return msgspec.convert(_decoded(body, kind, _exact if has_amounts else _plain), kind)
    except msgspec.ValidationError as error:
        return _explained(str(error), choices or {})
    except msgspec.DecodeError as error:
        return refusals.invalid(f"the request body is not valid JSON: {_where(str(error))}")
    except UnicodeDecodeError:
        return _NOT_UTF8
    except RecursionError:
        return _TOO_DEEP


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that Decimal does not have
        return Decimal("Infinity")


_plain: Final = msgspec.json.Decoder()
_exact: Final = msgspec.json.Decoder(float_hook=_decimal)


def _decoded(body: bytes, kind: type[T], decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        # a number out of range: its path is told only to who knows the type around it
        msgspec.json.decode(body, type=kind)
        raise


def _has_nul(body: bytes) -> bool:
    return b"\\u0000" in body and _NUL.search(body) is not None


def _where(message: str) -> str:
    return message.removeprefix("JSON is malformed: ").lower()


def _explained(text: str, choices: Mapping[str, tuple[str, ...]]) -> Refusal:
    what, _, where = text.partition(" - at ")
    path = where.strip("`").removeprefix("$").removeprefix(".")
    if matched := _MISSING.match(what):
        return refusals.invalid("is required", field=_join(path, matched["name"]))
    if matched := _UNKNOWN.match(what):
        return refusals.invalid(
            "there is no such field", field=_join(path, matched["name"][:_NAME_SHOWN_MAX])
        )
    if matched := _EXPECTED.match(what):
        message = f"expected {_in_json_words(matched['expected'])}{matched['bound'] or ''}"
        if matched["got"]:
            message += f", got {_JSON_NAMES.get(matched['got'], matched['got'])}"
        return _at(path, message)
    if what.startswith("Invalid enum value"):
        words = choices.get(path.rpartition(".")[2], ())
        message = f"expected one of {', '.join(words)}" if words else "is not one of its values"
        return _at(path, message)
    return _at(path, what[:1].lower() + what[1:])


def _at(path: str, message: str) -> Refusal:
    if not path:
        return refusals.invalid(f"the request body: {message}")
    return refusals.invalid(message, field=path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _in_json_words(expected: str) -> str:
    names = [_JSON_NAMES.get(name, name) for name in expected.split(" | ")]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
