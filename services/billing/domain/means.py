"""What an attempt may draw on: its account's credits, and what is left of its API key's limit."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from services.billing.domain.generation import day_of_generation
from services.billing.domain.hold import Hold
from services.billing.domain.key_limit import ALL_DAYS, KeyAllowance, Window, counted
from services.billing.domain.page import Page
from shared.events.billing import AuthorizeSpend, KeyLimitReached, SpendRefused
from shared.money import usd_string


@dataclass(frozen=True, slots=True)
class Means:
    """In nano-USD, with what the generation's last hold would give back; `key` None: no limit."""

    credits_nano_usd: int
    key: KeyAllowance | None

    def exceeded_key(self, hold: Hold) -> KeyAllowance | None:
        """The key's allowance, when the hold counts for more than is left of it."""
        if self.key is None:
            return None
        needed = counted(hold, self.key.limit)
        return self.key if needed > 0 and self.key.left_nano_usd < needed else None

    def suffice(self, hold: Hold) -> bool:
        """Whether the hold can be opened."""
        return hold.amount_nano_usd <= self.credits_nano_usd and self.exceeded_key(hold) is None


def means_of(page: Page, command: AuthorizeSpend, previous: Hold | None) -> Means:
    """What there is for an attempt, whose hold would replace `previous`."""
    credits_nano_usd = page.account(command.account_id).available_nano_usd
    key = page.key_limits.allowance(command.api_key_hash, day_of_generation(command.generation_id))
    if previous is not None:
        credits_nano_usd += previous.amount_nano_usd
        if key is not None:
            left = key.left_nano_usd + counted(previous, key.limit)
            key = replace(key, left_nano_usd=left)
    return Means(credits_nano_usd, key)


def too_dear(hold: Hold, means: Means, affordable: int) -> SpendRefused:
    """The refusal of a hold that there are no means for; `affordable` is what would have fitted."""
    key = means.exceeded_key(hold)
    if key is None:
        available = means.credits_nano_usd
        return SpendRefused(
            code="insufficient_credits",
            message=f"this request can cost up to ${usd_string(hold.amount_nano_usd)}, "
            f"and ${usd_string(available)} of credits are available",
            needed_nano_usd=hold.amount_nano_usd,
            available_nano_usd=available,
            affordable_nano_usd=affordable,
        )
    needed, left = counted(hold, key.limit), max(0, key.left_nano_usd)
    return SpendRefused(
        code="key_limit_exceeded",
        message=f"this request can count for up to ${usd_string(needed)}, "
        f"and ${usd_string(left)} of the API key's limit are left",
        needed_nano_usd=needed,
        available_nano_usd=left,
        affordable_nano_usd=affordable,
        key_limit=KeyLimitReached(
            limit_nano_usd=key.limit_nano_usd,
            left_nano_usd=left,
            limit_reset=key.limit.limit_reset,
            resets_at=_end_of(key.window),
        ),
    )


def _end_of(window: Window) -> datetime | None:
    return None if window == ALL_DAYS else datetime.combine(window.next_first, time.min, UTC)
