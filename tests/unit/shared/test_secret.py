"""A secret leaves its wrapper only through `reveal`."""

import pickle
import traceback

import msgspec
import pytest

from shared.secret import Secret

CANARY = "sk-canary-0123456789"


def refuse(secret: Secret) -> None:
    raise ValueError(f"could not use {secret}")


def test_a_secret_does_not_show_in_any_way_of_printing() -> None:
    secret = Secret(CANARY)

    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", str([secret])]

    assert all(CANARY not in text for text in shown)
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_serialised() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        msgspec.json.encode({"key": Secret(CANARY)})


def test_a_traceback_through_a_secret_does_not_hold_it() -> None:
    secret = Secret(CANARY)

    with pytest.raises(ValueError, match="could not use") as caught:
        refuse(secret)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_equal_by_value_and_no_dictionary_keys() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    with pytest.raises(TypeError):
        hash(Secret("a"))
