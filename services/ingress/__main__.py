"""The ingress process: python -m services.ingress [--check-config]."""

import os
import sys

from services.ingress.config import IngressConfig
from services.ingress.wiring import open_ingress
from shared.clock import SystemClock
from shared.ids import new_id
from shared.process import Stop, run


async def serve(config: IngressConfig, stop: Stop) -> None:
    """Run ingress until asked to stop."""
    async with open_ingress(config, clock=SystemClock(), new_id=new_id) as ingress:
        await ingress.run(stop)


if __name__ == "__main__":
    sys.exit(run("ingress", IngressConfig, os.environ, sys.argv[1:], serve))
