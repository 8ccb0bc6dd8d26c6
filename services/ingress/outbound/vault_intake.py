"""Encrypting what a person pastes, with the Transit key that only key_vault can open."""

from typing import Final

from typing_extensions import override

from services.ingress.ports import Intake
from shared.errors import Unavailable
from shared.events.credentials import intake_context
from shared.ids import AccountId, CredentialId
from shared.secret import Secret
from shared.vault.errors import VaultRefused
from shared.vault.transit import Transit

_KEY: Final = "intake"


class VaultIntake(Intake):
    """Ingress' role may encrypt with this key and nothing else."""

    def __init__(self, transit: Transit) -> None:
        """Use a Transit engine that is logged in."""
        self._transit = transit

    @override
    async def seal(
        self,
        pasted: Secret,
        *,
        account_id: AccountId,
        credential_id: CredentialId,
        command_id: str,
    ) -> str:
        context = intake_context(account_id, credential_id, command_id)
        try:
            return await self._transit.encrypt(_KEY, pasted.reveal().encode(), context=context)
        except VaultRefused as error:
            raise Unavailable("vault", error.reason) from None
