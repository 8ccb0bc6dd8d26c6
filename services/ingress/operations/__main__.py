"""The operators' command line: python -m services.ingress.operations <command>."""

import os
import sys

from services.ingress.operations.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
