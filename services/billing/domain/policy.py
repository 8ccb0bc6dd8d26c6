"""How much a BYOK request costs: the installation's settings and what an account has of its own."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """The percentage of list cost, and how many successful BYOK requests of a month are waived."""

    fee_percent: Decimal
    free_requests: int

    def overridden(self, fee_percent: Decimal | None, free_requests: int | None) -> "FeePolicy":
        """The policy of an account: None keeps the installation's."""
        return FeePolicy(
            fee_percent=self.fee_percent if fee_percent is None else fee_percent,
            free_requests=self.free_requests if free_requests is None else free_requests,
        )
