"""One generation as its facts tell it, as the books have it, and as the world was told of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.evidence import (
    Abandoned,
    Booked,
    Ended,
    Evidence,
    Finished,
    Held,
    Moved,
    Told,
    Waiting,
    movement_of,
)
from services.billing.domain.generation import (
    AbandonmentKind,
    SettlementKind,
    month_of_generation,
)
from services.billing.domain.hold import HoldEnding
from services.billing.domain.ledger import LedgerAccount, TransferKind, ledger_name
from services.billing.domain.reconciled import Findings, Sight, of
from services.billing.domain.settle import revenue_of
from shared.ids import AccountId, GenerationId, started_at
from shared.money import PicoUsd, fee_of, rounded

HOLD_GRACE_SECONDS: Final = 60.0
"""How long after its time a hold may still be open: rounds are every second, and may wait."""
_NAMES: Final = {
    SettlementKind.FEE_DEDUCTED: "FeeDeducted",
    SettlementKind.FEE_WAIVED: "FeeWaived",
    SettlementKind.CREDITS_CHARGED: "CreditsCharged",
}
_REVERSED: Final = "ChargeReversed"


@dataclass(slots=True, kw_only=True)
class _Dossier:
    """All that is known of one generation."""

    generation_id: GenerationId
    sight: Sight
    finished: list[Finished]
    abandoned: list[Abandoned]
    booked: list[Booked]
    ended: list[Ended]
    moved: list[Moved]
    held: list[Held]
    told: list[Told]
    waiting: set[str]
    found: Findings = field(default_factory=Findings)

    @property
    def subject(self) -> str:
        """What a difference is about."""
        accounts = {each.account_id for each in self.booked}
        accounts = accounts or {each.account_id for each in self.finished}
        accounts = accounts or {each.account_id for each in self.abandoned}
        return f"generation {self.generation_id} of account {', '.join(sorted(accounts)) or '?'}"

    @property
    def abandonment(self) -> Ended | None:
        """The row that says that nothing may be charged, even of what was posted."""
        return next((each for each in self.ended if each.kind == AbandonmentKind.ABANDONED), None)

    def differ(self, kind: DifferenceKind, what: str, *, kept: object, expected: object) -> None:
        """Note a difference if these are not equal."""
        self.found.equal(kind, self.subject, what, kept=kept, expected=expected)


def reconcile_generation(
    generation_id: GenerationId, evidence: Sequence[Evidence], sight: Sight
) -> Findings:
    """Compare everything that is known of one generation."""
    dossier = _Dossier(
        generation_id=generation_id,
        sight=sight,
        finished=of(evidence, Finished),
        abandoned=of(evidence, Abandoned),
        booked=of(evidence, Booked),
        ended=of(evidence, Ended),
        moved=of(evidence, Moved),
        held=of(evidence, Held),
        told=of(evidence, Told),
        waiting={each.event_id for each in of(evidence, Waiting)},
    )
    if len(dossier.booked) > 1:
        months = ", ".join(sorted(each.month for each in dossier.booked))
        dossier.differ(DifferenceKind.BOOKED_TWICE, "postings", kept=months, expected="one")
        return dossier.found
    booked = dossier.booked[0] if dossier.booked else None
    _facts(dossier, booked)
    _abandonments(dossier, booked)
    _transfers(dossier, booked)
    for held in dossier.held:
        _hold(dossier, held)
    _events(dossier, booked)
    return dossier.found


def _at(fact: Finished | Abandoned) -> str:
    return f"partition {fact.partition} offset {fact.offset}"


def _facts(dossier: _Dossier, booked: Booked | None) -> None:
    if booked is None:
        certain = [each for each in dossier.finished if each.is_certain]
        if certain:
            what = f"posting of the fact at {_at(certain[0])}"
            dossier.differ(DifferenceKind.FACT_NOT_BOOKED, what, kept="none", expected="one")
        dossier.found.in_flight["facts"] += len(dossier.finished) if not certain else 0
        return
    mine = [
        each
        for each in dossier.finished
        if (each.run_id, each.account_id) == (booked.run_id, booked.account_id)
    ]
    if mine:
        _amounts(dossier, booked, mine[0])
    elif started_at(dossier.generation_id).timestamp() >= dossier.sight.facts_from:
        what = f"fact of run {booked.run_id} for {booked.kind} of {_due(booked)}"
        dossier.differ(DifferenceKind.BOOKING_WITHOUT_FACT, what, kept="none", expected="one")


def _due(booked: Booked) -> int:
    return int(booked.collected + booked.uncollected)


def _amounts(dossier: _Dossier, booked: Booked, fact: Finished) -> None:
    """The posting against what the fact's usage and prices come to, by themselves."""
    wrong = DifferenceKind.WRONG_AMOUNT
    dossier.differ(wrong, "own key used", kept=booked.is_byok, expected=fact.is_byok)
    is_nothing = booked.kind == SettlementKind.NOTHING
    if fact.cost is None or is_nothing:
        # With usage, only a generation that was given up before it was posted costs nothing.
        expected = fact.cost is None or bool(dossier.ended)
        what = f"posting of nothing for the fact at {_at(fact)}"
        dossier.differ(wrong, what, kept=is_nothing, expected=expected)
        dossier.differ(wrong, "charge of nothing", kept=_due(booked), expected=0)
        return
    cost = PicoUsd(int(fact.cost))
    list_cost = rounded(cost)
    dossier.differ(wrong, "list cost", kept=int(booked.list_cost), expected=list_cost)
    kind, due = _expected(dossier, booked, fact, cost)
    dossier.differ(wrong, "kind", kept=booked.kind, expected=kind)
    dossier.differ(wrong, "charge", kept=_due(booked), expected=due)


