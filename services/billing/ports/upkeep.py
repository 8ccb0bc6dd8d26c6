"""What is forgotten once nothing can need it any more."""

from datetime import datetime, timedelta
from typing import Protocol


class Upkeep(Protocol):
    """Each method forgets some of what is past, in one transaction, and returns how many it were.

    `kept` is measured by the database's clock, which its own triggers go by too.
    """

    async def forget_taken(self, before: datetime, *, rows_max: int) -> int:
        """Which facts were taken in before a moment from which none can come again."""
        ...

    async def forget_seconds(self, before: datetime, *, rows_max: int) -> int:
        """What rate limits counted in seconds that began before a moment."""
        ...

    async def forget_refusals(self, kept: timedelta, *, rows_max: int) -> int:
        """Refusals of commands that can come no more."""
        ...

    async def forget_holds(self, kept: timedelta, *, rows_max: int) -> int:
        """Holds of sealed months that ended long ago, with their endings."""
        ...

    async def forget_deleted_keys(self, kept: timedelta, *, keys_max: int) -> int:
        """What is known of deleted API keys by themselves; what was spent stays with the account."""
        ...
