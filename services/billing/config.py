"""Billing's settings."""

from dataclasses import dataclass
from decimal import Decimal

from services.billing.domain.policy import FeePolicy
from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.events.billing import AllotmentRule
from shared.kafka.config import KafkaConfig
from shared.money import NANO_PER_USD, parse_percent, parse_usd
from shared.postgres.config import PostgresConfig

_REQUESTS_MAX = 10**15
_FREE_LIST_COST_MAX = 1_000_000_000 * NANO_PER_USD


def _percent(value: str) -> Decimal:
    percent = parsers.decimal(value)
    parse_percent(percent)
    return percent


def _allotment_rule(value: str) -> AllotmentRule:
    match value:
        case "requests" | "list_cost":
            return value
        case _:
            raise ValueError("must be requests or list_cost")


def _free_list_cost(value: str) -> int:
    amount = parse_usd(value)
    if not 0 <= amount <= _FREE_LIST_COST_MAX:
        raise ValueError("must be between 0 and 1000000000 USD")
    return amount


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingConfig:
    """Everything that a billing process reads from its environment."""

    process: ProcessConfig
    kafka: KafkaConfig
    postgres: PostgresConfig
    fee_percent: Decimal = setting(
        "BYOK_FEE_PERCENT",
        "What a BYOK request beyond the month's allotment costs, in percent of its list price",
        example="5",
        default=Decimal(5),
        parse=_percent,
    )
    allotment_rule: AllotmentRule = setting(
        "BYOK_ALLOTMENT",
        "By what an account's fee-free BYOK use of a UTC month is measured: requests or list_cost",
        example="requests",
        default="requests",
        parse=_allotment_rule,
    )
    free_requests: int = setting(
        "BYOK_FREE_REQUESTS_PER_MONTH",
        "How many successful BYOK requests of an account are free of the fee in a UTC month",
        example="1000000",
        default=1_000_000,
        parse=parsers.whole_number(0, _REQUESTS_MAX),
    )
    free_list_cost_nano_usd: int = setting(
        "BYOK_FREE_LIST_COST_PER_MONTH",
        "With BYOK_ALLOTMENT=list_cost: how many USD of an account's BYOK use at list price are free "
        "of the fee in a UTC month",
        example="25000",
        default=25_000 * NANO_PER_USD,
        parse=_free_list_cost,
    )

    @property
    def installation(self) -> FeePolicy:
        """The fee policy of accounts without their own."""
        return FeePolicy(
            fee_percent=self.fee_percent,
            allotment_rule=self.allotment_rule,
            free_requests=self.free_requests,
            free_list_cost_nano_usd=self.free_list_cost_nano_usd,
        )
