"""The catalog in memory."""

from shared.clock import Clock
from shared.events.catalog import ModelListed
from shared.events.topics import CATALOG_MODELS
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.view import View


class CatalogView:
    """Follows `catalog.models`. `view` is to be run."""

    def __init__(self, config: KafkaConfig, *, clock: Clock, dead_letters: DeadLetters) -> None:
        """Nothing is known yet."""
        self.view = View(config, CATALOG_MODELS, clock=clock, dead_letters=dead_letters)

    def model(self, slug: str) -> ModelListed | None:
        """A model with its endpoints, or None."""
        state = self.view.get(slug)
        return state if isinstance(state, ModelListed) else None
