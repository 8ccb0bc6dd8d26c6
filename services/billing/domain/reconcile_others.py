"""Deliveries, movements without a generation, and accounts, each as its places tell it."""

from collections.abc import Iterable, Sequence

from services.billing.domain.difference import DifferenceKind
from services.billing.domain.evidence import (
    ACCOUNT,
    EVENT,
    GENERATION,
    Allotted,
    Credited,
    Delivered,
    Evidence,
    Kept,
    Moved,
    Published,
    TakenIn,
    Told,
    Unreadable,
    Waiting,
)
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.reconcile_generation import reconcile_generation
from services.billing.domain.reconciled import Findings, Sight, of
from shared.ids import GenerationId


def reconcile(key: str, evidence: Sequence[Evidence], sight: Sight) -> Findings:
    """Compare everything that is known of one subject."""
    kind, _, name = key.partition(" ")
    if kind == GENERATION:
        return reconcile_generation(GenerationId(name), evidence, sight)
    if kind == EVENT:
        return _delivery(name, evidence, sight)
    if kind == ACCOUNT:
        return _account(name, evidence)
    return _movement(name, evidence, sight)


def _delivery(name: str, evidence: Sequence[Evidence], sight: Sight) -> Findings:
    """A record of the facts against the inbox."""
    found = Findings()
    subject = f"event {name}"
    for unreadable in of(evidence, Unreadable):
        if not unreadable.is_certain:
            found.in_flight["facts"] += 1
            continue
        place = f"partition {unreadable.partition} offset {unreadable.offset}"
        what = f"dead letter for {place} ({unreadable.reason})"
        found.differ(DifferenceKind.UNREADABLE_FACT, subject, what, kept="none", expected="one")
    delivered, taken_in = of(evidence, Delivered), of(evidence, TakenIn)
    if not taken_in:
        for each in delivered:
            if each.is_certain:
                what = f"inbox row for partition {each.partition} offset {each.offset}"
                found.differ(
                    DifferenceKind.NOT_TAKEN_IN, subject, what, kept="none", expected="one"
                )
    if not delivered:
        for row in taken_in:
            if row.offset >= sight.facts_read_from.get(row.partition, 0):
                what = f"record at partition {row.partition} offset {row.offset}"
                found.differ(
                    DifferenceKind.TAKEN_IN_WITHOUT_RECORD,
                    subject,
                    what,
                    kept="none",
                    expected="one",
                )
    return found


def _movement(name: str, evidence: Sequence[Evidence], sight: Sight) -> Findings:
    """Money that moved without a generation, such as a top-up, and the event that tells of it."""
    found = Findings()
    subject = f"movement {name}"
    moved, told, waiting = of(evidence, Moved), of(evidence, Told), of(evidence, Waiting)
    change = _change_of_credits(moved)
    for row in of(evidence, Credited):
        found.equal(
            DifferenceKind.WRONG_TRANSFERS,
            f"{subject} of account {row.account_id}",
            "what its transfers change credits by",
            kept=change,
            expected=int(row.amount),
        )
    if moved and told:
        for each in told:
            found.equal(
                DifferenceKind.TOLD_WRONGLY,
                f"{subject} of account {each.account_id}",
                f"amount at partition {each.partition} offset {each.offset}",
                kept=abs(int(each.amount)),
                expected=abs(change),
            )
    elif moved and waiting:
        found.in_flight["events"] += 1
    elif moved:
        if moved[0].at >= sight.fees_from and sight.period.surely_holds(moved[0].at):
            found.differ(
                DifferenceKind.NOT_TOLD,
                f"{subject} of account {moved[0].account_id}",
                f"event of {int(moved[0].amount)}",
                kept="untold",
                expected="told",
            )
    elif told and not told[0].is_certain:
        found.in_flight["events"] += 1
    elif told and sight.period.surely_holds(told[0].at):
        found.differ(
            DifferenceKind.TOLD_NOT_BOOKED,
            f"{subject} of account {told[0].account_id}",
            f"{told[0].name} at partition {told[0].partition} offset {told[0].offset}",
            kept=f"told, {int(told[0].amount)}",
            expected="not told",
        )
    return found


def _change_of_credits(moved: Sequence[Moved]) -> int:
    """What transfers add to an account's credits, below zero what they take."""
    name = f"{LedgerAccount.CUSTOMER_CREDITS}/"
    return sum(
        int(each.amount) * (each.credit.startswith(name) - each.debit.startswith(name))
        for each in moved
    )


def _account(name: str, evidence: Sequence[Evidence]) -> Findings:
    """The last published state of an account against its row."""
    found = Findings()
    subject, wrong = f"account {name}", DifferenceKind.WRONG_STATE
    rows, published = of(evidence, Kept), of(evidence, Published)
    last = max(published, key=lambda each: each.offset, default=None)
    if not rows:
        if last is not None and last.is_certain:
            what = f"state at offset {last.offset}"
            found.differ(wrong, subject, what, kept="published", expected="none")
        found.in_flight["states"] += last is not None and not last.is_certain
        return found
    row = rows[0]
    if row.is_dirty or (last is not None and last.version > row.version and not last.is_certain):
        found.in_flight["states"] += 1
        return found
    if last is None:
        if row.version > 0:
            found.differ(wrong, subject, "state", kept="unpublished", expected=row.version)
        return found
    for what, kept, expected in (
        ("version", last.version, row.version),
        ("credits", int(last.credits), int(row.available)),
        ("held", int(last.held), int(row.held)),
        *_policy(last, row),
        *_allotment(last, of(evidence, Allotted)),
    ):
        what_where = f"published {what} at offset {last.offset}"
        found.equal(wrong, subject, what_where, kept=kept, expected=expected)
    return found


def _policy(last: Published, row: Kept) -> Iterable[tuple[str, object, object]]:
    """The fee policy as published beside what of it is the account's own.

    The installation's is not compared: a state keeps the one of the process that published it.
    """
    yield "policy version", last.policy_version, row.policy_version
    for what, kept, own in (
        ("fee percent", last.fee_percent, row.fee_percent),
        ("allotment rule", last.allotment_rule, row.allotment_rule),
        ("free requests", last.free_requests, row.free_requests),
        ("free list cost", last.free_list_cost, row.free_list_cost),
    ):
        if own is not None:
            yield what, kept, own


def _allotment(
    last: Published, allotted: Sequence[Allotted]
) -> Iterable[tuple[str, object, object]]:
    """What was used of the allotment of the month that the state is about, by both rules."""
    rows = [each for each in allotted if each.month == last.month]
    used = sum(each.used for each in rows)
    list_cost = sum(int(each.list_cost_used) for each in rows)
    yield f"allotment used of {last.month}", last.used, used
    yield f"list cost used of {last.month}", int(last.list_cost_used), list_cost
