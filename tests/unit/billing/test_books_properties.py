"""Whatever happens in whatever order: money is conserved and each thing ends once."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.domain.abandon import abandon, release
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.credits import add_credits, correct_credits, refund_credits
from services.billing.domain.ledger import LedgerAccount
from services.billing.domain.page import Page, expire
from services.billing.domain.payment import to_return
from services.billing.domain.record_payment import record_dispute, record_payment, record_refund
from services.billing.domain.settle import settle_finished
from shared.events.billing import AddCredits, CorrectCredits, RefundCredits
from shared.events.generations import GenerationFinished, Spend
from shared.events.payments import RecordDispute, RecordPayment, RecordRefund
from shared.events.usage import Usage
from shared.ids import AccountId, HoldId
from tests.unit.billing.made import (
    ACCOUNT,
    LIST_COST,
    MONTH,
    OTHER_ACCOUNT,
    POLICY,
    USD,
    authorize,
    balance,
    finished,
    generation,
)

_ACCOUNTS = (ACCOUNT, OTHER_ACCOUNT)
_GENERATIONS = 4


@dataclass(frozen=True)
class _Step:
    kind: str
    number: int
    hold: int
    is_byok: bool
    amount: int
    outcome: str
    completion_tokens: int | None


_OF_CREDITS = ("top up", "refund", "correct", "pay", "refund a payment", "dispute")
_steps = st.builds(
    _Step,
    kind=st.sampled_from(["authorize", "finish", "abandon", "release", "expire", *_OF_CREDITS]),
    number=st.integers(0, _GENERATIONS - 1),
    hold=st.integers(0, 2),
    is_byok=st.booleans(),
    amount=st.integers(0, 6 * LIST_COST),
    outcome=st.sampled_from(["completed", "failed", "cancelled"]),
    completion_tokens=st.none() | st.integers(0, 2_000),
)


def _take(page: Page, step: _Step) -> None:
    account = _ACCOUNTS[step.number % len(_ACCOUNTS)]
    hold = f"{step.number}/{step.hold}"
    match step.kind:
        case "authorize":
            command = authorize(
                step.number,
                hold=hold,
                account=account,
                is_byok=step.is_byok,
                worst_case_nano_usd=step.amount,
            )
            authorize_spend(page, command, POLICY)
        case "finish":
            usage = (
                None
                if step.completion_tokens is None
                else Usage(prompt_tokens=10, completion_tokens=step.completion_tokens)
            )
            fact = finished(
                step.number,
                account=account,
                is_byok=step.is_byok,
                outcome=step.outcome,  # type: ignore[arg-type] # one of the three, drawn above
                usage=usage,
                spend=Spend(hold_id=HoldId(hold)),
            )
            settle_finished(page, fact, POLICY)
        case "abandon":
            abandon(page, generation(step.number), account, "ours")
        case "release":
            release(page, generation(step.number), account, "theirs")
        case "expire":
            expire(page, list(page.open_holds.values())[: step.hold])
        case _:
            _move_credits(page, step, account)


def _move_credits(page: Page, step: _Step, account: AccountId) -> None:
    key, amount, payment = f"{step.kind} {step.amount}", step.amount, f"stripe/{step.number}"
    match step.kind:
        case "top up":
            added = AddCredits(account_id=account, amount_nano_usd=amount, key=key)
            add_credits(page, added, MONTH)
        case "refund":
            refunded = RefundCredits(account_id=account, amount_nano_usd=amount, key=key)
            refund_credits(page, refunded, MONTH)
        case "correct":
            change = amount - 3 * LIST_COST
            corrected = CorrectCredits(
                account_id=account, amount_nano_usd=change, key=key, reason="wrong"
            )
            correct_credits(page, corrected, MONTH)
        case "pay":
            paid = RecordPayment(
                payment_id=payment, account_id=account, amount_nano_usd=3 * LIST_COST
            )
            record_payment(page, paid, MONTH)
        case "refund a payment":
            returned = RecordRefund(payment_id=payment, refunded_nano_usd=amount)
            record_refund(page, returned, MONTH)
        case _:
            disputed = RecordDispute(
                payment_id=payment,
                dispute_id=str(step.hold),
                amount_nano_usd=2 * LIST_COST,
                is_reinstated=step.is_byok,
            )
            record_dispute(page, disputed, MONTH)


def _check(page: Page) -> None:
    entries = page.entries
    assert balance(page, LedgerAccount.CLEARING) == 0
    assert len({each.transfer_id for each in entries.transfers}) == len(entries.transfers)
    ended = Counter(hold.hold_id for hold, _ in entries.hold_endings)
    assert all(times == 1 for times in ended.values())
    assert len({each.event_id for each in entries.fee_events}) == len(entries.fee_events)
    for account_id in _ACCOUNTS:
        account = page.account(account_id)
        held = [hold for hold in page.open_holds.values() if hold.account_id == account_id]
        assert account.available_nano_usd >= 0
        assert account.held_nano_usd == sum(hold.amount_nano_usd for hold in held)
        allotment = page.allotment(account_id, MONTH)
        assert allotment.reserved == sum(hold.waived for hold in held)
        assert allotment.used == sum(
            settlement.kind.counts_in_allotment
            for settlement in page.settlements.values()
            if settlement.account_id == account_id and not _is_reversed(page, settlement)
        )
        paid_in = sum(
            each.amount_nano_usd for each in entries.movements if each.account_id == account_id
        )
        paid_out = sum(
            settlement.collected_nano_usd
            for settlement in page.settlements.values()
            if settlement.account_id == account_id and not _is_reversed(page, settlement)
        )
        assert account.available_nano_usd + account.held_nano_usd == paid_in - paid_out


def _check_payments(page: Page) -> None:
    movements = page.entries.movements
    cash = sum(each.cash_nano_usd for each in movements)
    assert balance(page, LedgerAccount.CASH_IN) == -cash
    for payment in page.payments.values():
        due = to_return(payment.amount_nano_usd, page.payment_reports.get(payment.payment_id, []))
        assert payment.returned_nano_usd == due
        assert payment.uncollected_nano_usd >= 0
        assert payment.amount_nano_usd - due == sum(
            each.cash_nano_usd for each in movements if each.payment_id == payment.payment_id
        )


def _is_reversed(page: Page, settlement: object) -> bool:
    generation_id = getattr(settlement, "generation_id", None)
    return any(
        each.generation_id == generation_id and each.kind == "abandoned"
        for each in page.entries.abandonments
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(_steps, max_size=25))
def test_money_is_conserved_and_nothing_ends_twice(steps: list[_Step]) -> None:
    page = Page()
    for step in steps:
        _take(page, step)
        _check(page)
        _check_payments(page)


@settings(max_examples=200, deadline=None)
@given(st.lists(_steps, max_size=15))
def test_every_step_taken_twice_changes_nothing(steps: list[_Step]) -> None:
    once, twice = Page(), Page()
    for step in steps:
        _take(once, step)
        _take(twice, step)
        if step.kind != "expire":
            _take(twice, step)
    assert once.entries.transfers == twice.entries.transfers
    assert once.entries.fee_events == twice.entries.fee_events


_promises = st.sampled_from(
    [Spend(waived=True), Spend(fee_percent=Decimal(5)), Spend(fee_percent=Decimal("0.5"))]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_promises, st.booleans(), st.booleans()), max_size=6), st.randoms())
def test_the_order_of_facts_changes_no_balance(
    drawn: list[tuple[Spend, bool, bool]],
    random: "st.random.Random",  # type: ignore[name-defined] # Hypothesis hands one in
) -> None:
    facts: list[tuple[str, GenerationFinished]] = []
    for number, (spend, is_byok, is_abandoned) in enumerate(drawn):
        fact = finished(number, is_byok=is_byok, spend=spend)
        facts.append(("finish", fact))
        if is_abandoned:
            facts.append(("abandon", fact))
    shuffled = [*facts, *facts]
    random.shuffle(shuffled)
    balances = []
    for order in (facts, shuffled):
        page = Page()
        add_credits(page, AddCredits(account_id=ACCOUNT, amount_nano_usd=USD, key="k"), MONTH)
        for kind, fact in order:
            if kind == "finish":
                settle_finished(page, fact, POLICY)
            else:
                abandon(page, fact.generation_id, fact.account_id, "ours")
        balances.append(
            (
                page.account(ACCOUNT).available_nano_usd,
                page.allotment(ACCOUNT, MONTH),
                [balance(page, each) for each in LedgerAccount],
            )
        )
    assert balances[0] == balances[1]
