"""Routes are remembered while nothing that they were found from has changed, and within bounds."""

from collections.abc import Sequence

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.candidates import Access, Caller
from services.dispatcher.domain.known_routes import ROUTES_REMEMBERED_MAX, KnownRoutes
from services.dispatcher.domain.plan import LeftOut, Route
from shared.events.catalog import ModelListed
from shared.events.credentials import CredentialChanged
from shared.ids import ApiKeyHash
from tests.unit.dispatcher.made import KEY, MODEL, credential, model, request

LISTED = model(MODEL)
OWN = (credential("c1"),)
PLATFORM: tuple[CredentialChanged, ...] = ()
ADAPTERS = frozenset({"openai", "azure"})


def found(
    remembering: KnownRoutes,
    *,
    listed: ModelListed = LISTED,
    own: Sequence[CredentialChanged] = OWN,
    key: ApiKeyHash = KEY,
    **fields: object,
) -> Sequence[Route]:
    return remembering(
        listed,
        request(**fields),
        Access(
            caller=Caller(api_key_hash=key, member_id=None),
            own=own,
            platform=PLATFORM,
            byok_only=False,
            providers=ADAPTERS,
        ),
    )


def test_the_same_question_gets_the_same_answer() -> None:
    remembering = KnownRoutes()

    assert found(remembering) is found(remembering)


def test_a_credential_that_changed_is_noticed_at_once() -> None:
    remembering = KnownRoutes()
    before = found(remembering)
    disabled = msgspec.structs.replace(OWN[0], enabled=False)

    assert [each.credential for each in before if isinstance(each, Attempt)] == list(OWN)
    assert found(remembering, own=(disabled,)) == ()
    assert found(remembering) == before


def test_a_model_that_changed_is_noticed_at_once() -> None:
    remembering = KnownRoutes()
    _ = found(remembering)

    assert found(remembering, listed=msgspec.structs.replace(LISTED, endpoints=[])) == ()


def test_another_keys_filter_is_its_own() -> None:
    mine = msgspec.structs.replace(
        OWN[0], filters=msgspec.structs.replace(OWN[0].filters, api_key_hashes=[KEY])
    )
    own, remembering = (mine,), KnownRoutes()

    assert len(found(remembering, own=own)) == 1
    assert found(remembering, own=own, key=ApiKeyHash("f" * 64)) == ()


def test_required_parameters_are_looked_at_in_each_request() -> None:
    remembering = KnownRoutes()
    required = {"require_parameters": True}

    plain = found(remembering, provider=required)
    special = found(remembering, provider=required, no_such_parameter=1)

    assert [type(each) for each in plain] == [Attempt]
    assert [each.why for each in special if isinstance(each, LeftOut)] == ["require_parameters"]


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    remembering = KnownRoutes()
    first = found(remembering)
    for number in range(ROUTES_REMEMBERED_MAX):
        _ = found(remembering, key=ApiKeyHash(f"{number:064x}"))

    assert len(remembering) == ROUTES_REMEMBERED_MAX
    assert found(remembering) is not first
