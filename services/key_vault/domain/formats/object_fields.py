"""Objects whose fields are all strings, as every provider's JSON format has them.

A field that is not known is refused by its name, so that a misspelt one is found, but only where
that name is a word: anything else might be a key in the wrong place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.key_vault.domain.formats.strict_json import NotStrictJson, parse_json
from services.key_vault.domain.refusals import invalid
from shared.events.envelope import Refused

_AROUND: Final = " \t\r\n\ufeff"
"""White space and the byte order mark, with which some editors begin a file."""
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,23}")
_WORD_CAPITALS_MAX: Final = 4
"""`awsSecretAccessKey` has three; a random text of letters has many more, or is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The fields of an object. `drops_unknown` takes objects that have more of them."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    drops_unknown: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """All that mean something, in the order in which they are told."""
        return (*self.required, *self.optional)

    @property
    def told(self) -> str:
        """The fields as a refusal lists them."""
        optional = [f"{name} (optional)" for name in self.optional]
        return ", ".join([*self.required, *optional])


def without_blanks(text: str) -> str:
    """The text without what stands around it by accident."""
    return text.strip(_AROUND)


def read_value(text: str, path: str) -> Any | Refused:
    """The value of a JSON text."""
    try:
        return parse_json(text)
    except NotStrictJson as error:
        return invalid(path, str(error))


def read_strings(element: Any, path: str, fields: Fields) -> Mapping[str, str] | Refused:
    """The fields that are known, each a string; refusals name the first that is wrong."""
    if not isinstance(element, dict):
        return invalid(path, f"Must be an object with {fields.told}.")
    unknown = [name for name in element if name not in fields.known]
    # a misspelt field is missing and unknown at once, and its own name says more
    if unknown and not fields.drops_unknown:
        return refuse_unknown(unknown[0], path, f"the fields are {fields.told}")
    missing = [name for name in fields.required if name not in element]
    if missing:
        return invalid(f"{path}.{missing[0]}", f"Missing: {', '.join(missing)}.")
    given = {name: element[name] for name in fields.known if name in element}
    for name, value in given.items():
        if not isinstance(value, str):
            return invalid(f"{path}.{name}", f"{name} must be a string.")
    return given


def refuse_unknown(name: str, path: str, why: str) -> Refused:
    """Say that a field does not belong, by its name where that is no secret."""
    capitals = sum(character.isupper() for character in name)
    if _WORD.fullmatch(name) is None or capitals > _WORD_CAPITALS_MAX:
        return invalid(path, f"There is a field that is unknown; {why}.")
    return invalid(f"{path}.{name}", f"{name} is unknown; {why}.")
