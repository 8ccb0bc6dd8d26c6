"""`python -m deploy.catalog check|publish [--folder FOLDER] [--kafka HOST:PORT]`.

Exit status: 0 done, 1 Kafka does not answer, 2 the folder or the arguments are wrong.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from deploy.catalog.load import CatalogProblems, load_folder
from deploy.catalog.publish import changes_between, publish, read_published
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events.catalog import ModelListed
from shared.ids import new_id, new_instance_id
from shared.kafka.config import KafkaConfig
from shared.kafka.producer import open_producer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.catalog", description="Check the catalog, or publish it to Kafka."
    )
    parser.add_argument("command", choices=["check", "publish"])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="brokers to publish to")
    arguments = parser.parse_args()
    if arguments.command == "publish" and not arguments.kafka:
        parser.error("publish needs --kafka HOST:PORT, for example --kafka 127.0.0.1:9092")
    return arguments


async def _publish(models: list[ModelListed], kafka: str, clock: Clock) -> str:
    config = KafkaConfig(bootstrap_servers=kafka)
    changes = changes_between(await read_published(config), models)
    source = new_instance_id("operations", 0)
    async with open_producer(config, source=source, clock=clock, new_id=new_id) as producer:
        await publish(producer, changes)
    return (
        f"catalog: {len(changes.listed)} published, {len(changes.removed)} removed, "
        f"{len(changes.unchanged)} unchanged"
    )


def main() -> int:
    """Run the command."""
    arguments = _arguments()
    clock = SystemClock()
    try:
        # Milliseconds as versions rise from one publication to the next without any memory.
        version = int(clock.now().timestamp() * 1000)
        models = load_folder(arguments.folder, version=version)
    except CatalogProblems as found:
        sys.stderr.write(f"{found}\n")
        return 2
    if arguments.command == "check":
        sys.stdout.write(f"catalog: {len(models)} models, no problems\n")
        return 0
    try:
        outcome = asyncio.run(_publish(models, arguments.kafka, clock))
    except Unavailable as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(outcome + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
