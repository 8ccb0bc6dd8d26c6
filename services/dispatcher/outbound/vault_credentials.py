"""Credentials, opened with the Transit key `credentials`; only this service's role may."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from services.dispatcher.outbound.single_flight import SingleFlightCache
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.credential_secrets import CredentialSecret, decode_secret
from shared.events.credentials import CredentialChanged, credential_context
from shared.ids import AccountId, CredentialId
from shared.tasks import TaskScope
from shared.vault.errors import DEPENDENCY, VaultForbidden, VaultRefused
from shared.vault.transit import Transit

CREDENTIALS_KEY: Final = "credentials"
KEPT_SECONDS: Final = 60.0
KEPT_MAX: Final = 10_000
_Key: TypeAlias = tuple[AccountId, CredentialId, int]
"""With the account: what was opened for its owner must not serve another's copy of the row."""


class VaultCredentials:
    """Opens credentials and remembers each for a minute, by the revision of its secret."""

    def __init__(
        self,
        transit: Transit,
        *,
        newest_ciphertext: Callable[[CredentialChanged], str],
        clock: Clock,
        scope: TaskScope,
    ) -> None:
        """Nothing is opened yet.

        `newest_ciphertext` gives the ciphertext of a planned credential's secret as it stands now:
        the one in the plan may be of a version of the key that has been retired meanwhile.
        """
        self._transit = transit
        self._newest_ciphertext = newest_ciphertext
        self._secrets: SingleFlightCache[_Key, CredentialChanged, CredentialSecret | None] = (
            SingleFlightCache(
                self._open, seconds_max=KEPT_SECONDS, entries_max=KEPT_MAX, clock=clock, scope=scope
            )
        )

    def open(self, credential: CredentialChanged) -> Coroutine[Any, Any, CredentialSecret | None]:
        """The secret, or None when the ciphertext does not open; Unavailable("vault")."""
        key = (credential.account_id, credential.credential_id, credential.secret_revision)
        return self._secrets.get(key, credential)

    def forget(self, credential_id: CredentialId) -> None:
        """The credential was changed or deleted: what was opened of it must not be used again."""
        self._secrets.drop_if(lambda key: key[1] == credential_id)

    async def _open(self, credential: CredentialChanged) -> CredentialSecret | None:
        context = credential_context(credential.account_id, credential.credential_id)
        try:
            document = await self._transit.decrypt(
                CREDENTIALS_KEY, self._newest_ciphertext(credential), context=context
            )
        except VaultForbidden as error:
            raise Unavailable(DEPENDENCY, "may not open credentials") from error
        except VaultRefused:
            return None
        try:
            return decode_secret(document)
        except ValueError:
            return None
