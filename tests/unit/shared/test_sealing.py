"""Sealed content opens in its own place and nowhere else."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import GenerationId
from shared.sealing import DATA_KEY_BYTES, Direction, Seal, SealBroken

KEY = os.urandom(DATA_KEY_BYTES)
GENERATION = GenerationId("gen-a")


def seal(
    generation: str = GENERATION, run: str = "r", direction: Direction = "reply", key: bytes = KEY
) -> Seal:
    return Seal(key, generation_id=GenerationId(generation), run_id=run, direction=direction)


@given(st.binary(max_size=4096), st.integers(0, 10**6))
def test_what_was_sealed_opens(content: bytes, number: int) -> None:
    assert seal().open("frame", number, seal().seal("frame", number, content)) == content


@pytest.mark.parametrize(
    "elsewhere",
    [
        seal(generation="gen-b"),
        seal(run="s"),
        seal(direction="request"),
        seal(key=os.urandom(DATA_KEY_BYTES)),
    ],
)
def test_a_frame_moved_to_another_generation_run_or_direction_does_not_open(
    elsewhere: Seal,
) -> None:
    with pytest.raises(SealBroken):
        elsewhere.open("frame", 0, seal().seal("frame", 0, b"prompt"))


def test_a_frame_with_another_number_or_type_does_not_open() -> None:
    sealed = seal().seal("frame", 0, b"prompt")

    for event_type, number in (("frame", 1), ("other", 0)):
        with pytest.raises(SealBroken):
            seal().open(event_type, number, sealed)


@pytest.mark.parametrize("broken", [b"", b"short", b"x" * 40])
def test_nonsense_does_not_open(broken: bytes) -> None:
    with pytest.raises(SealBroken):
        seal().open("frame", 0, broken)


def test_the_subkey_is_keyed_blake2b_of_the_place() -> None:
    """As docs/adr/0008 has it, so that another implementation can open what is its own."""
    place = b"gen-a/r/reply"
    subkey = hashlib.blake2b(place, key=KEY, digest_size=32, person=b"openroute wire").digest()
    sealed = seal().seal("frame", 3, b"prompt")

    assert AESGCM(subkey).decrypt(sealed[:12], sealed[12:], b"frame/" + place + b"/3") == b"prompt"


def test_the_content_does_not_show_and_no_two_sealings_are_alike() -> None:
    first, second = (seal().seal("frame", 0, b"a prompt of a customer") for _ in range(2))

    assert b"customer" not in first
    assert first != second
