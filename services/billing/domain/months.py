"""Which months of the books may still be written into."""

from dataclasses import dataclass, field

_MONTHS_A_YEAR = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """The UTC month that it is now, and those that are closed and take nothing more."""

    current: str = ""
    closed: frozenset[str] = field(default_factory=frozenset)

    def posting(self, month: str) -> str:
        """The month into which something of `month` is written: itself, until it is closed."""
        if month not in self.closed:
            return month
        return max(self.current, month_after(max(self.closed)))

    def corrected(self, month: str) -> str | None:
        """The month that such a posting names because it could not be written into it."""
        return month if month in self.closed else None


def month_after(month: str) -> str:
    """The month that follows, `YYYY-MM`."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + 1:04d}-01" if number == _MONTHS_A_YEAR else f"{year:04d}-{number + 1:02d}"
