"""GET /models, /embeddings/models and /models/{author}/{slug}/endpoints: the catalog. Anyone may read it."""

from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web
from yarl import URL

from services.ingress.domain import models, refusals
from services.ingress.domain.model_filter import TEXT, ModelFilter, no_categories
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.models_wire import endpoints_body, model_body
from services.ingress.ports import Catalog
from shared.errors import Unavailable
from shared.events.catalog import EMBEDDINGS, ModelListed

LIMIT_MAX: Final = 1000
_WORDS_MAX: Final = 50


class ModelsPage:
    """The handlers; what the list describes is encoded once, until the catalog changes."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer from the catalog."""
        self._catalog = catalog
        self._described_from: Sequence[ModelListed] = ()
        self._described: list[msgspec.Raw] = []

    async def page(self, exchange: Exchange) -> web.StreamResponse:
        """A page of models that chat, or of those that a filter asks for."""
        return self._page(exchange, TEXT)

    async def embeddings(self, exchange: Exchange) -> web.StreamResponse:
        """A page of models that embed."""
        return self._page(exchange, (EMBEDDINGS,))

    def _page(self, exchange: Exchange, unless_told: tuple[str, ...]) -> web.StreamResponse:
        """All of them, unless `limit` says otherwise."""
        query = exchange.request.query
        offset = queries.whole_number(
            query, "offset", default=0, minimum=0, maximum=queries.OFFSET_MAX
        )
        if isinstance(offset, Refusal):
            return exchange.refuse(offset)
        limit = queries.whole_number(
            query, "limit", default=LIMIT_MAX, minimum=1, maximum=LIMIT_MAX
        )
        if isinstance(limit, Refusal):
            return exchange.refuse(limit)
        wanted = _filter(exchange.request, unless_told)
        if isinstance(wanted, Refusal):
            return exchange.refuse(wanted)
        self._need_catalog()
        shown = [
            described
            for model, described in zip(self._catalog.models(), self._describe(), strict=True)
            if wanted.shows(model)
        ]
        end = offset + limit
        following = exchange.request.rel_url.update_query(offset=str(end), limit=str(limit))
        page = {
            "data": shown[offset:end],
            "total_count": len(shown),
            "links": {"next": _text(following) if end < len(shown) else None},
        }
        return exchange.json(page)

    async def endpoints(self, exchange: Exchange) -> web.StreamResponse:
        """Where one model is served, and at what price."""
        path = exchange.request.match_info
        slug = f"{path['author']}/{path['slug']}"
        self._need_catalog()
        model = next((each for each in self._catalog.models() if each.slug == slug), None)
        if model is None:
            refusal = models.unknown_model(slug, self._catalog.slugs(), field="model")
            return exchange.refuse(refusals.not_found(refusal.message))
        return exchange.json(endpoints_body(model))

    def _need_catalog(self) -> None:
        problem = self._catalog.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)

    def _describe(self) -> "list[msgspec.Raw]":
        listed = self._catalog.models()
        if listed is not self._described_from:
            self._described = [
                msgspec.Raw(msgspec.json.encode(model_body(each))) for each in listed
            ]
            self._described_from = listed
        return self._described


def _filter(request: web.Request, unless_told: tuple[str, ...]) -> ModelFilter | Refusal:
    if request.query.get("category"):
        return no_categories()
    parameters = _words(request, "supported_parameters")
    if isinstance(parameters, Refusal):
        return parameters
    inputs = _words(request, "input_modalities")
    if isinstance(inputs, Refusal):
        return inputs
    outputs = _words(request, "output_modalities")
    if isinstance(outputs, Refusal):
        return outputs
    return ModelFilter(
        supported_parameters=parameters,
        input_modalities=inputs,
        output_modalities=outputs or unless_told,
    )


def _words(request: web.Request, name: str) -> tuple[str, ...] | Refusal:
    return queries.words(request.query.getall(name, []), name, maximum=_WORDS_MAX)


def _text(url: URL) -> str:
    return url.raw_path_qs
