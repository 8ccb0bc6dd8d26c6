"""`seal-month`: seal a month that is over, once it reconciles."""

import argparse
import asyncio
import sys

from services.billing.config import BillingConfig
from services.billing.domain.period import period_of_month
from services.billing.operations.connections import open_reconciling
from services.billing.operations.reconcile import (
    EXIT_DIFFERENT,
    EXIT_UNREACHABLE,
    Lines,
    say_progress,
    write_json,
)
from services.billing.use_cases.seal_month import NotSealed
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.process import EXIT_STOPPED


def add_month(arguments: argparse.ArgumentParser) -> None:
    """Declare the argument."""
    arguments.add_argument("--month", required=True, type=_month, help="UTC, such as 2026-10")


def run_seal_month(config: BillingConfig, given: argparse.Namespace) -> int:
    """0 when it is sealed, 1 when it is not, 2 when a server does not answer."""
    return asyncio.run(_seal_month(config, given.month))


async def _seal_month(config: BillingConfig, month: str) -> int:
    try:
        async with open_reconciling(
            config, clock=SystemClock(), tell=Lines(), progress=say_progress
        ) as reconciling:
            outcome = await reconciling.seal_month(month)
    except Unavailable as error:
        sys.stderr.write(f"cannot be sealed: {error}\n")
        return EXIT_UNREACHABLE
    report = None if outcome.report is None else outcome.report.as_json()
    if isinstance(outcome, NotSealed):
        sys.stderr.write(f"{outcome.reason}\n")
        write_json({"sealed": False, "month": month, "reason": outcome.reason, "report": report})
        return EXIT_DIFFERENT
    seal = outcome.seal
    write_json(
        {
            "sealed": True,
            "month": seal.month,
            "transfers": seal.transfers,
            "generations": seal.generations,
            "amount_nano_usd": seal.amount_nano_usd,
            "previous_sha256": seal.previous_sha256,
            "sha256": seal.sha256,
            "report": report,
        }
    )
    return EXIT_STOPPED


def _month(text: str) -> str:
    period_of_month(text)
    return text
