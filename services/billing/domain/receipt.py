"""What is written down of a generation besides its posting, and when that ceases to count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from services.billing.domain.generation import (
    AbandonmentKind,
    Finished,
    SettlementKind,
    month_of_generation,
)
from services.billing.domain.page import Page
from shared.ids import AccountId, GenerationId


class Position(NamedTuple):
    """Where on `inference.generations` the record of a fact stands."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Told:
    """A finished generation: in which month its posting stands, which record told of it."""

    finished: Finished
    position: Position
    month: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """What a page adds to the read side, and which generations it takes out of the activity."""

    told: tuple[Told, ...]
    given_back: tuple[tuple[AccountId, GenerationId], ...]


def receipts_of(page: Page, positions: Mapping[GenerationId, Position]) -> Receipts:
    """What the entries of a page mean for the read side."""
    entries = page.entries
    return Receipts(
        told=tuple(
            Told(
                finished,
                positions[finished.fact.generation_id],
                page.months.posting(month_of_generation(finished.fact.generation_id)),
            )
            for finished in entries.finished
        ),
        given_back=tuple(
            (each.account_id, each.generation_id)
            for each in entries.abandonments
            if each.kind is AbandonmentKind.ABANDONED and _was_charged(page, each.generation_id)
        ),
    )


def _was_charged(page: Page, generation_id: GenerationId) -> bool:
    settlement = page.settlements.get(generation_id)
    return settlement is not None and settlement.kind is not SettlementKind.NOTHING


class Span(NamedTuple):
    """Part of a partition: from `first` up to, and without, `end`."""

    first: int
    end: int
