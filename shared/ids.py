"""Identifiers: what each one names, and how new ones are made.

Ids are uuid7, so they sort by the time of their making, and a generation's month can be read from
its id alone.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NewType

import uuid_utils

AccountId = NewType("AccountId", str)
ApiKeyHash = NewType("ApiKeyHash", str)
"""SHA-256 of an API key, 64 lowercase hexadecimal digits; the key itself is never kept."""
CredentialId = NewType("CredentialId", str)
EventId = NewType("EventId", str)
GenerationId = NewType("GenerationId", str)
"""`gen-<uuid7>`: one client request."""
HoldId = NewType("HoldId", str)
InstanceId = NewType("InstanceId", str)
"""`<service>-<ordinal>-<uuid7>`: one run of one process; a later start sorts later."""
MemberId = NewType("MemberId", str)
RunId = NewType("RunId", str)

PLATFORM_ACCOUNT = AccountId("00000000-0000-7000-8000-000000000000")
"""The account that owns the platform credentials, which shared capacity runs on."""

_GENERATION_PREFIX = "gen-"
_EPOCH = date(1970, 1, 1)
_DAY_MILLISECONDS = 24 * 60 * 60 * 1000


def new_id() -> str:
    """A fresh uuid7 in its 36-character form."""
    return str(uuid_utils.uuid7())


def new_generation_id() -> GenerationId:
    """A fresh generation id."""
    return GenerationId(_GENERATION_PREFIX + new_id())


def new_instance_id(service: str, ordinal: int) -> InstanceId:
    """The id of this run of process `ordinal` of `service`."""
    return InstanceId(f"{service}-{ordinal}-{new_id()}")


def started_at(generation_id: GenerationId) -> datetime:
    """When the generation began, to the millisecond, in UTC.

    Raises ValueError when the text is not a generation id.
    """
    if not generation_id.startswith(_GENERATION_PREFIX):
        raise ValueError("a generation id begins with 'gen-'")
    parsed = uuid_utils.UUID(generation_id[len(_GENERATION_PREFIX) :])
    if parsed.version != 7:  # noqa: PLR2004 - the version's name is its number
        raise ValueError("a generation id is a uuid7 after 'gen-'")
    return datetime.fromtimestamp(parsed.timestamp / 1000, tz=UTC)


def first_generation_id(day: date, *, days_later: int = 0) -> GenerationId:
    """The least id that a generation of a UTC day can have, or of one that many days later."""
    days = (day - _EPOCH).days + days_later
    milliseconds = f"{max(0, days) * _DAY_MILLISECONDS:012x}"
    return GenerationId(
        f"{_GENERATION_PREFIX}{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-000000000000"
    )


def is_of_month(generation_id: GenerationId, month: str) -> bool:
    """Whether the generation began in that UTC month (`YYYY-MM`): ids sort by their time."""
    first, first_after = _ids_of(month)
    return first <= generation_id < first_after


@lru_cache(maxsize=16)
def _ids_of(month: str) -> tuple[GenerationId, GenerationId]:
    first = date.fromisoformat(f"{month}-01")
    first_after = (first + timedelta(days=31)).replace(day=1)
    return first_generation_id(first), first_generation_id(first_after)


def month_of(moment: datetime) -> str:
    """The UTC month of a moment, as `YYYY-MM`."""
    there = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{there.year:04d}-{there.month:02d}"


def hash_api_key(api_key: str) -> ApiKeyHash:
    """The form in which an API key is stored and compared."""
    return ApiKeyHash(hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest())
