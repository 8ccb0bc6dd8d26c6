"""The dispatcher process.

python -m services.dispatcher                 run until SIGTERM
python -m services.dispatcher --check-config  validate the settings
"""

import os
import sys

from services.dispatcher.config import DispatcherConfig
from services.dispatcher.wiring import open_dispatcher
from shared.clock import SystemClock
from shared.ids import new_id
from shared.process import Stop, run


async def serve(config: DispatcherConfig, stop: Stop) -> None:
    """Run the dispatcher until asked to stop."""
    async with open_dispatcher(config, clock=SystemClock(), new_id=new_id) as dispatcher:
        await dispatcher.run(stop)


if __name__ == "__main__":
    sys.exit(run("dispatcher", DispatcherConfig, os.environ, sys.argv[1:], serve))
