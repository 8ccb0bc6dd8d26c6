"""/byok: an account's credentials. A management key is needed."""

from collections.abc import Mapping
from typing import Final

from services.ingress.domain import credential_forms, refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.client_address import Networks, client_address, shown_user_agent
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.management import Answer
from services.ingress.use_cases.administer_credentials import AdministerCredentials
from services.ingress.use_cases.await_check import AwaitCheck
from shared.events.credential_audit import Actor
from shared.events.credentials import CredentialDescription
from shared.ids import CredentialId

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 100
OFFSET_MAX: Final = 1_000_000
_NOT_FOUND: Final = refusals.not_found("there is no credential of this id")


class ByokPages:
    """The handlers."""

    def __init__(
        self,
        *,
        bodies: Bodies,
        administer: AdministerCredentials,
        trusted_proxies: Networks,
        await_check: AwaitCheck,
    ) -> None:
        """Bodies here are small ones. `trusted_proxies` are believed where a client is."""
        self._await_check = await_check
        self._trusted_proxies = trusted_proxies
        self._bodies = bodies
        self._administer = administer

    async def page(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /byok."""
        query = exchange.request.query
        offset = queries.whole_number(query, "offset", default=0, minimum=0, maximum=OFFSET_MAX)
        if isinstance(offset, Refusal):
            return offset
        limit = queries.whole_number(
            query, "limit", default=LIMIT_DEFAULT, minimum=1, maximum=LIMIT_MAX
        )
        if isinstance(limit, Refusal):
            return limit
        provider = _provider(query)
        if isinstance(provider, Refusal):
            return provider
        page = await self._administer.page(caller, provider=provider, offset=offset, limit=limit)
        if isinstance(page, Refusal):
            return page
        data = [credential_forms.to_wire(each) for each in page.credentials]
        return exchange.json({"data": data, "total_count": page.total})

    async def create(self, exchange: Exchange, caller: Caller) -> Answer:
        """POST /byok."""
        form = await self._bodies.form(exchange.request, credential_forms.read_credential)
        if isinstance(form, Refusal):
            return form
        waits = _waits_for_check(exchange)
        if isinstance(waits, Refusal):
            return waits
        kept = await self._administer.add(caller, form, self._actor(exchange, caller))
        if waits:
            kept = await self._await_check(caller, kept)
        return _answer(exchange, kept, status=201)

    async def get(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /byok/{id}."""
        credential_id = _credential_id(exchange)
        if credential_id is None:
            return _NOT_FOUND
        return _answer(exchange, await self._administer.get(caller, credential_id))

    async def change(self, exchange: Exchange, caller: Caller) -> Answer:
        """PATCH /byok/{id}."""
        credential_id = _credential_id(exchange)
        if credential_id is None:
            return _NOT_FOUND
        form = await self._bodies.form(exchange.request, credential_forms.read_credential_change)
        if isinstance(form, Refusal):
            return form
        waits = _waits_for_check(exchange)
        if isinstance(waits, Refusal):
            return waits
        actor = self._actor(exchange, caller)
        kept = await self._administer.change(caller, credential_id, form, actor)
        if waits:
            kept = await self._await_check(caller, kept)
        return _answer(exchange, kept)

    async def check(self, exchange: Exchange, caller: Caller) -> Answer:
        """POST /byok/{id}/check: answered with the result, or as pending when that takes long."""
        credential_id = _credential_id(exchange)
        if credential_id is None:
            return _NOT_FOUND
        asked = await self._administer.check(caller, credential_id)
        return _answer(exchange, await self._await_check(caller, asked))

    async def delete(self, exchange: Exchange, caller: Caller) -> Answer:
        """DELETE /byok/{id}."""
        credential_id = _credential_id(exchange)
        if credential_id is None:
            return _NOT_FOUND
        actor = self._actor(exchange, caller)
        refusal = await self._administer.delete(caller, credential_id, actor)
        return refusal or exchange.json({"deleted": True})

    async def order(self, exchange: Exchange, caller: Caller) -> Answer:
        """PUT /byok/order."""
        form = await self._bodies.form(exchange.request, credential_forms.read_order)
        if isinstance(form, Refusal):
            return form
        actor = self._actor(exchange, caller)
        reordered = await self._administer.reorder(caller, form, actor)
        if isinstance(reordered, Refusal):
            return reordered
        exchange.line.add(provider=reordered.provider)
        return exchange.json(
            {
                "data": {
                    "provider": reordered.provider,
                    "prioritized": reordered.prioritized,
                    "fallback": reordered.fallback,
                }
            }
        )

    def _actor(self, exchange: Exchange, caller: Caller) -> Actor:
        request = exchange.request
        return Actor(
            kind="management_key",
            api_key_hash=caller.api_key_hash,
            member_id=caller.member_id,
            client_address=client_address(
                request.remote,
                request.headers.getall("X-Forwarded-For", []),
                self._trusted_proxies,
            ),
            user_agent=shown_user_agent(request.headers.get("User-Agent")),
        )


def _provider(query: Mapping[str, str]) -> str | Refusal | None:
    """The filter of a page."""
    if query.get("workspace_id"):
        return refusals.NO_WORKSPACES
    provider = query.get("provider")
    if provider is None or credential_forms.looks_like_provider(provider):
        return provider
    return refusals.invalid("is not a provider", field="provider")


def _credential_id(exchange: Exchange) -> CredentialId | None:
    return credential_forms.credential_id(exchange.request.match_info["credential_id"])


def _waits_for_check(exchange: Exchange) -> bool | Refusal:
    """Whether the query asks to wait for the result of the check that follows a save."""
    match exchange.request.query.get("check"):
        case None:
            return False
        case "wait":
            return True
        case _:
            return refusals.invalid("expected wait", field="check")


def _answer(
    exchange: Exchange, kept: CredentialDescription | Refusal, *, status: int = 200
) -> Answer:
    if isinstance(kept, Refusal):
        return kept
    exchange.line.add(credential_id=kept.credential_id, provider=kept.provider)
    return exchange.json({"data": credential_forms.to_wire(kept)}, status=status)
