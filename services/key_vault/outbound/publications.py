"""Sends what transactions told the world, right after their commit and beside the work."""

from typing import Final

from shared.postgres.outbox import Written
from shared.postgres.outbox_relay import OutboxRelay
from shared.tasks import TaskScope

_WAITING_MAX: Final = 1_000
"""Transactions that are being published; of further ones the relay's sweeper takes care."""


class Publications:
    """What is handed over goes out at once; what cannot is published by the sweeper later."""

    def __init__(self, relay: OutboxRelay, scope: TaskScope) -> None:
        """Publishing runs in `scope`."""
        self._relay = relay
        self._scope = scope

    def hand(self, written: Written) -> None:
        """Take over what a committed transaction wrote."""
        if written.facts and len(self._scope) < _WAITING_MAX:
            self._scope.start(self._relay.publish_now(written), name="publication")
