"""What a client sends to add or change a credential, in OpenRouter's words, and its translation.

OpenRouter's words (`disabled`, `is_fallback`, `sort_order`, `allowed_*`) stop here. A `key` may be a
string, or the provider's configuration itself as JSON, which is kept as its text. Its fields that
stand for what this gateway does not have may be sent back as `to_wire` shows them, not otherwise.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.health_wire import check_to_wire, health_to_wire
from services.ingress.domain.json_input import read_json
from services.ingress.domain.refusals import Refusal
from shared.events.credential_secrets import PROVIDERS_WITH_A_FORMAT
from shared.events.credentials import CredentialDescription, Section
from shared.ids import ApiKeyHash, CredentialId, MemberId
from shared.secret import Secret

KEY_CHARACTERS_MAX: Final = 65_536
FILTER_ENTRIES_MAX: Final = 100
ORDERED_MAX: Final = 1_000
_ORDER_MAX: Final = 1_000_000
_ID_FORM: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PROVIDER_FORM: Final = re.compile(r"[a-z0-9][a-z0-9._/-]{0,63}")
_WORDS_OF_FIELDS: Final = {
    "sealed_key": "key",
    "order": "sort_order",
    "enabled": "disabled",
    "section": "is_fallback",
    "filters.models": "allowed_models",
    "filters.api_key_hashes": "allowed_api_key_hashes",
    "filters.member_ids": "allowed_user_ids",
    "allowed_member_ids": "allowed_user_ids",
}

Name = Annotated[str, msgspec.Meta(max_length=255)]
Note = Annotated[str, msgspec.Meta(max_length=1_000)]
Order = Annotated[int, msgspec.Meta(ge=0, le=_ORDER_MAX)]
_Filter = Annotated[list[str], msgspec.Meta(min_length=1, max_length=FILTER_ENTRIES_MAX)]
_Ids = Annotated[list[str], msgspec.Meta(max_length=ORDERED_MAX)]
_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Hashes = Annotated[list[_Hash], msgspec.Meta(min_length=1, max_length=FILTER_ENTRIES_MAX)]
_Unset = msgspec.UnsetType


class CredentialForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /byok."""

    provider: str
    key: Any
    name: Name | None = None
    note: Note | None = None
    workspace_id: str | None = None
    disabled: bool = False
    is_fallback: bool = False
    always_use: bool | _Unset = msgspec.UNSET
    is_required: bool | _Unset = msgspec.UNSET
    is_byok_only: bool = False
    declared_region: Any = None
    declared_zdr: Any = None
    sort_order: Order | None = None
    allowed_models: _Filter | None = None
    allowed_api_key_hashes: _Hashes | None = None
    allowed_user_ids: _Filter | None = None


class CredentialChangeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /byok/{id}: what is left out stays as it is, null clears."""

    key: Any = msgspec.UNSET
    name: Name | _Unset | None = msgspec.UNSET
    note: Note | _Unset | None = msgspec.UNSET
    disabled: bool | _Unset = msgspec.UNSET
    is_fallback: bool | _Unset = msgspec.UNSET
    always_use: bool | _Unset = msgspec.UNSET
    is_required: bool | _Unset = msgspec.UNSET
    is_byok_only: bool = False
    declared_region: Any = None
    declared_zdr: Any = None
    sort_order: Order | _Unset = msgspec.UNSET
    allowed_models: _Filter | _Unset | None = msgspec.UNSET
    allowed_api_key_hashes: _Hashes | _Unset | None = msgspec.UNSET
    allowed_user_ids: _Filter | _Unset | None = msgspec.UNSET


class OrderForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /byok/order: the ids of all credentials of one provider, each section in its order."""

    provider: str
    prioritized: _Ids = []
    fallback: _Ids = []


