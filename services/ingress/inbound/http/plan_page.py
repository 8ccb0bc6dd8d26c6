"""GET /byok/plan: what would be tried for a request. A management key is needed."""

import re
from collections.abc import Sequence
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.chat_request import MODELS_MAX
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http import queries
from services.ingress.inbound.http.exchange import Exchange
from services.ingress.inbound.http.management import Answer
from services.ingress.inbound.http.plan_wire import to_wire
from services.ingress.use_cases.describe_plan import DescribePlan, PlanQuestion
from shared.ids import ApiKeyHash

PROVIDERS_MAX: Final = 100
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class PlanPage:
    """The handler."""

    def __init__(self, describe_plan: DescribePlan) -> None:
        """Nothing is remembered: each answer is of its moment."""
        self._describe_plan = describe_plan

    async def get(self, exchange: Exchange, caller: Caller) -> Answer:
        """Describe the plan of the request that the query speaks of."""
        question = _question(exchange)
        if isinstance(question, Refusal):
            return question
        described = await self._describe_plan.of(caller, question)
        if isinstance(described, Refusal):
            return described
        return exchange.json({"data": to_wire(described)})


def _question(exchange: Exchange) -> PlanQuestion | Refusal:
    query = exchange.request.query
    models = _models(query.getall("model", ()))
    if isinstance(models, Refusal):
        return models
    providers: dict[str, tuple[str, ...]] = {}
    for name in ("order", "only", "ignore"):
        named = queries.words(query.getall(name, ()), name, maximum=PROVIDERS_MAX)
        if isinstance(named, Refusal):
            return named
        providers[name] = named
    allow_fallbacks = queries.flag(query, "allow_fallbacks", default=True)
    if isinstance(allow_fallbacks, Refusal):
        return allow_fallbacks
    is_byok_only = queries.flag(query, "byok_only", default=False)
    if isinstance(is_byok_only, Refusal):
        return is_byok_only
    api_key_hash = _api_key_hash(query.get("api_key_hash"))
    if isinstance(api_key_hash, Refusal):
        return api_key_hash
    return PlanQuestion(
        models=models,
        api_key_hash=api_key_hash,
        is_byok_only=is_byok_only,
        allow_fallbacks=allow_fallbacks,
        **providers,
    )


def _models(given: Sequence[str]) -> tuple[str, ...] | Refusal:
    models = queries.words(given, "model", maximum=MODELS_MAX)
    return models or refusals.invalid("name a model, or several", field="model")


def _api_key_hash(given: str | None) -> ApiKeyHash | Refusal | None:
    if given is None or _HASH.fullmatch(given):
        return None if given is None else ApiKeyHash(given)
    return refusals.invalid("expected 64 lowercase hexadecimal digits", field="api_key_hash")
