"""`reconcile`: compare Kafka, the books and published state, both ways."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.billing.config import BillingConfig
from services.billing.operations.connections import open_reconciling
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.process import EXIT_MISCONFIGURED, EXIT_STOPPED

EXIT_DIFFERENT: Final = 1
EXIT_UNREACHABLE: Final = EXIT_MISCONFIGURED
LINES_MAX: Final = 1_000
"""Differences that are printed one by one; all of them are counted."""


def add_period(arguments: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    arguments.add_argument("--from", dest="begin", type=_moment, help="UTC day or RFC 3339 time")
    arguments.add_argument("--to", dest="end", type=_moment, help="the same; not part of it")


def run_reconcile(config: BillingConfig, given: argparse.Namespace) -> int:
    """0 when nothing differs, 1 when something does, 2 when a server does not answer."""
    clock = SystemClock()
    begin, end = given.begin, given.end or clock.now()
    if begin is not None and begin >= end:
        sys.stderr.write("--from must lie before --to\n")
        return EXIT_MISCONFIGURED
    return asyncio.run(_reconcile(config, begin, end, clock))


async def _reconcile(
    config: BillingConfig, begin: datetime | None, end: datetime, clock: Clock
) -> int:
    try:
        async with open_reconciling(
            config, clock=clock, tell=Lines(), progress=say_progress
        ) as reconciling:
            period = await reconciling.period(begin, end)
            report = await reconciling.reconcile(period)
    except Unavailable as error:
        sys.stderr.write(f"cannot be compared: {error}\n")
        return EXIT_UNREACHABLE
    write_json(report.as_json())
    return EXIT_STOPPED if report.clean else EXIT_DIFFERENT


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Lines:
    """Prints what differs, up to a limit."""

    def __init__(self) -> None:
        self._lines = 0

    def __call__(self, line: str) -> None:
        """Print one line."""
        self._lines += 1
        if self._lines <= LINES_MAX:
            sys.stdout.write(f"{line}\n")
        elif self._lines == LINES_MAX + 1:
            sys.stdout.write("more is only counted\n")


def say_progress(line: str) -> None:
    """Say how far it is, beside the output."""
    sys.stderr.write(f"{line}\n")


def write_json(value: object) -> None:
    """The last line of output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
