import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.ingress.domain import credential_forms
from services.ingress.domain.credential_forms import (
    CredentialChangeForm,
    CredentialForm,
    OrderForm,
    check_provider,
    pasted_key,
    read_credential,
    read_credential_change,
    read_order,
)
from services.ingress.domain.refusals import Refusal
from shared.events.credentials import CredentialDescription
from shared.events.credentials import Filters as CredentialFilters
from shared.ids import CredentialId, new_id
from shared.secret import Secret


def test_a_key_may_be_a_string_or_the_configuration_itself() -> None:
    for value, kept in (("sk-1", "sk-1"), ({"a": 1}, '{"a":1}'), ([{"a": "é"}], '[{"a":"é"}]')):
        pasted = pasted_key(value)
        assert isinstance(pasted, Secret)
        assert pasted.reveal() == kept


@pytest.mark.parametrize("slug", ["openai", "azure", "amazon-bedrock", "google-vertex"])
def test_a_provider_of_the_catalog_or_with_a_format_of_its_own_is_taken(slug: str) -> None:
    assert check_provider(slug, frozenset({"openai"})) is None


@pytest.mark.parametrize("slug", ["", "nobody", "OpenAI", "google-vertex/eu"])
def test_any_other_provider_is_refused_with_those_that_there_are(slug: str) -> None:
    refusal = check_provider(slug, frozenset({"openai"}))
    assert isinstance(refusal, Refusal)
    assert refusal.message == (
        "provider: expected one of amazon-bedrock, azure, google-vertex, openai"
    )


@pytest.mark.parametrize("value", ["", "  ", {}, [], None, 5, True, "x" * 70_000])
def test_anything_else_is_no_key(value: Any) -> None:
    refusal = pasted_key(value)
    assert isinstance(refusal, Refusal)
    assert refusal.field == "key"


def test_left_out_stays_and_null_clears() -> None:
    form = read_credential_change(b'{"name":null}')
    assert isinstance(form, CredentialChangeForm)
    assert form.name is None
    assert form.disabled is msgspec.UNSET
    assert credential_forms.enabled_of(form.disabled) is msgspec.UNSET


def test_openrouter_s_flags_become_ours() -> None:
    body = {"provider": "p", "key": "k", "disabled": True, "is_fallback": True}
    form = read_credential(json.dumps(body).encode())
    assert isinstance(form, CredentialForm)
    assert credential_forms.enabled_of(form.disabled) is False
    assert credential_forms.section_of(form.is_fallback) == "fallback"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("sealed_key", "key"),
        ("filters.models[0]", "allowed_models[0]"),
        ("order", "sort_order"),
        ("key[1].endpoint_url", "key[1].endpoint_url"),
    ],
)
def test_fields_are_named_in_the_client_s_words(ours: str, theirs: str) -> None:
    assert credential_forms.to_wire_field(ours) == theirs


@pytest.mark.parametrize("body", [b'{"provider":"p","key":"k","name":"a\\u0000"}', b"{", b""])
def test_hostile_forms_are_refused(body: bytes) -> None:
    assert isinstance(read_credential(body), Refusal)


def test_a_changed_provider_is_refused_by_name() -> None:
    refusal = read_credential_change(b'{"provider":"openai"}')
    assert isinstance(refusal, Refusal)
    assert refusal.message == "provider: there is no such field"


def test_a_credential_has_every_field_that_the_published_clients_insist_on() -> None:
    # openrouter 1.3.84 (Python) and @openrouter/sdk 1.3.19 refuse a BYOKKey without any of these
    shown = credential_forms.to_wire(
        CredentialDescription(
            credential_id=CredentialId("c"),
            provider="openai",
            label="sk-...abcd",
            name=None,
            enabled=True,
            section="prioritized",
            always_use=True,
            order=0,
            filters=CredentialFilters(),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    assert shown["is_required"] is True
    assert shown["is_byok_only"] is False
    assert shown["declared_region"] is None
    assert shown["declared_zdr"] is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"is_required": True}, True),
        ({"is_required": False}, False),
        ({"always_use": True}, True),
        ({"always_use": True, "is_required": True}, True),
        ({}, msgspec.UNSET),
    ],
)
def test_the_published_clients_word_for_always_use_is_understood(
    sent: dict[str, bool], kept: object
) -> None:
    form = read_credential(json.dumps({"provider": "p", "key": "k", **sent}).encode())
    assert isinstance(form, CredentialForm)
    assert form.always_use is kept
    change = read_credential_change(json.dumps(sent).encode())
    assert isinstance(change, CredentialChangeForm)
    assert change.always_use is kept


def test_the_two_words_for_always_use_may_not_contradict_each_other() -> None:
    sent = {"always_use": True, "is_required": False}
    for refusal in (
        read_credential(json.dumps({"provider": "p", "key": "k", **sent}).encode()),
        read_credential_change(json.dumps(sent).encode()),
    ):
        assert isinstance(refusal, Refusal)
        assert refusal.field == "is_required"


def test_an_order_names_ids_in_their_one_form() -> None:
    first, second = new_id(), new_id()
    body = {"provider": "openai", "prioritized": [first.upper()], "fallback": [second]}
    form = read_order(json.dumps(body).encode())
    assert form == OrderForm(provider="openai", prioritized=[first], fallback=[second])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "provider: is required"),
        ({"provider": "a b"}, "provider: is not a provider"),
        ({"provider": "p", "prioritized": "x"}, "prioritized: expected array, got string"),
        ({"provider": "p", "fallback": [new_id(), "x"]}, "fallback[1]: is not a credential's id"),
        ({"provider": "p", "order": []}, "order: there is no such field"),
        (
            {"provider": "p", "prioritized": ["x"] * 1001},
            "prioritized: expected array of length <= 1000",
        ),
    ],
)
def test_an_order_that_is_none_is_refused_by_field(body: dict[str, Any], message: str) -> None:
    refusal = read_order(json.dumps(body).encode())
    assert isinstance(refusal, Refusal)
    assert refusal.message == message


def test_a_note_is_bounded_and_may_be_cleared() -> None:
    refusal = read_credential_change(json.dumps({"note": "x" * 1001}).encode())
    assert isinstance(refusal, Refusal)
    assert refusal.field == "note"
    form = read_credential_change(b'{"note":null}')
    assert isinstance(form, CredentialChangeForm)
    assert form.note is None


def test_a_client_may_send_back_what_it_was_shown_of_things_that_are_not_here() -> None:
    sent = {"is_byok_only": False, "declared_region": None, "declared_zdr": None}
    add = {"provider": "p", "key": "k", "workspace_id": None, **sent}
    assert isinstance(read_credential(json.dumps(add).encode()), CredentialForm)
    assert isinstance(read_credential_change(json.dumps(sent).encode()), CredentialChangeForm)


@pytest.mark.parametrize(
    "sent", [{"is_byok_only": True}, {"declared_region": "us"}, {"declared_zdr": False}]
)
def test_what_is_not_here_is_refused_rather_than_forgotten(sent: dict[str, Any]) -> None:
    for refusal in (
        read_credential(json.dumps({"provider": "p", "key": "k", **sent}).encode()),
        read_credential_change(json.dumps(sent).encode()),
    ):
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.field) == (400, next(iter(sent)))
        assert "not supported" in refusal.message
