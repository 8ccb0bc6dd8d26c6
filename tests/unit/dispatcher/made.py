"""Made-up things of the dispatcher, valid by default."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from services.dispatcher.domain.attempt import Attempt, Endpoint
from services.dispatcher.domain.reply import StreamEnded, WholeReply
from services.dispatcher.domain.request import ChatRequest, read_request
from shared.events.billing import AccountBalance, AllotmentRule
from shared.events.catalog import Capabilities, CatalogEndpoint, ModelListed
from shared.events.completions import CompletionRequested
from shared.events.credentials import (
    CredentialChanged,
    Deployment,
    Filters,
    Resource,
    Section,
)
from shared.events.generations import Tier
from shared.events.replies import Choice, FinishReason, Message, ReplyDelta
from shared.events.usage import Prices, Usage
from shared.ids import (
    PLATFORM_ACCOUNT,
    AccountId,
    ApiKeyHash,
    CredentialId,
    GenerationId,
    InstanceId,
    new_generation_id,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACCOUNT = AccountId("account-1")
OTHER_ACCOUNT = AccountId("account-2")
KEY = ApiKeyHash("a" * 64)
MODEL = "openai/gpt-4o"
MINI = "openai/gpt-4o-mini"
PRICES = Prices(prompt=2_500_000, completion=10_000_000)
USAGE = Usage(prompt_tokens=100, completion_tokens=50)
LIST_COST = 750_000
"""Of USAGE at PRICES, in nano-USD."""
DATA_KEY = bytes(range(32))
CAPABILITIES = Capabilities(
    input_modalities=["text"],
    output_modalities=["text"],
    tokenizer="GPT",
    supported_parameters=["temperature", "tools"],
)


def catalog_endpoint(provider: str = "openai", *, byok_only: bool = False) -> CatalogEndpoint:
    return CatalogEndpoint(
        provider=provider,
        provider_name=provider.title(),
        model="gpt-4o",
        prices=PRICES,
        context_length_tokens=128_000,
        output_tokens_max=16_384,
        byok_only=byok_only,
    )


def model(slug: str = MODEL, *endpoints: CatalogEndpoint) -> ModelListed:
    return ModelListed(
        version=1,
        slug=slug,
        name=slug,
        created=0,
        description="",
        context_length_tokens=128_000,
        output_tokens_max=16_384,
        capabilities=CAPABILITIES,
        endpoints=list(endpoints or (catalog_endpoint("openai"), catalog_endpoint("azure"))),
    )


def credential(
    credential_id: str = "credential-1",
    *,
    account_id: AccountId = ACCOUNT,
    provider: str = "openai",
    enabled: bool = True,
    section: Section = "prioritized",
    always_use: bool = False,
    order: int = 0,
    filters: Filters | None = None,
    deployments: list[Deployment] | None = None,
    resources: tuple[str, ...] = (),
    created_at: datetime = NOW,
    secret_revision: int = 1,
    version: int = 1,
) -> CredentialChanged:
    return CredentialChanged(
        version=version,
        account_id=account_id,
        credential_id=CredentialId(credential_id),
        provider=provider,
        label="sk-...abcd",
        enabled=enabled,
        section=section,
        always_use=always_use,
        order=order,
        filters=filters or Filters(),
        deployments=deployments,
        resources=tuple(Resource(resource_name=each) for each in resources),
        secret_revision=secret_revision,
        ciphertext="vault:v1:made-up",
        created_at=created_at,
    )


def platform(provider: str = "openai") -> CredentialChanged:
    return credential(f"platform-{provider}", account_id=PLATFORM_ACCOUNT, provider=provider)


def attempt(
    using: CredentialChanged | None = None, *, tier: Tier = "prioritized", slug: str = MODEL
) -> Attempt:
    using = using or credential()
    return Attempt(
        model=slug,
        endpoint=Endpoint(
            id=f"{using.provider}/gpt-4o",
            provider=using.provider,
            provider_name=using.provider.title(),
            provider_model="gpt-4o",
            prices=PRICES,
            context_length_tokens=128_000,
            output_tokens_max=16_384,
        ),
        credential=using,
        tier=tier,
    )


def body(**fields: object) -> bytes:
    given: dict[str, object] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hello there"}],
    }
    return msgspec.json.encode(given | fields)


def request(**fields: object) -> ChatRequest:
    read = read_request(body(**fields))
    assert isinstance(read, ChatRequest)
    return read


def asked(
    *,
    now: datetime = NOW,
    generation_id: GenerationId | None = None,
    byok_only: bool = False,
    deadline_seconds: float = 300,
) -> CompletionRequested:
    return CompletionRequested(
        generation_id=generation_id or new_generation_id(),
        account_id=ACCOUNT,
        api_key_hash=KEY,
        byok_only=byok_only,
        wire_key="vault:v1:wire",
        reply_instance=InstanceId("ingress-0-x"),
        reply_partition=0,
        received_at=now,
        start_by=now + timedelta(seconds=15),
        deadline=now + timedelta(seconds=deadline_seconds),
    )


def text(
    content: str | None, *, role: str | None = None, finish_reason: FinishReason | None = None
) -> ReplyDelta:
    return ReplyDelta(
        choices=[Choice(message=Message(role=role, content=content), finish_reason=finish_reason)]
    )


def whole(content: str = "hello", *, usage: Usage | None = USAGE) -> WholeReply:
    message = Message(role="assistant", content=content)
    return WholeReply(choices=[Choice(message=message, finish_reason="stop")], usage=usage)


STREAM = (
    text("", role="assistant"),
    text("hello "),
    text("world"),
    text(None, finish_reason="stop"),
    StreamEnded(usage=USAGE),
)


def balance(
    *,
    month: str,
    used: int = 0,
    free: int = 1_000_000,
    account_id: AccountId = ACCOUNT,
    rule: AllotmentRule = "requests",
) -> AccountBalance:
    """`used` of what is `free`, in requests or nano-USD by the rule; the other one is used up."""
    by_requests = rule == "requests"
    return AccountBalance(
        version=1,
        account_id=account_id,
        credits_nano_usd=5_000_000_000,
        held_nano_usd=0,
        month=month,
        allotment_used=used if by_requests else 1,
        free_requests=free if by_requests else 0,
        fee_percent=Decimal(5),
        policy_version=0,
        allotment_rule=rule,
        list_cost_used_nano_usd=1 if by_requests else used,
        free_list_cost_nano_usd=0 if by_requests else free,
    )
