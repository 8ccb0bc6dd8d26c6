"""Which facts billing can book at all."""

from typing import TypeAlias

from services.billing.domain.generation import month_of_generation
from services.billing.domain.settle import delivered_cost
from shared.events.accounts import AccountChanged, ApiKeyChanged
from shared.events.envelope import Event
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.money import parse_percent

Fact: TypeAlias = GenerationFinished | GenerationAbandoned | AccountChanged | ApiKeyChanged


def checked_fact(event: Event) -> Fact:
    """The event as a fact that can be booked; ValueError when it contradicts itself."""
    match event:
        case GenerationFinished():
            month_of_generation(event.generation_id)
            delivered_cost(event)
            if event.spend is not None and event.spend.fee_percent is not None:
                parse_percent(event.spend.fee_percent)
            return event
        case GenerationAbandoned():
            month_of_generation(event.generation_id)
            return event
        case AccountChanged():
            if event.fee_percent is not None:
                parse_percent(event.fee_percent)
            if (event.free_requests or 0) < 0 or (event.free_list_cost_nano_usd or 0) < 0:
                raise ValueError("an allotment must not be below zero")
            return event
        case ApiKeyChanged():
            if event.limit_nano_usd is not None and event.limit_nano_usd < 0:
                raise ValueError("limit_nano_usd must not be below zero")
            return event
        case _:
            raise ValueError("billing does not book this")
