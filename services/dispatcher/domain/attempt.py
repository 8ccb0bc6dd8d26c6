"""One attempt: one call of one endpoint with one credential."""

from dataclasses import dataclass

from shared.events.catalog import VertexApi
from shared.events.credentials import CredentialChanged
from shared.events.generations import Tier
from shared.events.usage import Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One model at one provider with one price.

    `provider_model` is the provider's own name of the model (Azure: the deployment's `model_id`),
    and `id` is `<provider>/<provider_model>`: `openai/gpt-4o`, `azure/my-deployment`. In a whole
    Azure resource, which `resource` names, it is `azure/<resource>/<provider_model>`. It is what
    events, health and activity name an endpoint by, so it stays the same for as long as the endpoint
    does.

    `api` says which of Google Vertex's wires speaks to the model, `inference_profiles` under which
    prefixes Amazon Bedrock has it, `regions` are the only ones of the provider that serve it (empty:
    all); all as the catalog has them.
    """

    id: str
    provider: str
    provider_name: str
    provider_model: str
    prices: Prices
    context_length_tokens: int
    output_tokens_max: int
    resource: str | None = None
    api: VertexApi | None = None
    inference_profiles: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A step of a plan. `model` is our slug (`openai/gpt-4o`).

    `credential` is whom the call is made with: the account's own, or for the tier `shared` a
    platform credential of the provider.
    """

    model: str
    endpoint: Endpoint
    credential: CredentialChanged
    tier: Tier

    @property
    def is_byok(self) -> bool:
        """Whether the account's own key is used, and so a fee is due instead of the list cost."""
        return self.tier != "shared"
