"""What explaining the books, and making that anew, needs from the world."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.billing.domain.receipt import Position, Span
from shared.events.codec import Received
from shared.events.generations import GenerationFinished
from shared.events.receipts import (
    ActivityRow,
    CreditsTold,
    QueryActivity,
    QueryReceipts,
    Receipt,
)
from shared.ids import AccountId, GenerationId


class ReadSide(Protocol):
    """What explains the books: receipts, activity, credits.

    Raises Unavailable, and PoisonRecord for a value that the database cannot hold.
    """

    async def receipt(self, account_id: AccountId, generation_id: GenerationId) -> Receipt | None:
        """The receipt of a generation of this account, or None."""
        ...

    async def receipts(self, query: QueryReceipts, *, rows_max: int) -> list[Receipt]:
        """Up to `rows_max` receipts, oldest first."""
        ...

    async def activity(self, query: QueryActivity, *, rows_max: int) -> list[ActivityRow]:
        """Up to `rows_max` rows, newest day first."""
        ...

    async def credits(self, account_id: AccountId) -> CreditsTold:
        """What came in, what was used, what is left; all zero for an account never heard of."""
        ...


class History(Protocol):
    """`inference.generations` as far as it is kept. Raises Unavailable."""

    async def spans(self, since: datetime | None) -> dict[int, Span]:
        """By partition, what is booked of it since a moment; None is from the beginning."""
        ...

    def batches(self, spans: Mapping[int, Span]) -> AsyncIterator[Sequence[Received]]:
        """What stands in the spans, in order within each partition."""
        ...


class Rebuild(Protocol):
    """The read side made anew, beside the one in use. Raises Unavailable."""

    async def begin(self) -> None:
        """Make fresh tables; Unavailable while another rebuild runs."""
        ...

    async def add(self, told: Sequence[tuple[GenerationFinished, Position]]) -> int:
        """Make fresh receipts of those facts that are booked, and return how many it were."""
        ...

    async def keep(self) -> int:
        """Take over receipts of what is booked and was not added, and return how many it were."""
        ...

    async def add_up(self) -> None:
        """Add the receipts up as they are now."""
        ...

    async def swap(self) -> tuple[int, int]:
        """Take over what was booked meanwhile, and put the fresh in place of the old.

        Returns how many receipts and how many rows of activity there now are.
        """
        ...
