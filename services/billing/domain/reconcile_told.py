"""What the world was told of a generation against what is booked."""

from typing import Final

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.dossier import Dossier, due_of, is_reversed
from services.billing.domain.evidence import (
    Booked,
    Told,
    movement_of,
)
from services.billing.domain.generation import (
    SettlementKind,
)

_NAMES: Final = {
    SettlementKind.FEE_DEDUCTED: "FeeDeducted",
    SettlementKind.FEE_WAIVED: "FeeWaived",
    SettlementKind.CREDITS_CHARGED: "CreditsCharged",
}
_REVERSED: Final = "ChargeReversed"


def reconcile_told(dossier: Dossier, booked: Booked | None) -> None:
    """What the world was told: all that was booked, and nothing else."""
    expected: dict[str, tuple[str, Booked]] = {}
    if booked is not None and booked.kind != SettlementKind.NOTHING:
        name = _NAMES[SettlementKind(booked.kind)]
        expected[f"{dossier.generation_id}/{booked.kind}"] = (name, booked)
        if is_reversed(dossier, booked):
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


def _unfounded(dossier: Dossier, told: Told) -> None:
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


def _event(dossier: Dossier, told: Told, name: str, booked: Booked) -> None:
    wrong = DifferenceKind.TOLD_WRONGLY
    at = f"{told.event_id} at partition {told.partition} offset {told.offset}"
    dossier.differ(wrong, f"type of {at}", kept=told.name, expected=name)
    dossier.differ(wrong, f"account of {at}", kept=told.account_id, expected=booked.account_id)
    if name == _REVERSED:
        amount, uncollected = int(booked.collected), int(booked.uncollected)
    else:
        amount = due_of(booked)
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
