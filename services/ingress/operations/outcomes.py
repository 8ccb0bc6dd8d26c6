"""How a command ends."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.errors import OpenRouteError
from shared.ids import AccountId


class BadInput(OpenRouteError):  # noqa: N818 - it says what happened
    """What was given cannot be carried out; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What to print, and what to warn of; a warning makes the exit code 1."""

    printed: dict[str, Any]
    warning: str | None = None


def account_id_of(text: str) -> AccountId:
    """An account's id in its one form; BadInput when it is none."""
    try:
        return AccountId(str(UUID(text)))
    except ValueError:
        raise BadInput(f"{text[:80]} is not an account id") from None
