"""The format of most providers: the key is one string."""

from typing import Final

from services.key_vault.domain.formats.parsed_secret import KEY, Conditions, ParsedSecret
from services.key_vault.domain.label import label_of
from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_visible_ascii
from shared.events.credential_secrets import StringSecret
from shared.events.envelope import Refused
from shared.secret import Secret

CHARACTERS_MAX: Final = 4096


def parse_string(pasted: Secret, _conditions: Conditions) -> ParsedSecret | Refused:
    """Take the string without the white space around it."""
    value = pasted.reveal().strip()
    if value.startswith(("{", "[")):
        return invalid(KEY, "The key looks like JSON; this provider takes a plain string.")
    problem = problem_of_key(value)
    if problem is not None:
        return invalid(KEY, problem)
    return ParsedSecret(secret=StringSecret(value=value), label=label_of(value))


def problem_of_key(value: str, *, characters_max: int = CHARACTERS_MAX) -> str | None:
    """Why a string can be no provider's key, or None."""
    if not value:
        return "The key is empty."
    if len(value) > characters_max:
        return f"The key is longer than {characters_max} characters."
    if value.startswith(("{", "[")):
        return "The key looks like JSON; put the key alone here."
    if any(character.isspace() for character in value):
        return "The key has white space inside; paste it as one piece."
    if not is_visible_ascii(value):
        return "The key has a character that is not printable ASCII."
    return None
