"""Forget a credential."""

from services.key_vault.domain import audit_deeds
from services.key_vault.domain.commands import Outcome
from services.key_vault.domain.credential import removed
from services.key_vault.domain.refusals import NOT_FOUND
from services.key_vault.ports import AccountCredentials, Ports
from services.key_vault.use_cases.carry_out_once import Applied, Apply, carry_out_once
from shared.events.credentials import CredentialForgotten, DeleteCredential
from shared.events.envelope import Refused


async def delete_credential(ports: Ports, command: DeleteCredential) -> Outcome:
    """CredentialForgotten, or why not. Raises Unavailable.

    Answered once the key is wiped from the row and dispatchers have been told; its last record
    leaves the topic's files with the compaction that follows.
    """

    async def apply(account: AccountCredentials) -> Applied | Refused:
        credential = await account.find(command.credential_id)
        if credential is None:
            return NOT_FOUND
        await account.wipe(removed(credential), ports.clock.now())
        forgotten = CredentialForgotten(credential_id=command.credential_id)
        return Applied(forgotten, (audit_deeds.deleted(credential),))

    async def prepare() -> Apply | Refused:
        return apply

    return await carry_out_once(ports, command, prepare)
