"""How much a BYOK request costs: the installation's settings and what an account has of its own."""

from decimal import Decimal

import msgspec

from shared.events.billing import AllotmentRule


class OwnPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has of its own; None keeps the installation's."""

    fee_percent: Decimal | None = None
    allotment_rule: AllotmentRule | None = None
    free_requests: int | None = None
    free_list_cost_nano_usd: int | None = None


class FeePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The percentage of list cost, and what of a month is waived.

    `allotment_rule` says by what: so many successful BYOK requests, or so much list cost of them
    (docs/adr/0011).
    """

    fee_percent: Decimal
    allotment_rule: AllotmentRule = "requests"
    free_requests: int
    free_list_cost_nano_usd: int = 0

    def overridden(self, own: OwnPolicy) -> "FeePolicy":
        """The policy of an account."""
        free_list_cost = own.free_list_cost_nano_usd
        return FeePolicy(
            fee_percent=self.fee_percent if own.fee_percent is None else own.fee_percent,
            allotment_rule=own.allotment_rule or self.allotment_rule,
            free_requests=self.free_requests if own.free_requests is None else own.free_requests,
            free_list_cost_nano_usd=(
                self.free_list_cost_nano_usd if free_list_cost is None else free_list_cost
            ),
        )
