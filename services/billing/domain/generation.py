"""How a generation ended, as far as money goes: at most one settlement and one abandonment each."""

from datetime import date
from enum import StrEnum
from functools import lru_cache

import msgspec

from shared.events.generations import GenerationFinished
from shared.ids import (
    AccountId,
    ApiKeyHash,
    CredentialId,
    GenerationId,
    month_of,
    started_at,
)


class SettlementKind(StrEnum):
    """What was booked for a finished generation."""

    NOTHING = "nothing"
    FEE_WAIVED = "fee_waived"
    FEE_DEDUCTED = "fee_deducted"
    CREDITS_CHARGED = "credits_charged"

    @property
    def counts_in_allotment(self) -> bool:
        """Whether it was a successful BYOK request."""
        return self in {SettlementKind.FEE_WAIVED, SettlementKind.FEE_DEDUCTED}


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The one posting of a generation. `collected_nano_usd` came from the customer's credits.

    Charged is collected plus uncollected. `list_cost_nano_usd` is 0 when nothing was charged.
    `credential_id` is the own key that served, None for shared capacity.
    """

    generation_id: GenerationId
    account_id: AccountId
    api_key_hash: ApiKeyHash
    kind: SettlementKind
    is_byok: bool
    credential_id: CredentialId | None = None
    list_cost_nano_usd: int = 0
    collected_nano_usd: int = 0
    uncollected_nano_usd: int = 0

    @property
    def due_nano_usd(self) -> int:
        """What it cost, whoever paid it."""
        return self.collected_nano_usd + self.uncollected_nano_usd

    @property
    def waived_list_cost_nano_usd(self) -> int:
        """What it takes of an allotment that is measured by list cost."""
        return self.list_cost_nano_usd if self.kind is SettlementKind.FEE_WAIVED else 0


class AbandonmentKind(StrEnum):
    """Who said that nothing may be charged."""

    ABANDONED = "abandoned"
    """The ingress, by a fact: reverses what was posted already."""
    RELEASED = "released"
    """The dispatcher, by a command: only holds for what was not posted yet."""


class Abandonment(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of this generation may be charged."""

    generation_id: GenerationId
    account_id: AccountId
    kind: AbandonmentKind
    reason: str


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A finished fact with the settlement that was made of it, for the generations table."""

    fact: GenerationFinished
    settlement: Settlement


@lru_cache(maxsize=4096)  # asked several times for each generation of a batch
def month_of_generation(generation_id: GenerationId) -> str:
    """The UTC month in which a generation started and therefore counts; ValueError on a bad id."""
    return month_of(started_at(generation_id))


@lru_cache(maxsize=4096)  # likewise
def day_of_generation(generation_id: GenerationId) -> date:
    """The UTC day in which a generation started; ValueError on a bad id."""
    return started_at(generation_id).date()
