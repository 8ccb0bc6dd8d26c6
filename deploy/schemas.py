"""`make schemas`: write every generated document anew."""

import sys

from deploy import env_example
from shared.events import asyncapi


def main(arguments: list[str]) -> int:
    """Write them, or with `--check` say which are not up to date; the exit status."""
    return max(asyncapi.main(arguments), env_example.main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
