"""What operators run beside the service, each to its end.

python -m services.billing.operations replay --from beginning
python -m services.billing.operations replay --from 2026-01-31T12:00:00Z

Each prints a JSON object at the end. Exit codes: 0 done; 1 not done, and nothing is changed; 2 the
settings or the arguments are wrong.
"""

import argparse
import os
import sys

from services.billing.config import BillingConfig
from services.billing.operations.replay import add_moment, run_replay
from shared.config.environment import ConfigProblems, load
from shared.process import EXIT_MISCONFIGURED


def main() -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="operations")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, add_arguments, command in (("replay", add_moment, run_replay),):
        arguments = commands.add_parser(name)
        add_arguments(arguments)
        arguments.set_defaults(command=command)
    given = parser.parse_args()
    try:
        config = load(BillingConfig, os.environ)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_MISCONFIGURED
    return int(given.command(config, given))


if __name__ == "__main__":
    sys.exit(main())
