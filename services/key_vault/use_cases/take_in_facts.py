"""Keep what dispatchers observed and what billing booked: a batch in one transaction."""

from collections.abc import Sequence

from services.key_vault.domain.health import observed_in, usage_in
from services.key_vault.ports import HealthBooks, HealthFacts
from shared.events.codec import Received
from shared.events.credential_health import CredentialChecked, CredentialsObserved
from shared.events.topics import BILLING_FEES


class TakeInFacts:
    """Takes batches of `credentials.observations` and `billing.fees`.

    Observations are the newest of their kind, so that one that comes twice changes nothing. What
    billing booked adds up, so each of those counts once, by its event's id.
    """

    def __init__(self, books: HealthBooks) -> None:
        """`books` holds the transaction."""
        self._books = books

    async def __call__(self, received: Sequence[Received]) -> None:
        """Keep a batch. Raises Unavailable."""
        events = [each.event for each in received]
        checks = [each for each in events if isinstance(each, CredentialChecked)]
        observed = observed_in(each for each in events if isinstance(each, CredentialsObserved))
        booked = [each for each in received if each.topic == BILLING_FEES.name]

        async def work(facts: HealthFacts) -> None:
            fresh = await facts.take_new(booked)
            await facts.add_usage(usage_in([each.event for each in fresh]))
            await facts.keep_observed(observed)
            await facts.keep_results(checks)

        await self._books.transact(work)
