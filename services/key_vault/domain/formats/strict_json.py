"""JSON as people paste it, read without surprises: bounded, no doubled names, nothing repeated.

What is wrong is said by place (line and column), since the text around it may be a secret.
"""

import json
import re
from typing import Any, Final

CHARACTERS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 8
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS: Final = re.compile(r"[\[\]{}]")


class NotStrictJson(ValueError):  # noqa: N818 - reads as what it is
    """The text is not JSON, or more of it than is taken; the message repeats none of it."""


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises NotStrictJson."""
    if len(text) > CHARACTERS_MAX:
        raise NotStrictJson(f"The key is longer than {CHARACTERS_MAX} characters.")
    if _depth(text) > DEPTH_MAX:
        raise NotStrictJson(f"The JSON is nested deeper than {DEPTH_MAX} levels.")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except NotStrictJson:
        raise
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotStrictJson(f"The key is not valid JSON: see {place}.") from None
    except (ValueError, RecursionError):  # a number of thousands of digits
        raise NotStrictJson("The key is not JSON that can be read.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotStrictJson("The JSON names a field twice in one object.")
    return members


def _refuse_constant(_name: str) -> Any:
    raise NotStrictJson("The JSON has NaN or Infinity, which are no JSON.")


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
