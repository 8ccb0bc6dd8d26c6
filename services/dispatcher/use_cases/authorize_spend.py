"""Make sure that an attempt may cost what it can cost (design.md section 6)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.dispatcher.domain.allotment import surely_waived
from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.cost import Promise
from services.dispatcher.domain.estimate import worst_usage
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.refused_spend import failure_of_refusal
from services.dispatcher.domain.run import Run
from services.dispatcher.ports import Balances, Spending
from shared.clock import Clock
from shared.events.billing import AuthorizeSpend, SpendAuthorized
from shared.events.generations import Spend
from shared.events.usage import list_cost
from shared.ids import HoldId, is_of_month
from shared.money import rounded

HOLD_OUTLIVES_DEADLINE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """Billing knows this generation as over: nobody may begin it any more."""


class AuthorizeAttempt:
    """Asks billing, except where the fee is surely waived and no limit counts the request."""

    def __init__(self, *, balances: Balances, spending: Spending, clock: Clock) -> None:
        """`balances` is what was heard, `spending` whom to ask."""
        self._balances = balances
        self._spending = spending
        self._clock = clock

    async def authorize(
        self, run: Run, attempt: Attempt, request: AnyRequest
    ) -> Promise | ProviderFailure | AlreadyEnded:
        """What the attempt was promised; Unavailable("billing"), and then nothing may be called."""
        asked = run.asked
        if attempt.is_byok and not asked.api_key_limit_counts_byok:
            seen = self._balances.of(asked.account_id)
            balance = seen.balance
            if balance is not None and surely_waived(
                balance,
                is_fresh=seen.is_fresh,
                is_of_its_month=is_of_month(asked.generation_id, balance.month),
                used_recently=seen.used_recently,
            ):
                return Promise(spend=Spend(waived=True, fee_percent=balance.fee_percent))
        worst = worst_usage(request, attempt.endpoint)
        worst_nano_usd = rounded(list_cost(worst, attempt.endpoint.prices))
        number = len(run.attempts)
        answer = await self._spending.authorize(
            AuthorizeSpend(
                hold_id=HoldId(f"{asked.generation_id}/{run.run_id}/{number}"),
                generation_id=asked.generation_id,
                run_id=run.run_id,
                account_id=asked.account_id,
                api_key_hash=asked.api_key_hash,
                is_byok=attempt.is_byok,
                provider=attempt.endpoint.provider,
                worst_case_nano_usd=worst_nano_usd,
                worst_case_tokens=worst.prompt_tokens + worst.completion_tokens,
                hold_until=asked.deadline + HOLD_OUTLIVES_DEADLINE,
                api_key_limit=asked.api_key_limit,
            )
        )
        if isinstance(answer, SpendAuthorized):
            return Promise(
                spend=Spend(
                    hold_id=answer.hold_id, waived=answer.waived, fee_percent=answer.fee_percent
                ),
                worst_case_nano_usd=worst_nano_usd,
            )
        if answer.code == "already_ended":
            return AlreadyEnded()
        return failure_of_refusal(answer, request, attempt.endpoint, self._clock.now())
