"""Wait for what the check of a credential finds.

key_vault is asked again and again, with a deadline: it answers calls in batches, so an answer that it
held back would hold back those of others, and a question that is repeated outlives its restart.
"""

import asyncio
from typing import Final, Protocol

from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from shared.errors import Unavailable
from shared.events.credentials import CredentialDescription
from shared.ids import CredentialId

WAIT_SECONDS_MAX: Final = 15.0
"""How long a client waits for the result of a check; then it is told that it is pending."""
_ASK_AGAIN_SECONDS_MIN: Final = 0.05
_ASK_AGAIN_SECONDS_MAX: Final = 0.5

Kept = CredentialDescription | Refusal


class ReadCredential(Protocol):
    """Reads one credential; raises Unavailable."""

    async def __call__(self, caller: Caller, credential_id: CredentialId, /) -> Kept:
        """As key_vault has it now."""
        ...


class AwaitCheck:
    """Waits for results."""

    def __init__(self, read: ReadCredential, *, wait_seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """`read` is asked until the check is over."""
        self._read = read
        self._wait_seconds_max = wait_seconds_max

    async def __call__(self, caller: Caller, kept: Kept) -> Kept:
        """The credential once its check is over, or as it was when time ran out.

        What is kept stays kept: that key_vault does not answer meanwhile is no failure of the save.
        """
        pause_seconds = _ASK_AGAIN_SECONDS_MIN
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                while isinstance(kept, CredentialDescription) and _is_pending(kept):
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(pause_seconds * 2, _ASK_AGAIN_SECONDS_MAX)
                    try:
                        kept = await self._read(caller, kept.credential_id)
                    except Unavailable:
                        continue
        except TimeoutError:
            return kept
        return kept


def _is_pending(credential: CredentialDescription) -> bool:
    return credential.check is not None and credential.check.status == "pending"
