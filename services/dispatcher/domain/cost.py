"""What an attempt was promised it may cost, and what its answer did cost."""

import msgspec

from shared.events.generations import Operation, Spend
from shared.events.replies import ReplyUsage
from shared.events.usage import Prices, Usage, completion_cost, prompt_cost
from shared.money import NanoUsd, PicoUsd, fee_of, rounded

_PICO_PER_NANO = 1_000


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What billing, or ample allotment, promised before the attempt. Amounts are nano-USD.

    Billing posts at most the fee of the worst case, so no client is told more than that.
    """

    spend: Spend
    worst_case_nano_usd: int | None = None

    def fee(self, exact: PicoUsd) -> NanoUsd:
        """The BYOK fee of an exact list cost."""
        percent = self.spend.fee_percent
        if self.spend.waived or percent is None:
            return NanoUsd(0)
        fee = fee_of(exact, percent)
        if self.worst_case_nano_usd is None:
            return fee
        return min(fee, fee_of(PicoUsd(self.worst_case_nano_usd * _PICO_PER_NANO), percent))


def reply_usage(
    usage: Usage,
    prices: Prices,
    promise: Promise,
    *,
    is_byok: bool,
    operation: Operation = "chat",
) -> ReplyUsage:
    """Usage and cost as the client is told; the same sums that billing posts."""
    # a completion of zero tokens costs nothing; vectors are no tokens
    is_free = operation == "chat" and usage.completion_tokens == 0
    prompt, completion = prompt_cost(usage, prices), completion_cost(usage, prices)
    exact = PicoUsd(prompt + completion)
    cost = promise.fee(exact) if is_byok else rounded(exact)
    return ReplyUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_nano_usd=0 if is_free else cost,
        is_byok=is_byok,
        list_cost_nano_usd=rounded(exact),
        list_prompt_cost_nano_usd=rounded(prompt),
        list_completion_cost_nano_usd=rounded(completion),
        estimated=usage.estimated,
    )
