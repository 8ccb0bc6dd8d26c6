"""The one way in for what administers an account: a management key is needed."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from services.ingress.domain import api_key
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.exchange import Exchange, Handler
from services.ingress.use_cases.known_callers import KnownCallers

Answer: TypeAlias = web.StreamResponse | Refusal
ManagedHandler: TypeAlias = Callable[[Exchange, Caller], Awaitable[Answer]]


class Management:
    """Makes handlers of those that are only for managers; a refusal that one returns is answered."""

    def __init__(self, callers: KnownCallers) -> None:
        """`callers` tells whom a key stands for."""
        self._callers = callers

    def __call__(self, handle: ManagedHandler) -> Handler:
        """Call `handle` with the manager who asks; 401 and 403 are answered before it."""

        async def answer(exchange: Exchange) -> web.StreamResponse:
            answered = await self._answered(exchange, handle)
            return exchange.refuse(answered) if isinstance(answered, Refusal) else answered

        return answer

    async def _answered(self, exchange: Exchange, handle: ManagedHandler) -> Answer:
        caller = await self._callers.identify(exchange.authorization())
        if isinstance(caller, Refusal):
            return caller
        exchange.line.add(account_id=caller.account_id)
        if not caller.is_management:
            return api_key.NOT_FOR_MANAGEMENT
        return await handle(exchange, caller)
