"""`api-key-policy`."""

import re
from typing import Final

from services.ingress.operations.connections import Connections
from services.ingress.operations.outcomes import BadInput, Outcome
from shared.ids import ApiKeyHash

_HASH: Final = re.compile(r"[0-9a-f]{64}")
NOT_TOLD = "done, but running ingress processes will hear of it only once Kafka answers"


async def change_policy(connections: Connections, key_hash: str, *, byok_only: bool) -> Outcome:
    """Keep one API key's requests off shared capacity, or no longer."""
    if _HASH.fullmatch(key_hash) is None:
        raise BadInput("give the SHA-256 of the API key: 64 lower-case hexadecimal digits")
    changed = await connections.accounts.change_api_key(ApiKeyHash(key_hash), byok_only=byok_only)
    if changed is None:
        raise BadInput("there is no API key of this hash")
    return Outcome(
        printed={
            "account_id": changed.account_id,
            "api_key_hash": key_hash,
            "byok_only": byok_only,
        },
        warning=None if changed.is_published else NOT_TOLD,
    )
