"""What an operator sends to move an account's credits, and what is answered. Amounts are text: exact."""

import re
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from services.ingress.domain import refusals
from services.ingress.domain.json_input import read_json
from services.ingress.domain.refusals import Refusal
from shared.events.billing import AddCredits, CorrectCredits, CreditsKept, RefundCredits
from shared.events.envelope import Refused
from shared.ids import AccountId
from shared.money import parse_usd, usd_string

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
KEY_CHARACTERS_MAX: Final = 200
_ID_FORM: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY_FORM: Final = re.compile(rf"[!-~](?:[ -~]{{0,{KEY_CHARACTERS_MAX - 2}}}[!-~])?")
_AMOUNT_FORM: Final = re.compile(r"-?[0-9]{1,10}(?:\.[0-9]{1,9})?")
_KINDS: Final = ("cash", "promotion")
_CURRENCIES: Final = ("USD",)
_WORDS_OF_FIELDS: Final = {"amount_nano_usd": "amount", "key": IDEMPOTENCY_KEY}

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class CreditForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST .../credits."""

    amount: str
    currency: Literal["USD"] = "USD"
    kind: Literal["cash", "promotion"] = "cash"


class RefundForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST .../refunds."""

    amount: str
    currency: Literal["USD"] = "USD"
    reason: _Text | None = None


class CorrectionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST .../corrections: an amount below zero takes credits; `reference` says what was wrong."""

    amount: str
    currency: Literal["USD"] = "USD"
    reason: _Text
    reference: _Text | None = None


Form: TypeAlias = CreditForm | RefundForm | CorrectionForm
Movement: TypeAlias = AddCredits | RefundCredits | CorrectCredits


def account_id_of(text: str) -> AccountId | None:
    """The account's id, or None when the text is none."""
    return AccountId(text) if _ID_FORM.fullmatch(text) else None


def read_key(header: str | None) -> str | Refusal:
    """The key that makes a movement once."""
    if not header:
        return refusals.invalid("is required", field=IDEMPOTENCY_KEY)
    if _KEY_FORM.fullmatch(header) is None:
        return refusals.invalid(
            f"must be printable ASCII of at most {KEY_CHARACTERS_MAX} characters",
            field=IDEMPOTENCY_KEY,
        )
    return header


def read_movement(
    body: bytes, kind: type[Form], *, account_id: AccountId, key: str
) -> Movement | Refusal:
    """The command that a body asks for."""
    form = read_json(body, kind, choices={"kind": _KINDS, "currency": _CURRENCIES})
    if isinstance(form, Refusal):
        return form
    if _AMOUNT_FORM.fullmatch(form.amount) is None:
        return refusals.invalid(
            "must be a decimal number of USD like 5.00, with at most nine decimal places",
            field="amount",
        )
    amount = parse_usd(form.amount)
    match form:
        case CreditForm():
            return AddCredits(
                account_id=account_id, amount_nano_usd=amount, key=key, kind=form.kind
            )
        case RefundForm():
            return RefundCredits(
                account_id=account_id, amount_nano_usd=amount, key=key, reason=form.reason
            )
        case CorrectionForm():
            return CorrectCredits(
                account_id=account_id,
                amount_nano_usd=amount,
                key=key,
                reason=form.reason,
                reference=form.reference,
            )


def to_wire(kept: CreditsKept) -> dict[str, str | bool]:
    """What was booked, now or before."""
    return {
        "account_id": kept.account_id,
        "amount": usd_string(kept.amount_nano_usd),
        "uncollected": usd_string(kept.uncollected_nano_usd),
        "credits": usd_string(kept.credits_nano_usd),
        "repeated": kept.repeated,
    }


def refusal_of(refused: Refused) -> Refusal:
    """Billing's refusal in the words of the API."""
    if refused.code == "conflict":
        return refusals.conflict(refused.message)
    field = None if refused.field is None else _WORDS_OF_FIELDS.get(refused.field, refused.field)
    return refusals.invalid(refused.message, field=field)
