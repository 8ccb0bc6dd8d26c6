"""A dispatcher's use case with everything around it in memory, and one log of what went out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.dispatcher.domain.health import HealthTable
from services.dispatcher.domain.observations import Observations
from services.dispatcher.domain.run import Ending, Run
from services.dispatcher.ports import BalanceSeen, ProviderSecret
from services.dispatcher.use_cases.authorize_spend import AuthorizeAttempt
from services.dispatcher.use_cases.call_provider import CallProvider
from services.dispatcher.use_cases.finish_generation import FinishGeneration
from services.dispatcher.use_cases.plan_request import PlanRequest
from services.dispatcher.use_cases.run_generation import RunGeneration
from services.dispatcher.use_cases.running import Running
from shared.errors import Unavailable
from shared.events.billing import AccountBalance, AuthorizeSpend, SpendAuthorized, SpendRefused
from shared.events.catalog import ModelListed
from shared.events.completions import CompletionRequested
from shared.events.credential_secrets import StringSecret
from shared.events.credentials import CredentialChanged
from shared.events.envelope import type_of
from shared.events.generations import GenerationAbandoned, GenerationFinished
from shared.events.replies import ReplyCompleted, ReplyFailed, ReplyPart
from shared.events.routing import FallbackDecided, HealthChanged
from shared.ids import AccountId, CredentialId, RunId
from shared.sealing import Seal
from shared.tasks import TaskScope
from tests.fakes.scripted_provider import Script, ScriptedProvider
from tests.unit.dispatcher.made import DATA_KEY, MINI, MODEL, asked, balance, body, model

MONTH = datetime.now(UTC).strftime("%Y-%m")  # noqa: TID251 - generation ids are made now
AnyWorld = TypeVar("AnyWorld", bound="World")
Out = (
    GenerationFinished
    | GenerationAbandoned
    | FallbackDecided
    | HealthChanged
    | ReplyPart
    | AuthorizeSpend
)


@dataclass(slots=True)
class AdjustableClock:
    """Stands still until a test moves it."""

    at: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass(slots=True)
class Away:
    """Which of our dependencies do not answer."""

    vault: bool = False
    billing: bool = False
    facts: bool = False
    replies: bool = False
    credentials: str | None = None


@dataclass(slots=True)
class Stream:
    world: "World"

    def put(self, part: ReplyPart) -> None:
        if self.world.away.replies:
            raise Unavailable("kafka")
        self.world.out.append(part)

    async def room(self) -> None:
        await self.world.room.wait()

    async def close(self, part: ReplyPart) -> None:
        if self.world.away.replies:
            raise Unavailable("kafka")
        self.world.out.append(part)


@dataclass(slots=True)
class OneClaim:
    outcome: "asyncio.Future[bool]"
    is_done: bool = False

    async def won(self) -> bool:
        return await asyncio.shield(self.outcome)

    def done(self) -> None:
        self.is_done = True


@dataclass(slots=True)
class World:
    """All ports at once."""

    background: TaskScope
    clock: AdjustableClock = field(default_factory=AdjustableClock)
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    away: Away = field(default_factory=Away)
    models: dict[str, ModelListed] = field(
        default_factory=lambda: {MODEL: model(MODEL), MINI: model(MINI)}
    )
    own: list[CredentialChanged] = field(default_factory=list)
    platform: list[CredentialChanged] = field(default_factory=list)
    seen: AccountBalance | None = field(default_factory=lambda: balance(month=MONTH))
    is_fresh: bool = True
    unopened: set[str] = field(default_factory=set)
    answers: list[SpendAuthorized | SpendRefused] = field(default_factory=list)
    out: list[Out] = field(default_factory=list)
    endings: list[tuple[Run, Ending]] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)
    health: HealthTable = field(default_factory=HealthTable)
    observations: Observations = field(default_factory=Observations)
    running: Running = field(default_factory=Running)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    on_finished: Callable[[], None] | None = None

    # Catalog, Credentials, Balances
    def model(self, slug: str) -> ModelListed | None:
        return self.models.get(slug)

    def is_current(self, credential: CredentialChanged) -> bool:
        return credential in (*self.own, *self.platform)

    def problem(self) -> str | None:
        return self.away.credentials

    # Secrets, Spending, Facts, HealthBroadcast
    async def open_secret(self, credential: CredentialChanged) -> ProviderSecret | None:
        if self.away.vault:
            raise Unavailable("vault")
        if credential.credential_id in self.unopened:
            return None
        return StringSecret(value=f"secret of {credential.credential_id}")

    async def authorize(self, command: AuthorizeSpend) -> SpendAuthorized | SpendRefused:
        self.out.append(command)
        if self.away.billing:
            raise Unavailable("billing")
        if self.answers:
            return self.answers.pop(0)
        return SpendAuthorized(hold_id=command.hold_id, waived=False)

    async def finished(self, fact: GenerationFinished) -> None:
        await asyncio.sleep(0)
        if self.on_finished is not None:
            self.on_finished()
        if self.away.facts:
            raise Unavailable("kafka")
        self.out.append(fact)

    async def abandoned(self, fact: GenerationAbandoned) -> None:
        self.out.append(fact)

    async def fell_back(self, fact: FallbackDecided) -> None:
        self.out.append(fact)

    def tell(self, change: HealthChanged) -> None:
        self.out.append(change)

    # Replies, WireKeys, Observer
    def open(self, asked: CompletionRequested, _run_id: RunId, seal: Seal) -> Stream:
        assert (
            seal.open("word", "", 0, Seal(DATA_KEY, asked.generation_id).seal("word", "", 0, b""))
            == b""
        )
        return Stream(self)

    async def unwrap(self, _wrapped: str) -> bytes | None:
        return DATA_KEY

    def ended(self, run: Run, ending: Ending, _seconds: float) -> None:
        self.endings.append((run, ending))

    def broke(self, _run: Run, error: Exception) -> None:
        self.bugs.append(error)

    def use_case(
        self, *, first_token_seconds_max: float = 5.0, whole_answer_seconds_max: float = 5.0
    ) -> RunGeneration:
        providers = {"openai": self.provider, "azure": self.provider}
        return RunGeneration(
            wire_keys=self,
            planner=PlanRequest(
                catalog=self,
                credentials=WorldCredentials(self),
                health=self.health,
                providers=providers,
            ),
            authorizer=AuthorizeAttempt(balances=_Balances(self), spending=self, clock=self.clock),
            secrets=WorldSecrets(self),
            caller=CallProvider(
                providers=providers,
                first_token_seconds_max=first_token_seconds_max,
                whole_answer_seconds_max=whole_answer_seconds_max,
                clock=self.clock,
            ),
            health=self.health,
            observations=self.observations,
            broadcast=self,
            replies=self,
            finisher=FinishGeneration(facts=self, background=self.background, clock=self.clock),
            running=self.running,
            observer=self,
            clock=self.clock,
        )

    async def run(
        self,
        *scripts: Script,
        request: CompletionRequested | None = None,
        claim: "OneClaim | None" = None,
        first_token_seconds_max: float = 5.0,
        whole_answer_seconds_max: float = 5.0,
        content: bytes | None = None,
        run_id: str = "run-1",
        **fields: object,
    ) -> Ending:
        """Run one generation to its end."""
        self.provider.scripts.extend(scripts)
        request = request or asked(now=self.clock.now())
        claim = claim or won()
        use_case = self.use_case(
            first_token_seconds_max=first_token_seconds_max,
            whole_answer_seconds_max=whole_answer_seconds_max,
        )
        await use_case.run(request, content or sealed(request, **fields), claim, RunId(run_id))
        assert claim.is_done
        assert len(self.running) == 0
        await self.background.drain(1)
        return self.endings[-1][1]

    def of(self, kind: type) -> list[object]:
        return [each for each in self.out if isinstance(each, kind)]

    @property
    def fact(self) -> GenerationFinished:
        found = [each for each in self.out if isinstance(each, GenerationFinished)]
        assert len(found) == 1
        return found[0]

    @property
    def last(self) -> ReplyCompleted | ReplyFailed:
        found = self.out[-1]
        assert isinstance(found, ReplyCompleted | ReplyFailed)
        return found

    @property
    def called_with(self) -> list[str]:
        return [call.attempt.credential.credential_id for call in self.provider.calls]


@dataclass(slots=True)
class WorldCredentials:
    world: World

    def of(self, account_id: AccountId) -> Sequence[CredentialChanged]:
        every = (*self.world.own, *self.world.platform)
        return [each for each in every if each.account_id == account_id]

    def find(self, account_id: AccountId, credential_id: CredentialId) -> CredentialChanged | None:
        found = (each for each in self.of(account_id) if each.credential_id == credential_id)
        return next(found, None)

    def is_current(self, credential: CredentialChanged) -> bool:
        return self.world.is_current(credential)

    def problem(self) -> str | None:
        return self.world.problem()


@dataclass(slots=True)
class _Balances:
    world: World

    def of(self, _account_id: AccountId) -> BalanceSeen:
        return BalanceSeen(balance=self.world.seen, is_fresh=self.world.is_fresh, used_recently=0)


@dataclass(slots=True)
class WorldSecrets:
    world: World

    async def open(self, credential: CredentialChanged) -> ProviderSecret | None:
        return await self.world.open_secret(credential)


def won(*, outcome: bool = True) -> OneClaim:
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    future.set_result(outcome)
    return OneClaim(future)


def sealed(request: CompletionRequested, **fields: object) -> bytes:
    seal = Seal(DATA_KEY, request.generation_id)
    return seal.seal(type_of(CompletionRequested), "", 0, body(**fields))


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    async with world_of(World) as world:
        yield world


@asynccontextmanager
async def world_of(kind: type[AnyWorld]) -> AsyncIterator[AnyWorld]:
    """A world that knows more than the plain one."""
    async with TaskScope() as background:
        world = kind(background)
        world.room.set()
        yield world
        assert background.failure is None
