"""What commands make of a policy; every field is checked before any is taken."""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from services.key_vault.domain.policy import (
    Policy,
    checked_hashes,
    checked_members,
    checked_models,
    checked_name,
    checked_note,
    checked_order,
)
from shared.events.credentials import AddCredential, ChangeCredential, Filters, Section
from shared.events.envelope import Refused
from shared.ids import ApiKeyHash, MemberId

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """A policy to begin with; without an order the credential goes behind the others."""

    name: str | None
    note: str | None
    enabled: bool
    section: Section
    always_use: bool
    order: int | None
    filters: Filters


def policy_to_add(command: AddCredential) -> NewPolicy | Refused:
    """The policy that a new credential is to have."""
    name = checked_name(command.name)
    if isinstance(name, Refused):
        return name
    note = checked_note(command.note)
    if isinstance(note, Refused):
        return note
    order = None if command.order is None else checked_order(command.order)
    if isinstance(order, Refused):
        return order
    filters = _checked_filters(
        command.filters, ("filters.models", "filters.api_key_hashes", "filters.member_ids")
    )
    if isinstance(filters, Refused):
        return filters
    return NewPolicy(
        name=name,
        note=note,
        enabled=command.enabled,
        section=command.section,
        always_use=command.always_use,
        order=order,
        filters=filters,
    )


def policy_after(policy: Policy, command: ChangeCredential) -> Policy | Refused:
    """The policy with what the command gives; what it leaves unset stays."""
    name = checked_name(_given(command.name, policy.name))
    if isinstance(name, Refused):
        return name
    note = checked_note(_given(command.note, policy.note))
    if isinstance(note, Refused):
        return note
    order = checked_order(_given(command.order, policy.order))
    if isinstance(order, Refused):
        return order
    filters = _checked_filters(
        Filters(
            models=_given(command.allowed_models, policy.filters.models),
            api_key_hashes=_given(command.allowed_api_key_hashes, policy.filters.api_key_hashes),
            member_ids=_given(command.allowed_member_ids, policy.filters.member_ids),
        ),
        ("allowed_models", "allowed_api_key_hashes", "allowed_member_ids"),
    )
    if isinstance(filters, Refused):
        return filters
    return Policy(
        name=name,
        note=note,
        enabled=_given(command.enabled, policy.enabled),
        section=_given(command.section, policy.section),
        always_use=_given(command.always_use, policy.always_use),
        order=order,
        filters=filters,
    )


def _given(value: T | msgspec.UnsetType, kept: T) -> T:
    return kept if value is msgspec.UNSET else value


def _checked_filters(filters: Filters, fields: tuple[str, str, str]) -> Filters | Refused:
    """`fields` are the paths of models, hashes and members in the command."""
    models = checked_models(filters.models, fields[0])
    if isinstance(models, Refused):
        return models
    hashes = checked_hashes(filters.api_key_hashes, fields[1])
    if isinstance(hashes, Refused):
        return hashes
    members = checked_members(filters.member_ids, fields[2])
    if isinstance(members, Refused):
        return members
    return Filters(
        models=models,
        api_key_hashes=None if hashes is None else [ApiKeyHash(each) for each in hashes],
        member_ids=None if members is None else [MemberId(each) for each in members],
    )
