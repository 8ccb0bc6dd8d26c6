"""`replay`: make receipts and activity anew from Kafka, while billing runs."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.billing.config import BillingConfig
from services.billing.operations.connections import open_replay
from services.billing.use_cases.replay_receipts import replay_receipts
from shared.errors import Unavailable
from shared.process import EXIT_STOPPED
from shared.telemetry.logging import configure_logging

BEGINNING: Final = "beginning"
_EXIT_NOT_DONE: Final = 1


def add_moment(arguments: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    arguments.add_argument(
        "--from",
        dest="since",
        type=_moment,
        required=True,
        help=f"{BEGINNING}, or a UTC day or RFC 3339 time: facts since then are replayed",
    )


def run_replay(config: BillingConfig, given: argparse.Namespace) -> int:
    """0 when the fresh rows are in place, 1 when nothing was changed."""
    configure_logging("billing", "billing-replay", "error", stream=sys.stderr.buffer)
    try:
        return asyncio.run(_replay(config, given.since))
    except Unavailable as error:
        sys.stderr.write(f"nothing was changed: {error}; run it again\n")
        return _EXIT_NOT_DONE


async def _replay(config: BillingConfig, since: datetime | None) -> int:
    async with open_replay(config) as (history, rebuild):
        replayed = await replay_receipts(history, rebuild, since)
    sys.stdout.write(msgspec.json.encode(replayed).decode() + "\n")
    return EXIT_STOPPED


def _moment(text: str) -> datetime | None:
    """The moment that an argument names, None for the beginning; argparse tells of a ValueError."""
    if text == BEGINNING:
        return None
    read = datetime.fromisoformat(text)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
