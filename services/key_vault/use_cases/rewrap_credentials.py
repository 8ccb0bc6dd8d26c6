"""Bring every kept ciphertext to the newest version of its key, without opening any.

It may be stopped at any point and run again: what is left to do is read from the rows themselves,
and what is to be published from the outbox. Commands go on meanwhile. A credential that is added is
of the newest version already; one that is changed keeps what its account gave it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from services.key_vault.domain.ciphertext import CredentialKey, KeptCiphertext
from services.key_vault.ports import RewrapPorts
from shared.errors import Unavailable

T = TypeVar("T")

BATCH_ROWS: Final = 64
"""What the outbox publishes in one transaction; Transit takes 100."""
ATTEMPTS_MAX: Final = 30
"""How often a step is tried while a server does not answer, with a pause between."""
PASSES_MAX: Final = 100
"""Each pass leaves only what somebody was changing just then."""


@dataclass(slots=True, kw_only=True)
class Rewrapped:
    """How far it is.

    Attributes:
        version: the version of the key that is rewrapped to.
        done: credentials that this run has rewrapped.
        left: credentials of another version, those of `misfits` among them.
        misfits: credentials whose ciphertext does not belong where it is kept; they stay as they are.
    """

    version: int = 0
    done: int = 0
    left: int = 0
    misfits: list[CredentialKey] = field(default_factory=list)


async def rewrap_credentials(ports: RewrapPorts, tell: Callable[[Rewrapped], None]) -> Rewrapped:
    """Rewrap and publish all; `tell` hears of each batch. Raises Unavailable when that goes on."""
    so_far = Rewrapped()
    for _ in range(PASSES_MAX):
        # asked again in each pass: somebody may have rotated the key once more
        so_far.version = await _patiently(ports, ports.rewrapping.newest_version)
        so_far.left = await _patiently(
            ports, partial(ports.ciphertexts.count_besides, so_far.version)
        )
        tell(so_far)
        if so_far.left <= len(so_far.misfits):
            break
        await _one_pass(ports, so_far, tell)
    await _publish_what_is_left(ports)
    return so_far


async def _one_pass(
    ports: RewrapPorts, so_far: Rewrapped, tell: Callable[[Rewrapped], None]
) -> None:
    so_far.misfits = []
    after: CredentialKey | None = None
    while True:
        kept = await _patiently(
            ports, partial(ports.ciphertexts.besides, so_far.version, after, limit=BATCH_ROWS)
        )
        if not kept:
            return
        await _rewrap_batch(ports, kept, so_far)
        tell(so_far)
        after = kept[-1].key


async def _rewrap_batch(
    ports: RewrapPorts, kept: Sequence[KeptCiphertext], so_far: Rewrapped
) -> None:
    fresh = await _patiently(ports, partial(ports.rewrapping.rewrap, kept))
    pairs = list(zip(kept, fresh, strict=True))
    so_far.misfits += [each.key for each, ciphertext in pairs if ciphertext is None]
    rewrapped = [(each, ciphertext) for each, ciphertext in pairs if ciphertext is not None]
    replaced = await _patiently(
        ports, partial(ports.ciphertexts.replace, rewrapped, ports.clock.now())
    )
    await _patiently(ports, partial(ports.publish_states, replaced))
    so_far.done += len(replaced)
    so_far.left -= len(replaced)


async def _publish_what_is_left(ports: RewrapPorts) -> None:
    """What a run that was killed has rewrapped and not published; key_vault does so too, later."""
    after: CredentialKey | None = None
    while keys := await _patiently(
        ports, partial(ports.ciphertexts.unpublished, after, limit=BATCH_ROWS)
    ):
        await _patiently(ports, partial(ports.publish_states, keys))
        after = keys[-1]


async def _patiently(ports: RewrapPorts, step: Callable[[], Awaitable[T]]) -> T:
    """Try a step, which may be done twice, until it is done."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await step()
        except Unavailable:
            await ports.pause()
    return await step()
