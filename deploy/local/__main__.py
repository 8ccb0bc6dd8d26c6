"""`python -m deploy.local up|down|status|logs|clean|run|lock-jars`: what the Makefile calls."""

import os
import sys

from deploy.local.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], environment=os.environ))
