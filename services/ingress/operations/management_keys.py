"""`management-key`: an account's management keys, which it cannot change itself."""

from services.ingress.domain import api_key
from services.ingress.domain.api_key import read_hash, rfc3339
from services.ingress.operations.api_keys import NOT_TOLD
from services.ingress.operations.connections import Connections
from services.ingress.operations.outcomes import BadInput, Outcome, account_id_of
from services.ingress.outbound.api_key_secrets import new_api_key
from shared.ids import hash_api_key


async def show(connections: Connections, account: str) -> Outcome:
    """The account's management keys, by hash and label."""
    account_id = account_id_of(account)
    if not await connections.accounts.exists(account_id):
        raise BadInput(f"there is no account {account_id}")
    return Outcome(
        printed={
            "account_id": account_id,
            "management_keys": [
                {
                    "hash": each.api_key_hash,
                    "label": each.label,
                    "name": each.name,
                    "disabled": each.is_disabled,
                    "created_at": rfc3339(each.created_at),
                }
                for each in await connections.management_keys.all_of(account_id)
            ],
        }
    )


async def make(connections: Connections, account: str) -> Outcome:
    """One more management key, shown this once."""
    account_id = account_id_of(account)
    key = new_api_key()
    api_key_hash = hash_api_key(key.reveal())
    made = await connections.management_keys.add(
        account_id,
        api_key_hash=api_key_hash,
        label=api_key.label_of(key.reveal()),
        name="management",
    )
    if made is None:
        raise BadInput(f"there is no account {account_id}")
    # nobody has to hear of a key that nobody knows: the books are asked when it is used
    return Outcome(
        printed={"account_id": account_id, "management_key": key.reveal(), "hash": api_key_hash}
    )


async def disable(connections: Connections, account: str, key_hash: str) -> Outcome:
    """Take a management key out of use for good, in every running ingress within a second."""
    account_id = account_id_of(account)
    api_key_hash = read_hash(key_hash)
    if api_key_hash is None:
        raise BadInput("give the SHA-256 of the management key: 64 hexadecimal digits")
    disabled = await connections.management_keys.disable(account_id, api_key_hash)
    if disabled is None:
        raise BadInput(f"account {account_id} has no management key of this hash")
    return Outcome(
        printed={"account_id": account_id, "hash": api_key_hash, "disabled": True},
        warning=None if disabled.is_published else NOT_TOLD,
    )
