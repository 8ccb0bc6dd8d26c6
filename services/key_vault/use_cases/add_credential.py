"""Keep a new credential."""

from services.key_vault.domain import audit_deeds
from services.key_vault.domain.commands import Outcome
from services.key_vault.domain.credential import CREDENTIALS_MAX, Credential, KeptSecret, describe
from services.key_vault.domain.policy import Policy, order_after
from services.key_vault.domain.policy_commands import NewPolicy, policy_to_add
from services.key_vault.domain.refusals import conflict
from services.key_vault.ports import AccountCredentials, Ports
from services.key_vault.use_cases.carry_out_once import Applied, Apply, carry_out_once
from services.key_vault.use_cases.take_in_secret import take_in_secret
from shared.events.credentials import AddCredential, CredentialKept
from shared.events.envelope import Refused


async def add_credential(ports: Ports, command: AddCredential) -> Outcome:
    """CredentialKept, or why not. Raises Unavailable."""

    async def prepare() -> Apply | Refused:
        policy = policy_to_add(command)
        if isinstance(policy, Refused):
            return policy
        secret = await take_in_secret(ports, command, command.provider, command.sealed_key)
        if isinstance(secret, Refused):
            return secret

        async def apply(account: AccountCredentials) -> Applied | Refused:
            return await _keep(ports, account, command, policy, secret)

        return apply

    return await carry_out_once(ports, command, prepare)


async def _keep(
    ports: Ports,
    account: AccountCredentials,
    command: AddCredential,
    policy: NewPolicy,
    secret: KeptSecret,
) -> Applied | Refused:
    if await account.knows(command.credential_id):
        return conflict("This credential id is taken.")
    if await account.count() >= CREDENTIALS_MAX:
        return conflict(f"An account keeps at most {CREDENTIALS_MAX} credentials.")
    order = policy.order
    if order is None:
        order = order_after(await account.last_order(command.provider, policy.section))
    now = ports.clock.now()
    credential = Credential(
        account_id=command.account_id,
        credential_id=command.credential_id,
        provider=command.provider,
        policy=Policy(
            name=policy.name,
            note=policy.note,
            enabled=policy.enabled,
            section=policy.section,
            always_use=policy.always_use,
            order=order,
            filters=policy.filters,
        ),
        secret=secret,
        secret_revision=1,
        version=1,
        created_at=now,
    )
    await account.keep(credential, now)
    await account.ask_check(credential, now)
    return Applied(
        CredentialKept(credential=describe(credential)), (audit_deeds.added(credential),)
    )
