"""/operator/accounts/{account_id}/...: operators move credits, with the installation's own token."""

from typing import Final

from aiohttp import web

from services.ingress.domain import credit_forms, refusals
from services.ingress.domain.credit_forms import (
    CorrectionForm,
    CreditForm,
    Form,
    Movement,
    RefundForm,
)
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.bodies import SMALL_BODY_BYTES_MAX, Bodies
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.use_cases.move_credits import MoveCredits
from shared.secret import Secret

_UNAUTHENTICATED: Final = refusals.unauthenticated("the operator token is missing or wrong")
_NO_ACCOUNT: Final = refusals.not_found("there is no account of this id")


class OperatorPages:
    """The handlers."""

    def __init__(self, *, token: Secret, bodies: Bodies, move_credits: MoveCredits) -> None:
        """`token` is what an operator must show."""
        self._token = token
        self._bodies = bodies
        self._move_credits = move_credits

    async def credits(self, exchange: Exchange) -> web.StreamResponse:
        """POST .../credits: a payment that was received otherwise, or a promotion."""
        return await self._move(exchange, CreditForm)

    async def refunds(self, exchange: Exchange) -> web.StreamResponse:
        """POST .../refunds: money went back to the customer."""
        return await self._move(exchange, RefundForm)

    async def corrections(self, exchange: Exchange) -> web.StreamResponse:
        """POST .../corrections: something was booked wrong."""
        return await self._move(exchange, CorrectionForm)

    async def _move(self, exchange: Exchange, kind: type[Form]) -> web.StreamResponse:
        if not self._is_operator(exchange.authorization()):
            return exchange.refuse(_UNAUTHENTICATED)
        movement = await self._movement(exchange, kind)
        if isinstance(movement, Refusal):
            return exchange.refuse(movement)
        kept = await self._move_credits(movement)
        if isinstance(kept, Refusal):
            return exchange.refuse(kept)
        exchange.line.add(amount_nano_usd=kept.amount_nano_usd, repeated=kept.repeated)
        return exchange.json({"data": credit_forms.to_wire(kept)})

    async def _movement(self, exchange: Exchange, kind: type[Form]) -> Movement | Refusal:
        """What the request asks for."""
        account_id = credit_forms.account_id_of(exchange.request.match_info["account_id"])
        if account_id is None:
            return _NO_ACCOUNT
        exchange.line.add(account_id=account_id)
        key = credit_forms.read_key(exchange.request.headers.get(credit_forms.IDEMPOTENCY_KEY))
        if isinstance(key, Refusal):
            return key
        body = await self._bodies.read(exchange.request, bytes_max=SMALL_BODY_BYTES_MAX)
        if isinstance(body, Refusal):
            return body
        return credit_forms.read_movement(body, kind, account_id=account_id, key=key)

    def _is_operator(self, authorization: str | None) -> bool:
        scheme, _, given = (authorization or "").strip().partition(" ")
        # bytes that are no text come as lone surrogates, which nothing can compare
        return (
            scheme.lower() == "bearer" and given.isascii() and Secret(given.strip()) == self._token
        )
