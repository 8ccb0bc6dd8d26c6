"""Check a credential: try it at its provider in the cheapest way, and tell what was found.

Checks have their own small limits and deadlines, and share none with generations.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.check import attempts_to_check, checked, tells_of_health
from services.dispatcher.domain.failure import FailureClass, ProviderFailure
from services.dispatcher.domain.finding import (
    BROKE,
    DAMAGED,
    NOT_HEARD_OF,
    NOT_OPENED,
    NOT_REACHED,
    Finding,
    finding,
    no_adapter,
)
from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.observations import Observations
from services.dispatcher.ports import (
    CheckResults,
    Claim,
    Credentials,
    HealthBroadcast,
    Provider,
    ProviderSecret,
    Secrets,
)
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.credential_health import CredentialCheckRequested
from shared.events.credentials import CredentialChanged
from shared.telemetry.logging import get_logger

CHECKS_AT_ONCE: Final = 16
"""Credentials that are being tried at the same time; further ones wait."""
CALLS_AT_ONCE: Final = 4
"""Of one credential with many deployments."""
CALL_SECONDS_MAX: Final = 8.0
CHECK_SECONDS_MAX: Final = 30.0
"""A credential with all its deployments; those not tried by then are told as such."""
VIEW_SECONDS_MAX: Final = 10.0
"""How long the credential itself may take to come, which travels on a topic of its own."""
_LOOK_SECONDS: Final = 0.05


class CheckCredential:
    """Carries out checks."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        secrets: Secrets,
        providers: Mapping[str, Provider],
        health: HealthTable,
        broadcast: HealthBroadcast,
        observations: Observations,
        results: CheckResults,
        clock: Clock,
    ) -> None:
        """`providers` by slug."""
        self._credentials = credentials
        self._secrets = secrets
        self._providers = providers
        self._health = health
        self._broadcast = broadcast
        self._observations = observations
        self._results = results
        self._clock = clock
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._logger = get_logger("checks")

    async def run(self, asked: CredentialCheckRequested, claim: Claim) -> None:
        """Check to the end once the claim is won. A result that Kafka does not take is lost."""
        try:
            if await claim.won():
                await self._check(asked)
        finally:
            claim.done()

    async def _check(self, asked: CredentialCheckRequested) -> None:
        credential = await self._credential(asked)
        if credential is not None and credential.secret_revision > asked.secret_revision:
            return  # the key was replaced meanwhile, with a request of its own
        findings: Sequence[Finding]
        if credential is None or credential.secret_revision < asked.secret_revision:
            findings = [NOT_HEARD_OF]
        else:
            async with self._slots:
                findings = await self._findings(credential)
        result = checked(asked, credential, findings, self._clock.now())
        fields = {
            "account_id": asked.account_id,
            "credential_id": asked.credential_id,
            "status": result.status,
            "provider_status": result.provider_status,
        }
        try:
            await self._results.checked(result)
        except Unavailable as error:
            self._logger.warning("check not told", **fields, reason=str(error))
        else:
            self._logger.info("check", **fields)

    async def _credential(self, asked: CredentialCheckRequested) -> CredentialChanged | None:
        """The credential once it is here in the revision asked for, or what there is after a while."""
        give_up_at = self._clock.monotonic() + VIEW_SECONDS_MAX
        while True:
            found = self._credentials.find(asked.account_id, asked.credential_id)
            if found is not None and found.secret_revision >= asked.secret_revision:
                return found
            if self._clock.monotonic() >= give_up_at:
                return found
            await asyncio.sleep(_LOOK_SECONDS)

    async def _findings(self, credential: CredentialChanged) -> list[Finding]:
        provider = self._providers.get(credential.provider)
        if provider is None:
            return [no_adapter(credential.provider)]
        try:
            secret = await self._secrets.open(credential)
        except Unavailable:
            return [NOT_OPENED]
        if secret is None:
            return [DAMAGED]
        attempts = attempts_to_check(credential)
        findings = [NOT_REACHED] * len(attempts)
        slots = asyncio.Semaphore(CALLS_AT_ONCE)

        async def try_one(place: int, attempt: Attempt, secret: ProviderSecret) -> None:
            async with slots:
                findings[place] = await self._try(provider, attempt, secret)

        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX), asyncio.TaskGroup() as group:
                for place, attempt in enumerate(attempts):
                    _ = group.create_task(try_one(place, attempt, secret))
        except TimeoutError:
            return findings
        return findings

    async def _try(self, provider: Provider, attempt: Attempt, secret: ProviderSecret) -> Finding:
        began_at = self._clock.now()
        failure: ProviderFailure | None
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                failure = await provider.check(attempt, secret)
        except TimeoutError:
            failure = ProviderFailure(failure=FailureClass.TIMED_OUT)
        except Exception:  # one check's bug must not end the others
            self._logger.exception("check broke", credential_id=attempt.credential.credential_id)
            return BROKE
        self._note_health(attempt, failure, began_at)
        return finding(failure, attempt)

    def _note_health(
        self, attempt: Attempt, failure: ProviderFailure | None, began_at: datetime
    ) -> None:
        """A good check lets a failing key be tried again, a bad one spares requests the attempt."""
        credential = attempt.credential
        now = self._clock.now()
        known = self._credentials.find(credential.account_id, credential.credential_id)
        if known is None or known.secret_revision != credential.secret_revision:
            return  # this was another key
        if finding(failure, attempt).status == "ok":
            changes = self._health.checked_well(attempt, began_at=began_at, now=now)
        elif failure is not None and tells_of_health(failure, attempt):
            change = self._health.failed(attempt, failure, began_at=began_at, now=now)
            changes = () if change is None else (change,)
        else:
            return
        for change in changes:
            self._broadcast.tell(change)
        if changes:
            self._observations.health_changed(credential)
