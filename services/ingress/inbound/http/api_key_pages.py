"""/keys: an account's API keys. A management key is needed, and none of them is shown here."""

from services.ingress.domain import api_key, api_key_forms, refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.key_wire import key_to_wire
from services.ingress.inbound.http.management import Answer
from services.ingress.use_cases.administer_api_keys import NOT_FOUND, AdministerApiKeys, SpentKey
from shared.ids import ApiKeyHash


class ApiKeyPages:
    """The handlers."""

    def __init__(self, *, bodies: Bodies, administer: AdministerApiKeys) -> None:
        """Bodies here are small ones."""
        self._bodies = bodies
        self._administer = administer

    async def page(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /keys."""
        query = exchange.request.query
        if query.get("workspace_id"):
            return refusals.NO_WORKSPACES
        offset = queries.whole_number(
            query, "offset", default=0, minimum=0, maximum=queries.OFFSET_MAX
        )
        if isinstance(offset, Refusal):
            return offset
        with_disabled = queries.flag(query, "include_disabled", default=False)
        if isinstance(with_disabled, Refusal):
            return with_disabled
        with_expired = queries.flag(query, "include_expired", default=False)
        if isinstance(with_expired, Refusal):
            return with_expired
        page = await self._administer.page(
            caller, offset=offset, with_disabled=with_disabled, with_expired=with_expired
        )
        data = [key_to_wire(each) for each in page.keys]
        return exchange.json({"data": data, "total_count": page.total})

    async def create(self, exchange: Exchange, caller: Caller) -> Answer:
        """POST /keys: the one answer that tells the key itself."""
        new = await self._bodies.form(exchange.request, api_key_forms.read_new_key)
        if isinstance(new, Refusal):
            return new
        made = await self._administer.add(caller, new)
        if isinstance(made, Refusal):
            return made
        _note(exchange, made.key.key.api_key_hash)
        # it must not lie in a cache on its way
        exchange.headers["Cache-Control"] = "no-store"
        body = {"data": key_to_wire(made.key), "key": made.secret.reveal()}
        return exchange.json(body, status=201)

    async def get(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /keys/{hash}."""
        api_key_hash = _hash(exchange)
        if api_key_hash is None:
            return NOT_FOUND
        return _answer(exchange, await self._administer.get(caller, api_key_hash))

    async def change(self, exchange: Exchange, caller: Caller) -> Answer:
        """PATCH /keys/{hash}."""
        api_key_hash = _hash(exchange)
        if api_key_hash is None:
            return NOT_FOUND
        changes = await self._bodies.form(exchange.request, api_key_forms.read_key_changes)
        if isinstance(changes, Refusal):
            return changes
        return _answer(exchange, await self._administer.change(caller, api_key_hash, changes))

    async def delete(self, exchange: Exchange, caller: Caller) -> Answer:
        """DELETE /keys/{hash}."""
        api_key_hash = _hash(exchange)
        if api_key_hash is None:
            return NOT_FOUND
        refusal = await self._administer.delete(caller, api_key_hash)
        return refusal or exchange.json({"deleted": True})


def _hash(exchange: Exchange) -> ApiKeyHash | None:
    """The hash in the path, which the log line then has too."""
    api_key_hash = api_key.read_hash(exchange.request.match_info["hash"])
    if api_key_hash is not None:
        _note(exchange, api_key_hash)
    return api_key_hash


def _note(exchange: Exchange, api_key_hash: ApiKeyHash) -> None:
    exchange.line.add(api_key_hash=api_key_hash)


def _answer(exchange: Exchange, kept: SpentKey | Refusal) -> Answer:
    return kept if isinstance(kept, Refusal) else exchange.json({"data": key_to_wire(kept)})
