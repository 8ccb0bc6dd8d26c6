"""Check the audit: every chain from its beginning, and against what was published."""

from collections.abc import Callable
from dataclasses import dataclass

from services.key_vault.domain.audit_chain import (
    Damage,
    Head,
    damage_at,
    damage_of_published,
)
from services.key_vault.ports import AuditChains, PublishedAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and how much of it is damaged."""

    accounts: int
    entries: int
    published: int
    damaged: int


async def verify_audit(
    chains: AuditChains, published: PublishedAudit, tell: Callable[[Damage], None]
) -> Verified:
    """Tell every damage as it is found. Raises Unavailable when something cannot be read.

    Memory does not grow with the audit. What was published is compared entry by entry: only that
    shows that the end of a chain was cut off, or all of a chain written anew.
    """
    accounts = entries = copies = damaged = 0
    account_id, head = "", Head()
    async for row in chains.rows():
        if row.account_id != account_id:
            account_id, head = row.account_id, Head()
            accounts += 1
        entries += 1
        for damage in damage_at(head, row):
            damaged += 1
            tell(damage)
        head = Head(number=row.number, hash=row.hash)
    async for batch in published.batches():
        copies += len(batch)
        places = [(each.entry.account_id, each.entry.number) for each in batch]
        kept = await chains.hashes(places)
        for place, each in zip(places, batch, strict=True):
            lost = damage_of_published(each, kept.get(place))
            if lost is not None:
                damaged += 1
                tell(lost)
    return Verified(accounts=accounts, entries=entries, published=copies, damaged=damaged)
