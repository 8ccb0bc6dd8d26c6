"""Gather what a plan needs and make it."""

from collections.abc import Iterable
from datetime import datetime

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Access, Caller
from services.dispatcher.domain.explanation import Explanation, explain
from services.dispatcher.domain.failure import Next
from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.known_routes import KnownRoutes
from services.dispatcher.domain.plan import Plan, plan
from services.dispatcher.domain.request import ProviderPreferences, Request, routing_of
from services.dispatcher.ports import Catalog, Credentials
from shared.events.completions import CompletionRequested
from shared.events.plans import ExplainPlan
from shared.ids import PLATFORM_ACCOUNT


class PlanRequest:
    """Plans with what is known at this moment."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        credentials: Credentials,
        health: HealthTable,
        providers: Iterable[str],
    ) -> None:
        """`providers` are the slugs that there are adapters for."""
        self._catalog = catalog
        self._credentials = credentials
        self._health = health
        self._providers = frozenset(providers)
        self._routes = KnownRoutes()

    def problem(self) -> str | None:
        """Why no plan may be made now: an unread credential must never turn into spent credits."""
        return self._credentials.problem()

    def plan(self, asked: CompletionRequested, request: Request, now: datetime) -> Plan:
        """The plan of a request."""
        access = self._access(
            asked, byok_only=asked.byok_only or bool(request.preferences.byok_only)
        )
        return plan(
            request,
            access,
            model_of=self._catalog.model,
            blocking=lambda attempt: self._health.blocking(attempt, now),
            routes_of=self._routes,
        )

    def explain(self, asked: ExplainPlan, now: datetime) -> Explanation:
        """What `plan` would make of a completion asked for in the same way, and why."""
        preferences = ProviderPreferences(
            order=asked.order,
            only=asked.only,
            ignore=asked.ignore,
            allow_fallbacks=asked.allow_fallbacks,
        )
        return explain(
            routing_of(asked.models, preferences),
            self._access(asked, byok_only=asked.byok_only),
            model_of=self._catalog.model,
            blocking=lambda attempt: self._health.blocking(attempt, now),
        )

    def _access(self, asked: CompletionRequested | ExplainPlan, *, byok_only: bool) -> Access:
        return Access(
            caller=Caller(api_key_hash=asked.api_key_hash, member_id=asked.member_id),
            own=self._credentials.of(asked.account_id),
            platform=self._credentials.of(PLATFORM_ACCOUNT),
            byok_only=byok_only,
            providers=self._providers,
        )

    def following(
        self, planned: Plan, failed: Attempt, where: Next, now: datetime
    ) -> Attempt | None:
        """The attempt to make after one that failed, or None.

        What became unhealthy, changed or disabled since the plan was made is passed over.
        """
        if where is Next.STOP:
            return None
        # by identity: two endpoints that are listed alike make equal attempts, and both get their turn
        place = next(n for n, each in enumerate(planned.attempts) if each is failed)
        for attempt in planned.attempts[place + 1 :]:
            if where is Next.MODEL and attempt.model == failed.model:
                continue
            if self.may_begin(attempt, now):
                return attempt
        return None

    def may_begin(self, attempt: Attempt, now: datetime) -> bool:
        """Whether the attempt still may be made as planned."""
        return (
            self._credentials.is_current(attempt.credential)
            and self._health.blocking(attempt, now) is None
        )
