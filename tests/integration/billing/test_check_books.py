"""The command line of billing, as operators and tests use it."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from shared.ids import new_generation_id
from tests.conftest import Infrastructure
from tests.integration.billing.conftest import Desk, received
from tests.unit.billing.made import USD, finished


async def _run(environment: Mapping[str, str], *arguments: str) -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.billing", *arguments),
        env={"PATH": os.environ["PATH"], **environment},  # noqa: TID251 - of the test itself
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    return process.returncode, output, errors


async def test_books_that_are_right_are_told_as_json(
    desk: Desk, infrastructure: Infrastructure
) -> None:
    account = await desk.account_with(USD)
    fact = finished(account=account, generation_id=new_generation_id(), is_byok=False)
    await desk.post([received(fact)])
    code, output, _ = await _run(infrastructure.environment("billing"), "--check-books")
    report = json.loads(output)
    assert (code, report["balanced"], report["problems"]) == (0, True, [])
    assert report["debits_nano_usd"] == report["credits_nano_usd"] >= USD
    assert report["clearing_nano_usd"] == 0


async def test_wrong_settings_are_all_named_with_exit_code_two() -> None:
    for arguments in ((), ("--check-books",)):
        wrong = {
            "BYOK_FEE_PERCENT": "500",
            "BYOK_ALLOTMENT": "dollars",
            "BYOK_FREE_LIST_COST_PER_MONTH": "-0.01",
        }
        code, output, errors = await _run(wrong, *arguments)
        assert (code, output) == (2, b"")
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_URL", *wrong):
            assert name in errors.decode()
