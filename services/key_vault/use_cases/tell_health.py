"""Add to answers how the credentials in them fare."""

from collections.abc import Sequence

import msgspec

from services.key_vault.domain.check import describe_check
from services.key_vault.domain.health import describe_health
from services.key_vault.ports import Ports
from shared.events.credentials import CredentialDescription, CredentialKept, CredentialsListed
from shared.events.envelope import CallReply
from shared.ids import AccountId, month_of


async def tell_health(ports: Ports, account_id: AccountId, answer: CallReply) -> CallReply:
    """The answer with `check` and `health` of each credential in it. Raises Unavailable."""
    match answer:
        case CredentialKept():
            (credential,) = await _with_health(ports, account_id, [answer.credential])
            return msgspec.structs.replace(answer, credential=credential)
        case CredentialsListed():
            credentials = await _with_health(ports, account_id, answer.credentials)
            return msgspec.structs.replace(answer, credentials=credentials)
        case _:
            return answer


async def _with_health(
    ports: Ports, account_id: AccountId, credentials: Sequence[CredentialDescription]
) -> list[CredentialDescription]:
    if not credentials:
        return []
    now = ports.clock.now()
    month = month_of(now)
    ids = [each.credential_id for each in credentials]
    known = await ports.health.of(account_id, ids, month)
    told: list[CredentialDescription] = []
    for each in credentials:
        check, observed, usage = known.get(each.credential_id, (None, None, None))
        told.append(
            msgspec.structs.replace(
                each,
                check=describe_check(check, now),
                health=describe_health(observed, usage, month, now),
            )
        )
    return told
