"""`acknowledge`: keep what an operator decided about a dead letter."""

import argparse
import asyncio
import sys
from typing import Final

from services.billing.config import BillingConfig
from services.billing.domain.dead_letter import Position
from services.billing.operations.connections import open_acknowledging
from services.billing.operations.reconcile import EXIT_UNREACHABLE, write_json
from services.billing.use_cases.acknowledge import NotThere
from shared.errors import Unavailable
from shared.process import EXIT_STOPPED

EXIT_NOT_DONE: Final = 1
_TEXT_CHARACTERS_MAX: Final = 1_000


def add_letter(arguments: argparse.ArgumentParser) -> None:
    """Declare the arguments: the position as `reconcile` prints it, and what was decided."""
    arguments.add_argument("--topic", required=True)
    arguments.add_argument("--partition", required=True, type=int)
    arguments.add_argument("--offset", required=True, type=int)
    arguments.add_argument("--reason", required=True, type=_text, help="what was decided, and why")
    arguments.add_argument("--by", required=True, type=_text, help="who decided it")


def run_acknowledge(config: BillingConfig, given: argparse.Namespace) -> int:
    """0 when it is kept, 1 when there is no such letter or another decision, 2 as `reconcile`."""
    position = Position(topic=given.topic, partition=given.partition, offset=given.offset)
    return asyncio.run(_acknowledge(config, position, given.reason, given.by))


async def _acknowledge(config: BillingConfig, position: Position, reason: str, by: str) -> int:
    try:
        async with open_acknowledging(config) as acknowledge:
            kept = await acknowledge(position, reason=reason, by=by)
    except Unavailable as error:
        sys.stderr.write(f"cannot be acknowledged: {error}\n")
        return EXIT_UNREACHABLE
    if isinstance(kept, NotThere):
        sys.stderr.write(f"there is no dead letter about money for {position}\n")
        return EXIT_NOT_DONE
    write_json(
        {
            "topic": position.topic,
            "partition": position.partition,
            "offset": position.offset,
            "letter": kept.letter,
            "reason": kept.reason,
            "by": kept.by,
            "at": kept.at.isoformat(),
        }
    )
    if (kept.reason, kept.by) != (reason, by):
        sys.stderr.write(f"{position} was {kept} before: that stays\n")
        return EXIT_NOT_DONE
    return EXIT_STOPPED


def _text(given: str) -> str:
    if not given.strip() or len(given) > _TEXT_CHARACTERS_MAX or not given.isprintable():
        raise argparse.ArgumentTypeError(
            f"must be one line of 1 to {_TEXT_CHARACTERS_MAX} characters"
        )
    return given
