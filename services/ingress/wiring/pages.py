"""The pages of the API, each from what it needs."""

from collections.abc import Callable

from aiohttp import web

from services.ingress.domain.limits import InFlightLimits
from services.ingress.inbound.http.api_key_pages import ApiKeyPages
from services.ingress.inbound.http.app import ingress_app
from services.ingress.inbound.http.billing_pages import BillingPages
from services.ingress.inbound.http.bodies import Bodies
from services.ingress.inbound.http.byok_pages import ByokPages
from services.ingress.inbound.http.chat_completions import ChatCompletions, StreamSettings
from services.ingress.inbound.http.embeddings import Embeddings
from services.ingress.inbound.http.exchange import Endpoints
from services.ingress.inbound.http.generations import Generations
from services.ingress.inbound.http.key_page import KeyPage
from services.ingress.inbound.http.management import Management
from services.ingress.inbound.http.measurements import HttpMeasurements
from services.ingress.inbound.http.models_page import ModelsPage
from services.ingress.inbound.http.operator_pages import OperatorPages
from services.ingress.inbound.http.plan_page import PlanPage
from services.ingress.inbound.http.stripe_webhook import StripeWebhook
from services.ingress.outbound.api_key_secrets import new_api_key
from services.ingress.outbound.kafka_calls import (
    KafkaBilling,
    KafkaBillingQueries,
    KafkaCredentialCommands,
    KafkaPlans,
)
from services.ingress.outbound.kafka_payments import KafkaPayments
from services.ingress.outbound.kafka_requests import KafkaRequests
from services.ingress.outbound.measurements import CountedPayments
from services.ingress.outbound.postgres_account_api_keys import PostgresAccountApiKeys
from services.ingress.outbound.postgres_known_accounts import PostgresKnownAccounts
from services.ingress.outbound.vault_intake import VaultIntake
from services.ingress.use_cases.administer_api_keys import AdministerApiKeys
from services.ingress.use_cases.administer_credentials import AdministerCredentials
from services.ingress.use_cases.await_check import AwaitCheck
from services.ingress.use_cases.complete_chat import CompleteChat
from services.ingress.use_cases.describe_key import DescribeKey
from services.ingress.use_cases.describe_plan import DescribePlan
from services.ingress.use_cases.move_credits import MoveCredits
from services.ingress.use_cases.name_credentials import NameCredentials
from services.ingress.use_cases.read_receipts import ReadReceipts
from services.ingress.use_cases.read_usage import ReadUsage
from services.ingress.use_cases.take_payment_news import TakePaymentNews
from services.ingress.wiring.parts import Opened, Parts
from shared.ids import new_generation_id


def build_app(opened: Opened, parts: Parts, *, is_stopping: Callable[[], bool]) -> web.Application:
    """All pages."""
    http, clock = opened.config.http, opened.clock
    calls, callers, catalog = parts.calls, parts.callers, parts.catalog
    bodies = Bodies(seconds_max=http.body_seconds_max, held_bytes_max=http.held_body_bytes_max)
    measurements = HttpMeasurements(opened.metrics)
    generations = Generations(
        callers=callers,
        bodies=bodies,
        complete_chat=_complete_chat(opened, parts),
        measurements=measurements,
        clock=clock,
        new_generation_id=new_generation_id,
        is_stopping=is_stopping,
    )
    describe_key = DescribeKey(billing=KafkaBilling(calls), balances=parts.balances, clock=clock)
    describe_plan = DescribePlan(
        catalog=catalog, api_keys=parts.books, plans=KafkaPlans(calls), clock=clock
    )
    return ingress_app(
        Endpoints(measurements=measurements, clock=clock, new_id=opened.new_id),
        managed=Management(callers),
        chat_completions=ChatCompletions(
            generations=generations,
            streams=StreamSettings(
                headers_after_seconds=http.sse_headers_after_seconds,
                sends_keep_alive=http.sse_keep_alive,
            ),
            clock=clock,
        ),
        embeddings=Embeddings(generations),
        models=ModelsPage(catalog),
        key=KeyPage(callers=callers, describe_key=describe_key),
        api_keys=_api_keys(opened, parts, bodies),
        byok=_byok(opened, parts, bodies),
        plan=PlanPage(describe_plan),
        billing=_billing(opened, parts),
        operator=_operator(opened, parts, bodies),
        stripe=_stripe(opened, parts, bodies),
    )


def _complete_chat(opened: Opened, parts: Parts) -> CompleteChat:
    config = opened.config
    return CompleteChat(
        instance_id=opened.instance,
        reply_partition=config.process.instance_ordinal,
        limits=InFlightLimits(
            per_account=config.account_in_flight_max, per_process=config.process_in_flight_max
        ),
        generation_seconds_max=config.generation_seconds_max,
        catalog=parts.catalog,
        wire_keys=opened.wire_keys,
        requests=KafkaRequests(opened.producer),
        announcements=parts.announcements,
        waiting=parts.waiting,
        clock=opened.clock,
    )


def _api_keys(opened: Opened, parts: Parts, bodies: Bodies) -> ApiKeyPages:
    administer = AdministerApiKeys(
        keys=PostgresAccountApiKeys(opened.pool, parts.outbox),
        members=parts.books,
        billing=KafkaBilling(parts.calls),
        forget=parts.callers.forget_key,
        new_api_key=new_api_key,
        clock=opened.clock,
    )
    return ApiKeyPages(bodies=bodies, administer=administer)


def _byok(opened: Opened, parts: Parts, bodies: Bodies) -> ByokPages:
    administer = AdministerCredentials(
        catalog=parts.catalog,
        members=parts.books,
        intake=VaultIntake(opened.transit),
        commands=KafkaCredentialCommands(parts.calls),
        new_id=opened.new_id,
    )
    return ByokPages(
        bodies=bodies,
        administer=administer,
        trusted_proxies=opened.config.http.trusted_proxies,
        await_check=AwaitCheck(administer.get),
    )


def _billing(opened: Opened, parts: Parts) -> BillingPages:
    queries = KafkaBillingQueries(parts.calls)
    return BillingPages(
        callers=parts.callers,
        catalog=parts.catalog,
        receipts=ReadReceipts(
            billing=queries,
            clock=opened.clock,
            generation_seconds_max=opened.config.generation_seconds_max,
        ),
        usage=ReadUsage(billing=queries, members=parts.books),
        name_credentials=NameCredentials(KafkaCredentialCommands(parts.calls)),
        clock=opened.clock,
    )


def _operator(opened: Opened, parts: Parts, bodies: Bodies) -> OperatorPages | None:
    """The operators' API, where there is a token for it."""
    token = opened.config.credits.operator_token
    if token is None:
        return None
    move_credits = MoveCredits(
        accounts=PostgresKnownAccounts(opened.pool), billing=KafkaBilling(parts.calls)
    )
    return OperatorPages(token=token, bodies=bodies, move_credits=move_credits)


def _stripe(opened: Opened, parts: Parts, bodies: Bodies) -> StripeWebhook | None:
    """Stripe's endpoint, where there is a secret for it."""
    settings = opened.config.credits
    if not settings.stripe_webhook_secrets:
        return None
    return StripeWebhook(
        secrets=settings.stripe_webhook_secrets,
        live_mode=settings.stripe_live_mode,
        bodies=bodies,
        take=TakePaymentNews(
            accounts=PostgresKnownAccounts(opened.pool),
            payments=KafkaPayments(parts.calls, opened.producer),
            measurements=CountedPayments(opened.metrics),
        ),
        clock=opened.clock,
    )
