"""What an account used and paid, added up by billing."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import Billing, Members
from services.ingress.use_cases.billing_answers import BILLING, refusal_of
from shared.errors import Unavailable
from shared.events.receipts import (
    ActivityGroup,
    ActivityListed,
    ActivityRow,
    CreditsTold,
    QueryActivity,
    QueryCredits,
)
from shared.ids import ApiKeyHash, CredentialId, MemberId

_NO_MEMBER: Final = refusals.invalid("is not a member of this account", field="user_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityQuestion:
    """Which activity is wanted: days of UTC, both included; None restricts nothing."""

    first_day: date
    last_day: date
    api_key_hash: ApiKeyHash | None = None
    member_id: MemberId | None = None
    credential_id: CredentialId | None = None
    model: str | None = None
    group_by: tuple[ActivityGroup, ...] = ()


class ReadUsage:
    """Asks billing; Unavailable passes."""

    def __init__(self, *, billing: Billing, members: Members) -> None:
        """`members` tells which API keys a member has."""
        self._billing = billing
        self._members = members

    async def activity(
        self, caller: Caller, question: ActivityQuestion
    ) -> tuple[ActivityRow, ...] | Refusal:
        """Rows, newest day first."""
        hashes = await self._api_key_hashes(caller, question)
        if isinstance(hashes, Refusal):
            return hashes
        query = QueryActivity(
            account_id=caller.account_id,
            first_day=question.first_day,
            last_day=question.last_day,
            api_key_hashes=hashes,
            credential_id=question.credential_id,
            model=question.model,
            group_by=question.group_by,
        )
        reply = await self._billing.ask(query, account_id=caller.account_id)
        return reply.rows if isinstance(reply, ActivityListed) else refusal_of(reply)

    async def credits(self, caller: Caller) -> CreditsTold:
        """What came in, what was used, what is left."""
        query = QueryCredits(account_id=caller.account_id)
        reply = await self._billing.ask(query, account_id=caller.account_id)
        if not isinstance(reply, CreditsTold):
            raise Unavailable(BILLING, f"unexpected answer {type(reply).__name__}")
        return reply

    async def _api_key_hashes(
        self, caller: Caller, question: ActivityQuestion
    ) -> tuple[ApiKeyHash, ...] | Refusal | None:
        """The keys that a question is about; None for all."""
        wanted = None if question.api_key_hash is None else {question.api_key_hash}
        if question.member_id is not None:
            member_id = question.member_id
            if not await self._members.members(caller.account_id, [member_id]):
                return _NO_MEMBER
            own = await self._members.key_hashes_of(caller.account_id, member_id)
            wanted = own if wanted is None else wanted & own
        return None if wanted is None else tuple(sorted(wanted))
