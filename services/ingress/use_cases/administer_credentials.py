"""What an account does with its credentials: check, encrypt, and ask key_vault."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from services.ingress.domain import credential_forms, models, refusals
from services.ingress.domain.api_key import Caller
from services.ingress.domain.credential_forms import (
    CredentialChangeForm,
    CredentialForm,
    Filters,
    OrderForm,
)
from services.ingress.domain.refusals import Refusal
from services.ingress.ports import Catalog, CredentialCommands, Intake, Members
from shared.errors import Unavailable
from shared.events import credentials
from shared.events.credential_audit import Actor
from shared.events.credential_health import CheckCredential
from shared.events.credentials import (
    AddCredential,
    ChangeCredential,
    CredentialDescription,
    CredentialForgotten,
    CredentialKept,
    CredentialsListed,
    CredentialsReordered,
    DeleteCredential,
    GetCredential,
    ListCredentials,
    ReorderCredentials,
)
from shared.events.envelope import CallReply, Event, Refused
from shared.ids import ApiKeyHash, CredentialId, MemberId

CheckedId = TypeVar("CheckedId", ApiKeyHash, MemberId)
KEY_VAULT: Final = "key-vault"


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an account's credentials, and how many there are."""

    credentials: list[CredentialDescription]
    total: int


class AdministerCredentials:
    """Each method answers with what key_vault keeps, or with a refusal; Unavailable passes."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        members: Members,
        intake: Intake,
        commands: CredentialCommands,
        new_id: Callable[[], str],
    ) -> None:
        """`new_id` makes ids of credentials and commands."""
        self._catalog = catalog
        self._members = members
        self._intake = intake
        self._commands = commands
        self._new_id = new_id

    async def add(
        self, caller: Caller, form: CredentialForm, actor: Actor
    ) -> CredentialDescription | Refusal:
        """Keep a new credential."""
        self._need_catalog()
        refusal = credential_forms.check_provider(form.provider, self._catalog.providers())
        filters = credential_forms.filters_of(form)
        refusal = refusal or await self._check(caller, filters)
        if refusal is not None:
            return refusal
        pasted = credential_forms.pasted_key(form.key)
        if isinstance(pasted, Refusal):
            return pasted
        credential_id, command_id = CredentialId(self._new_id()), self._new_id()
        sealed_key = await self._intake.seal(
            pasted,
            account_id=caller.account_id,
            credential_id=credential_id,
            command_id=command_id,
        )
        command = AddCredential(
            command_id=command_id,
            account_id=caller.account_id,
            credential_id=credential_id,
            provider=form.provider,
            sealed_key=sealed_key,
            name=form.name,
            note=form.note,
            enabled=not form.disabled,
            section="fallback" if form.is_fallback else "prioritized",
            always_use=form.always_use is True,
            order=form.sort_order,
            filters=credentials.Filters(
                models=filters.models,
                api_key_hashes=filters.api_key_hashes,
                member_ids=filters.member_ids,
            ),
            actor=actor,
        )
        return _kept(await self._ask(caller, command))

    async def change(
        self,
        caller: Caller,
        credential_id: CredentialId,
        form: CredentialChangeForm,
        actor: Actor,
    ) -> CredentialDescription | Refusal:
        """Change what the form gives."""
        filters = credential_forms.filters_of(form)
        if filters.models is not None:
            self._need_catalog()
        refusal = await self._check(caller, filters)
        if refusal is not None:
            return refusal
        command_id = self._new_id()
        sealed_key: str | msgspec.UnsetType = msgspec.UNSET
        if form.key is not msgspec.UNSET:
            pasted = credential_forms.pasted_key(form.key)
            if isinstance(pasted, Refusal):
                return pasted
            sealed_key = await self._intake.seal(
                pasted,
                account_id=caller.account_id,
                credential_id=credential_id,
                command_id=command_id,
            )
        command = ChangeCredential(
            command_id=command_id,
            account_id=caller.account_id,
            credential_id=credential_id,
            sealed_key=sealed_key,
            name=form.name,
            note=form.note,
            enabled=credential_forms.enabled_of(form.disabled),
            section=credential_forms.section_of(form.is_fallback),
            always_use=form.always_use,
            order=form.sort_order,
            allowed_models=form.allowed_models,
            allowed_api_key_hashes=_or_as_given(
                form.allowed_api_key_hashes, filters.api_key_hashes
            ),
            allowed_member_ids=_or_as_given(form.allowed_user_ids, filters.member_ids),
            actor=actor,
        )
        return _kept(await self._ask(caller, command))

    async def reorder(
        self, caller: Caller, form: OrderForm, actor: Actor
    ) -> CredentialsReordered | Refusal:
        """Set the order of all credentials of one provider."""
        command = ReorderCredentials(
            command_id=self._new_id(),
            account_id=caller.account_id,
            provider=form.provider,
            prioritized=[CredentialId(each) for each in form.prioritized],
            fallback=[CredentialId(each) for each in form.fallback],
            actor=actor,
        )
        match await self._ask(caller, command):
            case CredentialsReordered() as reordered:
                return reordered
            case reply:
                return _refusal_of(reply)

    async def delete(
        self, caller: Caller, credential_id: CredentialId, actor: Actor
    ) -> Refusal | None:
        """Forget a credential; None when that is done."""
        command = DeleteCredential(
            command_id=self._new_id(),
            account_id=caller.account_id,
            credential_id=credential_id,
            actor=actor,
        )
        match await self._ask(caller, command):
            case CredentialForgotten():
                return None
            case reply:
                return _refusal_of(reply)

    async def get(
        self, caller: Caller, credential_id: CredentialId
    ) -> CredentialDescription | Refusal:
        """One credential."""
        query = GetCredential(account_id=caller.account_id, credential_id=credential_id)
        return _kept(await self._ask(caller, query))

    async def check(
        self, caller: Caller, credential_id: CredentialId
    ) -> CredentialDescription | Refusal:
        """Have a credential checked; its check is then pending."""
        command = CheckCredential(account_id=caller.account_id, credential_id=credential_id)
        return _kept(await self._ask(caller, command))

    async def page(
        self, caller: Caller, *, provider: str | None, offset: int, limit: int
    ) -> Page | Refusal:
        """A page of the account's credentials."""
        query = ListCredentials(
            account_id=caller.account_id, provider=provider, offset=offset, limit=limit
        )
        match await self._ask(caller, query):
            case CredentialsListed() as listed:
                return Page(listed.credentials, listed.total)
            case reply:
                return _refusal_of(reply)

    async def _ask(self, caller: Caller, command: Event) -> CallReply:
        return await self._commands.ask(command, account_id=caller.account_id)

    def _need_catalog(self) -> None:
        problem = self._catalog.problem()
        if problem is not None:
            raise Unavailable("catalog", problem)

    async def _check(self, caller: Caller, filters: Filters) -> Refusal | None:
        """Whether what the filters name exists and is the account's own."""
        known = self._catalog.slugs()
        for index, slug in enumerate(filters.models or ()):
            if slug not in known:
                return models.unknown_model(slug, known, field=f"allowed_models[{index}]")
        hashes = filters.api_key_hashes or []
        if hashes:
            live = await self._members.live_key_hashes(caller.account_id, hashes)
            for index, each in enumerate(hashes):
                if each not in live:
                    return refusals.invalid(
                        "is not one of this account's API keys",
                        field=f"allowed_api_key_hashes[{index}]",
                    )
        member_ids = filters.member_ids or []
        if member_ids:
            members = await self._members.members(caller.account_id, member_ids)
            for index, member_id in enumerate(member_ids):
                if member_id not in members:
                    return refusals.invalid(
                        "is not a member of this account", field=f"allowed_user_ids[{index}]"
                    )
        return None


def _or_as_given(
    given: list[str] | msgspec.UnsetType | None, checked: list[CheckedId] | None
) -> list[CheckedId] | msgspec.UnsetType | None:
    """What was checked, or unset or null as the form has it."""
    return checked if isinstance(given, list) else given


def _kept(reply: CallReply) -> CredentialDescription | Refusal:
    if isinstance(reply, CredentialKept):
        return reply.credential
    return _refusal_of(reply)


def _refusal_of(reply: CallReply) -> Refusal:
    if not isinstance(reply, Refused):
        raise Unavailable(KEY_VAULT, f"unexpected answer {type(reply).__name__}")
    match reply.code:
        case "not_found":
            return refusals.not_found(reply.message)
        case "conflict":
            return refusals.conflict(reply.message)
        case _:
            field = None if reply.field is None else credential_forms.to_wire_field(reply.field)
            return refusals.invalid(reply.message, field=field)
