"""`make chaos-billing`: kill -9 of billing, PostgreSQL and Kafka at random under load.

A stack of its own; a steady load with own keys and on credits, streamed and plain, one account
nearly without credits. While it goes on, one or two of the three are killed at random and started
again. Then everything is up and quiet: `make reconcile` must be clean, and the provider's own call
log, priced here with decimal, must equal the books. Exit 1 when anything differs.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
from pathlib import Path

import aiohttp

from deploy.local.options import Options
from deploy.local.stack import Stack
from deploy.product import Product
from tests.chaos.billing.kills import Kills
from tests.chaos.billing.load import Load, make_accounts
from tests.chaos.billing.verdict import reconciled_when_quiet, verdict

_REQUEST_SECONDS_MAX = 120


async def run(stack: Stack, *, seconds: float, seed: int, rate: float) -> int:
    """Load, kill, wait, compare; the exit code."""
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        product = Product(stack, session)
        load = Load(product, await make_accounts(product), rate=rate)
        kills = Kills(stack, random.Random(seed))  # noqa: S311 - nothing secret
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            loading = tasks.create_task(load.run(stop))
            await kills.run(seconds)
            stop.set()
            await loading
        await kills.restart()
        report = await reconciled_when_quiet(product)
        differences = await verdict(product, load)
    for line in differences:
        sys.stdout.write(f"{line}\n")
    told = {
        "seed": seed,
        "seconds": seconds,
        "kills": dict(kills.counts),
        "died_by_themselves": dict(kills.died),
        "requests": len(load.outcomes),
        "answered": sum(each.answered for each in load.outcomes),
        "not_answered": dict(load.refusals()),
        "differences": len(differences),
        "reconcile": report,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if report["clean"] and not differences else 1


def main() -> int:
    """Run on a stack of its own, and remove it unless something differs."""
    parser = argparse.ArgumentParser(prog="chaos-billing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long to kill")
    parser.add_argument("--seed", type=int, default=None, help="repeats the kills of a run")
    parser.add_argument("--rate", type=float, default=12.0, help="requests a second")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    sys.stderr.write(f"seed {seed}\n")
    root = Path(tempfile.mkdtemp(prefix="openroute-chaos-"))
    stack = Stack(Options(root=root), output=sys.stderr)
    code = 1
    try:
        stack.up()
        code = asyncio.run(run(stack, seconds=given.seconds, seed=seed, rate=given.rate))
    finally:
        if code == 0:
            stack.clean()
        else:
            stack.down()
            sys.stderr.write(f"its logs and data stay in {root}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
