"""The models that the catalog has while key_vault is tested."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from shared.clock import SystemClock
from shared.events.catalog import Capabilities, ModelListed
from shared.events.topics import CATALOG_MODELS
from shared.ids import new_id, new_instance_id
from shared.kafka.config import KafkaConfig
from shared.kafka.producer import open_producer
from tests.conftest import Infrastructure

MODELS: Final = ("mistralai/mistral-large", "openai/gpt-4o")


def publish_models(infrastructure: Infrastructure) -> None:
    """Return once the models are on the topic."""
    with ThreadPoolExecutor(max_workers=1) as thread:  # a loop may run in this one
        thread.submit(asyncio.run, _publish(infrastructure.kafka)).result()


async def _publish(bootstrap_servers: str) -> None:
    async with open_producer(
        KafkaConfig(bootstrap_servers=bootstrap_servers),
        source=new_instance_id("test", 0),
        clock=SystemClock(),
        new_id=new_id,
    ) as producer:
        for slug in MODELS:
            await producer.emit(CATALOG_MODELS, _listed(slug), key=slug)


def _listed(slug: str) -> ModelListed:
    return ModelListed(
        version=1,
        slug=slug,
        name=slug,
        created=0,
        description="",
        context_length_tokens=128_000,
        output_tokens_max=4_096,
        capabilities=Capabilities(
            input_modalities=["text"],
            output_modalities=["text"],
            tokenizer="GPT",
            supported_parameters=[],
        ),
        endpoints=[],
    )
