"""Billing's settings."""

from dataclasses import dataclass
from decimal import Decimal

from services.billing.domain.policy import FeePolicy
from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.kafka.config import KafkaConfig
from shared.money import parse_percent
from shared.postgres.config import PostgresConfig

_REQUESTS_MAX = 10**15


def _percent(value: str) -> Decimal:
    percent = parsers.decimal(value)
    parse_percent(percent)
    return percent


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
    free_requests: int = setting(
        "BYOK_FREE_REQUESTS_PER_MONTH",
        "How many successful BYOK requests of an account are free of the fee in a UTC month",
        example="1000000",
        default=1_000_000,
        parse=parsers.whole_number(0, _REQUESTS_MAX),
    )

    @property
    def installation(self) -> FeePolicy:
        """The fee policy of accounts without their own."""
        return FeePolicy(fee_percent=self.fee_percent, free_requests=self.free_requests)
