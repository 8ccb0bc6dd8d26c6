"""What people call the credentials that a receipt names by id."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from services.ingress.ports import CredentialCommands
from shared.errors import Unavailable
from shared.events.credentials import CredentialDescription, CredentialKept, GetCredential
from shared.ids import AccountId, CredentialId

NAMED_MAX: Final = 100
"""Credentials named in one answer; those beyond it stand there by id and label alone."""

WAIT_SECONDS_MAX: Final = 1.0
"""How long an answer waits for names."""

Names = Mapping[CredentialId, CredentialDescription]


class NameCredentials:
    """Asks key_vault."""

    def __init__(
        self, commands: CredentialCommands, *, wait_seconds_max: float = WAIT_SECONDS_MAX
    ) -> None:
        """Names may change, so they are asked for when they are shown."""
        self._commands = commands
        self._wait_seconds_max = wait_seconds_max

    async def of(self, account_id: AccountId, credential_ids: Iterable[CredentialId]) -> Names:
        """What is told of those that still exist; nothing when key_vault does not answer.

        A receipt is right without names, so it does not fail for want of them.
        """
        wanted = list(dict.fromkeys(credential_ids))[:NAMED_MAX]
        described = await asyncio.gather(*[self._describe(account_id, each) for each in wanted])
        return {each.credential_id: each for each in described if each is not None}

    async def _describe(
        self, account_id: AccountId, credential_id: CredentialId
    ) -> CredentialDescription | None:
        query = GetCredential(account_id=account_id, credential_id=credential_id)
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                reply = await self._commands.ask(query, account_id=account_id)
        except (Unavailable, TimeoutError):
            return None
        return reply.credential if isinstance(reply, CredentialKept) else None
