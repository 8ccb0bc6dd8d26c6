"""What a client sends to make or change an API key, in OpenRouter's words, and its translation.

A management key cannot be made here: only operators make those.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias, get_args

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.json_input import read_json
from services.ingress.domain.key_limit import KeyLimit, LimitReset
from services.ingress.domain.refusals import Refusal
from shared.ids import MemberId
from shared.money import NANO_PER_USD, NanoUsd, parse_usd

LIMIT_USD_MAX: Final = 1_000_000_000
KEYS_MAX: Final = 1_000
"""API keys that an account may have; deleted ones do not count."""
TOO_MANY_KEYS: Final = refusals.invalid(
    f"this account has {KEYS_MAX} API keys, which is as many as may be; delete one first"
)
_CHOICES: Final = {"limit_reset": get_args(LimitReset)}

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Unset: TypeAlias = msgspec.UnsetType


class _NewKeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /keys."""

    name: Name
    limit: Any = None
    limit_reset: LimitReset | None = None
    include_byok_in_limit: bool = False
    expires_at: _Moment | None = None
    byok_only: bool = False
    workspace_id: str | None = None
    creator_user_id: str | None = None


class _KeyChangeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /keys/{hash}: what is left out stays as it is, null clears."""

    name: Name | _Unset = msgspec.UNSET
    disabled: bool | _Unset = msgspec.UNSET
    limit: Any = msgspec.UNSET
    limit_reset: LimitReset | _Unset | None = msgspec.UNSET
    include_byok_in_limit: bool | _Unset = msgspec.UNSET
    byok_only: bool | _Unset = msgspec.UNSET
    workspace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a new API key is to be. `member_id` is named by who makes it, if by anyone."""

    name: str
    limit: KeyLimit
    is_byok_only: bool
    expires_at: datetime | None
    member_id: MemberId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """What of an API key is to be changed; None takes a limit or its windows away."""

    name: str | _Unset
    is_disabled: bool | _Unset
    limit_nano_usd: NanoUsd | _Unset | None
    limit_reset: LimitReset | _Unset | None
    includes_byok: bool | _Unset
    is_byok_only: bool | _Unset


def read_new_key(body: bytes) -> NewKey | Refusal:
    """What the body asks for, or what is wrong with it and where."""
    form = read_json(body, _NewKeyForm, choices=_CHOICES, has_amounts=True)
    if isinstance(form, Refusal):
        return form
    if form.workspace_id:
        return refusals.NO_WORKSPACES
    amount = _amount(form.limit)
    if isinstance(amount, Refusal):
        return amount
    expires_at = _in_utc(form.expires_at)
    if isinstance(expires_at, Refusal):
        return expires_at
    return NewKey(
        name=form.name,
        limit=KeyLimit(
            amount_nano_usd=amount,
            reset=form.limit_reset,
            includes_byok=form.include_byok_in_limit,
        ),
        is_byok_only=form.byok_only,
        expires_at=expires_at,
        member_id=None if form.creator_user_id is None else MemberId(form.creator_user_id),
    )


def read_key_changes(body: bytes) -> KeyChanges | Refusal:
    """What the body asks for, or what is wrong with it and where."""
    form = read_json(body, _KeyChangeForm, choices=_CHOICES, has_amounts=True)
    if isinstance(form, Refusal):
        return form
    if form.workspace_id:
        return refusals.NO_WORKSPACES
    amount = msgspec.UNSET if form.limit is msgspec.UNSET else _amount(form.limit)
    if isinstance(amount, Refusal):
        return amount
    return KeyChanges(
        name=form.name,
        is_disabled=form.disabled,
        limit_nano_usd=amount,
        limit_reset=form.limit_reset,
        includes_byok=form.include_byok_in_limit,
        is_byok_only=form.byok_only,
    )


def check_expiry(expires_at: datetime | None, now: datetime) -> Refusal | None:
    """None when a new key may begin to live."""
    if expires_at is None or now < expires_at:
        return None
    return refusals.invalid("is in the past", field="expires_at")


def _amount(value: Any) -> NanoUsd | Refusal | None:
    """An exact amount of USD; a float was never made of it."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return refusals.invalid("expected number or null", field="limit")
    try:
        amount = parse_usd(str(value))
    except ValueError as error:
        return refusals.invalid(str(error), field="limit")
    if not 0 <= amount <= LIMIT_USD_MAX * NANO_PER_USD:
        return refusals.invalid(f"must be between 0 and {LIMIT_USD_MAX}", field="limit")
    return amount


def _in_utc(moment: datetime | None) -> datetime | Refusal | None:
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        return refusals.invalid("is out of range", field="expires_at")
