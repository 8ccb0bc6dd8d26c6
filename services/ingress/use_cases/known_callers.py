"""Who sends a request: the books of API keys behind a small memory.

Known keys are remembered for 300 s and unknown ones for 5 s; an event about a key or its account
empties what was remembered. A key is looked up once, however many requests wait for it. When the
books do not answer, remembered keys go on and for others the answer is unknown, never "no".
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from services.ingress.domain import api_key
from services.ingress.domain.api_key import Caller
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import ApiKeys
from shared.clock import Clock
from shared.errors import OpenRouteError, Unavailable
from shared.ids import AccountId, ApiKeyHash
from shared.tasks import TaskScope

KNOWN_SECONDS: Final = 300.0
UNKNOWN_SECONDS: Final = 5.0
_REMEMBERED_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Remembered:
    caller: Caller | None
    until: float


@dataclass(slots=True)
class _Lookup:
    answer: "asyncio.Task[Caller | Unavailable | None]"
    is_stale: bool = False
    """Something changed while the books were read: the answer serves who waits, and is forgotten."""


class KnownCallers:
    """Tells whom an Authorization header stands for."""

    def __init__(self, api_keys: ApiKeys, *, clock: Clock, scope: TaskScope) -> None:
        """Lookups run in `scope`, so that a client who leaves does not end another's."""
        self._api_keys = api_keys
        self._clock = clock
        self._scope = scope
        self._remembered: OrderedDict[ApiKeyHash, _Remembered] = OrderedDict()
        self._lookups: dict[ApiKeyHash, _Lookup] = {}

    async def identify(self, authorization: str | None) -> Caller | Refusal:
        """The caller, or 401, also from memory and from the moment at which a key expires.

        Raises Unavailable("postgres") when nobody can tell.
        """
        read = api_key.read_authorization(authorization)
        if isinstance(read, Refusal):
            return read
        remembered = self._remembered.get(read)
        if remembered is not None and self._clock.monotonic() < remembered.until:
            return self._let_in(remembered.caller)
        return self._let_in(await self._look_up(read))

    def forget_key(self, api_key_hash: ApiKeyHash) -> None:
        """An API key changed."""
        self._remembered.pop(api_key_hash, None)
        lookup = self._lookups.get(api_key_hash)
        if lookup is not None:
            lookup.is_stale = True

    def forget_account(self, account_id: AccountId) -> None:
        """An account changed, and with it what its keys may do."""
        gone = [
            api_key_hash
            for api_key_hash, remembered in self._remembered.items()
            if remembered.caller is not None and remembered.caller.account_id == account_id
        ]
        for api_key_hash in gone:
            del self._remembered[api_key_hash]
        for lookup in self._lookups.values():
            lookup.is_stale = True

    def _let_in(self, caller: Caller | None) -> Caller | Refusal:
        if caller is None:
            return api_key.UNKNOWN
        if caller.expires_at is None:
            return caller
        return api_key.expired(caller.expires_at, self._clock.now()) or caller

    async def _look_up(self, api_key_hash: ApiKeyHash) -> Caller | None:
        lookup = self._lookups.get(api_key_hash)
        if lookup is None or lookup.is_stale:
            task = self._scope.start(self._read(api_key_hash), name="API key lookup")
            lookup = _Lookup(task)
            self._lookups[api_key_hash] = lookup
            task.add_done_callback(lambda _: self._keep(api_key_hash, lookup))
        answer = await asyncio.shield(lookup.answer)
        if isinstance(answer, OpenRouteError):
            raise answer
        return answer

    async def _read(self, api_key_hash: ApiKeyHash) -> Caller | Unavailable | None:
        # as a value: a task that raises would end the scope it runs in
        try:
            return await self._api_keys.find(api_key_hash)
        except Unavailable as error:
            return error

    def _keep(self, api_key_hash: ApiKeyHash, lookup: _Lookup) -> None:
        if self._lookups.get(api_key_hash) is lookup:
            del self._lookups[api_key_hash]
        task = lookup.answer
        if lookup.is_stale or task.cancelled() or task.exception() is not None:
            return
        answer = task.result()
        if isinstance(answer, Unavailable):
            return
        seconds = UNKNOWN_SECONDS if answer is None else KNOWN_SECONDS
        self._remembered[api_key_hash] = _Remembered(answer, self._clock.monotonic() + seconds)
        self._remembered.move_to_end(api_key_hash)
        while len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)
