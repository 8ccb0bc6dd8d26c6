"""What a client may ask of billing, read from a query string."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Generic, Literal, TypeVar

from aiohttp import web
from multidict import MultiMapping

from services.ingress.domain import credential_forms, refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.use_cases.read_usage import ActivityQuestion
from shared.events.receipts import ActivityGroup, QueryReceipts
from shared.ids import ApiKeyHash, CredentialId, GenerationId, MemberId, started_at

Format = Literal["json", "jsonl", "csv"]
Question = TypeVar("Question")

ACTIVITY_DAYS: Final = 30
"""Completed UTC days that activity tells of unless a query says otherwise."""
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
_WORDS_MAX: Final = 10
_CHARACTERS_MAX: Final = 200
_FIRST_YEAR: Final = 2020
_LAST_YEAR: Final = 9000
_GENERATION: Final = re.compile(
    r"gen-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
)
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPES: Final[Mapping[str, Format]] = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
}
_FORMATS: Final[Mapping[str, Format]] = {"json": "json", "jsonl": "jsonl", "csv": "csv"}
_GROUPS: Final[Mapping[str, ActivityGroup | None]] = {
    "api_key_hash": "api_key_hash",
    "api_key": "api_key_hash",
    "credential_id": "credential_id",
    "credential": "credential_id",
    # there is one workspace at most, so nothing is divided by it
    "workspace": None,
}


def generation_id(text: str) -> GenerationId | None:
    """The id in its one form, or None when it can be none."""
    lowered = text.lower()
    if _GENERATION.fullmatch(lowered) is None:
        return None
    try:
        started_at(GenerationId(lowered))
    except (ValueError, OverflowError, OSError):
        return None
    return GenerationId(lowered)


def _wanted_format(request: web.Request) -> Format | Refusal:
    """As `format` says, else as `Accept` does, else JSON."""
    text = request.query.get("format")
    if text is not None:
        return _FORMATS.get(text.lower()) or refusals.invalid(
            "expected json, jsonl or csv", field="format"
        )
    accepted = request.headers.get("Accept", "").lower()
    return next((name for media, name in _MEDIA_TYPES.items() if media in accepted), "json")


def activity_question(request: web.Request, now: datetime) -> "Asked[ActivityQuestion] | Refusal":
    """The last thirty completed days, the one day of `date`, or `from` to `to`."""
    query = request.query
    wanted = _wanted_format(request)
    if isinstance(wanted, Refusal):
        return wanted
    days = _days(query, now, default_first=now.date() - timedelta(days=ACTIVITY_DAYS))
    if isinstance(days, Refusal):
        return days
    filters = _filters(query)
    if isinstance(filters, Refusal):
        return filters
    groups = _groups(query)
    if isinstance(groups, Refusal):
        return groups
    question = ActivityQuestion(
        first_day=days[0],
        last_day=days[1],
        api_key_hash=filters.api_key_hash,
        member_id=filters.member_id,
        credential_id=filters.credential_id,
        model=filters.model,
        group_by=groups,
    )
    return Asked(question, wanted)


def receipts_query(
    request: web.Request, caller: Caller, now: datetime
) -> "Asked[QueryReceipts] | Refusal":
    """Generations from the day `from` to the day `to`, today unless given, after `cursor`."""
    query = request.query
    wanted = _wanted_format(request)
    if isinstance(wanted, Refusal):
        return wanted
    days = _days(query, now, default_first=now.date(), default_last=now.date())
    if isinstance(days, Refusal):
        return days
    filters = _filters(query)
    if isinstance(filters, Refusal):
        return filters
    page = _page(query)
    if isinstance(page, Refusal):
        return page
    found = QueryReceipts(
        account_id=caller.account_id,
        first_day=days[0],
        last_day=days[1],
        after=page[0],
        limit=page[1],
        api_key_hash=filters.api_key_hash,
        credential_id=filters.credential_id,
        model=filters.model,
    )
    return Asked(found, wanted)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Question]):
    """What is asked, and in which form the answer is wanted."""

    question: Question
    format: Format


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filters:
    """What questions may be restricted to."""

    api_key_hash: ApiKeyHash | None
    credential_id: CredentialId | None
    model: str | None
    member_id: MemberId | None


def _filters(query: Mapping[str, str]) -> _Filters | Refusal:
    if query.get("workspace_id"):
        return refusals.NO_WORKSPACES
    api_key_hash = query.get("api_key_hash")
    if api_key_hash is not None and _HASH.fullmatch(api_key_hash) is None:
        return refusals.invalid("expected 64 lowercase hexadecimal digits", field="api_key_hash")
    given = query.get("credential_id")
    credential_id = None if given is None else credential_forms.credential_id(given)
    if given is not None and credential_id is None:
        return refusals.invalid("is no id of a credential", field="credential_id")
    model, user_id = query.get("model"), query.get("user_id")
    for name, text in (("model", model), ("user_id", user_id)):
        if text is not None and not (text.isprintable() and len(text) <= _CHARACTERS_MAX):
            return refusals.invalid("is not known here", field=name)
    return _Filters(
        api_key_hash=None if api_key_hash is None else ApiKeyHash(api_key_hash),
        credential_id=credential_id,
        model=model,
        member_id=None if user_id is None else MemberId(user_id),
    )


def _groups(query: MultiMapping[str]) -> tuple[ActivityGroup, ...] | Refusal:
    words = queries.words(query.getall("group_by", ()), "group_by", maximum=_WORDS_MAX)
    if isinstance(words, Refusal):
        return words
    if any(word not in _GROUPS for word in words):
        return refusals.invalid("expected api_key_hash, credential_id or both", field="group_by")
    groups = (_GROUPS[word] for word in words)
    return tuple(dict.fromkeys(group for group in groups if group is not None))


def _page(query: Mapping[str, str]) -> tuple[GenerationId | None, int] | Refusal:
    """After which generation to begin, and how many to show."""
    limit = queries.whole_number(query, "limit", default=PAGE_DEFAULT, minimum=1, maximum=PAGE_MAX)
    if isinstance(limit, Refusal):
        return limit
    cursor = query.get("cursor")
    after = None if cursor is None else generation_id(cursor)
    if cursor is not None and after is None:
        return refusals.invalid("is not a cursor that this gateway gave", field="cursor")
    return after, limit


def _days(
    query: Mapping[str, str],
    now: datetime,
    *,
    default_first: date,
    default_last: date | None = None,
) -> tuple[date, date] | Refusal:
    """The first and the last day that are asked for; without a word the last completed ones."""
    if "date" in query:
        day = _day(query["date"], "date")
        return day if isinstance(day, Refusal) else (day, day)
    last = default_last or now.date() - timedelta(days=1)
    if "to" in query:
        read = _day(query["to"], "to")
        if isinstance(read, Refusal):
            return read
        last = read
    first = min(default_first, last)
    if "from" in query:
        read = _day(query["from"], "from")
        if isinstance(read, Refusal):
            return read
        first = read
    return first, last


def _day(text: str, field: str) -> date | Refusal:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return refusals.invalid("expected a UTC day like 2026-01-31", field=field)
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        return refusals.invalid("lies outside the years that anything is kept of", field=field)
    return day
