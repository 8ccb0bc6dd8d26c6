"""What an account does with its API keys, each told with what was spent with it.

A change is done before billing is asked what to tell with it: while billing is away a key can still
be disabled, and the caller who then hears Unavailable may give the same change again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.ingress.domain import api_key, api_key_forms, refusals
from services.ingress.domain.api_key import ApiKey, Caller
from services.ingress.domain.api_key_forms import KEYS_MAX, TOO_MANY_KEYS, KeyChanges, NewKey
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import AccountApiKeys, Billing, Members
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events.billing import (
    SPENDING_KEYS_MAX,
    KeySpending,
    QuerySpendingByKey,
    Spending,
    SpendingByKey,
    SpendingPeriod,
)
from shared.ids import ApiKeyHash, hash_api_key
from shared.secret import Secret

PAGE_KEYS_MAX: Final = SPENDING_KEYS_MAX
NOT_FOUND: Final = refusals.not_found("there is no API key of this hash")
_NOTHING: Final = SpendingPeriod(credits_nano_usd=0, byok_list_cost_nano_usd=0)
_UNUSED: Final = Spending(total=_NOTHING, day=_NOTHING, week=_NOTHING, month=_NOTHING)


@dataclass(frozen=True, slots=True)
class SpentKey:
    """An API key, and what was spent with it."""

    key: ApiKey
    spent: KeySpending


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an account's API keys, and how many there are."""

    keys: list[SpentKey]
    total: int


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new API key with its secret, which nobody can tell again."""

    key: SpentKey
    secret: Secret


class AdministerApiKeys:
    """Each method answers with what is kept, or with a refusal; Unavailable passes."""

    def __init__(
        self,
        *,
        keys: AccountApiKeys,
        members: Members,
        billing: Billing,
        forget: Callable[[ApiKeyHash], None],
        new_api_key: Callable[[], Secret],
        clock: Clock,
    ) -> None:
        """`forget` empties this process's memory of a key; the others hear of it from Kafka."""
        self._keys = keys
        self._members = members
        self._billing = billing
        self._forget = forget
        self._new_api_key = new_api_key
        self._clock = clock

    async def page(
        self, caller: Caller, *, offset: int, with_disabled: bool, with_expired: bool
    ) -> Page:
        """A page of the account's keys, oldest first."""
        keys, total = await self._keys.page(
            caller.account_id,
            offset=offset,
            limit=PAGE_KEYS_MAX,
            with_disabled=with_disabled,
            unexpired_at=None if with_expired else self._clock.now(),
        )
        return Page(await self._spent(caller, keys), total)

    async def get(self, caller: Caller, api_key_hash: ApiKeyHash) -> SpentKey | Refusal:
        """One key."""
        return await self._described(caller, await self._keys.get(caller.account_id, api_key_hash))

    async def add(self, caller: Caller, new: NewKey) -> MadeKey | Refusal:
        """Make a key; it belongs to the member who is named, else to the manager's own."""
        refusal = api_key_forms.check_expiry(new.expires_at, self._clock.now())
        refusal = refusal or await self._check_member(caller, new)
        if refusal is not None:
            return refusal
        secret = self._new_api_key()
        api_key_hash = hash_api_key(secret.reveal())
        kept = await self._keys.add(
            caller.account_id,
            replace(new, member_id=new.member_id or caller.member_id),
            api_key_hash=api_key_hash,
            label=api_key.label_of(secret.reveal()),
            keys_max=KEYS_MAX,
        )
        if kept is None:
            return TOO_MANY_KEYS
        spent = KeySpending(api_key_hash=api_key_hash, spending=_UNUSED)
        return MadeKey(SpentKey(kept, spent), secret)

    async def change(
        self, caller: Caller, api_key_hash: ApiKeyHash, changes: KeyChanges
    ) -> SpentKey | Refusal:
        """Change what is given."""
        try:
            kept = await self._keys.change(caller.account_id, api_key_hash, changes)
        finally:
            # also when the caller left or the commit's answer did not come: it may have taken effect
            self._forget(api_key_hash)
        return await self._described(caller, kept)

    async def delete(self, caller: Caller, api_key_hash: ApiKeyHash) -> Refusal | None:
        """Take a key out of use for good; None when that is done."""
        try:
            is_deleted = await self._keys.delete(caller.account_id, api_key_hash)
        finally:
            self._forget(api_key_hash)
        return None if is_deleted else NOT_FOUND

    async def _check_member(self, caller: Caller, new: NewKey) -> Refusal | None:
        if new.member_id is None:
            return None
        if new.member_id in await self._members.members(caller.account_id, [new.member_id]):
            return None
        return refusals.invalid("is not a member of this account", field="creator_user_id")

    async def _described(self, caller: Caller, kept: ApiKey | None) -> SpentKey | Refusal:
        return NOT_FOUND if kept is None else (await self._spent(caller, [kept]))[0]

    async def _spent(self, caller: Caller, keys: Sequence[ApiKey]) -> list[SpentKey]:
        """The keys with what billing says of them, all in one question."""
        if not keys:
            return []
        question = QuerySpendingByKey(
            account_id=caller.account_id,
            api_key_hashes=tuple(each.api_key_hash for each in keys),
        )
        told = await self._billing.ask(question, account_id=caller.account_id)
        if not isinstance(told, SpendingByKey) or len(told.keys) != len(keys):
            raise Unavailable("billing", f"unexpected answer {type(told).__name__}")
        return [SpentKey(key, spent) for key, spent in zip(keys, told.keys, strict=True)]
