"""What would be tried for a request of this account, and why all else would not."""

from dataclasses import dataclass
from typing import Final, Literal

from services.ingress.domain import models, refusals
from services.ingress.domain.api_key import ByokOnlyBy, Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import ApiKeys, Catalog, Plans
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.envelope import CallReply, Refused
from shared.events.plans import ExplainPlan, PlanExplained
from shared.ids import ApiKeyHash

DISPATCHER: Final = "dispatcher"
_BROKEN: Final = "internal"

ByokOnlyLevel = ByokOnlyBy | Literal["request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQuestion:
    """A request as far as routing looks at it.

    `models` are slugs in order of preference, at least one. `api_key_hash` is the key that would
    send it, None for the one that asks. Preferences restrict nothing where they are empty.
    """

    models: tuple[str, ...]
    api_key_hash: ApiKeyHash | None
    is_byok_only: bool
    order: tuple[str, ...]
    only: tuple[str, ...]
    ignore: tuple[str, ...]
    allow_fallbacks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDescription:
    """The plan, for whom it is made, and who keeps the request off shared capacity."""

    models: tuple[str, ...]
    sender: Caller
    byok_only: tuple[ByokOnlyLevel, ...]
    plan: PlanExplained


class DescribePlan:
    """Asks the dispatchers."""

    def __init__(self, *, catalog: Catalog, api_keys: ApiKeys, plans: Plans, clock: Clock) -> None:
        """`api_keys` are the books themselves: what they say of a key is not a moment old."""
        self._clock = clock
        self._catalog = catalog
        self._api_keys = api_keys
        self._plans = plans

    async def of(self, caller: Caller, question: PlanQuestion) -> PlanDescription | Refusal:
        """The plan, or what is wrong with the question; Unavailable passes."""
        problem = self._catalog.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)
        refusal = models.check_models(question.models, self._catalog.slugs())
        if refusal is not None:
            return refusal
        sender = await self._sender(caller, question.api_key_hash)
        if isinstance(sender, Refusal):
            return sender
        byok_only = _byok_only(sender, question)
        reply = await self._plans.ask(
            ExplainPlan(
                account_id=sender.account_id,
                api_key_hash=sender.api_key_hash,
                member_id=sender.member_id,
                models=question.models,
                byok_only=bool(byok_only),
                order=question.order or None,
                only=question.only or None,
                ignore=question.ignore or None,
                allow_fallbacks=question.allow_fallbacks,
            )
        )
        if isinstance(reply, PlanExplained):
            return PlanDescription(
                models=question.models, sender=sender, byok_only=byok_only, plan=reply
            )
        return _refusal_of(reply)

    async def _sender(self, caller: Caller, api_key_hash: ApiKeyHash | None) -> Caller | Refusal:
        """Whom the key stands for, if it is alive and of the caller's own account."""
        if api_key_hash is None:
            return caller
        found = await self._api_keys.find(api_key_hash)
        if found is None or found.account_id != caller.account_id:
            return refusals.invalid("is not one of this account's API keys", field="api_key_hash")
        if found.expires_at is not None and self._clock.now() >= found.expires_at:
            return refusals.invalid("has expired", field="api_key_hash")
        return found


def _byok_only(sender: Caller, question: PlanQuestion) -> tuple[ByokOnlyLevel, ...]:
    return (*sender.byok_only_by, *(("request",) if question.is_byok_only else ()))


def _refusal_of(reply: CallReply) -> Refusal:
    if not isinstance(reply, Refused):
        raise Unavailable(DISPATCHER, f"unexpected answer {type(reply).__name__}")
    if reply.code == _BROKEN:
        return refusals.internal()
    raise Unavailable(DISPATCHER, reply.message)
