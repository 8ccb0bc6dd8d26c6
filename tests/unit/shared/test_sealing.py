"""Sealed content opens in its own place and nowhere else."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import GenerationId
from shared.sealing import DATA_KEY_BYTES, Seal, SealBroken

KEY = os.urandom(DATA_KEY_BYTES)
GENERATION = GenerationId("gen-a")
SEAL = Seal(KEY, GENERATION)


@given(st.binary(max_size=4096), st.integers(0, 10**6))
def test_what_was_sealed_opens(content: bytes, number: int) -> None:
    sealed = Seal(KEY, GENERATION).seal("frame", "r", number, content)

    assert SEAL.open("frame", "r", number, sealed) == content


@pytest.mark.parametrize(
    "elsewhere", [Seal(KEY, GenerationId("gen-b")), Seal(os.urandom(DATA_KEY_BYTES), GENERATION)]
)
def test_a_frame_moved_to_another_generation_does_not_open(elsewhere: Seal) -> None:
    with pytest.raises(SealBroken):
        elsewhere.open("frame", "r", 0, SEAL.seal("frame", "r", 0, b"prompt"))


@pytest.mark.parametrize(
    ("event_type", "run", "number"),
    [
        ("frame", "r", 1),
        ("frame", "s", 0),
        ("frame", "", 0),
        ("request", "r", 0),
        ("request", "", 0),
    ],
)
def test_a_frame_moved_to_another_run_or_number_or_taken_for_something_else_does_not_open(
    event_type: str, run: str, number: int
) -> None:
    with pytest.raises(SealBroken):
        SEAL.open(event_type, run, number, SEAL.seal("frame", "r", 0, b"prompt"))


@given(st.text(max_size=8), st.integers(0, 999), st.text(max_size=8), st.integers(0, 999))
def test_no_two_places_are_one(run: str, number: int, other_run: str, other: int) -> None:
    """Whatever a run calls itself."""
    sealed = SEAL.seal("frame", run, number, b"prompt")
    if (run, number) == (other_run, other):
        return
    with pytest.raises(SealBroken):
        SEAL.open("frame", other_run, other, sealed)


@pytest.mark.parametrize("broken", [b"", b"short", b"x" * 40])
def test_nonsense_does_not_open(broken: bytes) -> None:
    with pytest.raises(SealBroken):
        SEAL.open("frame", "r", 0, broken)


def test_the_subkey_is_keyed_blake2b_of_the_generation() -> None:
    """As docs/adr/0008 has it, so that another implementation can open what is its own."""
    subkey = hashlib.blake2b(b"gen-a", key=KEY, digest_size=32, person=b"openroute wire").digest()
    sealed = SEAL.seal("frame", "r", 3, b"prompt")

    assert AESGCM(subkey).decrypt(sealed[:12], sealed[12:], b"frame/gen-a/r/3") == b"prompt"


def test_the_content_does_not_show_and_no_two_sealings_are_alike() -> None:
    first, second = (SEAL.seal("frame", "r", 0, b"a prompt of a customer") for _ in range(2))

    assert b"customer" not in first
    assert first != second
