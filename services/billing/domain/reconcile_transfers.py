"""The transfers of a generation and of its holds against the rows that they belong to."""

from collections import Counter
from typing import Final

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.dossier import Dossier, is_reversed
from services.billing.domain.evidence import (
    Booked,
    Held,
    Moved,
)
from services.billing.domain.generation import (
    month_of_generation,
)
from services.billing.domain.hold import HoldEnding
from services.billing.domain.ledger import LedgerAccount, TransferKind, ledger_name
from services.billing.domain.settle import revenue_of
from shared.ids import AccountId

HOLD_GRACE_SECONDS: Final = 60.0
"""How long after its time a hold may still be open: rounds are every second, and may wait."""


def reconcile_transfers(dossier: Dossier, booked: Booked | None) -> None:
    """The transfers of the posting and of its reversal against the row that they belong to."""
    sums: Counter[TransferKind] = Counter()
    month = month_of_generation(dossier.generation_id)
    is_byok = booked is not None and booked.is_byok
    for each in dossier.moved:
        belongs_to = each.month if each.corrects_month is None else each.corrects_month
        what = f"month of {each.transfer_id}"
        dossier.differ(DifferenceKind.WRONG_TRANSFERS, what, kept=belongs_to, expected=month)
        direction = _direction(each, is_byok=is_byok)
        if direction is None:
            continue  # of a kind that belongs to neither
        what = f"accounts of {each.transfer_id}"
        dossier.differ(
            DifferenceKind.WRONG_TRANSFERS,
            what,
            kept=f"{each.debit} to {each.credit}",
            expected=" to ".join(direction),
        )
        sums[TransferKind(each.kind)] += int(each.amount)
    expected = _expected_sums(booked, is_reversed=is_reversed(dossier, booked))
    paid = TransferKind.PAID_FROM_HOLD, TransferKind.PAID_FROM_CREDITS
    sums[TransferKind.PAID_FROM_CREDITS] = sum(sums.pop(kind, 0) for kind in paid)
    for kind in (kind for kind in TransferKind if kind not in _OF_HOLDS):
        dossier.differ(
            DifferenceKind.WRONG_TRANSFERS,
            f"transfers {kind}",
            kept=sums[kind],
            expected=expected[kind],
        )


_OF_HOLDS: Final = (TransferKind.HELD, TransferKind.RETURNED)


def _expected_sums(booked: Booked | None, *, is_reversed: bool) -> Counter[TransferKind]:
    expected: Counter[TransferKind] = Counter()
    if booked is None:
        return expected
    collected, uncollected = int(booked.collected), int(booked.uncollected)
    expected[TransferKind.PAID_FROM_CREDITS] = collected
    expected[TransferKind.NOT_COLLECTED] = uncollected
    expected[TransferKind.REVENUE] = collected + uncollected
    if is_reversed:
        expected[TransferKind.CREDITS_GIVEN_BACK] = collected
        expected[TransferKind.NOT_COLLECTED_REVERSED] = uncollected
        expected[TransferKind.REVENUE_REVERSED] = collected + uncollected
    return expected


def _direction(moved: Moved, *, is_byok: bool) -> tuple[str, str] | None:
    """From where to where money goes by a transfer of its kind."""
    account = AccountId(moved.account_id)
    available = ledger_name(LedgerAccount.CUSTOMER_CREDITS, account)
    holds = ledger_name(LedgerAccount.CUSTOMER_HOLDS, account)
    clearing, uncollected = LedgerAccount.CLEARING.value, LedgerAccount.UNCOLLECTED.value
    revenue = revenue_of(is_byok=is_byok).value
    return {
        TransferKind.HELD.value: (available, holds),
        TransferKind.RETURNED.value: (holds, available),
        TransferKind.PAID_FROM_HOLD.value: (holds, clearing),
        TransferKind.PAID_FROM_CREDITS.value: (available, clearing),
        TransferKind.NOT_COLLECTED.value: (uncollected, clearing),
        TransferKind.REVENUE.value: (clearing, revenue),
        TransferKind.REVENUE_REVERSED.value: (revenue, clearing),
        TransferKind.CREDITS_GIVEN_BACK.value: (clearing, available),
        TransferKind.NOT_COLLECTED_REVERSED.value: (clearing, uncollected),
    }.get(moved.kind)


def reconcile_hold(dossier: Dossier, held: Held) -> None:
    """A hold against its ending and the transfers that it was put aside and taken out by."""
    wrong, name = DifferenceKind.WRONG_HOLD, f"hold {held.hold_id}"
    kept = "open" if held.is_open else "closed"
    expected = "open" if held.ending is None else "closed"
    dossier.differ(wrong, f"{name}, ending {held.ending}", kept=kept, expected=expected)
    if held.is_open and held.until + HOLD_GRACE_SECONDS < dossier.sight.now:
        dossier.differ(wrong, f"{name}, past its time", kept="open", expected="expired")
    mine = [each for each in dossier.moved if each.hold_id == held.hold_id]
    sums = {
        kind: sum(int(each.amount) for each in mine if each.kind == kind)
        for kind in (*_OF_HOLDS, TransferKind.PAID_FROM_HOLD)
    }
    out = sums[TransferKind.RETURNED] + sums[TransferKind.PAID_FROM_HOLD]
    amount = int(held.amount)
    dossier.differ(wrong, f"{name}, put aside", kept=sums[TransferKind.HELD], expected=amount)
    dossier.differ(wrong, f"{name}, taken out", kept=out, expected=0 if held.is_open else amount)
    if held.ending == HoldEnding.POSTED:
        count = len(dossier.booked)
        dossier.differ(wrong, f"{name}, posting that ended it", kept=count, expected=1)
