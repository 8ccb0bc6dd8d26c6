from decimal import Decimal

import pytest

from services.billing.domain.evidence import Allotted, Credited, Delivered, Evidence
from services.billing.outbound.spilled_gathering import open_gathering


@pytest.mark.parametrize("buffered_bytes_max", [0, 500, 10**6])
async def test_what_was_added_under_one_key_comes_back_together_once(
    buffered_bytes_max: int,
) -> None:
    huge = Decimal(10) ** 37
    expected: dict[str, list[Evidence]] = {}
    async with open_gathering(buffered_bytes_max=buffered_bytes_max) as gathering:
        for number in range(300):
            key = f"generation {number % 100}"
            evidence: Evidence = (
                Delivered(partition=1, offset=number, is_certain=True),
                Allotted(list_cost_used=Decimal(0), month="2026-01", used=number),
                Credited(account_id="a", amount=huge + number),
            )[number // 100]
            expected.setdefault(key, []).append(evidence)
            await gathering.add([(key, evidence)])
        groups = [group async for group in gathering.groups()]
    assert len(groups) == 100
    assert dict(groups) == expected
