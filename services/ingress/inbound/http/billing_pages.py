"""/generation, /generations, /activity and /credits: what was used, what it cost, and why."""

from typing import Any, Final

import msgspec
from aiohttp import web

from services.ingress.domain import refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import billing_queries, receipts_wire
from services.ingress.inbound.http.activity_wire import activity_item, csv_columns
from services.ingress.inbound.http.csv_text import csv_text
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.management import Answer
from services.ingress.inbound.http.money_json import usd
from services.ingress.inbound.http.receipts_wire import receipt_body
from services.ingress.ports import Catalog
from services.ingress.use_cases.known_callers import KnownCallers
from services.ingress.use_cases.name_credentials import NameCredentials
from services.ingress.use_cases.read_receipts import ReadReceipts
from services.ingress.use_cases.read_usage import ReadUsage
from shared.clock import Clock
from shared.ids import CredentialId

_NO_ID: Final = refusals.invalid("name a generation", field="id")
_NOT_FOUND: Final = refusals.not_found("there is no generation of this id")
_CSV: Final = "text/csv"
_JSON_LINES: Final = "application/x-ndjson"


class BillingPages:
    """The handlers. All but /generation need a management key."""

    def __init__(
        self,
        *,
        callers: KnownCallers,
        catalog: Catalog,
        receipts: ReadReceipts,
        usage: ReadUsage,
        name_credentials: NameCredentials,
        clock: Clock,
    ) -> None:
        """`catalog` tells what providers are called."""
        self._callers = callers
        self._catalog = catalog
        self._receipts = receipts
        self._usage = usage
        self._name_credentials = name_credentials
        self._clock = clock

    async def generation(self, exchange: Exchange) -> web.StreamResponse:
        """GET /generation: the receipt of one generation, for any key of its account."""
        caller = await self._callers.identify(exchange.authorization())
        if isinstance(caller, Refusal):
            return exchange.refuse(caller)
        exchange.line.add(account_id=caller.account_id)
        given = exchange.request.query.get("id")
        if not given:
            return exchange.refuse(_NO_ID)
        generation_id = billing_queries.generation_id(given)
        if generation_id is None:
            return exchange.refuse(_NOT_FOUND)
        exchange.line.add(generation_id=generation_id)
        receipt = await self._receipts.one(caller, generation_id)
        if isinstance(receipt, Refusal):
            return exchange.refuse(receipt)
        ids = receipts_wire.credential_ids(receipt)
        names = await self._name_credentials.of(caller.account_id, ids)
        return exchange.json({"data": receipt_body(receipt, self._provider_name, names)})

    async def generations(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /generations: receipts of some days, page by page, also as JSON lines or CSV."""
        asked = billing_queries.receipts_query(exchange.request, caller, self._clock.now())
        if isinstance(asked, Refusal):
            return asked
        page = await self._receipts.page(asked.question)
        if isinstance(page, Refusal):
            return page
        ids = {each for receipt in page.receipts for each in receipts_wire.credential_ids(receipt)}
        names = await self._name_credentials.of(caller.account_id, sorted(ids))
        bodies = [receipt_body(each, self._provider_name, names) for each in page.receipts]
        cursor = None if page.is_last or not bodies else bodies[-1]["id"]
        if cursor is not None:
            exchange.headers["X-Next-Cursor"] = cursor
        match asked.format:
            case "csv":
                rows = [receipts_wire.csv_row(body) for body in bodies]
                return exchange.document(csv_text(receipts_wire.CSV_COLUMNS, rows), _CSV)
            case "jsonl":
                return exchange.document(_lines(bodies), _JSON_LINES)
            case _:
                return exchange.json({"data": bodies, "next_cursor": cursor})

    async def activity(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /activity: what was used by day, model and endpoint, also as JSON lines or CSV."""
        asked = billing_queries.activity_question(exchange.request, self._clock.now())
        if isinstance(asked, Refusal):
            return asked
        rows = await self._usage.activity(caller, asked.question)
        if isinstance(rows, Refusal):
            return rows
        ids = sorted({CredentialId(each.credential_id) for each in rows if each.credential_id})
        names = await self._name_credentials.of(caller.account_id, ids)
        group_by = asked.question.group_by
        items = [activity_item(each, group_by, self._provider_name, names) for each in rows]
        match asked.format:
            case "csv":
                return exchange.document(csv_text(csv_columns(group_by), items), _CSV)
            case "jsonl":
                return exchange.document(_lines(items), _JSON_LINES)
            case _:
                return exchange.json({"data": items})

    async def credits(self, exchange: Exchange, caller: Caller) -> Answer:
        """GET /credits: what came in and what was used; what is left is available or held."""
        told = await self._usage.credits(caller)
        return exchange.json(
            {
                "data": {
                    "total_credits": usd(told.added_nano_usd),
                    "total_usage": usd(told.used_nano_usd),
                    "available": usd(told.available_nano_usd),
                    "held": usd(told.held_nano_usd),
                }
            }
        )

    def _provider_name(self, provider: str) -> str:
        """What the catalog calls a provider; its slug when it is no longer there."""
        return next(
            (
                endpoint.provider_name
                for model in self._catalog.models()
                for endpoint in model.endpoints
                if endpoint.provider == provider
            ),
            provider,
        )


def _lines(bodies: list[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(body) + b"\n" for body in bodies)
