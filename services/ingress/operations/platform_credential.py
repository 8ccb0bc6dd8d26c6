"""`platform-credential`: the provider keys behind shared capacity.

They are kept like any account's, under the platform account; a provider has one, which a second
call replaces.
"""

import asyncio
import getpass
from pathlib import Path
from typing import Final

from services.ingress.domain import credential_forms
from services.ingress.operations.connections import Connections
from services.ingress.operations.outcomes import BadInput, Outcome
from shared.errors import Unavailable
from shared.events.credential_audit import Actor
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialKept,
    CredentialsListed,
    ListCredentials,
)
from shared.events.envelope import CallReply, Event, Refused
from shared.events.topics import CREDENTIALS_COMMANDS
from shared.ids import PLATFORM_ACCOUNT, CredentialId
from shared.secret import Secret

_CALLEE: Final = "key-vault"
_OPERATOR_CHARACTERS_MAX: Final = 100


async def keep(connections: Connections, *, provider: str, file: Path) -> Outcome:
    """Keep the content of `file`, encrypted before it leaves this process."""
    if not credential_forms.looks_like_provider(provider):
        raise BadInput(f"{provider} is not a provider's slug")
    pasted = await asyncio.to_thread(_read, file)
    actor = await asyncio.to_thread(_operator)
    listed = await _ask(
        connections, ListCredentials(account_id=PLATFORM_ACCOUNT, provider=provider)
    )
    if not isinstance(listed, CredentialsListed):
        raise Unavailable(_CALLEE, f"unexpected answer {type(listed).__name__}")
    known = [each.credential_id for each in listed.credentials]
    credential_id = known[0] if known else CredentialId(connections.new_id())
    command_id = connections.new_id()
    async with connections.intake() as intake:
        sealed_key = await intake.seal(
            pasted,
            account_id=PLATFORM_ACCOUNT,
            credential_id=credential_id,
            command_id=command_id,
        )
    command: Event
    if known:
        command = ChangeCredential(
            command_id=command_id,
            account_id=PLATFORM_ACCOUNT,
            credential_id=credential_id,
            sealed_key=sealed_key,
            actor=actor,
        )
    else:
        command = AddCredential(
            command_id=command_id,
            account_id=PLATFORM_ACCOUNT,
            credential_id=credential_id,
            provider=provider,
            sealed_key=sealed_key,
            name="shared capacity",
            actor=actor,
        )
    kept = await _ask(connections, command)
    if not isinstance(kept, CredentialKept):
        raise Unavailable(_CALLEE, f"unexpected answer {type(kept).__name__}")
    return Outcome(
        printed={
            "credential_id": kept.credential.credential_id,
            "provider": kept.credential.provider,
            "label": kept.credential.label,
            "replaced": bool(known),
        }
    )


async def _ask(connections: Connections, command: Event) -> CallReply:
    reply = await connections.ask(
        CREDENTIALS_COMMANDS, command, key=PLATFORM_ACCOUNT, callee=_CALLEE
    )
    if isinstance(reply, Refused):
        raise BadInput(reply.message)
    return reply


def _operator() -> Actor:
    """Who runs the command, by login name; without one the audit has none either."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        name = ""
    return Actor(kind="operator", operator=name[:_OPERATOR_CHARACTERS_MAX] or None)


def _read(file: Path) -> Secret:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {type(error).__name__}") from None
    if not text or len(text) > credential_forms.KEY_CHARACTERS_MAX:
        raise BadInput(f"{file} is empty or too long")
    return Secret(text)
