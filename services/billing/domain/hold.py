"""Holds: what a running generation was promised, and what is put aside for it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId, RunId


class HoldEnding(StrEnum):
    """How a hold ended; each ends once."""

    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A promise to one attempt.

    BYOK: either a waived slot of the month's allotment (`waived`, no money), or the fee of the
    worst case at `fee_percent`. Shared capacity: the worst case, `fee_percent` None, and it counts
    in `rate_minute` with `worst_case_tokens`. `worst_case_nano_usd` is the list cost either way.
    """

    hold_id: HoldId
    month: str
    generation_id: GenerationId
    run_id: RunId
    account_id: AccountId
    api_key_hash: ApiKeyHash
    is_byok: bool
    provider: str
    waived: bool
    fee_percent: Decimal | None
    amount_nano_usd: int
    worst_case_nano_usd: int
    worst_case_tokens: int = 0
    rate_minute: datetime | None = None
    hold_until: datetime
