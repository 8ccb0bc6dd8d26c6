"""Rewrapping what is kept: to its end, past what does not fit, and through outages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from services.key_vault.domain.ciphertext import CredentialKey, KeptCiphertext, key_version
from services.key_vault.ports import RewrapPorts
from services.key_vault.use_cases.rewrap_credentials import (
    ATTEMPTS_MAX,
    BATCH_ROWS,
    Rewrapped,
    rewrap_credentials,
)
from shared.errors import Unavailable
from shared.ids import AccountId, CredentialId
from tests.unit.key_vault.fakes import SteppingClock


def key(number: int) -> CredentialKey:
    return AccountId(f"account-{number % 3}"), CredentialId(f"credential-{number:04d}")


@dataclass
class World:
    """Rows, Transit and topic, of which each may be away for some calls."""

    newest: int = 2
    rows: dict[CredentialKey, str] = field(default_factory=dict)
    moved: set[CredentialKey] = field(default_factory=set)
    held: set[CredentialKey] = field(default_factory=set)
    dirty: set[CredentialKey] = field(default_factory=set)
    published: list[CredentialKey] = field(default_factory=list)
    away: int = 0
    pauses: int = 0
    rotated_during_the_first_batch: bool = False

    @property
    def ports(self) -> RewrapPorts:
        return RewrapPorts(
            rewrapping=self,
            ciphertexts=self,
            publish_states=self.publish,
            pause=self.pause,
            clock=SteppingClock(),
        )

    def kept(self, number: int, version: int = 1) -> None:
        for each in range(number):
            self.rows[key(each)] = f"vault:v{version}:{each}"

    async def newest_version(self) -> int:
        self._answer()
        return self.newest

    async def rewrap(self, kept: Sequence[KeptCiphertext]) -> Sequence[str | None]:
        self._answer()
        if self.rotated_during_the_first_batch:
            self.rotated_during_the_first_batch, self.newest = False, self.newest + 1
        return [
            None
            if each.key in self.moved
            else f"vault:v{self.newest}:{each.ciphertext.split(':')[2]}"
            for each in kept
        ]

    async def count_besides(self, version: int) -> int:
        self._answer()
        return len(self._besides(version))

    async def besides(
        self, version: int, after: CredentialKey | None, *, limit: int
    ) -> Sequence[KeptCiphertext]:
        self._answer()
        found = [each for each in self._besides(version) if after is None or each.key > after]
        return found[:limit]

    async def replace(
        self, rewrapped: Sequence[tuple[KeptCiphertext, str]], at: datetime
    ) -> Sequence[CredentialKey]:
        self._answer()
        assert at.tzinfo is not None
        assert len(rewrapped) <= BATCH_ROWS
        done = [
            (each.key, ciphertext)
            for each, ciphertext in rewrapped
            if each.key not in self.held and self.rows.get(each.key) == each.ciphertext
        ]
        self.held.clear()  # whoever held them is done
        self.rows.update(done)
        self.dirty.update(each for each, _ in done)
        return [each for each, _ in done]

    async def unpublished(
        self, after: CredentialKey | None, *, limit: int
    ) -> Sequence[CredentialKey]:
        return [each for each in sorted(self.dirty) if after is None or each > after][:limit]

    async def publish(self, keys: Sequence[CredentialKey]) -> None:
        self._answer()
        self.published.extend(keys)
        self.dirty.difference_update(keys)

    async def pause(self) -> None:
        self.pauses += 1

    def _besides(self, version: int) -> list[KeptCiphertext]:
        return [
            KeptCiphertext(key=each, ciphertext=ciphertext)
            for each, ciphertext in sorted(self.rows.items())
            if key_version(ciphertext) != version
        ]

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("something")

    def versions(self) -> set[int]:
        return {key_version(each) for each in self.rows.values()}


async def rewrap(world: World) -> tuple[Rewrapped, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    done = await rewrap_credentials(world.ports, lambda now: told.append((now.done, now.left)))
    return done, told


async def test_every_row_is_brought_to_the_newest_version_and_told_once() -> None:
    world = World()
    world.kept(3 * BATCH_ROWS + 5)
    done, told = await rewrap(world)
    assert (done.version, done.done, done.left, done.misfits) == (2, 3 * BATCH_ROWS + 5, 0, [])
    assert world.versions() == {2}
    assert sorted(world.published) == sorted(world.rows)
    assert {each + left for each, left in told} == {3 * BATCH_ROWS + 5}
    assert [each for each, _ in told] == sorted(each for each, _ in told)


async def test_nothing_is_done_where_nothing_is_left() -> None:
    world = World()
    world.kept(5, version=2)
    done, _ = await rewrap(world)
    assert (done.done, world.published) == (0, [])


async def test_what_does_not_open_in_its_row_is_named_and_holds_up_nothing() -> None:
    world = World(moved={key(0), key(70)})
    world.kept(80)
    done, _ = await rewrap(world)
    assert (done.done, done.left) == (78, 2)
    assert set(done.misfits) == {key(0), key(70)}
    assert world.rows[key(0)] == "vault:v1:0"


async def test_a_row_that_somebody_is_changing_is_done_in_the_next_pass() -> None:
    world = World(held={key(3), key(9)})
    world.kept(10)
    done, _ = await rewrap(world)
    assert (done.done, done.left) == (10, 0)
    assert world.versions() == {2}


async def test_a_rotation_in_between_ends_at_its_version() -> None:
    world = World(rotated_during_the_first_batch=True)
    world.kept(2 * BATCH_ROWS)
    done, _ = await rewrap(world)
    assert (done.version, done.left) == (3, 0)
    assert world.versions() == {3}


async def test_what_a_killed_run_did_not_publish_is_published() -> None:
    world = World()
    world.kept(2 * BATCH_ROWS, version=2)
    world.dirty.update(world.rows)
    done, _ = await rewrap(world)
    assert done.done == 0
    assert sorted(world.published) == sorted(world.rows)


@pytest.mark.parametrize("away", [1, ATTEMPTS_MAX - 1])
async def test_what_is_away_for_a_while_is_waited_for(away: int) -> None:
    world = World(away=away)
    world.kept(3)
    done, _ = await rewrap(world)
    assert (done.done, done.left, world.pauses) == (3, 0, away)


async def test_what_stays_away_ends_the_run_which_can_be_run_again() -> None:
    world = World(away=ATTEMPTS_MAX)
    world.kept(3)
    with pytest.raises(Unavailable):
        await rewrap(world)
    assert (await rewrap(world))[0].done == 3


@pytest.mark.parametrize(
    ("ciphertext", "version"),
    [
        ("vault:v1:AAAA", 1),
        ("vault:v12:AAAA", 12),
        ("vault:v0:AAAA", 0),
        ("vault:vx:AAAA", 0),
        ("vault:v1", 0),
        ("", 0),
        ("xvault:v1:AAAA", 0),
    ],
)
def test_a_ciphertext_names_the_version_of_its_key(ciphertext: str, version: int) -> None:
    assert key_version(ciphertext) == version
