"""How a refusal is worded: `Refused` values, which name the field and never repeat what is in it."""

from typing import Final

from shared.events.envelope import Refused

NOT_FOUND: Final = Refused(code="not_found", message="There is no such credential.")
"""Also for another account's credential: whether that exists is nobody's business."""


def invalid(field: str, message: str) -> Refused:
    """A part of the command that must be put right; `field` is its path."""
    return Refused(code="invalid", field=field, message=message)


def conflict(message: str) -> Refused:
    """A command that is right in itself and does not fit what is there."""
    return Refused(code="conflict", message=message)
