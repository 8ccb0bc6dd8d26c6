"""All credentials in memory, by account, as key_vault publishes them."""

from collections.abc import Callable, Sequence

import msgspec

from shared.clock import Clock
from shared.events.credentials import CredentialChanged, CredentialRemoved, CredentialsHeartbeat
from shared.events.envelope import Heartbeat, StateEvent
from shared.events.topics import CREDENTIALS_STATE
from shared.ids import AccountId, CredentialId
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.view import View


class CredentialsView:
    """Follows `credentials.state`. `view` is to be run."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        clock: Clock,
        dead_letters: DeadLetters,
        on_new_secret: Callable[[CredentialId], None],
    ) -> None:
        """`on_new_secret` hears of credentials whose secret changed, or that are gone or disabled."""
        self.view = View(
            config,
            CREDENTIALS_STATE,
            clock=clock,
            dead_letters=dead_letters,
            on_change=self._changed,
            heartbeat=CredentialsHeartbeat,
            count_of=_live_count,
            removal=CredentialRemoved,
        )
        self._on_new_secret = on_new_secret
        self._by_account: dict[str, dict[str, CredentialChanged]] = {}
        self._listed: dict[str, tuple[CredentialChanged, ...]] = {}

    def of(self, account_id: AccountId) -> Sequence[CredentialChanged]:
        """All credentials of an account; the same object until one of them changes."""
        listed = self._listed.get(account_id)
        if listed is None:
            found = self._by_account.get(account_id)
            if found is None:
                return ()
            listed = self._listed[account_id] = tuple(found.values())
        return listed

    def find(self, account_id: AccountId, credential_id: CredentialId) -> CredentialChanged | None:
        """One credential as it stands now."""
        return self._by_account.get(account_id, {}).get(credential_id)

    def is_current(self, credential: CredentialChanged) -> bool:
        """Whether it still stands as it was planned with, but for how its secret is encrypted."""
        known = self._known(credential)
        return known is credential or (known is not None and _differ_in_wrapping(known, credential))

    def newest_ciphertext(self, credential: CredentialChanged) -> str:
        """The ciphertext of the same secret as it stands now: it may have been rewrapped."""
        known = self._known(credential)
        if known is None or known.secret_revision != credential.secret_revision:
            return credential.ciphertext
        return known.ciphertext

    def _known(self, credential: CredentialChanged) -> CredentialChanged | None:
        return self._by_account.get(credential.account_id, {}).get(credential.credential_id)

    def problem(self) -> str | None:
        """Why the view must not be relied on, or None."""
        return self.view.problem()

    def _changed(self, key: str, state: StateEvent | None) -> None:
        account_id, _, credential_id = key.partition("/")
        self._listed.pop(account_id, None)
        if not isinstance(state, CredentialChanged):
            self._gone(account_id, credential_id)
            return
        known = self._by_account.setdefault(account_id, {}).get(credential_id)
        self._by_account[account_id][credential_id] = state
        if known is not None and _must_be_opened_again(known, state):
            self._on_new_secret(state.credential_id)

    def _gone(self, account_id: str, credential_id: str) -> None:
        found = self._by_account.get(account_id)
        if found is None:
            return
        found.pop(credential_id, None)
        if not found:
            del self._by_account[account_id]
        self._on_new_secret(CredentialId(credential_id))


def _differ_in_wrapping(known: CredentialChanged, credential: CredentialChanged) -> bool:
    """Whether nothing but version and ciphertext differs, if at all."""
    version, ciphertext = credential.version, credential.ciphertext
    return msgspec.structs.replace(known, version=version, ciphertext=ciphertext) == credential


def _must_be_opened_again(known: CredentialChanged, state: CredentialChanged) -> bool:
    return known.secret_revision != state.secret_revision or known.enabled is not state.enabled


def _live_count(heartbeat: Heartbeat) -> int:
    return heartbeat.live_count if isinstance(heartbeat, CredentialsHeartbeat) else -1
