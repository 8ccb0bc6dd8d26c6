"""The catalog and the balances, as views hold them."""

from collections.abc import Collection, Sequence

from typing_extensions import override

from services.ingress.ports import Balances, Catalog
from shared.events.billing import AccountBalance
from shared.events.catalog import ModelListed
from shared.events.envelope import StateEvent
from shared.ids import AccountId
from shared.kafka.view import View


class ViewedCatalog(Catalog):
    """The catalog, with its answers kept until a model changes."""

    def __init__(self) -> None:
        """Give `on_change` to the view, then the view to `follow`."""
        self._view: View | None = None
        self._models: tuple[ModelListed, ...] | None = None
        self._slugs: frozenset[str] = frozenset()
        self._embedding_slugs: frozenset[str] = frozenset()
        self._providers: frozenset[str] = frozenset()

    def follow(self, view: View) -> None:
        """Answer from this view."""
        self._view = view

    def on_change(self, _slug: str, _state: StateEvent | None) -> None:
        """What was kept is out of date."""
        self._models = None

    @override
    def problem(self) -> str | None:
        return "is not read yet" if self._view is None else self._view.problem()

    @override
    def slugs(self) -> Collection[str]:
        self.models()
        return self._slugs

    @override
    def embedding_slugs(self) -> Collection[str]:
        self.models()
        return self._embedding_slugs

    @override
    def providers(self) -> frozenset[str]:
        self.models()
        return self._providers

    @override
    def models(self) -> Sequence[ModelListed]:
        if self._models is None:
            found = () if self._view is None else self._view.items()
            listed = [state for _, state in found if isinstance(state, ModelListed)]
            self._models = tuple(sorted(listed, key=lambda model: model.slug))
            self._slugs = frozenset(model.slug for model in listed)
            self._embedding_slugs = frozenset(
                model.slug for model in listed if model.capabilities.embeds
            )
            self._providers = frozenset(
                endpoint.provider for model in listed for endpoint in model.endpoints
            )
        return self._models


class ViewedBalances(Balances):
    """billing.accounts."""

    def __init__(self, view: View) -> None:
        """Answer from this view."""
        self._view = view

    @override
    def get(self, account_id: AccountId) -> AccountBalance | None:
        state = self._view.get(account_id)
        return state if isinstance(state, AccountBalance) else None
