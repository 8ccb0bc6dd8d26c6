"""Which models of the catalog a list shows."""

from dataclasses import dataclass
from typing import Final

from services.ingress.domain import refusals
from services.ingress.domain.refusals import Refusal
from shared.events.catalog import ModelListed

TEXT: Final = ("text",)
"""OpenRouter's default: models that chat. Others are shown when they are asked for."""
_ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """A model is shown that takes all the parameters, and any of the modalities each way."""

    supported_parameters: tuple[str, ...] = ()
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = TEXT

    def shows(self, model: ModelListed) -> bool:
        """Whether the model belongs to the list."""
        has = model.capabilities
        return (
            set(self.supported_parameters).issubset(has.supported_parameters)
            and _any_of(self.input_modalities, has.input_modalities)
            and _any_of(self.output_modalities, has.output_modalities)
        )


def _any_of(wanted: tuple[str, ...], has: list[str]) -> bool:
    return not wanted or _ALL in wanted or not set(wanted).isdisjoint(has)


def no_categories() -> Refusal:
    """The catalog sorts no model into a category; a list that pretended to would mislead."""
    return refusals.invalid("there are no categories here", field="category")
