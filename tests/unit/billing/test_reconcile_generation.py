from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import msgspec

from services.billing.domain.evidence import Booked, Evidence, Finished, Held, Moved, Told, Waiting
from services.billing.domain.period import Period
from services.billing.domain.reconcile_generation import reconcile_generation
from services.billing.domain.reconciled import Findings, Sight
from tests.unit.billing.made import ACCOUNT, FEE, LIST_COST, MONTH, NOW, RUN, generation

GENERATION = generation()
SIGHT = Sight(
    period=Period(begin=NOW - timedelta(days=1), end=NOW + timedelta(days=1)),
    facts_read_from={},
    facts_from=float("-inf"),
    fees_from=float("-inf"),
    now=NOW.timestamp(),
)
FACT = Finished(
    partition=0,
    offset=7,
    is_certain=True,
    account_id=ACCOUNT,
    run_id=RUN,
    is_byok=False,
    cost=Decimal(LIST_COST * 1_000),
    hold_id=None,
    waived=False,
    fee_percent=None,
)
BOOKED = Booked(
    month=MONTH,
    corrects_month=None,
    account_id=ACCOUNT,
    kind="credits_charged",
    is_byok=False,
    list_cost=Decimal(LIST_COST),
    collected=Decimal(LIST_COST),
    uncollected=Decimal(0),
    run_id=RUN,
    at=NOW.timestamp(),
)
TOLD = Told(
    event_id=f"{GENERATION}/credits_charged",
    name="CreditsCharged",
    partition=0,
    offset=3,
    is_certain=True,
    account_id=ACCOUNT,
    amount=Decimal(LIST_COST),
    uncollected=Decimal(0),
    list_cost=Decimal(LIST_COST),
    fee_percent=None,
    at=NOW.timestamp(),
)


def moved(kind: str, debit: str, credit: str, amount: int = LIST_COST) -> Moved:
    return Moved(
        transfer_id=f"{GENERATION}/{kind}",
        kind=kind,
        account_id=ACCOUNT,
        hold_id=None,
        debit=debit,
        credit=credit,
        amount=Decimal(amount),
        month=MONTH,
        corrects_month=None,
        at=NOW.timestamp(),
    )


PAID = moved("paid_from_credits", f"customer_credits/{ACCOUNT}", "clearing")
REVENUE = moved("revenue", "clearing", "revenue_inference")
WHOLE: list[Evidence] = [FACT, BOOKED, TOLD, PAID, REVENUE]


def found(*evidence: Evidence, sight: Sight = SIGHT) -> Findings:
    return reconcile_generation(GENERATION, evidence, sight)


def kinds(findings: Findings) -> set[str]:
    return {each.kind.value for each in findings.differences}


def without(*left_out: Evidence) -> list[Evidence]:
    return [each for each in WHOLE if each not in left_out]


def test_what_agrees_everywhere_differs_nowhere() -> None:
    assert found(*WHOLE) == Findings()
    assert found(*WHOLE, FACT, TOLD) == Findings()


def test_a_fact_that_the_group_has_not_passed_is_in_flight() -> None:
    fresh = msgspec.structs.replace(FACT, is_certain=False)
    findings = found(fresh)
    assert findings.differences == []
    assert findings.in_flight == Counter(facts=1)
    assert kinds(found(FACT)) == {"fact-not-booked"}


def test_a_posting_is_missed_in_kafka_only_as_far_as_kafka_goes_back() -> None:
    assert kinds(found(*without(FACT))) == {"booking-without-fact"}
    later = replace(SIGHT, facts_from=NOW.timestamp() + 1)
    assert found(*without(FACT), sight=later) == Findings()


def test_an_event_may_wait_in_the_outbox_or_have_left_kafka() -> None:
    assert kinds(found(*without(TOLD))) == {"not-told"}
    waiting = found(*without(TOLD), Waiting(event_id=TOLD.event_id))
    assert (waiting.differences, waiting.in_flight) == ([], Counter(events=1))
    later = replace(SIGHT, fees_from=NOW.timestamp() + 1)
    assert found(*without(TOLD), sight=later) == Findings()


def test_what_was_told_of_a_posting_that_came_after_the_snapshot_is_in_flight() -> None:
    told = msgspec.structs.replace(TOLD, is_certain=False)
    findings = found(told)
    assert (findings.differences, findings.in_flight) == ([], Counter(events=1))
    assert kinds(found(TOLD)) == {"told-not-booked"}


def test_a_fee_is_at_most_what_was_held_for_it() -> None:
    fact = msgspec.structs.replace(FACT, is_byok=True, hold_id="h")
    hold = Held(
        hold_id="h",
        is_byok=True,
        waived=False,
        fee_percent=Decimal(5),
        amount=Decimal(FEE - 1),
        until=NOW.timestamp(),
        is_open=False,
        ending="posted",
    )
    booked = msgspec.structs.replace(
        BOOKED, is_byok=True, kind="fee_deducted", collected=Decimal(FEE)
    )
    lines = [str(each) for each in found(fact, booked, hold).differences]
    assert any(f"charge: is {FEE}, should be {FEE - 1}" in line for line in lines)


def test_a_late_posting_counts_for_the_month_that_it_names() -> None:
    late = [
        msgspec.structs.replace(each, month="2025-12", corrects_month=MONTH)
        for each in (BOOKED, PAID, REVENUE)
    ]
    assert found(FACT, TOLD, *late) == Findings()
    unnamed = msgspec.structs.replace(REVENUE, month="2025-12")
    assert kinds(found(*without(REVENUE), unnamed)) == {"wrong-transfers"}


def test_two_postings_of_one_generation_are_one_too_many() -> None:
    late = msgspec.structs.replace(BOOKED, month="2025-12", corrects_month=MONTH)
    assert kinds(found(*WHOLE, late)) == {"booked-twice"}
