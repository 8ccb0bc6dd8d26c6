"""Set the order of an account's credentials of one provider."""

from services.key_vault.domain import audit_deeds
from services.key_vault.domain.commands import Outcome
from services.key_vault.domain.order import check_order, reorder
from services.key_vault.ports import AccountCredentials, Ports
from services.key_vault.use_cases.carry_out_once import Applied, Apply, carry_out_once
from shared.events.credentials import CredentialsReordered, ReorderCredentials
from shared.events.envelope import Refused


async def reorder_credentials(ports: Ports, command: ReorderCredentials) -> Outcome:
    """CredentialsReordered, or why not. Raises Unavailable."""

    async def apply(account: AccountCredentials) -> Applied | Refused:
        moved = reorder(await account.of_provider(command.provider), command)
        if isinstance(moved, Refused):
            return moved
        if moved:
            await account.move([after for _, after in moved], ports.clock.now())
        outcome = CredentialsReordered(
            provider=command.provider,
            prioritized=command.prioritized,
            fallback=command.fallback,
        )
        deeds = [deed for before, after in moved for deed in audit_deeds.reordered(before, after)]
        return Applied(outcome, tuple(deeds))

    async def prepare() -> Apply | Refused:
        return check_order(command) or apply

    return await carry_out_once(ports, command, prepare)
