"""Read what an account has kept; never a key."""

from typing import Final

from services.key_vault.domain.credential import describe
from services.key_vault.domain.refusals import NOT_FOUND, invalid
from services.key_vault.domain.text import is_id, is_provider_slug
from services.key_vault.ports import Ports
from shared.events.credentials import (
    CredentialKept,
    CredentialsListed,
    GetCredential,
    ListCredentials,
)
from shared.events.envelope import Refused

PAGE_MAX: Final = 100
OFFSET_MAX: Final = 1_000_000


async def get_credential(ports: Ports, command: GetCredential) -> CredentialKept | Refused:
    """One credential, or not_found. Raises Unavailable."""
    if not (is_id(command.account_id) and is_id(command.credential_id)):
        return NOT_FOUND
    credential = await ports.credentials.find(command.account_id, command.credential_id)
    return NOT_FOUND if credential is None else CredentialKept(credential=describe(credential))


async def list_credentials(ports: Ports, command: ListCredentials) -> CredentialsListed | Refused:
    """A page of an account's credentials, empty past the end. Raises Unavailable."""
    if not is_id(command.account_id):
        return invalid("account_id", "account_id must be an id.")
    if not 0 <= command.offset <= OFFSET_MAX:
        return invalid("offset", f"offset must be between 0 and {OFFSET_MAX}.")
    if not 1 <= command.limit <= PAGE_MAX:
        return invalid("limit", f"limit must be between 1 and {PAGE_MAX}.")
    if command.provider is not None and not is_provider_slug(command.provider):
        return invalid("provider", "provider must be a slug like openai or azure.")
    credentials, total = await ports.credentials.page(
        command.account_id, command.provider, offset=command.offset, limit=command.limit
    )
    return CredentialsListed(credentials=[describe(each) for each in credentials], total=total)
