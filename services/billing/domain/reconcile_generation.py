"""One generation as its facts tell it, as the books have it, and as the world was told of it."""

from collections.abc import Sequence

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.dossier import Dossier, due_of
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
)
from services.billing.domain.generation import (
    SettlementKind,
)
from services.billing.domain.reconcile_told import reconcile_told
from services.billing.domain.reconcile_transfers import reconcile_hold, reconcile_transfers
from services.billing.domain.reconciled import Findings, Sight, of
from shared.ids import GenerationId, started_at
from shared.money import PicoUsd, fee_of, rounded


def reconcile_generation(
    generation_id: GenerationId, evidence: Sequence[Evidence], sight: Sight
) -> Findings:
    """Compare everything that is known of one generation."""
    dossier = Dossier(
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
    reconcile_transfers(dossier, booked)
    for held in dossier.held:
        reconcile_hold(dossier, held)
    reconcile_told(dossier, booked)
    return dossier.found


def _at(fact: Finished | Abandoned) -> str:
    return f"partition {fact.partition} offset {fact.offset}"


def _facts(dossier: Dossier, booked: Booked | None) -> None:
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
        what = f"fact of run {booked.run_id} for {booked.kind} of {due_of(booked)}"
        dossier.differ(DifferenceKind.BOOKING_WITHOUT_FACT, what, kept="none", expected="one")


def _amounts(dossier: Dossier, booked: Booked, fact: Finished) -> None:
    """The posting against what the fact's usage and prices come to, by themselves."""
    wrong = DifferenceKind.WRONG_AMOUNT
    dossier.differ(wrong, "own key used", kept=booked.is_byok, expected=fact.is_byok)
    is_nothing = booked.kind == SettlementKind.NOTHING
    if fact.cost is None or is_nothing:
        # With usage, only a generation that was given up before it was posted costs nothing.
        expected = fact.cost is None or bool(dossier.ended)
        what = f"posting of nothing for the fact at {_at(fact)}"
        dossier.differ(wrong, what, kept=is_nothing, expected=expected)
        dossier.differ(wrong, "charge of nothing", kept=due_of(booked), expected=0)
        return
    cost = PicoUsd(int(fact.cost))
    list_cost = rounded(cost)
    dossier.differ(wrong, "list cost", kept=int(booked.list_cost), expected=list_cost)
    kind, due = _expected(dossier, booked, fact, cost)
    dossier.differ(wrong, "kind", kept=booked.kind, expected=kind)
    dossier.differ(wrong, "charge", kept=due_of(booked), expected=due)


def _expected(
    dossier: Dossier, booked: Booked, fact: Finished, cost: PicoUsd
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
        return SettlementKind.FEE_DEDUCTED, due_of(booked)
    fee = fee_of(cost, percent)
    return SettlementKind.FEE_DEDUCTED, fee if most is None else min(fee, most)


def _abandonments(dossier: Dossier, booked: Booked | None) -> None:
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
