"""Makes Kafka's topics as `shared/events/topics.py` lists them: `python -m deploy.local.topics`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from shared.kafka.admin import ensure_topics


def main(arguments: Sequence[str]) -> int:
    """Run as a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.topics", description=__doc__)
    parser.add_argument("--kafka", required=True, help="bootstrap servers, host:port,...")
    parser.add_argument("--partitions-max", type=int, help="an upper bound of partitions a topic")
    given = parser.parse_args(arguments)
    asyncio.run(ensure_topics(given.kafka, partitions_max=given.partitions_max))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
