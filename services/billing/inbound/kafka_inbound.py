"""What wakes billing: facts in batches, commands in batches."""

from typing import Final

from shared.clock import Clock
from shared.events.topics import (
    ACCOUNTS_STATE,
    API_KEYS_STATE,
    BILLING_COMMANDS,
    BILLING_QUERIES,
    INFERENCE_GENERATIONS,
)
from shared.kafka import calls, facts
from shared.kafka.config import KafkaConfig
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.producer import EventProducer

FACTS_GROUP: Final = "billing.facts"
_COMMANDS_GROUP: Final = "billing.commands"
_QUERIES_GROUP: Final = "billing.queries"
CONSUMERS_OF_MONEY: Final = frozenset({FACTS_GROUP, _COMMANDS_GROUP})
"""What these put aside may be money that is missing; an unanswered question is none."""


def facts_consumer(
    config: KafkaConfig, post: facts.Handle, producer: EventProducer, clock: Clock
) -> facts.FactsConsumer:
    """Facts are booked before their offsets are committed."""
    return facts.FactsConsumer(
        config,
        group=FACTS_GROUP,
        topics=(INFERENCE_GENERATIONS, ACCOUNTS_STATE, API_KEYS_STATE),
        handle=post,
        dead_letters=DeadLetters(producer, consumer=FACTS_GROUP, clock=clock),
        clock=clock,
    )


def command_server(
    config: KafkaConfig, answer: calls.Handle, producer: EventProducer, clock: Clock
) -> calls.CallServer:
    """Commands are answered once what they changed is committed."""
    return calls.CallServer(
        config,
        group=_COMMANDS_GROUP,
        topic=BILLING_COMMANDS,
        handle=answer,
        producer=producer,
        dead_letters=DeadLetters(producer, consumer=_COMMANDS_GROUP, clock=clock),
        clock=clock,
    )


def query_server(
    config: KafkaConfig, answer: calls.Handle, producer: EventProducer, clock: Clock
) -> calls.CallServer:
    """Questions are answered beside the commands, so that no completion waits for a long answer."""
    return calls.CallServer(
        config,
        group=_QUERIES_GROUP,
        topic=BILLING_QUERIES,
        handle=answer,
        producer=producer,
        dead_letters=DeadLetters(producer, consumer=_QUERIES_GROUP, clock=clock),
        clock=clock,
    )
