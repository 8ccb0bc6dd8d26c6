"""POST /webhooks/stripe: what Stripe says of payments.

A 2xx ends Stripe's attempts. So all that a repetition cannot heal is answered with 200, and told to
operators; a body that Stripe did not sign is a 400; what is unavailable now is a 503, and comes again.
"""

from collections.abc import Sequence

from aiohttp import web

from services.ingress.domain import refusals, stripe_events, stripe_signature
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.bodies import SMALL_BODY_BYTES_MAX, Bodies
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.use_cases.take_payment_news import TakePaymentNews
from shared.clock import Clock
from shared.secret import Secret

_HEADER = "Stripe-Signature"


class StripeWebhook:
    """The handler."""

    def __init__(
        self,
        *,
        secrets: Sequence[Secret],
        live_mode: bool,
        bodies: Bodies,
        take: TakePaymentNews,
        clock: Clock,
    ) -> None:
        """`secrets` are the endpoint's at Stripe; events of the other mode are not booked."""
        self._secrets = secrets
        self._live_mode = live_mode
        self._bodies = bodies
        self._take = take
        self._clock = clock

    async def post(self, exchange: Exchange) -> web.StreamResponse:
        """Take one event in."""
        request = exchange.request
        body = await self._bodies.read(request, bytes_max=SMALL_BODY_BYTES_MAX)
        if isinstance(body, Refusal):
            return exchange.refuse(body)
        problem = stripe_signature.problem_of(
            request.headers.get(_HEADER),
            body,
            self._secrets,
            now_seconds=self._clock.now().timestamp(),
        )
        if problem is not None:
            exchange.line.add(reason=problem)
            return exchange.refuse(refusals.invalid(problem, field=_HEADER))
        event = stripe_events.read_event(body, live_mode=self._live_mode)
        exchange.line.add(event_id=event.event_id, event_type=event.event_type)
        outcome = await self._take(event)
        exchange.line.add(payment=outcome)
        return exchange.json({"received": True, "outcome": outcome})
