"""What operators run beside the service, each to its end.

python -m services.billing.operations reconcile [--from DAY] [--to DAY]
python -m services.billing.operations acknowledge --topic TOPIC --partition N --offset N --reason TEXT --by NAME
python -m services.billing.operations seal-month --month 2026-10
python -m services.billing.operations replay --from beginning
python -m services.billing.operations replay --from 2026-01-31T12:00:00Z

`reconcile` and `seal-month` print what differs, one a line; each prints a JSON object at the end; how far
it is goes to stderr. Exit codes: 0 nothing differs, or done; 1 something differs, or not done and nothing
changed; 2 the settings or the arguments are wrong, or, but for `replay`, a server does not answer.
"""

import argparse
import os
import sys

from services.billing.config import BillingConfig
from services.billing.operations.acknowledge import add_letter, run_acknowledge
from services.billing.operations.reconcile import add_period, run_reconcile
from services.billing.operations.replay import add_moment, run_replay
from services.billing.operations.seal_month import add_month, run_seal_month
from shared.config.environment import ConfigProblems, load
from shared.process import EXIT_MISCONFIGURED


def main() -> int:
    """Carry out one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="operations")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, add_arguments, command in (
        ("reconcile", add_period, run_reconcile),
        ("acknowledge", add_letter, run_acknowledge),
        ("seal-month", add_month, run_seal_month),
        ("replay", add_moment, run_replay),
    ):
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
