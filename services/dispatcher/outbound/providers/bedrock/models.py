"""What the families of models on Bedrock take of Converse, told from the model's id.

Sources: docs.aws.amazon.com/bedrock/latest/userguide, pages conversation-inference-supported-models-
features, tool-use, prompt-caching, structured-output and those of each family (November 2026).
"""

from dataclasses import dataclass
from typing import Final

from services.dispatcher.outbound.providers.anthropic.models import Claude, claude

_WITHOUT_SCHEMAS: Final = (
    "ai21.",
    "amazon.",
    "cohere.",
    "deepseek.r1",
    "meta.",
    "mistral.mistral-7b",
    "mistral.mistral-large-24",
    "mistral.mistral-small",
    "mistral.mixtral",
    "mistral.pixtral",
    "writer.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. `claude` is what is known of it where it is one."""

    id: str
    claude: Claude | None

    @property
    def is_nova(self) -> bool:
        """Whether it is one of Amazon's own."""
        return self.id.startswith("amazon.nova")

    @property
    def caches(self) -> bool:
        """Whether it takes cache points."""
        return self.claude is not None or self.is_nova

    @property
    def caches_for_an_hour(self) -> bool:
        """Whether a cache point may say how long it lasts."""
        return self.claude is not None and self.claude.version >= (4, 5)

    @property
    def can_be_forced(self) -> bool:
        """Whether it can be made to call a tool."""
        if self.claude is not None:
            return self.claude.can_be_forced
        return self.is_nova or self.id.startswith("mistral.")

    @property
    def can_be_forced_to_one(self) -> bool:
        """Whether the tool that it must call can be named."""
        return self.can_be_forced and not self.id.startswith("mistral.")

    @property
    def knows_schemas(self) -> bool:
        """Whether its answers can be held to a JSON schema by `outputConfig`."""
        if self.claude is not None:
            return self.claude.knows_schemas
        return not self.id.startswith(_WITHOUT_SCHEMAS)

    @property
    def needs_tools_for_forms(self) -> bool:
        """Whether a tool that it is made to call is the only way to a form."""
        return not self.knows_schemas and self.can_be_forced

    @property
    def takes_effort(self) -> bool:
        """Whether it is told how much to think in OpenAI's way."""
        return self.id.startswith("openai.")

    @property
    def thinks_by_config(self) -> bool:
        """Whether it is told so in Nova's way."""
        return self.id.startswith("amazon.nova-2")


def model_of(provider_model: str) -> Model:
    """The model of a base id, without the prefix of a profile."""
    is_claude = provider_model.startswith("anthropic.")
    return Model(id=provider_model, claude=claude(provider_model) if is_claude else None)
