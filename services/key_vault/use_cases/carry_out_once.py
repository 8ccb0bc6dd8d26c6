"""Carrying out a command once, however often it is delivered.

What a command needs from Vault is done before its transaction, which then holds the change, its
audit, its outcome and the mark of what is to be published. The answer is given after the state is
on Kafka.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from services.key_vault.domain import audit_deeds
from services.key_vault.domain.audit_deeds import Deed
from services.key_vault.domain.commands import (
    CarriedOut,
    ChangingCommand,
    Outcome,
    command_type,
    credential_of,
    credentials_of,
)
from services.key_vault.domain.refusals import NOT_FOUND, conflict, invalid
from services.key_vault.domain.text import is_id
from services.key_vault.ports import AccountCredentials, Ports
from shared.events.credentials import AddCredential
from shared.events.envelope import Refused


@dataclass(frozen=True, slots=True)
class Applied:
    """What a command did, for its sender and for the audit."""

    outcome: Outcome
    deeds: tuple[Deed, ...]


Apply: TypeAlias = Callable[[AccountCredentials], Awaitable[Applied | Refused]]
"""Makes the change inside the transaction, or refuses it and changes nothing."""


async def carry_out_once(
    ports: Ports, command: ChangingCommand, prepare: Callable[[], Awaitable[Apply | Refused]]
) -> Outcome:
    """The command's outcome, the same at every delivery. Raises Unavailable."""
    refused = _refuse_ids(command)
    if refused is not None:
        return refused
    known = await ports.credentials.carried_out(command.account_id, command.command_id)
    if known is None:
        prepared = await prepare()

        async def work(account: AccountCredentials) -> Outcome:
            return await _apply_once(ports, account, command, prepared)

        outcome = await ports.credentials.in_account(command.account_id, work)
    else:
        outcome = _known_outcome(known, command)
    if not isinstance(outcome, Refused):
        await ports.publish_state(command.account_id, credentials_of(command))
    return outcome


async def _apply_once(
    ports: Ports, account: AccountCredentials, command: ChangingCommand, prepared: Apply | Refused
) -> Outcome:
    known = await account.carried_out(command.command_id)
    if known is not None:
        return _known_outcome(known, command)
    applied = prepared if isinstance(prepared, Refused) else await prepared(account)
    if isinstance(applied, Refused):
        applied = Applied(applied, (audit_deeds.refused(command, applied),))
    now = ports.clock.now()
    await account.audit(command, applied.deeds, now)
    await account.record(command, applied.outcome, now)
    return applied.outcome


def _known_outcome(known: CarriedOut, command: ChangingCommand) -> Outcome:
    this = (command_type(command), credential_of(command))
    if (known.command_type, known.credential_id) != this:
        return conflict("This command id was used for another command.")
    return known.outcome


def _refuse_ids(command: ChangingCommand) -> Refused | None:
    for field in ("account_id", "command_id"):
        if not is_id(getattr(command, field)):
            return invalid(field, f"{field} must be an id.")
    credential_id = credential_of(command)
    if credential_id is None or is_id(credential_id):
        return None
    if isinstance(command, AddCredential):
        return invalid("credential_id", "credential_id must be an id.")
    return NOT_FOUND