_Form = TypeVar("_Form", CredentialForm, CredentialChangeForm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a form restricts its credential to, to be checked against what exists."""

    models: list[str] | None
    api_key_hashes: list[ApiKeyHash] | None
    member_ids: list[MemberId] | None


def read_credential(body: bytes) -> CredentialForm | Refusal:
    """The form, or what is wrong with it and where."""
    form = read_json(body, CredentialForm)
    if isinstance(form, CredentialForm) and form.workspace_id is not None:
        return refusals.NO_WORKSPACES
    return _in_our_words(form)


def read_credential_change(body: bytes) -> CredentialChangeForm | Refusal:
    """The form, or what is wrong with it and where."""
    return _in_our_words(read_json(body, CredentialChangeForm))


def read_order(body: bytes) -> OrderForm | Refusal:
    """The form, with ids in their one form, or what is wrong with it and where."""
    form = read_json(body, OrderForm)
    if isinstance(form, Refusal):
        return form
    if not looks_like_provider(form.provider):
        return refusals.invalid("is not a provider", field="provider")
    for field in ("prioritized", "fallback"):
        for place, text in enumerate(getattr(form, field)):
            if credential_id(text) is None:
                return refusals.invalid("is not a credential's id", field=f"{field}[{place}]")
    return msgspec.structs.replace(
        form,
        prioritized=[each.lower() for each in form.prioritized],
        fallback=[each.lower() for each in form.fallback],
    )


def credential_id(text: str) -> CredentialId | None:
    """The id in its one form, or None when it can be none."""
    lowered = text.lower()
    return CredentialId(lowered) if _ID_FORM.fullmatch(lowered) else None


def _in_our_words(form: _Form | Refusal) -> _Form | Refusal:
    """Both forms may say `is_required`, OpenRouter's own clients' word for `always_use`."""
    if isinstance(form, Refusal):
        return form
    if form.is_byok_only:
        return refusals.invalid(
            "is not supported; always_use keeps the models of a credential off credits",
            field="is_byok_only",
        )
    for field in ("declared_region", "declared_zdr"):
        if getattr(form, field) is not None:
            return refusals.invalid("is not supported; it can only be null", field=field)
    if form.is_required is msgspec.UNSET:
        return form
    if form.always_use not in {msgspec.UNSET, form.is_required}:
        return refusals.invalid("contradicts always_use", field="is_required")
    return msgspec.structs.replace(form, always_use=form.is_required)


def pasted_key(value: Any) -> Secret | Refusal:
    """What the client pasted, as text."""
    match value:
        case str() if value.strip():
            text = value
        case dict() | list() if value:
            text = msgspec.json.encode(value).decode()
        case str() | dict() | list():
            return refusals.invalid("must not be empty", field="key")
        case _:
            return refusals.invalid("expected string, object or array", field="key")
    if len(text) > KEY_CHARACTERS_MAX:
        message = f"must not be longer than {KEY_CHARACTERS_MAX} characters"
        return refusals.invalid(message, field="key")
    return Secret(text)


def check_provider(slug: str, in_catalog: frozenset[str]) -> Refusal | None:
    """None when the catalog has a model at that provider, or it may get one: its keys have a format."""
    known = in_catalog | PROVIDERS_WITH_A_FORMAT
    if slug in known:
        return None
    return refusals.invalid(f"expected one of {', '.join(sorted(known))}", field="provider")


def looks_like_provider(slug: str) -> bool:
    """Whether a filter by this text can find anything."""
    return _PROVIDER_FORM.fullmatch(slug) is not None


def filters_of(form: CredentialForm | CredentialChangeForm) -> Filters:
    """What is to be checked; what is unset or cleared is None."""
    return Filters(
        models=form.allowed_models or None,
        api_key_hashes=[ApiKeyHash(each) for each in form.allowed_api_key_hashes or ()] or None,
        member_ids=[MemberId(each) for each in form.allowed_user_ids or ()] or None,
    )


def section_of(is_fallback: bool | _Unset) -> Section | _Unset:  # noqa: FBT001 - the wire's word
    """The section that OpenRouter's flag means."""
    if isinstance(is_fallback, bool):
        return "fallback" if is_fallback else "prioritized"
    return msgspec.UNSET


def enabled_of(disabled: bool | _Unset) -> bool | _Unset:  # noqa: FBT001 - the wire's word
    """The positive form of OpenRouter's flag."""
    return not disabled if isinstance(disabled, bool) else msgspec.UNSET


def to_wire_field(field: str) -> str:
    """key_vault's name of a field in the client's words; paths below it stay."""
    for ours, theirs in _WORDS_OF_FIELDS.items():
        if field == ours or field.startswith((ours + "[", ours + ".")):
            return theirs + field[len(ours) :]
    return field


def to_wire(credential: CredentialDescription) -> dict[str, Any]:
    """A credential as OpenRouter's BYOKKey, with `always_use`, `note`, `check` and `health` more.

    Its own clients insist on every field. `is_required` is their nearest word for `always_use`; the
    others stand for what this gateway does not have.
    """
    return {
        "id": credential.credential_id,
        "provider": credential.provider,
        "workspace_id": None,
        "label": credential.label,
        "name": credential.name,
        "note": credential.note,
        "disabled": not credential.enabled,
        "is_fallback": credential.section == "fallback",
        "always_use": credential.always_use,
        "is_required": credential.always_use,
        "is_byok_only": False,
        "declared_region": None,
        "declared_zdr": None,
        "allowed_models": credential.filters.models,
        "allowed_api_key_hashes": credential.filters.api_key_hashes,
        "allowed_user_ids": credential.filters.member_ids,
        "sort_order": credential.order,
        "created_at": credential.created_at,
        "check": check_to_wire(credential.check),
        "health": health_to_wire(credential.health),
    }
