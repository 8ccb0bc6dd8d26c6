"""Billing's operations as the Make targets run them."""

import asyncio
import sys
from collections.abc import Mapping

from deploy.local.places import REPOSITORY

_SECONDS_MAX = 50


async def run_operation(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and complaints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.billing.operations",
        *arguments,
        cwd=REPOSITORY,
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_SECONDS_MAX):
        output, errors = await process.communicate()
    if process.returncode is None:
        raise AssertionError("it has ended")
    return process.returncode, output.decode(), errors.decode()
