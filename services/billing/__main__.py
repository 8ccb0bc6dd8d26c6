"""The billing process, or with --check-books a check of its books.

python -m services.billing                 run until SIGTERM
python -m services.billing --check-config  validate the settings
python -m services.billing --check-books   print the check as JSON; exit 1 when it fails
"""

import asyncio
import os
import sys

import msgspec

from services.billing.config import BillingConfig
from services.billing.use_cases.check_books import check_books
from services.billing.wiring import open_billing, open_ledger
from shared.clock import SystemClock
from shared.config.environment import ConfigProblems, load
from shared.errors import Unavailable
from shared.ids import new_id
from shared.process import EXIT_MISCONFIGURED, EXIT_STOPPED, Stop, run

_CHECK_BOOKS = "--check-books"
_EXIT_WRONG = 1


async def serve(config: BillingConfig, stop: Stop) -> None:
    """Run billing until asked to stop."""
    async with open_billing(config, clock=SystemClock(), new_id=new_id) as billing:
        await billing.run(stop)


async def check(config: BillingConfig) -> int:
    """Print what the books come to."""
    try:
        async with open_ledger(config, clock=SystemClock(), new_id=new_id) as ledger:
            report = await check_books(ledger)
    except Unavailable as error:
        sys.stderr.write(f"the books cannot be read: {error}\n")
        return _EXIT_WRONG
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    return _EXIT_WRONG if report["problems"] else EXIT_STOPPED


def main() -> int:
    """Do what the arguments say and return the exit code."""
    arguments = sys.argv[1:]
    if arguments != [_CHECK_BOOKS]:
        return run("billing", BillingConfig, os.environ, arguments, serve)
    try:
        config = load(BillingConfig, os.environ)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_MISCONFIGURED
    return asyncio.run(check(config))


if __name__ == "__main__":
    sys.exit(main())
