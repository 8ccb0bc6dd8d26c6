"""API keys: their form, how they are shown, and whom they stand for."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.ingress.domain import refusals
from services.ingress.domain.key_limit import NO_LIMIT, KeyLimit
from services.ingress.domain.refusals import Refusal
from shared.events.billing import ApiKeyLimit
from shared.ids import AccountId, ApiKeyHash, MemberId, hash_api_key

PREFIX: Final = "sk-or-v1-"
"""As OpenRouter's own, so that clients which look at it are content; the kind is in our books."""
SECRET_HEX_DIGITS: Final = 64
_FORM: Final = re.compile(r"sk-or-v1-[0-9a-f]{64}")
_HASH_FORM: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN_FIRST: Final = len(PREFIX) + 3
_SHOWN_LAST: Final = 3

MISSING: Final = refusals.unauthenticated("Missing Authentication header")
UNKNOWN: Final = refusals.unauthenticated("The API key is unknown or disabled")
NOT_FOR_INFERENCE: Final = refusals.forbidden(
    "Management keys cannot call inference; use an inference key"
)
NOT_FOR_MANAGEMENT: Final = refusals.forbidden("Only management keys can perform this operation")


ByokOnlyBy = Literal["account", "api_key"]
"""What keeps the requests of a key off shared capacity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request: what an API key stands for.

    `limit_version` is that of the key's state which `limit` is of; None for a key that never had one.
    """

    account_id: AccountId
    api_key_hash: ApiKeyHash
    member_id: MemberId | None
    label: str
    is_management: bool
    byok_only_by: tuple[ByokOnlyBy, ...] = ()
    limit: KeyLimit = NO_LIMIT
    limit_version: int | None = None
    expires_at: datetime | None = None

    @property
    def told_limit(self) -> ApiKeyLimit | None:
        """What billing is told of the limit with each request."""
        if self.limit_version is None:
            return None
        return ApiKeyLimit(
            version=self.limit_version,
            limit_nano_usd=self.limit.amount_nano_usd,
            limit_reset=self.limit.reset,
            include_byok=self.limit.includes_byok,
        )

    @property
    def is_byok_only(self) -> bool:
        """Whether no request of this key may use shared capacity."""
        return bool(self.byok_only_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An inference key as its account administers it. `member_id` is whose it is."""

    api_key_hash: ApiKeyHash
    name: str
    label: str
    is_disabled: bool
    is_byok_only: bool
    limit: KeyLimit
    expires_at: datetime | None
    member_id: MemberId | None
    created_at: datetime
    updated_at: datetime | None


def read_authorization(header: str | None) -> ApiKeyHash | Refusal:
    """The hash of the key in an Authorization header; the key itself is not kept."""
    if not header:
        return MISSING
    scheme, _, key = header.strip().partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        return MISSING
    if _FORM.fullmatch(key) is None:
        return UNKNOWN
    return hash_api_key(key)


def expired(expires_at: datetime, now: datetime) -> Refusal | None:
    """401 from the moment at which a key expires."""
    if now < expires_at:
        return None
    return refusals.unauthenticated(f"The API key expired at {rfc3339(expires_at)}")


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as JSON has it."""
    return moment.isoformat().replace("+00:00", "Z")


def read_hash(text: str) -> ApiKeyHash | None:
    """The hash in its one form, or None when it can be none."""
    lowered = text.lower()
    return ApiKeyHash(lowered) if _HASH_FORM.fullmatch(lowered) else None


def label_of(api_key: str) -> str:
    """The key as it may be shown: its beginning and its end."""
    return f"{api_key[:_SHOWN_FIRST]}...{api_key[-_SHOWN_LAST:]}"
