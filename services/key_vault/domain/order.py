"""Setting the order of all credentials of one provider at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from services.key_vault.domain.credential import CREDENTIALS_MAX, Credential, changed
from services.key_vault.domain.refusals import conflict, invalid
from services.key_vault.domain.text import is_id, is_provider_slug
from shared.events.credentials import ReorderCredentials, Section
from shared.events.envelope import Refused
from shared.ids import CredentialId

_IDS_SHOWN_MAX: Final = 5


def check_order(command: ReorderCredentials) -> Refused | None:
    """What is wrong with an order in itself, whatever credentials there are."""
    if not is_provider_slug(command.provider):
        return invalid("provider", "provider must be a slug like openai or azure.")
    seen: set[CredentialId] = set()
    for field, ids in (("prioritized", command.prioritized), ("fallback", command.fallback)):
        if len(ids) > CREDENTIALS_MAX:
            return invalid(field, f"{field} must not name more than {CREDENTIALS_MAX} credentials.")
        for place, each in enumerate(ids):
            if not is_id(each):
                return invalid(f"{field}[{place}]", f"{field}[{place}] must be a credential's id.")
            if each in seen:
                return invalid(f"{field}[{place}]", f"{field}[{place}] is named twice.")
            seen.add(each)
    return None


def reorder(
    kept: Sequence[Credential], command: ReorderCredentials
) -> list[tuple[Credential, Credential]] | Refused:
    """Those that move, each before and after; `kept` are all of the provider.

    An order that leaves one out, or names one that is not there, was made of a list that is out of
    date: a conflict.
    """
    by_id = {each.credential_id: each for each in kept}
    named = [*command.prioritized, *command.fallback]
    foreign = [each for each in named if each not in by_id]
    if foreign:
        return conflict(f"{_shown(foreign)}: no {command.provider} credential of this account.")
    missing = by_id.keys() - set(named)
    if missing:
        return conflict(
            f"The order must name every {command.provider} credential; it leaves out "
            f"{_shown(sorted(missing))}."
        )
    moved: list[tuple[Credential, Credential]] = []
    sections: tuple[tuple[Section, list[CredentialId]], ...] = (
        ("prioritized", command.prioritized),
        ("fallback", command.fallback),
    )
    for section, ids in sections:
        for order, credential_id in enumerate(ids):
            before = by_id[credential_id]
            policy = replace(before.policy, section=section, order=order)
            after = changed(before, policy, None)
            if after is not before:
                moved.append((before, after))
    return moved


def _shown(ids: Sequence[CredentialId]) -> str:
    more = len(ids) - _IDS_SHOWN_MAX
    return ", ".join(ids[:_IDS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
