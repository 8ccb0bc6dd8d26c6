"""Commands and their outcomes, as key_vault tells them apart."""

from dataclasses import dataclass
from typing import TypeAlias

from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialForgotten,
    CredentialKept,
    DeleteCredential,
)
from shared.events.envelope import Refused
from shared.ids import CredentialId

ChangingCommand: TypeAlias = AddCredential | ChangeCredential | DeleteCredential
"""A command that changes something, and so takes effect once however often it comes."""

Outcome: TypeAlias = CredentialKept | CredentialForgotten | Refused
"""How such a command is answered; it holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """The record of a command that has been carried out or refused."""

    command_type: str
    credential_id: CredentialId
    outcome: Outcome


def command_type(command: ChangingCommand) -> str:
    """The command's name in records and logs."""
    return type(command).__name__
