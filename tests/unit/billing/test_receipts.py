"""What a page of the books means for the read side."""

import msgspec

from services.billing.domain.abandon import abandon, release
from services.billing.domain.activity import SHARED, Used, activity_of
from services.billing.domain.receipt import Position, receipts_of
from services.billing.domain.settle import settle_finished
from services.billing.outbound.postgres_receipts import RECEIPT_COLUMNS, receipt_row
from shared.events.generations import GenerationFinished, Spend
from shared.events.usage import Usage
from shared.ids import CredentialId
from tests.unit.billing.made import (
    ACCOUNT,
    API_KEY,
    FEE,
    LIST_COST,
    NOW,
    POLICY,
    USD,
    finished,
    generation,
    page_with,
)

HERE = Position(partition=3, offset=41)


def _booked(*facts: GenerationFinished) -> list[tuple[object, ...]]:
    page = page_with(USD)
    for fact in facts:
        settle_finished(page, fact, POLICY)
    positions = {fact.generation_id: HERE for fact in facts}
    return [(each.finished, each.position) for each in receipts_of(page, positions).told]


def test_each_generation_that_is_booked_has_a_receipt_where_its_record_stands() -> None:
    first, second = finished(1), finished(2, outcome="failed", usage=None)

    told = _booked(first, second, first)

    assert [position for _, position in told] == [HERE, HERE]


def test_a_receipts_row_is_made_of_the_fact_alone() -> None:
    fact = msgspec.structs.replace(
        finished(1, spend=Spend(waived=True)),
        usage=Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=4, reasoning_tokens=3),
        finish_reason="length",
        first_token_ms=9,
    )

    row = dict(zip(RECEIPT_COLUMNS, receipt_row(fact, HERE, "2025-11"), strict=True))

    assert row == dict(zip(RECEIPT_COLUMNS, receipt_row(fact, HERE, "2025-11"), strict=True))
    assert (row["record_partition"], row["record_offset"]) == (3, 41)
    assert (row["month"], row["day"]) == ("2025-11", NOW.date())
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (4, 3)
    assert (row["finish_reason"], row["first_token_ms"]) == ("length", 9)


def test_activity_adds_up_by_day_model_endpoint_key_credential_and_operation() -> None:
    page = page_with(USD)
    own = [finished(number, spend=Spend(waived=True)) for number in (1, 2)]
    paid = finished(3, spend=Spend(fee_percent=POLICY.fee_percent))
    shared = finished(4, is_byok=False)
    embedded = msgspec.structs.replace(finished(6, is_byok=False), operation="embeddings")
    nothing = finished(5, outcome="failed")
    for fact in (*own, paid, shared, embedded, nothing):
        settle_finished(page, fact, POLICY)

    activity = activity_of(page.entries.finished)

    where = (ACCOUNT, NOW.date(), "openai/gpt-4o", "openai", "openai", API_KEY)
    assert activity == {
        (*where, CredentialId("credential"), "chat"): Used(
            requests=3,
            prompt_tokens=3_000,
            completion_tokens=1_500,
            credits_nano_usd=FEE,
            byok_list_cost_nano_usd=3 * LIST_COST,
        ),
        **{
            (*where, SHARED, operation): Used(
                requests=1, prompt_tokens=1_000, completion_tokens=500, credits_nano_usd=LIST_COST
            )
            for operation in ("chat", "embeddings")
        },
    }


def test_what_was_charged_and_is_abandoned_is_given_back_once() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1), POLICY)
    settle_finished(page, finished(2, outcome="failed"), POLICY)
    for number in (1, 1, 2, 3):
        abandon(page, generation(number), ACCOUNT, "out_of_time")

    positions = {generation(number): HERE for number in (1, 2)}
    given_back = receipts_of(page, positions).given_back

    assert given_back == ((ACCOUNT, generation(1)),)


def test_a_release_gives_nothing_back() -> None:
    page = page_with(USD)
    settle_finished(page, finished(1), POLICY)
    release(page, generation(1), ACCOUNT, "no answer")
    release(page, generation(2), ACCOUNT, "no answer")

    assert receipts_of(page, {generation(1): HERE}).given_back == ()
