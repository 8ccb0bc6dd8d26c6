"""The API's paths. What is not here is a 404, and a wrong method a 405, in the same envelope."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from services.ingress.inbound.http.api_key_pages import ApiKeyPages
from services.ingress.inbound.http.billing_pages import BillingPages
from services.ingress.inbound.http.bodies import BODY_BYTES_MAX
from services.ingress.inbound.http.byok_pages import ByokPages
from services.ingress.inbound.http.chat_completions import ChatCompletions
from services.ingress.inbound.http.embeddings import Embeddings
from services.ingress.inbound.http.error_envelope import error_body
from services.ingress.inbound.http.exchange import Endpoints, Exchange, Handler
from services.ingress.inbound.http.key_page import KeyPage
from services.ingress.inbound.http.management import Management
from services.ingress.inbound.http.models_page import ModelsPage
from services.ingress.inbound.http.operator_pages import OperatorPages
from services.ingress.inbound.http.plan_page import PlanPage
from services.ingress.inbound.http.stripe_webhook import StripeWebhook

BASE_PATH: Final = "/api/v1"
_PATH_SHOWN_MAX: Final = 200
_FAILED_FROM: Final = 500


def ingress_app(
    endpoints: Endpoints,
    *,
    managed: Management,
    chat_completions: ChatCompletions,
    embeddings: Embeddings,
    models: ModelsPage,
    key: KeyPage,
    api_keys: ApiKeyPages,
    byok: ByokPages,
    plan: PlanPage,
    billing: BillingPages,
    operator: OperatorPages | None,
    stripe: StripeWebhook | None,
) -> web.Application:
    """The application to serve; `managed` makes handlers that need a management key.

    Without `operator` or `stripe` their paths do not exist.
    """
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    paths: dict[str, Mapping[str, Handler]] = {
        "/chat/completions": {"POST": chat_completions.create},
        "/embeddings": {"POST": embeddings.create},
        "/embeddings/models": {"GET": models.embeddings},
        "/models": {"GET": models.page},
        "/models/{author}/{slug}/endpoints": {"GET": models.endpoints},
        "/key": {"GET": key.get},
        "/auth/key": {"GET": key.get},
        "/credits": {"GET": managed(billing.credits)},
        "/activity": {"GET": managed(billing.activity)},
        "/generation": {"GET": billing.generation},
        "/generations": {"GET": managed(billing.generations)},
        "/keys": {"GET": managed(api_keys.page), "POST": managed(api_keys.create)},
        "/keys/{hash}": {
            "GET": managed(api_keys.get),
            "PATCH": managed(api_keys.change),
            "DELETE": managed(api_keys.delete),
        },
        "/byok": {"GET": managed(byok.page), "POST": managed(byok.create)},
        "/byok/plan": {"GET": managed(plan.get)},
        "/byok/order": {"PUT": managed(byok.order)},
        "/byok/{credential_id}": {
            "GET": managed(byok.get),
            "PATCH": managed(byok.change),
            "DELETE": managed(byok.delete),
        },
        "/byok/{credential_id}/check": {"POST": managed(byok.check)},
    }
    if operator is not None:
        account = "/operator/accounts/{account_id}"
        paths[f"{account}/credits"] = {"POST": operator.credits}
        paths[f"{account}/refunds"] = {"POST": operator.refunds}
        paths[f"{account}/corrections"] = {"POST": operator.corrections}
    if stripe is not None:
        paths["/webhooks/stripe"] = {"POST": stripe.post}
    for path, handlers in paths.items():
        resource = app.router.add_resource(BASE_PATH + path)
        for method, handler in handlers.items():
            name = f"{method} {path}"
            resource.add_route(method, endpoints.endpoint(name, handler))
        resource.add_route("*", endpoints.endpoint(f"* {path}", _wrong_method(*handlers)))
    app.router.add_route("*", "/{path:.*}", endpoints.endpoint("unknown", _unknown_path))
    return app


def unreadable(status: int) -> web.Response:
    """The answer to what no handler sees: no HTTP, too large a head, or a target that is no path."""
    message = (
        "the request is not valid HTTP, its head is too large, its encoding is not known, "
        "or its target is no path"
    )
    refusal = Refusal(status=status, message=message, error_type="invalid_request")
    return web.Response(
        body=error_body(refusal if status < _FAILED_FROM else refusals.internal()),
        status=status,
        content_type="application/json",
    )


def _wrong_method(*allowed: str) -> Handler:
    methods = ", ".join(allowed)

    async def refuse(exchange: Exchange) -> web.StreamResponse:
        exchange.headers["Allow"] = methods
        message = f"{exchange.request.method[:20]} is not allowed here; use {methods}"
        return exchange.refuse(refusals.method_not_allowed(message))

    return refuse


async def _unknown_path(exchange: Exchange) -> web.StreamResponse:
    path = exchange.request.path.encode("ascii", "replace").decode()[:_PATH_SHOWN_MAX]
    return exchange.refuse(refusals.not_found(f"there is nothing at {path}"))