def _expected(
    dossier: _Dossier, booked: Booked, fact: Finished, cost: PicoUsd
) -> tuple[str, int | None]:
    """What is to be posted, by the promise of the hold or of the fact.

    Without a promise the account's policy of that moment decided: then the kind is taken from the
    books, and the percentage from what the world was told.
    """
    if not fact.is_byok:
        return SettlementKind.CREDITS_CHARGED, rounded(cost)
    hold = next(
        (each for each in dossier.held if each.hold_id == fact.hold_id and each.is_byok), None
    )
    percent = next(
        (each.fee_percent for each in dossier.told if each.fee_percent is not None), None
    )
    most: int | None = None
    if hold is not None:
        waived, most = hold.waived, int(hold.amount)
        percent = percent if hold.fee_percent is None else hold.fee_percent
    elif fact.waived:
        waived = True
    elif fact.fee_percent is not None:
        waived, percent = False, fact.fee_percent
    else:
        waived = booked.kind == SettlementKind.FEE_WAIVED
    if waived:
        return SettlementKind.FEE_WAIVED, 0
    if percent is None:  # nobody tells any more; the transfers are compared all the same
        return SettlementKind.FEE_DEDUCTED, _due(booked)
    fee = fee_of(cost, percent)
    return SettlementKind.FEE_DEDUCTED, fee if most is None else min(fee, most)


def _abandonments(dossier: _Dossier, booked: Booked | None) -> None:
    kept = dossier.abandonment
    # Of two accounts that name one generation, the one that it was posted for counts.
    counting = [
        each for each in dossier.abandoned if booked is None or each.account_id == booked.account_id
    ]
    if kept is None:
        certain = [each for each in counting if each.is_certain]
        if certain:
            what = f"abandonment of the fact at {_at(certain[0])}"
            dossier.differ(DifferenceKind.FACT_NOT_BOOKED, what, kept="none", expected="one")
        dossier.found.in_flight["facts"] += len(counting) if not certain else 0
        return
    told = any(each.account_id == kept.account_id for each in dossier.abandoned)
    if not told and started_at(dossier.generation_id).timestamp() >= dossier.sight.facts_from:
        what = "fact of its abandonment"
        dossier.differ(DifferenceKind.BOOKING_WITHOUT_FACT, what, kept="none", expected="one")


def _is_reversed(dossier: _Dossier, booked: Booked | None) -> bool:
    return (
        booked is not None
        and dossier.abandonment is not None
        and booked.kind != SettlementKind.NOTHING
    )


def _transfers(dossier: _Dossier, booked: Booked | None) -> None:
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
    expected = _expected_sums(booked, is_reversed=_is_reversed(dossier, booked))
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


def _hold(dossier: _Dossier, held: Held) -> None:
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


def _events(dossier: _Dossier, booked: Booked | None) -> None:
    """What the world was told: all that was booked, and nothing else."""
    expected: dict[str, tuple[str, Booked]] = {}
    if booked is not None and booked.kind != SettlementKind.NOTHING:
        name = _NAMES[SettlementKind(booked.kind)]
        expected[f"{dossier.generation_id}/{booked.kind}"] = (name, booked)
        if _is_reversed(dossier, booked):
            expected[f"{dossier.generation_id}/charge_reversed"] = (_REVERSED, booked)
    told: dict[str, list[Told]] = {}
    for each in dossier.told:
        told.setdefault(each.event_id, []).append(each)
    for event_id, (name, row) in expected.items():
        for copy in told.get(event_id, []):
            _event(dossier, copy, name, row)
        if event_id in told:
            continue
        if event_id in dossier.waiting:
            dossier.found.in_flight["events"] += 1
        elif row.at >= dossier.sight.fees_from:
            dossier.differ(DifferenceKind.NOT_TOLD, event_id, kept="untold", expected="told")
    movements = {movement_of(each.transfer_id) for each in dossier.moved}
    for event_id in told.keys() - expected.keys() - movements:
        _unfounded(dossier, told[event_id][0])


def _unfounded(dossier: _Dossier, told: Told) -> None:
    """Something was told that is not booked."""
    if not told.is_certain:
        dossier.found.in_flight["events"] += 1
        return
    where = f"partition {told.partition} offset {told.offset}"
    dossier.differ(
        DifferenceKind.TOLD_NOT_BOOKED,
        f"{told.name} {told.event_id} at {where}",
        kept=f"told, {int(told.amount)}",
        expected="not told",
    )


def _event(dossier: _Dossier, told: Told, name: str, booked: Booked) -> None:
    wrong = DifferenceKind.TOLD_WRONGLY
    at = f"{told.event_id} at partition {told.partition} offset {told.offset}"
    dossier.differ(wrong, f"type of {at}", kept=told.name, expected=name)
    dossier.differ(wrong, f"account of {at}", kept=told.account_id, expected=booked.account_id)
    if name == _REVERSED:
        amount, uncollected = int(booked.collected), int(booked.uncollected)
    else:
        amount = _due(booked)
        # Events of fees do not say how much of them was collected.
        uncollected = int(booked.uncollected) if name == "CreditsCharged" else 0
        dossier.differ(
            wrong,
            f"list cost of {at}",
            kept=None if told.list_cost is None else int(told.list_cost),
            expected=int(booked.list_cost),
        )
    dossier.differ(wrong, f"amount of {at}", kept=int(told.amount), expected=amount)
    dossier.differ(wrong, f"uncollected of {at}", kept=int(told.uncollected), expected=uncollected)
