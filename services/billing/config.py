"""Billing's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec
from typing_extensions import override

from services.billing.domain.policy import FeePolicy
from services.billing.domain.rate_limit import ANY_PROVIDER
from shared.config import parsers
from shared.config.environment import setting
from shared.config.process import ProcessConfig
from shared.events.accounts import SharedLimit
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


@dataclass(frozen=True, slots=True)
class PerMinute:
    """A number for each provider slug; `default` is for those that are not named."""

    numbers: tuple[tuple[str, int], ...]

    @override
    def __str__(self) -> str:
        """As the setting is written."""
        return msgspec.json.encode(dict(self.numbers)).decode()


def per_minute(value: str) -> PerMinute:
    """A JSON object of provider slugs with whole numbers; ValueError."""
    message = "must be a JSON object of provider slugs with whole numbers from 0 on"
    try:
        found = msgspec.json.decode(value, type=dict[str, int])
    except (ValueError, msgspec.MsgspecError):
        raise ValueError(message) from None
    if any(number < 0 for number in found.values()):
        raise ValueError(message)
    return PerMinute(tuple(found.items()))


_REQUESTS_A_MINUTE: Final = PerMinute(((ANY_PROVIDER, 6_000),))
_TOKENS_A_MINUTE: Final = PerMinute(((ANY_PROVIDER, 20_000_000),))


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
    shared_requests_per_minute: PerMinute = setting(
        "SHARED_REQUESTS_PER_MINUTE",
        "How many requests an account may make in any 60 seconds of shared capacity, as JSON by provider; "
        "default is for each provider that is not named, and without it those have no limit",
        example='{"default": 600, "openai": 3000}',
        default=_REQUESTS_A_MINUTE,
        parse=per_minute,
    )
    shared_tokens_per_minute: PerMinute = setting(
        "SHARED_TOKENS_PER_MINUTE",
        "How many tokens an account may use in any 60 seconds of shared capacity, as JSON by provider; "
        "those of running requests count as many as they may become",
        example='{"default": 2000000}',
        default=_TOKENS_A_MINUTE,
        parse=per_minute,
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

    @property
    def shared_limits(self) -> Mapping[str, SharedLimit]:
        """The rate limits of accounts without their own, by provider."""
        requests = dict(self.shared_requests_per_minute.numbers)
        tokens = dict(self.shared_tokens_per_minute.numbers)
        return {
            slug: SharedLimit(
                requests_per_minute=requests.get(slug), tokens_per_minute=tokens.get(slug)
            )
            for slug in requests.keys() | tokens.keys()
        }
