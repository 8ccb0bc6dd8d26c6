import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.input_hash import input_hash
from shared.events.billing import AddCredits, ApiKeyLimit
from shared.events.envelope import Event
from shared.ids import AccountId
from tests.unit.billing.made import authorize


class Before(Event, frozen=True, kw_only=True, tag=False):
    key: str


class Later(Event, frozen=True, kw_only=True, tag=False):
    key: str
    note: str = ""


Later.__name__ = Before.__name__


def _hash(key: str, amount: int) -> bytes:
    return input_hash(AddCredits(account_id=AccountId("a"), amount_nano_usd=amount, key=key))


@given(st.tuples(st.text(), st.integers()), st.tuples(st.text(), st.integers()))
def test_commands_have_the_same_hash_exactly_when_they_are_the_same(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    assert (_hash(*one) == _hash(*other)) is (one == other)


def test_a_command_that_came_through_kafka_has_the_hash_of_the_one_sent() -> None:
    sent = authorize()
    came = msgspec.json.decode(msgspec.json.encode(sent), type=type(sent))
    assert input_hash(came) == input_hash(sent)


def test_a_hold_id_stands_for_one_limit_that_was_told_with_it() -> None:
    told = authorize(api_key_limit=ApiKeyLimit(version=1, limit_nano_usd=5))
    came = msgspec.json.decode(msgspec.json.encode(told), type=type(told))
    assert input_hash(came) == input_hash(told)
    for other in (None, ApiKeyLimit(version=2, limit_nano_usd=5)):
        assert input_hash(authorize(api_key_limit=other)) != input_hash(told)


def test_a_field_added_later_changes_no_hash_until_it_is_used() -> None:
    assert input_hash(Before(key="k")) == input_hash(Later(key="k"))
    assert input_hash(Before(key="k")) != input_hash(Later(key="k", note="n"))
