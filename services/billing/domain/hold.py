"""Holds: what a running generation was promised, and what is put aside for it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from shared.events.billing import SpendRefused
from shared.ids import AccountId, ApiKeyHash, GenerationId, HoldId, RunId


class HoldEnding(StrEnum):
    """How a hold ended; each ends once."""

    POSTED = "posted"
    RELEASED = "released"
    EXPIRED = "expired"
    REPLACED = "replaced"


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A promise to one attempt.

    BYOK: either a share of the month's allotment (`waived`: one request and its worst case, no
    money), or the fee of the worst case at `fee_percent`. Shared capacity: the worst case,
    `fee_percent` None, and it counts in `rate_second` (since 1970) with `worst_case_tokens`. `input_hash` is that
    of the command which asked for it.
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
    worst_case_nano_usd: int
    amount_nano_usd: int
    worst_case_tokens: int = 0
    rate_second: int | None = None
    hold_until: datetime
    input_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A hold that was refused: the same command again gets the same answer."""

    hold_id: HoldId
    account_id: AccountId
    input_hash: bytes
    answer: SpendRefused
