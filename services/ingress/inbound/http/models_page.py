"""GET /models: the catalog as OpenRouter describes models. Anyone may read it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from yarl import URL

from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.money_json import pricing
from services.ingress.ports import Catalog
from shared.errors import Unavailable
from shared.events.catalog import ModelListed

PATH: Final = "/api/v1/models"
LIMIT_MAX: Final = 1000


class ModelsPage:
    """The handler; what it describes is encoded once, until the catalog changes."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer from the catalog."""
        self._catalog = catalog
        self._described_from: Sequence[ModelListed] = ()
        self._described: list[msgspec.Raw] = []

    async def page(self, exchange: Exchange) -> web.StreamResponse:
        """A page of models, all of them unless `limit` says otherwise."""
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
        problem = self._catalog.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)
        described = self._describe()
        end = offset + limit
        following = exchange.request.rel_url.update_query(offset=str(end), limit=str(limit))
        page = {
            "data": described[offset:end],
            "total_count": len(described),
            "links": {"next": _text(following) if end < len(described) else None},
        }
        return exchange.json(page)

    def _describe(self) -> "list[msgspec.Raw]":
        models = self._catalog.models()
        if models is not self._described_from:
            self._described = [msgspec.Raw(msgspec.json.encode(_model(each))) for each in models]
            self._described_from = models
        return self._described


def _text(url: URL) -> str:
    return url.raw_path_qs


def _model(model: ModelListed) -> dict[str, Any]:
    capabilities = model.capabilities
    inputs, outputs = capabilities.input_modalities, capabilities.output_modalities
    return {
        "id": model.slug,
        "canonical_slug": model.slug,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length_tokens,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
            "input_modalities": inputs,
            "output_modalities": outputs,
            "tokenizer": capabilities.tokenizer,
            "instruct_type": None,
        },
        "pricing": pricing(model.endpoints[0].prices) if model.endpoints else {},
        "top_provider": {
            "context_length": model.context_length_tokens,
            "max_completion_tokens": model.output_tokens_max,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": capabilities.supported_parameters,
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"{PATH}/{model.slug}/endpoints"},
    }
