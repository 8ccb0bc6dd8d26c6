from services.billing.domain.abandon import abandon
from services.billing.domain.authorize import authorize_spend
from services.billing.domain.ledger import TransferKind
from services.billing.domain.months import Months, month_after
from services.billing.domain.page import Page
from services.billing.domain.settle import settle_finished
from tests.unit.billing.made import (
    ACCOUNT,
    LIST_COST,
    MONTH,
    NOW,
    POLICY,
    USD,
    authorize,
    events,
    finished,
    generation,
    page_with,
    promised,
)

LATER = Months(current="2025-12", closed=frozenset({"2025-10", MONTH}))


def _months(page: Page) -> set[tuple[str, str | None]]:
    return {
        (each.month, each.corrects_month)
        for each in page.entries.transfers
        if each.kind is not TransferKind.TOP_UP
    }


def test_what_belongs_to_an_open_month_is_written_into_it() -> None:
    months = Months(current="2026-02", closed=frozenset({"2025-12"}))
    assert months.posting("2026-01") == "2026-01"
    assert months.corrected("2026-01") is None


def test_what_belongs_to_a_closed_month_is_written_into_the_current_one_and_names_it() -> None:
    assert LATER.posting(MONTH) == "2025-12"
    assert LATER.corrected(MONTH) == MONTH


def test_no_clock_leads_into_a_closed_month() -> None:
    slow = Months(current=MONTH, closed=frozenset({MONTH}))
    assert slow.posting(MONTH) == "2025-12"


def test_december_is_followed_by_january() -> None:
    assert [month_after(each) for each in ("2025-11", "2025-12")] == ["2025-12", "2026-01"]


def test_a_late_fact_is_posted_as_ever_but_into_the_open_month() -> None:
    page = page_with(USD)
    page.months = LATER
    settle_finished(page, finished(is_byok=False), POLICY)
    settle_finished(page, finished(is_byok=False), POLICY)
    assert _months(page) == {("2025-12", MONTH)}
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST
    assert page.entries.duplicates == 1
    assert events(page) == ["CreditsCharged"]


def test_a_late_waiver_counts_in_the_month_in_which_it_started() -> None:
    page = page_with(0)
    page.months = LATER
    settle_finished(page, finished(), POLICY)
    assert page.allotment(ACCOUNT, MONTH).used == 1
    assert page.allotment(ACCOUNT, "2025-12").used == 0


def test_a_hold_of_a_closed_month_ends_in_the_open_one() -> None:
    page = page_with(USD)
    authorize_spend(page, authorize(is_byok=False), POLICY)
    page.months = LATER
    settle_finished(page, finished(is_byok=False, spend=promised()), POLICY)
    assert _months(page) == {(MONTH, None), ("2025-12", MONTH)}
    assert page.account(ACCOUNT).held_nano_usd == 0
    assert page.account(ACCOUNT).available_nano_usd == USD - LIST_COST


def test_a_posting_of_a_closed_month_is_reversed_in_the_open_one() -> None:
    page = page_with(USD)
    settle_finished(page, finished(is_byok=False), POLICY)
    page.months = LATER
    abandon(page, generation(1, NOW), ACCOUNT, "ours")
    assert _months(page) == {(MONTH, None), ("2025-12", MONTH)}
    assert page.account(ACCOUNT).available_nano_usd == USD
