"""What may be asked of billing, and what is refused."""

from datetime import UTC, date, datetime

import pytest
from aiohttp.test_utils import make_mocked_request

from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import billing_queries
from services.ingress.inbound.http.billing_queries import Format
from services.ingress.use_cases.read_usage import ActivityQuestion
from shared.ids import AccountId, ApiKeyHash, GenerationId

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
GENERATION = "gen-0192aaaa-0000-7000-8000-000000000001"
CALLER = Caller(
    account_id=AccountId("a"),
    api_key_hash=ApiKeyHash("ab" * 32),
    member_id=None,
    label="sk-...",
    is_management=True,
)


def _activity(query: str) -> ActivityQuestion:
    asked = billing_queries.activity_question(make_mocked_request("GET", f"/a?{query}"), NOW)
    assert not isinstance(asked, Refusal), asked
    return asked.question


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("", date(2026, 1, 30), date(2026, 2, 28)),
        ("date=2026-02-03", date(2026, 2, 3), date(2026, 2, 3)),
        ("from=2026-02-03", date(2026, 2, 3), date(2026, 2, 28)),
        ("from=2026-02-03&to=2026-03-01", date(2026, 2, 3), date(2026, 3, 1)),
    ],
)
def test_activity_is_of_the_last_thirty_completed_days_unless_told(
    query: str, first: date, last: date
) -> None:
    question = _activity(query)

    assert (question.first_day, question.last_day) == (first, last)


def test_groups_are_named_in_either_way_and_workspaces_divide_nothing() -> None:
    assert _activity("group_by=workspace").group_by == ()
    assert _activity("group_by=credential,api_key&group_by=api_key_hash").group_by == (
        "credential_id",
        "api_key_hash",
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("date=yesterday", "date"),
        ("date=2026-02-30", "date"),
        ("from=0001-01-01", "from"),
        ("to=9999-12-31", "to"),
        ("group_by=colour", "group_by"),
        ("api_key_hash=AB", "api_key_hash"),
        ("credential_id=x", "credential_id"),
        ("workspace_id=w", "workspace_id"),
        ("model=a%00b", "model"),
        ("user_id=" + "x" * 201, "user_id"),
        ("format=xlsx", "format"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(query: str, field: str) -> None:
    refused = billing_queries.activity_question(make_mocked_request("GET", f"/a?{query}"), NOW)

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.field) == (400, field)


def test_a_page_begins_after_its_cursor() -> None:
    request = make_mocked_request("GET", f"/g?from=2026-02-01&limit=7&cursor={GENERATION}")
    asked = billing_queries.receipts_query(request, CALLER, NOW)

    assert not isinstance(asked, Refusal)
    assert (asked.question.after, asked.question.limit) == (GenerationId(GENERATION), 7)
    assert (asked.question.first_day, asked.question.last_day) == (date(2026, 2, 1), NOW.date())


@pytest.mark.parametrize(
    ("query", "field"), [("cursor=gen-1", "cursor"), ("limit=0", "limit"), ("limit=501", "limit")]
)
def test_a_page_that_cannot_be_is_refused(query: str, field: str) -> None:
    request = make_mocked_request("GET", f"/g?{query}")
    refused = billing_queries.receipts_query(request, CALLER, NOW)

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.field) == (400, field)


@pytest.mark.parametrize(
    ("query", "accept", "wanted"),
    [
        ("", "*/*", "json"),
        ("", "text/csv;q=0.9", "csv"),
        ("", "application/x-ndjson", "jsonl"),
        ("format=json", "text/csv", "json"),
        ("format=CSV", "*/*", "csv"),
    ],
)
def test_the_form_is_that_of_the_query_or_the_header(
    query: str, accept: str, wanted: Format
) -> None:
    request = make_mocked_request("GET", f"/g?{query}", headers={"Accept": accept})
    asked = billing_queries.receipts_query(request, CALLER, NOW)

    assert not isinstance(asked, Refusal)
    assert asked.format == wanted


@pytest.mark.parametrize("text", ["", "gen-", "gen-0192aaaa-0000-4000-8000-000000000001", "x" * 99])
def test_what_is_no_generation_id_names_none(text: str) -> None:
    assert billing_queries.generation_id(text) is None
    assert billing_queries.generation_id(GENERATION.upper().replace("GEN", "gen")) == GENERATION
