"""Commands and their outcomes, as key_vault tells them apart."""

from dataclasses import dataclass
from typing import TypeAlias

from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialForgotten,
    CredentialKept,
    CredentialsReordered,
    DeleteCredential,
    ReorderCredentials,
)
from shared.events.envelope import Refused
from shared.ids import CredentialId

ChangingCommand: TypeAlias = (
    AddCredential | ChangeCredential | DeleteCredential | ReorderCredentials
)
"""A command that changes something, and so takes effect once however often it comes."""

Outcome: TypeAlias = CredentialKept | CredentialForgotten | CredentialsReordered | Refused
"""How such a command is answered; it holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """The record of a command that has been carried out or refused."""

    command_type: str
    credential_id: CredentialId | None
    outcome: Outcome


def command_type(command: ChangingCommand) -> str:
    """The command's name in records and logs."""
    return type(command).__name__


def credential_of(command: ChangingCommand) -> CredentialId | None:
    """The one credential that a command is about; None for one that names several."""
    return None if isinstance(command, ReorderCredentials) else command.credential_id


def credentials_of(command: ChangingCommand) -> tuple[CredentialId, ...]:
    """The credentials whose state a command may change."""
    if isinstance(command, ReorderCredentials):
        return (*command.prioritized, *command.fallback)
    return (command.credential_id,)
