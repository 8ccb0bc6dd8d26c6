"""Change a credential's policy, its key, or both."""

from dataclasses import replace

import msgspec

from services.key_vault.domain import audit_deeds
from services.key_vault.domain.commands import Outcome
from services.key_vault.domain.credential import KeptSecret, changed, describe
from services.key_vault.domain.policy import order_after
from services.key_vault.domain.policy_commands import policy_after
from services.key_vault.domain.refusals import NOT_FOUND
from services.key_vault.ports import AccountCredentials, Ports
from services.key_vault.use_cases.carry_out_once import Applied, Apply, carry_out_once
from services.key_vault.use_cases.take_in_secret import take_in_secret
from shared.events.credentials import ChangeCredential, CredentialKept
from shared.events.envelope import Refused


async def change_credential(ports: Ports, command: ChangeCredential) -> Outcome:
    """CredentialKept with what holds now, or why not. Raises Unavailable."""

    async def prepare() -> Apply | Refused:
        credential = await ports.credentials.find(command.account_id, command.credential_id)
        if credential is None:
            return NOT_FOUND
        refused = policy_after(credential.policy, command)
        if isinstance(refused, Refused):
            return refused
        secret: KeptSecret | None = None
        if command.sealed_key is not msgspec.UNSET:
            taken = await take_in_secret(ports, command, credential.provider, command.sealed_key)
            if isinstance(taken, Refused):
                return taken
            secret = taken

        async def apply(account: AccountCredentials) -> Applied | Refused:
            return await _change(ports, account, command, secret)

        return apply

    return await carry_out_once(ports, command, prepare)


async def _change(
    ports: Ports,
    account: AccountCredentials,
    command: ChangeCredential,
    secret: KeptSecret | None,
) -> Applied | Refused:
    # read again: another command may have come in between
    credential = await account.find(command.credential_id)
    if credential is None:
        return NOT_FOUND
    policy = policy_after(credential.policy, command)
    if isinstance(policy, Refused):
        return policy
    if policy.section != credential.policy.section and command.order is msgspec.UNSET:
        last = await account.last_order(credential.provider, policy.section)
        policy = replace(policy, order=order_after(last))
    after = changed(credential, policy, secret)
    if after is not credential:
        now = ports.clock.now()
        await account.keep(after, now)
        if secret is not None:
            await account.ask_check(after, now)
    return Applied(
        CredentialKept(credential=describe(after)), audit_deeds.changed(credential, after)
    )
