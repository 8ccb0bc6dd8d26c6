"""What each place says of one subject, for reconciliation: Kafka, the books, published state.

Evidence of one subject is gathered under one key (`subject` functions below) from all places, and
then compared. It is written to disk in between, so every kind is a small tagged struct. Amounts are
Decimal because they may be larger than 64 bits; they are whole nano-USD, `cost` whole pico-USD.

`is_certain` says of what stands in Kafka that its counterpart must be in the snapshot of the books;
without it, it may have come meanwhile. `at` is in seconds since 1970.
"""

from decimal import Decimal
from typing import TypeAlias

import msgspec


class Finished(msgspec.Struct, frozen=True, array_like=True, tag="finished"):
    """A `GenerationFinished` that stands in Kafka. `cost` is None when nothing was delivered."""

    partition: int
    offset: int
    is_certain: bool
    account_id: str
    run_id: str
    is_byok: bool
    cost: Decimal | None
    hold_id: str | None
    waived: bool
    fee_percent: Decimal | None


class Abandoned(msgspec.Struct, frozen=True, array_like=True, tag="abandoned"):
    """A `GenerationAbandoned` that stands in Kafka."""

    partition: int
    offset: int
    is_certain: bool
    account_id: str


class Unreadable(msgspec.Struct, frozen=True, array_like=True, tag="unreadable"):
    """A record of the facts that cannot be booked and is not among the dead letters."""

    partition: int
    offset: int
    is_certain: bool
    reason: str


class Delivered(msgspec.Struct, frozen=True, array_like=True, tag="delivered"):
    """A record that stands in Kafka, under its event's id."""

    partition: int
    offset: int
    is_certain: bool


class TakenIn(msgspec.Struct, frozen=True, array_like=True, tag="taken_in"):
    """A row of the inbox, under its event's id."""

    partition: int
    offset: int


class Booked(msgspec.Struct, frozen=True, array_like=True, tag="booked"):
    """A row of generations."""

    month: str
    corrects_month: str | None
    account_id: str
    kind: str
    is_byok: bool
    list_cost: Decimal
    collected: Decimal
    uncollected: Decimal
    run_id: str
    at: float


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """A row of abandonments."""

    kind: str
    account_id: str


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """A row of transfers."""

    transfer_id: str
    kind: str
    account_id: str
    hold_id: str | None
    debit: str
    credit: str
    amount: Decimal
    month: str
    corrects_month: str | None
    at: float


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held"):
    """A row of holds, with how it ended."""

    hold_id: str
    is_byok: bool
    waived: bool
    fee_percent: Decimal | None
    amount: Decimal
    until: float
    is_open: bool
    ending: str | None


class Credited(msgspec.Struct, frozen=True, array_like=True, tag="credited"):
    """A row of credit_movements; `amount` is how the credits changed."""

    account_id: str
    amount: Decimal


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """An event on `billing.fees`. `amount` is what was charged, added or given back by it."""

    event_id: str
    name: str
    partition: int
    offset: int
    is_certain: bool
    account_id: str
    amount: Decimal
    uncollected: Decimal
    list_cost: Decimal | None
    fee_percent: Decimal | None
    at: float


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag="waiting"):
    """An event in the outbox: told, or about to be."""

    event_id: str


class Published(msgspec.Struct, frozen=True, array_like=True, tag="published"):
    """An `AccountBalance` on `billing.accounts`; `used` and `list_cost_used` with what runs."""

    offset: int
    is_certain: bool
    version: int
    credits: Decimal
    held: Decimal
    month: str
    used: int
    list_cost_used: Decimal
    policy_version: int
    fee_percent: Decimal
    allotment_rule: str
    free_requests: int
    free_list_cost: Decimal


class Kept(msgspec.Struct, frozen=True, array_like=True, tag="kept"):
    """A row of accounts; `is_dirty` says that its state is about to be published.

    Of its fee policy what is its own, None for the installation's.
    """

    version: int
    available: Decimal
    held: Decimal
    policy_version: int
    fee_percent: Decimal | None
    allotment_rule: str | None
    free_requests: int | None
    free_list_cost: Decimal | None
    is_dirty: bool


class Allotted(msgspec.Struct, frozen=True, array_like=True, tag="allotted"):
    """A row of allotments, what runs counted in."""

    month: str
    used: int
    list_cost_used: Decimal


Evidence: TypeAlias = (
    Finished
    | Abandoned
    | Unreadable
    | Delivered
    | TakenIn
    | Booked
    | Ended
    | Moved
    | Held
    | Credited
    | Told
    | Waiting
    | Published
    | Kept
    | Allotted
)
GENERATION = "generation"
EVENT = "event"
MOVEMENT = "movement"
ACCOUNT = "account"


def subject(kind: str, name: str) -> str:
    """The key of a subject: a generation, a delivered event, a movement of money, an account."""
    return f"{kind} {name}"


def movement_of(transfer_id: str) -> str:
    """What a transfer without a generation is about: its id but for the kind at its end."""
    return transfer_id.rpartition("/")[0]


def event_subject(generation_id: str | None, event_id: str) -> str:
    """Whose subject an event of `billing.fees` is: its generation's, or its own movement's."""
    if generation_id is None:
        return subject(MOVEMENT, event_id)
    return subject(GENERATION, generation_id)
