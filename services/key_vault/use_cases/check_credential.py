"""Ask for a check of a credential now."""

from services.key_vault.domain.check import is_under_way
from services.key_vault.domain.credential import describe
from services.key_vault.domain.refusals import NOT_FOUND
from services.key_vault.domain.text import is_id
from services.key_vault.ports import AccountCredentials, Ports
from shared.events.credential_health import CheckCredential
from shared.events.credentials import CredentialKept
from shared.events.envelope import Refused


async def check_credential(ports: Ports, command: CheckCredential) -> CredentialKept | Refused:
    """The credential, its check under way, or not_found. Raises Unavailable.

    While one is under way no second is asked for, so that nobody can make a provider be called
    faster than it answers; and so a command that is delivered twice asks once.
    """
    if not (is_id(command.account_id) and is_id(command.credential_id)):
        return NOT_FOUND

    async def work(account: AccountCredentials) -> CredentialKept | Refused:
        credential = await account.find(command.credential_id)
        if credential is None:
            return NOT_FOUND
        now = ports.clock.now()
        if not is_under_way(await account.last_check(command.credential_id), credential, now):
            await account.ask_check(credential, now)
        return CredentialKept(credential=describe(credential))

    return await ports.credentials.in_account(command.account_id, work)
