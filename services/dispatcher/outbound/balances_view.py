"""Accounts' credits and allotments in memory, as billing publishes them."""

from services.dispatcher.domain.allotment import RecentUse
from services.dispatcher.ports import BalanceSeen
from shared.clock import Clock
from shared.events.billing import AccountBalance, BillingHeartbeat
from shared.events.envelope import StateEvent
from shared.events.topics import BILLING_ACCOUNTS
from shared.ids import AccountId
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.view import View


class BalancesView:
    """Follows `billing.accounts`. `view` is to be run."""

    def __init__(self, config: KafkaConfig, *, clock: Clock, dead_letters: DeadLetters) -> None:
        """Nothing is known yet."""
        self.view = View(
            config,
            BILLING_ACCOUNTS,
            clock=clock,
            dead_letters=dead_letters,
            on_change=self._changed,
            heartbeat=BillingHeartbeat,
        )
        self._clock = clock
        self._recent = RecentUse()

    def of(self, account_id: AccountId) -> BalanceSeen:
        """An account's last state, whether billing is heard, and its use in the last minutes."""
        state = self.view.get(account_id)
        if not isinstance(state, AccountBalance):
            return BalanceSeen(balance=None, is_fresh=False, used_recently=0)
        return BalanceSeen(
            balance=state,
            is_fresh=self.view.problem() is None,
            used_recently=self._recent.used(state, self._clock.monotonic()),
        )

    def _changed(self, _key: str, state: StateEvent | None) -> None:
        if isinstance(state, AccountBalance):
            self._recent.observe(state, self._clock.monotonic())
