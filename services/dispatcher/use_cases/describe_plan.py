"""Tell what would be tried for a request, and why all else would not, in words for others."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from services.dispatcher.domain.allotment import fee_expected
from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import NotAdmitted
from services.dispatcher.domain.explanation import Explanation, Unused
from services.dispatcher.domain.plan import LeftOut, WhyLeftOut
from services.dispatcher.ports import Balances
from services.dispatcher.use_cases.plan_request import PlanRequest
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.credentials import CredentialChanged
from shared.events.plans import (
    AttemptLeftOut,
    ByokFee,
    ExplainPlan,
    FilterName,
    LeftOutReason,
    PlanExplained,
    PlannedAttempt,
    PlannedCredential,
)
from shared.ids import AccountId, month_of

_REASONS: Final[Mapping[WhyLeftOut, LeftOutReason]] = MappingProxyType(
    {
        WhyLeftOut.BYOK_ONLY: "byok_only",
        WhyLeftOut.ALWAYS_USE: "always_use",
        WhyLeftOut.NOT_WANTED: "provider_preferences",
        WhyLeftOut.PARAMETERS: "require_parameters",
        WhyLeftOut.NO_FALLBACKS: "allow_fallbacks",
        WhyLeftOut.NO_ADAPTER: "no_adapter",
        WhyLeftOut.TOO_MANY: "attempts_max",
    }
)
_FILTERS: Final[Mapping[object, FilterName]] = MappingProxyType(
    {
        NotAdmitted.MODEL: "model",
        NotAdmitted.API_KEY: "api_key_hash",
        NotAdmitted.MEMBER: "member",
    }
)


class DescribePlan:
    """Describes the plan of the planner that requests are carried out by."""

    def __init__(self, *, planner: PlanRequest, balances: Balances, clock: Clock) -> None:
        """Nothing outside is asked: it is told what is known here at this moment."""
        self._planner = planner
        self._balances = balances
        self._clock = clock

    def describe(self, asked: ExplainPlan) -> PlanExplained:
        """The plan; Unavailable("routing") when no request would be planned now either."""
        problem = self._planner.problem()
        if problem is not None:
            raise Unavailable("routing", problem)
        explanation = self._planner.explain(asked, self._clock.now())
        return PlanExplained(
            attempts=tuple(_attempt(each) for each in explanation.plan.attempts),
            left_out=tuple(_left_out(explanation)),
            byok_fee=self._fee(asked.account_id),
        )

    def _fee(self, account_id: AccountId) -> ByokFee | None:
        seen = self._balances.of(account_id)
        fee = fee_expected(
            seen.balance,
            is_fresh=seen.is_fresh,
            month=month_of(self._clock.now()),
            used_recently=seen.used_recently,
        )
        return None if fee is None else ByokFee(percent=fee.percent, waived=fee.waived)


def _attempt(attempt: Attempt) -> PlannedAttempt:
    endpoint = attempt.endpoint
    return PlannedAttempt(
        model=attempt.model,
        provider=endpoint.provider,
        provider_name=endpoint.provider_name,
        endpoint=endpoint.id,
        tier=attempt.tier,
        credential=_own(attempt),
        prices=endpoint.prices,
    )


def _left_out(explanation: Explanation) -> Iterator[AttemptLeftOut]:
    for left_out in explanation.plan.left_out:
        yield _attempt_left_out(left_out)
    for unused in explanation.unused:
        yield AttemptLeftOut(
            model=unused.model,
            provider=unused.credential.provider,
            tier=unused.credential.section,
            credential=_credential(unused.credential),
            reason=_why_unused(unused),
            filter=_FILTERS.get(unused.why),
        )
    for missing in explanation.not_shared:
        yield AttemptLeftOut(
            model=missing.model,
            provider=missing.provider,
            tier="shared",
            credential=None,
            reason="no_shared_capacity",
        )


def _attempt_left_out(left_out: LeftOut) -> AttemptLeftOut:
    attempt, health = left_out.attempt, left_out.health
    # what a provider says to OpenRoute's own keys is for its operators
    told = health if attempt.is_byok else None
    if health is None:
        reason = _REASONS[left_out.why]
    else:
        reason = "failing" if health.state == "failing" else "cooling_down"
    return AttemptLeftOut(
        model=attempt.model,
        provider=attempt.endpoint.provider,
        endpoint=attempt.endpoint.id,
        tier=attempt.tier,
        credential=_own(attempt),
        reason=reason,
        failure=None if told is None else told.reason.value,
        provider_status=None if told is None else told.provider_status,
        until=None if health is None else health.until,
        forbidden_by=tuple(_credential(each) for each in left_out.forbidden_by),
    )


def _why_unused(unused: Unused) -> LeftOutReason:
    if unused.why is NotAdmitted.DISABLED:
        return "disabled"
    return "filter" if unused.why in _FILTERS else "no_endpoint"


def _own(attempt: Attempt) -> PlannedCredential | None:
    return _credential(attempt.credential) if attempt.is_byok else None


def _credential(credential: CredentialChanged) -> PlannedCredential:
    return PlannedCredential(credential_id=credential.credential_id, label=credential.label)
