"""A credential's policy: when it is used, for whom, and in which order."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.key_vault.domain.refusals import invalid
from services.key_vault.domain.text import is_id, is_showable, is_visible_ascii
from shared.events.credentials import Filters, Section
from shared.events.envelope import Refused

NAME_CHARACTERS_MAX: Final = 255
NOTE_CHARACTERS_MAX: Final = 1_000
ORDER_MAX: Final = 1_000_000
FILTER_ENTRIES_MAX: Final = 100
MODEL_CHARACTERS_MAX: Final = 200
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an account may change about a credential beside the key.

    `order` ascends within account, provider and section; equals stand in order of age.
    """

    name: str | None
    note: str | None
    enabled: bool
    section: Section
    always_use: bool
    order: int
    filters: Filters


def checked_name(name: str | None) -> str | Refused | None:
    """The name without the space around it; a blank one is none."""
    trimmed = name.strip() if name is not None else None
    if not trimmed:
        return None
    if len(trimmed) > NAME_CHARACTERS_MAX:
        return invalid("name", f"name must not be longer than {NAME_CHARACTERS_MAX} characters.")
    if not is_showable(trimmed):
        return invalid("name", "name must not have control characters.")
    return trimmed


def checked_note(note: str | None) -> str | Refused | None:
    """The note without the space around it, lines ending in LF; a blank one is none."""
    trimmed = note.replace("\r\n", "\n").strip() if note is not None else None
    if not trimmed:
        return None
    if len(trimmed) > NOTE_CHARACTERS_MAX:
        return invalid("note", f"note must not be longer than {NOTE_CHARACTERS_MAX} characters.")
    if not is_showable(trimmed.replace("\n", "")):
        return invalid("note", "note must not have control characters but line breaks.")
    return trimmed


def checked_order(order: int) -> int | Refused:
    """An order that was given."""
    if not 0 <= order <= ORDER_MAX:
        return invalid("order", f"order must be between 0 and {ORDER_MAX}.")
    return order


def order_after(last: int | None) -> int:
    """The order of a newcomer: behind the last of its section."""
    return 0 if last is None else min(last + 1, ORDER_MAX)


def checked_models(models: Sequence[str] | None, field: str) -> list[str] | Refused | None:
    """Model slugs; `field` is their path in the command. Repeated ones are taken once."""
    return _checked_entries(models, field, _is_model, "must be a model slug like openai/gpt-4o")


def checked_hashes(hashes: Sequence[str] | None, field: str) -> list[str] | Refused | None:
    """Hashes of API keys."""
    return _checked_entries(
        hashes, field, _is_hash, "must be an API key's hash: 64 lower-case hexadecimal digits"
    )


def checked_members(members: Sequence[str] | None, field: str) -> list[str] | Refused | None:
    """Ids of members."""
    return _checked_entries(members, field, is_id, "must be a member's id")


def _checked_entries(
    entries: Sequence[str] | None, field: str, is_right: Callable[[str], bool], rule: str
) -> list[str] | Refused | None:
    if entries is None:
        return None
    if not entries:
        return invalid(field, f"{field} must not be empty; leave it out to restrict nothing.")
    if len(entries) > FILTER_ENTRIES_MAX:
        return invalid(field, f"{field} must not have more than {FILTER_ENTRIES_MAX} entries.")
    for number, entry in enumerate(entries):
        if not is_right(entry):
            return invalid(f"{field}[{number}]", f"{field}[{number}] {rule}.")
    return list(dict.fromkeys(entries))


def _is_model(text: str) -> bool:
    return 0 < len(text) <= MODEL_CHARACTERS_MAX and is_visible_ascii(text)


def _is_hash(text: str) -> bool:
    return _HASH.fullmatch(text) is not None
