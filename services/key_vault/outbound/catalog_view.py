"""The catalog in memory, for the models that pasted secrets name."""

from collections.abc import Collection

from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.topics import CATALOG_MODELS
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.view import View


class CatalogView:
    """The port Catalog, following `catalog.models`. `view` is to be run."""

    def __init__(self, config: KafkaConfig, *, clock: Clock, dead_letters: DeadLetters) -> None:
        """Nothing is known yet."""
        self.view = View(config, CATALOG_MODELS, clock=clock, dead_letters=dead_letters)

    def slugs(self) -> Collection[str]:
        """All models. Raises Unavailable while unread, or while nobody has published any."""
        problem = self.view.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)
        slugs = {slug for slug, _ in self.view.items()}  # noqa: PERF102 - a view is no dict
        if not slugs:
            raise Unavailable("catalog", "no model has been published yet")
        return slugs
