"""Requests for checks from `credentials.checks`, each its own task."""

from typing import Protocol

from services.dispatcher.ports import Claim
from shared.events.codec import Received
from shared.events.credential_health import CredentialCheckRequested
from shared.tasks import TaskScope


class RunsChecks(Protocol):
    """Carries out one check."""

    async def run(self, asked: CredentialCheckRequested, claim: Claim) -> None:
        """Check to the end and give the claim back."""
        ...


class Checks:
    """What `WorkConsumer` calls for each record."""

    def __init__(self, checks: RunsChecks, *, scope: TaskScope) -> None:
        """Checks stand in `scope`."""
        self._checks = checks
        self._scope = scope

    def start(self, received: Received, claim: Claim) -> None:
        """Begin to work on a record, at once."""
        asked = received.event
        if isinstance(asked, CredentialCheckRequested):
            self._scope.start(self._checks.run(asked, claim), name="check")
        else:
            claim.done()
